//! What the window costs: from a decoded picture to the screen, and processor time, beside
//! GStreamer's own sinks with a window for each camera. On a display without a screen, where the
//! processor draws everything.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail};
use gst::prelude::*;
use rovercast_e2e::figures::{Usage, percentile};
use rovercast_e2e::lab::{Program, gstreamer};
use rovercast_peer::start::now_us;
use rovercast_protocol::ids::CameraId;
use rovercast_receiver::window::{Renderer, Wall, Window, WindowSettings};

/// How long each way is measured, after it has settled.
const MEASURED: Duration = Duration::from_secs(10);
const SETTLED: Duration = Duration::from_secs(2);

/// What is shown: how many cameras, and their width and height at 30 frames per second.
const LOADS: [(usize, u32, u32); 2] = [(3, 640, 480), (1, 1920, 1080)];

/// The ways, by what pictures go into: nothing, a window of GStreamer's for each, our window.
const WAYS: [&str; 3] = ["fakesink", "autovideosink", "window"];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [inside, way, count, width, height] = arguments.as_slice()
        && inside == "inside"
    {
        return show(way, count.parse()?, width.parse()?, height.parse()?);
    }
    let mut command = Command::new("Xvfb");
    command.args("-displayfd 1 -noreset -nolisten tcp -screen 0 1920x1080x24".split(' '));
    let mut server = Program::spawn("Xvfb", command).context("install the package xvfb")?;
    let display = server.wait_for("display", |line| line.trim().parse::<u32>().ok())?;
    for (count, width, height) in LOADS {
        println!("{count} x {width}x{height} at 30 frames per second");
        for way in WAYS {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["inside", way]);
            command.args([count.to_string(), width.to_string(), height.to_string()]);
            command.env("DISPLAY", format!(":{display}"));
            let mut shown = Program::spawn(way, command)?;
            std::thread::sleep(SETTLED);
            let before = [Usage::of(shown.pid())?, Usage::of(server.pid())?];
            std::thread::sleep(MEASURED);
            let after = [Usage::of(shown.pid())?, Usage::of(server.pid())?];
            let [own, servers] = [0, 1].map(|index| {
                let spent = after[index].cpu.saturating_sub(before[index].cpu);
                100.0 * spent.as_secs_f64() / MEASURED.as_secs_f64()
            });
            let told =
                shown.wait_for("figures", |line| line.strip_prefix("! ").map(str::to_owned))?;
            println!("  {way:14} {own:5.1} % of a core, X server {servers:4.1} %; {told}");
        }
    }
    Ok(())
}

/// Shows pictures for as long as it is measured, and tells how long they took.
fn show(way: &str, count: usize, width: u32, height: u32) -> anyhow::Result<()> {
    gstreamer();
    let source = format!(
        "videotestsrc is-live=true pattern=smpte ! video/x-raw,format=I420,width={width},\
         height={height},framerate=30/1"
    );
    let lasts = SETTLED + MEASURED + SETTLED;
    if way != "window" {
        let _pipelines = (0..count)
            .map(|_| start(&format!("{source} ! videoconvert ! {way} sync=false")))
            .collect::<anyhow::Result<Vec<_>>>()?;
        std::thread::sleep(lasts);
        println!("! shown as they come");
        return Ok(());
    }
    let cameras =
        (0..count).map(|n| format!("camera-{n}").parse()).collect::<Result<Vec<CameraId>, _>>()?;
    let given = Arc::new(Mutex::new(BTreeMap::<(CameraId, u64), i64>::new()));
    let lags = Arc::new(Mutex::new(Vec::new()));
    let settings = WindowSettings { renderer: Renderer::Software, ..WindowSettings::default() };
    let (mut window, wall, _commands) = Window::open("rover".parse()?, settings)?;
    for camera in &cameras {
        let (of, gave, lagged) = (camera.clone(), given.clone(), lags.clone());
        let on_presented = move |pts: u64, at_us: i64| {
            let gave = gave.lock().ok().and_then(|mut gave| gave.remove(&(of.clone(), pts)));
            if let (Some(gave), Ok(mut lags)) = (gave, lagged.lock()) {
                lags.push((at_us - gave) as f64 / 1000.0);
            }
        };
        wall.on_presented(camera, Arc::new(on_presented));
    }
    let _pipelines = cameras
        .iter()
        .map(|camera| {
            let pipeline = start(&format!("{source} ! appsink name=out sync=false"))?;
            feed(&pipeline, camera.clone(), wall.clone(), given.clone())?;
            Ok(pipeline)
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let closing = wall.clone();
    std::thread::spawn(move || {
        std::thread::sleep(lasts);
        closing.close();
    });
    window.run()?;
    let lags = lags.lock().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
    let waiting = given.lock().map(|given| given.len()).unwrap_or_default();
    let of = |part| percentile(&lags, part);
    println!(
        "! to the screen p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms; {} pictures, {waiting} overtaken",
        of(0.5),
        of(0.95),
        of(0.99),
        lags.len()
    );
    Ok(())
}

fn start(launch: &str) -> anyhow::Result<gst::Pipeline> {
    let pipeline = gst::parse::launch(launch)?.downcast::<gst::Pipeline>();
    let Ok(pipeline) = pipeline else { bail!("no pipeline") };
    pipeline.set_state(gst::State::Playing)?;
    Ok(pipeline)
}

fn feed(
    pipeline: &gst::Pipeline,
    camera: CameraId,
    wall: Wall,
    given: Arc<Mutex<BTreeMap<(CameraId, u64), i64>>>,
) -> anyhow::Result<()> {
    let out = pipeline.by_name("out").context("no sink")?;
    let out = out.downcast::<gst_app::AppSink>().ok().context("no appsink")?;
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let pts = sample.buffer().and_then(|buffer| buffer.pts()).unwrap_or_default();
        if let Ok(mut given) = given.lock() {
            given.insert((camera.clone(), pts.nseconds()), now_us());
        }
        wall.picture(&camera, sample);
        Ok(gst::FlowSuccess::Ok)
    });
    out.set_callbacks(callbacks.build());
    Ok(())
}
