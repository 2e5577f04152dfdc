//! From pixels to pixels: the time burnt into a picture against the time when it is decoded at the
//! other end; through broker, sender and receiver, and beside it over bare RTP on UDP with the
//! same source, encoder and decoder. The two take turns, so that a slow host slows both.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use gst::prelude::*;
use rovercast_e2e::figures::percentile;
use rovercast_e2e::lab::{Folder, broker, robot, robot_config};
use rovercast_e2e::watcher::{Picture, Watcher, look};
use rovercast_peer::start::{now, share_clock};
use rovercast_protocol::codec::Codec;
use rovercast_protocol::ids::CameraId;
use rovercast_protocol::pixelclock::Reading;
use rovercast_sender::camera::burn::burn_clock;
use rovercast_sender::camera::encoder::{Parameters, candidates};

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;
const FPS: u32 = 30;
const BITRATE_KBPS: u32 = 2000;

/// Turns of each of the two.
const TURNS: usize = 3;
/// Pictures that count in each turn.
const PICTURES: usize = 300;
/// Pictures before: encoder and decoder warm up.
const WARM_UP: usize = 60;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    rovercast_peer::start::start()?;
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--bare-sender") {
        let port = arguments.get(at + 1).context("--bare-sender needs a port")?;
        return bare_sender(port.parse()?);
    }
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        bare.extend(bare_rtp()?);
        ours.extend(rovercast().await?);
    }
    println!("{WIDTH}x{HEIGHT}@{FPS}, {} pictures each, in turns of {PICTURES}", ours.len());
    let quantiles = |name: &str, values: &[f64]| {
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|part| percentile(values, part));
        println!("{name:<10} p50 {p50:.2} ms, p95 {p95:.2} ms, p99 {p99:.2} ms");
        [p50, p99]
    };
    let bare = quantiles("bare RTP", &bare);
    let ours = quantiles("rovercast", &ours);
    println!("ratio      p50 {:.2}, p99 {:.2}", ours[0] / bare[0], ours[1] / bare[1]);
    Ok(())
}

/// Latencies of one turn through our programs, in milliseconds.
async fn rovercast() -> anyhow::Result<Vec<f64>> {
    let folder = Folder::new("latency")?;
    let config = robot_config("r", &[("c", WIDTH, HEIGHT, FPS)]);
    let (_broker, address) = broker("127.0.0.1:0")?;
    let mut sender = robot(&folder, &config, &address)?;
    sender.wait_for_text("camera live")?;
    let mut watcher = Watcher::start(&address, "r", &[])?;
    let mut latencies = Vec::new();
    for _ in 0..WARM_UP {
        watcher.next().await?;
    }
    while latencies.len() < PICTURES {
        latencies.extend(latency_ms(&watcher.next().await?));
    }
    watcher.stop().await?;
    Ok(latencies)
}

/// Latencies of one turn over bare RTP, in milliseconds.
fn bare_rtp() -> anyhow::Result<Vec<f64>> {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let port = socket.local_addr()?.port();
    drop(socket);
    let pipeline = gst::parse::launch(&format!(
        "udpsrc address=127.0.0.1 port={port} buffer-size=2000000 \
         caps=\"application/x-rtp,media=video,clock-rate=90000,encoding-name=H264,payload=96\" \
         ! rtph264depay ! video/x-h264,stream-format=byte-stream,alignment=au \
         ! avdec_h264 thread-type=slice output-corrupt=false qos=false ! appsink name=out sync=false"
    ))?;
    let pipeline =
        pipeline.downcast::<gst::Pipeline>().map_err(|_| anyhow::anyhow!("no pipeline"))?;
    let out = pipeline.by_name("out").context("no sink")?;
    let out = out.downcast::<gst_app::AppSink>().map_err(|_| anyhow::anyhow!("no appsink"))?;
    let (pictures_tx, pictures) = std::sync::mpsc::channel();
    let camera: CameraId = "bare".parse()?;
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        if let Some(picture) = look(&camera, &sample) {
            let _ = pictures_tx.send(picture);
        }
        Ok(gst::FlowSuccess::Ok)
    });
    out.set_callbacks(callbacks.build());
    pipeline.set_state(gst::State::Playing)?;
    let mut sender = Command::new(std::env::current_exe()?)
        .args(["--bare-sender", &port.to_string()])
        .stdin(Stdio::null())
        .spawn()?;
    let mut latencies = Vec::new();
    let mut seen = 0;
    let outcome = loop {
        let Ok(picture) = pictures.recv_timeout(Duration::from_secs(20)) else {
            break Err(anyhow::anyhow!("no picture over bare RTP"));
        };
        seen += 1;
        if seen > WARM_UP {
            latencies.extend(latency_ms(&picture));
        }
        if latencies.len() == PICTURES {
            break Ok(latencies);
        }
    };
    sender.kill()?;
    sender.wait()?;
    pipeline.set_state(gst::State::Null)?;
    outcome
}

/// The sending process of bare RTP; runs until it is killed.
fn bare_sender(port: u16) -> anyhow::Result<()> {
    let encoder = candidates(Codec::H264, "x264enc").next().context("no such row")?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let parameters =
        Parameters { width: WIDTH, height: HEIGHT, fps: FPS, bitrate_kbps: BITRATE_KBPS, cores };
    let pipeline = gst::parse::launch(&format!(
        "videotestsrc name=in is-live=true pattern=smpte \
         ! video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={FPS}/1 \
         ! {} ! rtph264pay mtu=1200 pt=96 ! udpsink host=127.0.0.1 port={port} sync=false",
        encoder.launch(parameters, |_| true),
    ))?;
    let pipeline =
        pipeline.downcast::<gst::Pipeline>().map_err(|_| anyhow::anyhow!("no pipeline"))?;
    share_clock(&pipeline);
    let caps =
        gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, WIDTH, HEIGHT).build()?;
    let source = pipeline.by_name("in").context("no source")?;
    let pad = source.static_pad("src").context("no pad")?;
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer_mut() {
            burn_clock(buffer.make_mut(), &caps, now());
        }
        gst::PadProbeReturn::Ok
    });
    pipeline.set_state(gst::State::Playing)?;
    let bus = pipeline.bus().context("no bus")?;
    for message in bus.iter_timed(gst::ClockTime::NONE) {
        if let gst::MessageView::Error(error) = message.view() {
            anyhow::bail!("{}", error.error());
        }
    }
    Ok(())
}

fn latency_ms(picture: &Picture) -> Option<f64> {
    match picture.clock {
        Reading::Whole(captured_us) => Some((picture.at_us - captured_us as i64) as f64 / 1000.0),
        Reading::Torn | Reading::Absent => None,
    }
}
