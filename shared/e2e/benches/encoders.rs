//! What each software encoder of the table costs: processor time for each camera, and the time from
//! a frame going in to its access unit coming out, in the encoder's pipeline as the sender builds it,
//! fed in real time.

use anyhow::Context;
use rovercast_e2e::encode::{Feeding, encode};
use rovercast_e2e::figures::percentile;
use rovercast_e2e::pictures::Pictures;
use rovercast_sender::camera::encoder::{ENCODERS, Parameters};
use rovercast_sender::camera::{drive, plan};

const ROWS: [&str; 4] = ["x264enc", "openh264enc", "vp8enc", "x265enc"];

/// Width, height, and bitrate in units of 1,000 bits per second.
const SIZES: [(u32, u32, u32); 3] = [(640, 480, 1000), (1280, 720, 2500), (1920, 1080, 5000)];

const FEEDING: Feeding = Feeding { fps: 30, count: 240, warm_up: 30, key_frame_at: None };

/// Different pictures: two seconds, shown forwards and backwards.
const PICTURES: usize = 60;

fn main() -> anyhow::Result<()> {
    rovercast_peer::start::start()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{} frames/s, {} frames each, {cores} cores", FEEDING.fps, FEEDING.count);
    println!("| encoder | picture | kbit/s | CPU of a core | delay p50 | p95 | frames dropped |");
    println!("|---|---|---|---|---|---|---|");
    for (width, height, bitrate_kbps) in SIZES {
        let pictures = Pictures::load("bigbuckbunny.mp4", (width, height), PICTURES)?;
        for factory in ROWS {
            let row = ENCODERS.iter().find(|row| row.factory == factory).context("no such row")?;
            let element = gst::ElementFactory::make(factory).build();
            let Ok(element) = element else {
                println!("| {factory} | {} |", drive::missing(row));
                continue;
            };
            let parameters = Parameters { width, height, fps: FEEDING.fps, bitrate_kbps, cores };
            let line = plan::encoding(row, parameters, drive::has(&element));
            let outcome = encode(row, &line, &pictures, FEEDING)?;
            let delays = outcome.delays_ms();
            let [p50, p95] = [0.5, 0.95].map(|part| percentile(&delays, part));
            let bytes: usize = outcome.units.iter().map(|unit| unit.bytes()).sum();
            let rate_kbps = bytes as f64 * 8.0 / 1000.0 / f64::from(FEEDING.count as u32)
                * f64::from(FEEDING.fps);
            println!(
                "| {factory} | {width}x{height} | {rate_kbps:.0} of {bitrate_kbps} | {:.1} % \
                 | {p50:.1} ms | {p95:.1} ms | {} of {} |",
                outcome.cpu, outcome.dropped, FEEDING.count
            );
        }
    }
    Ok(())
}
