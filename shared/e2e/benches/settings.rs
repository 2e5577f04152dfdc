//! The settings of x264enc, by what they cost and what they give: delay, processor time, quality,
//! and how large the largest access units become beside the bitrate. Each candidate is the table's
//! row with one thing changed.

use anyhow::{Context, ensure};
use gst::prelude::*;
use gst_app::{AppSink, AppSrc};
use gst_video::VideoFrameExt;
use rovercast_e2e::encode::{Feeding, Outcome, encode};
use rovercast_e2e::figures::percentile;
use rovercast_e2e::pictures::Pictures;
use rovercast_e2e::quality::{Plane, psnr, ssim};
use rovercast_sender::camera::encoder::{ENCODERS, Encoder, Parameters};
use rovercast_sender::camera::plan;

/// File, width, height, and a low bitrate in units of 1,000 bits per second.
const CLIPS: [(&str, u32, u32, u32); 2] =
    [("bikes.mp4", 640, 272, 500), ("bigbuckbunny.mp4", 1280, 720, 1000)];

const FEEDING: Feeding = Feeding { fps: 25, count: 90, warm_up: 12, key_frame_at: Some(50) };

type Changes = &'static [(&'static str, &'static str)];

/// What is changed. A frame lasts 40 ms; the row has a buffer of two.
const CANDIDATES: [(&str, Changes); 13] = [
    ("the row as it is", &[]),
    ("superfast", &[("speed-preset", "superfast")]),
    ("veryfast", &[("speed-preset", "veryfast")]),
    ("no deblocking", &[("option-string", "no-deblock=1")]),
    ("subme 1", &[("option-string", "deblock=0,0:subme=1")]),
    ("1 thread", &[("threads", "1")]),
    ("4 threads", &[("threads", "4")]),
    ("2 threads, by frames", &[("threads", "2"), ("sliced-threads", "false")]),
    ("buffer of 1 frame", &[("vbv-buf-capacity", "40")]),
    ("buffer of 3 frames", &[("vbv-buf-capacity", "120")]),
    ("buffer of 15 frames", &[("vbv-buf-capacity", "600")]),
    ("intra refresh", &[("intra-refresh", "true"), ("key-int-max", "50")]),
    ("constant quality, capped", &[("pass", "qual"), ("quantizer", "23")]),
];

fn main() -> anyhow::Result<()> {
    rovercast_peer::start::start()?;
    let row = ENCODERS.iter().find(|row| row.factory == "x264enc").context("no such row")?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for (clip, width, height, bitrate_kbps) in CLIPS {
        let pictures = Pictures::load(clip, (width, height), FEEDING.count)?;
        let parameters = Parameters { width, height, fps: FEEDING.fps, bitrate_kbps, cores };
        println!("{clip}, {width}x{height}@{}, {bitrate_kbps} kbit/s, {cores} cores", FEEDING.fps);
        println!(
            "| x264enc | CPU of a core | delay p50 | p99 | kbit/s | PSNR | SSIM | key frame | largest other |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        // The first of all has caches to fill and a processor to wake up.
        encode(row, &line(row, parameters, &[]), &pictures, FEEDING)?;
        for (name, changes) in CANDIDATES {
            let outcome = encode(row, &line(row, parameters, changes), &pictures, FEEDING)?;
            println!("| {name} | {} |", figures(&outcome, &pictures, bitrate_kbps)?);
        }
    }
    Ok(())
}

/// The row's launch line with changes.
fn line(row: &Encoder, parameters: Parameters, changes: Changes) -> String {
    let mut line = plan::encoding(row, parameters, |_| true);
    for (name, value) in changes {
        // The last of two settings holds.
        line = line.replacen(
            &format!(" ! {}", row.output),
            &format!(" {name}={value} ! {}", row.output),
            1,
        );
    }
    line
}

fn figures(outcome: &Outcome, pictures: &Pictures, bitrate_kbps: u32) -> anyhow::Result<String> {
    let delays = outcome.delays_ms();
    let [p50, p99] = [0.5, 0.99].map(|part| percentile(&delays, part));
    let bytes: usize = outcome.units.iter().map(|unit| unit.bytes()).sum();
    let rate_kbps = bytes as f64 * 8.0 / 1000.0 * f64::from(FEEDING.fps) / FEEDING.count as f64;
    let (psnr, ssim) = quality(outcome, pictures)?;
    // How long the line is busy with it.
    let largest_ms = |key_frame: bool| {
        let sizes = outcome.units.iter().filter(|unit| unit.key_frame == key_frame);
        let largest = sizes.map(|unit| unit.bytes()).max().unwrap_or_default();
        largest as f64 * 8.0 / f64::from(bitrate_kbps)
    };
    Ok(format!(
        "{:.1} % | {p50:.2} ms | {p99:.2} ms | {rate_kbps:.0} | {psnr:.2} dB | {ssim:.4} \
         | {:.0} ms | {:.0} ms",
        outcome.cpu,
        largest_ms(true),
        largest_ms(false)
    ))
}

/// Mean PSNR and SSIM of all pictures that came out, decoded again.
fn quality(outcome: &Outcome, pictures: &Pictures) -> anyhow::Result<(f64, f64)> {
    let pipeline = gst::parse::launch(
        "appsrc name=in format=time ! h264parse ! avdec_h264 ! videoconvert \
         ! video/x-raw,format=I420 ! appsink name=out sync=false",
    )?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().ok().context("no pipeline")?;
    let from = pipeline.by_name("in").and_downcast::<AppSrc>().context("no entrance")?;
    let out = pipeline.by_name("out").and_downcast::<AppSink>().context("no exit")?;
    pipeline.set_state(gst::State::Playing)?;
    for unit in &outcome.units {
        from.push_sample(&unit.sample)?;
    }
    from.end_of_stream()?;
    let (mut psnrs, mut ssims, mut decoded) = (0.0, 0.0, 0.0);
    for unit in &outcome.units {
        let sample = out.pull_sample().context("a picture is missing")?;
        let info = gst_video::VideoInfo::from_caps(sample.caps().context("no caps")?)?;
        let was = &pictures.buffers[pictures.index(unit.number)];
        let was = gst_video::VideoFrameRef::from_buffer_ref_readable(was, &pictures.info)?;
        let is = sample.buffer().context("no picture")?;
        let is = gst_video::VideoFrameRef::from_buffer_ref_readable(is, &info)?;
        let [was, is] = [luma(&was)?, luma(&is)?];
        ensure!((was.width, was.height) == (is.width, is.height), "a picture of another size");
        psnrs += psnr(was, is);
        ssims += ssim(was, is);
        decoded += 1.0;
    }
    pipeline.set_state(gst::State::Null)?;
    Ok((psnrs / decoded, ssims / decoded))
}

fn luma<'a>(frame: &'a gst_video::VideoFrameRef<&'a gst::BufferRef>) -> anyhow::Result<Plane<'a>> {
    Ok(Plane {
        samples: frame.plane_data(0)?,
        stride: usize::try_from(frame.plane_stride()[0])?,
        width: frame.width() as usize,
        height: frame.height() as usize,
    })
}
