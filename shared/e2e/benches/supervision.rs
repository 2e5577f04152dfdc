//! What it costs that cameras are watched over: processor time in percent of a core per camera, of
//! supervision, of looking at the pictures, of the seam between source and encoder, and of a slate.
//! Cameras here repeat one picture, so that making pictures costs next to nothing; none is encoded
//! but for the slates. What is compared takes turns, so that a slow host slows all of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use gst::prelude::*;
use gst_app::{AppSink, AppSinkCallbacks, AppSrc};
use rovercast_e2e::encode::own_cpu;
use rovercast_e2e::figures::percentile;
use rovercast_e2e::lab::program;
use rovercast_e2e::pictures::Pictures;
use rovercast_peer::start::now;
use rovercast_protocol::codec::Codec;
use rovercast_protocol::telemetry::CameraState;
use rovercast_sender::camera::card;
use rovercast_sender::camera::counters::Counters;
use rovercast_sender::camera::encoder::{
    Converter, Encoder, KeyFrame, Limits, ParameterSets, Parameters, candidates,
};
use rovercast_sender::camera::health::{Health, Layout, Samples};
use rovercast_sender::camera::probe::Probe;
use rovercast_sender::camera::seam::Seam;
use rovercast_sender::camera::task::Camera;
use rovercast_sender::camera::{launch, plan};
use rovercast_sender::config::{CameraConfig, Config};

const SMALL: (u32, u32) = (640, 480);
const LARGE: (u32, u32) = (1920, 1080);
const FPS: u32 = 30;

/// So many cameras at once: what a single one costs is too little to be seen.
const CAMERAS: usize = 24;

const TURNS: usize = 2;
const MEASURED: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    rovercast_peer::start::start()?;
    cameras().await?;
    looks();
    seams()?;
    slates().await
}

/// What a camera is, from nothing but its source to everything.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Bare,
    Off,
    Idle,
    Looked,
}

async fn cameras() -> anyhow::Result<()> {
    let kinds = [
        ("640x480, its source alone", Kind::Bare, SMALL),
        ("640x480, switched off", Kind::Off, SMALL),
        ("640x480, idle", Kind::Idle, SMALL),
        ("640x480, idle, looked at", Kind::Looked, SMALL),
        ("1920x1080, its source alone", Kind::Bare, LARGE),
        ("1920x1080, idle", Kind::Idle, LARGE),
        ("1920x1080, idle, looked at", Kind::Looked, LARGE),
    ];
    let mut costs = vec![Vec::new(); kinds.len()];
    for _ in 0..TURNS {
        let none = measure().await?;
        for ((_, kind, size), costs) in kinds.iter().zip(&mut costs) {
            costs.push((running(*kind, *size, CAMERAS).await? - none) / CAMERAS as f64);
        }
    }
    println!("| a camera, {FPS} frames/s | CPU of a core |");
    println!("|---|---|");
    for ((name, ..), costs) in kinds.iter().zip(&costs) {
        println!("| {name} | {:.2} % |", percentile(costs, 0.5));
    }
    Ok(())
}

/// Processor time, in percent of a core, of so many cameras at which nobody looks.
async fn running(kind: Kind, size: (u32, u32), count: usize) -> anyhow::Result<f64> {
    if let Kind::Bare = kind {
        let line = format!("{} ! fakesink", still(size));
        let pipelines = (0..count).map(|_| launch::parse(&line)).collect::<Result<Vec<_>, _>>();
        let pipelines = pipelines.map_err(anyhow::Error::msg)?;
        for pipeline in &pipelines {
            pipeline.set_state(gst::State::Playing)?;
        }
        let cpu = measure().await?;
        for pipeline in &pipelines {
            pipeline.set_state(gst::State::Null)?;
        }
        return Ok(cpu);
    }
    let cameras = start(count, size, |camera| {
        camera.enabled = !matches!(kind, Kind::Off);
        camera.health.check = Some(matches!(kind, Kind::Looked));
    })
    .await?;
    let cpu = measure().await?;
    for camera in cameras {
        camera.stop().await;
    }
    Ok(cpu)
}

/// Cameras that are live, or off where they are to be.
async fn start(
    count: usize,
    size: (u32, u32),
    change: impl Fn(&mut CameraConfig),
) -> anyhow::Result<Vec<Camera>> {
    let probe = Probe::new(program("rovercast-sender")?, None);
    let mut cameras = Vec::new();
    for _ in 0..count {
        let mut config = config(size)?;
        change(&mut config);
        let enabled = config.enabled;
        let mut camera = Camera::start(config, probe.clone()).map_err(anyhow::Error::msg)?;
        let wanted = if enabled { CameraState::Live } else { CameraState::Off };
        let settled = camera.status.wait_for(|status| status.state == wanted);
        tokio::time::timeout(rovercast_e2e::lab::PATIENCE, settled).await??;
        cameras.push(camera);
    }
    Ok(cameras)
}

/// One camera that repeats a picture.
fn config((width, height): (u32, u32)) -> anyhow::Result<CameraConfig> {
    let config = Config::parse(
        "bench",
        &format!(
            "[robot]\nid = \"r\"\n[[camera]]\nid = \"c\"\nwidth = {width}\nheight = {height}\n\
             fps = {FPS}\nencoder = \"x264enc\"\nhealth = {{ check = false, after_s = 3600 }}\n\
             source = {{ type = \"launch\", launch = \"{}\" }}\n",
            still((width, height))
        ),
    )?;
    config.camera.into_iter().next().context("no camera")
}

/// The launch line of a source that repeats one picture.
fn still((width, height): (u32, u32)) -> String {
    format!(
        "videotestsrc num-buffers=1 ! video/x-raw,format=I420,width={width},height={height},\
         framerate={FPS}/1,pixel-aspect-ratio=1/1 ! imagefreeze is-live=true"
    )
}

/// Processor time of this process in percent of a core, once everything has settled.
async fn measure() -> anyhow::Result<f64> {
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (cpu, start) = (own_cpu()?, Instant::now());
    tokio::time::sleep(MEASURED).await;
    Ok((own_cpu()? - cpu).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0)
}

/// A look at one picture, which is in none of the processor's caches: as one that a device wrote.
fn looks() {
    const LOOKS: u32 = 100;
    const MORE_THAN_CACHES_HOLD: usize = 128 << 20;
    let Some(layout) = Layout::of("I420") else { return };
    let mut other = vec![0u8; MORE_THAN_CACHES_HOLD];
    println!("\n| a look at a picture | time | five a second, CPU of a core |");
    println!("|---|---|---|");
    for (width, height) in [SMALL, LARGE] {
        let (columns, rows) = (width as usize, height as usize);
        let plane: Vec<u8> = (0..columns * rows).map(|index| (index % 251) as u8).collect();
        let mut health = Health::new(Duration::from_secs(5));
        let mut spent = Duration::ZERO;
        for look in 1..=LOOKS {
            other.fill(look as u8);
            std::hint::black_box(&other);
            let start = Instant::now();
            let samples = Samples::of(layout, &plane, columns, columns, rows);
            std::hint::black_box(health.look(samples, Duration::from_millis(200) * look));
            spent += start.elapsed();
        }
        let each = (spent / LOOKS).as_secs_f64();
        println!("| {width}x{height} | {:.0} us | {:.3} % |", each * 1e6, each * 5.0 * 100.0);
    }
}

/// An encoder that gives what it gets: what is left is the way to it and from it.
static THROUGH: Encoder = Encoder {
    factory: "identity",
    codec: Codec::H264,
    converter: Converter::Software,
    format: "I420",
    properties: &[],
    key_frame: KeyFrame::Event,
    parameter_sets: ParameterSets::Encoder,
    output: "video/x-raw",
    needs_level: false,
    limits: Limits { min: (16, 16), max: (8192, 8192), macroblocks_per_s: u32::MAX },
    package: "gstreamer1.0-plugins-base",
};

/// From source to encoder through the seam, against a plain queue in one pipeline.
fn seams() -> anyhow::Result<()> {
    const LANES: usize = 8;
    println!("\n| from source to encoder, {FPS} frames/s | CPU of a core | p50 | p95 |");
    println!("|---|---|---|---|");
    let (mut plain, mut seam) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for _ in 0..2 * TURNS {
        for (through_seam, (costs, delays)) in [(false, &mut plain), (true, &mut seam)] {
            let (delay, delayed) = std::sync::mpsc::channel();
            let mut pipelines = Vec::new();
            for _ in 0..LANES {
                pipelines.extend(lane(through_seam, &delay)?);
            }
            // Those behind the seam first, or the first frames find nobody.
            for pipeline in pipelines.iter().rev() {
                pipeline.set_state(gst::State::Playing)?;
            }
            std::thread::sleep(Duration::from_millis(500));
            delayed.try_iter().for_each(drop);
            let (cpu, start) = (own_cpu()?, Instant::now());
            std::thread::sleep(MEASURED);
            let spent = (own_cpu()? - cpu).as_secs_f64() / start.elapsed().as_secs_f64();
            costs.push(spent * 100.0 / LANES as f64);
            delays.extend(delayed.try_iter().map(|delay: Duration| delay.as_secs_f64() * 1e6));
            for pipeline in &pipelines {
                pipeline.set_state(gst::State::Null)?;
            }
        }
    }
    for (name, (costs, delays)) in [("a queue", &plain), ("the seam", &seam)] {
        let [p50, p95] = [0.5, 0.95].map(|part| percentile(delays, part));
        println!("| {name} | {:.2} % | {p50:.0} us | {p95:.0} us |", percentile(costs, 0.5));
    }
    Ok(())
}

/// The pipelines from a source to where an encoder's access units would come out; each frame's time
/// from one end to the other goes to `delay`.
fn lane(
    through_seam: bool,
    delay: &std::sync::mpsc::Sender<Duration>,
) -> anyhow::Result<Vec<gst::Pipeline>> {
    let (width, height) = LARGE;
    let parameters = Parameters { width, height, fps: FPS, bitrate_kbps: 1000, cores: 1 };
    let encoding = plan::encoding(&THROUGH, parameters, |_| true);
    let (source, encoding) = if through_seam {
        let source = format!("{} ! appsink name=end sync=false async=false", source());
        (launch::parse(&source).map_err(anyhow::Error::msg)?, Some(encoding))
    } else {
        // The same, but for the way in between.
        let (_, rest) = encoding.split_once(" ! ").context("no encoder")?;
        let queue = "queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0";
        let line = format!("{} ! {queue} ! {rest}", source());
        (launch::parse(&line).map_err(anyhow::Error::msg)?, None)
    };
    let start = source.by_name(plan::TAP).and_then(|tap| tap.static_pad("src"));
    start.context("no start")?.add_probe(gst::PadProbeType::BUFFER, |_, info| {
        if let Some(buffer) = info.buffer_mut() {
            buffer.make_mut().set_pts(now());
        }
        gst::PadProbeReturn::Ok
    });
    let mut pipelines = vec![source];
    if let Some(encoding) = encoding {
        let encoding = launch::parse(&encoding).map_err(anyhow::Error::msg)?;
        let input = encoding.by_name(plan::FRAMES).and_downcast::<AppSrc>();
        let seam = Seam::new(Arc::new(Counters::default()));
        seam.lead_to(Some(input.context("no entrance")?));
        seam.pass(1);
        let end = pipelines[0].by_name("end").and_downcast::<AppSink>().context("no end")?;
        on_sample(&end, move |sample| seam.frame(1, sample));
        pipelines.push(encoding);
    }
    let exit = pipelines.iter().find_map(|pipeline| pipeline.by_name(plan::UNITS));
    let delay = delay.clone();
    on_sample(&exit.and_downcast::<AppSink>().context("no exit")?, move |sample| {
        if let Some(pts) = sample.buffer().and_then(gst::BufferRef::pts) {
            let _ = delay.send(now().saturating_sub(pts).into());
        }
    });
    Ok(pipelines)
}

fn source() -> String {
    format!("{} ! identity name={} silent=true", still(LARGE), plan::TAP)
}

fn on_sample(sink: &AppSink, take: impl Fn(gst::Sample) + Send + Sync + 'static) {
    let callbacks = AppSinkCallbacks::builder().new_sample(move |sink| {
        take(sink.pull_sample().map_err(|_| gst::FlowError::Eos)?);
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
}

/// A slate: drawn once, and then encoded again and again.
async fn slates() -> anyhow::Result<()> {
    const SLATES: usize = 4;
    println!("\n| slate | drawn in | shown to nobody, CPU of a core | shown |");
    println!("|---|---|---|---|");
    for size in [SMALL, LARGE] {
        let (width, height) = size;
        let drawn = drawing(size)?;
        let mut costs = Vec::new();
        for on_demand in [true, false] {
            let cameras = start(SLATES, size, |camera| {
                camera.enabled = false;
                camera.on_demand = on_demand;
            })
            .await?;
            costs.push(measure().await? / SLATES as f64);
            for camera in cameras {
                camera.stop().await;
            }
        }
        println!(
            "| {width}x{height} | {:.1} ms | {:.2} % | {:.2} % |",
            drawn.as_secs_f64() * 1000.0,
            costs[0],
            costs[1]
        );
    }
    Ok(())
}

/// How long it takes to draw one over a camera's last picture.
fn drawing(size: (u32, u32)) -> anyhow::Result<Duration> {
    const DRAWN: u32 = 20;
    let pictures = Pictures::load("bigbuckbunny.mp4", size, 2)?;
    let caps = pictures.info.to_caps()?;
    let row = candidates(Codec::H264, "x264enc").next().context("no such row")?;
    let start = Instant::now();
    for _ in 0..DRAWN {
        let plan = card::Plan {
            camera: config(size)?,
            row,
            state: CameraState::Lost,
            reason: "no picture for 2 s".to_owned(),
            age: Duration::from_secs(2),
            last: Some(gst::Sample::builder().buffer(&pictures.buffers[0]).caps(&caps).build()),
        };
        plan.draw().map_err(anyhow::Error::msg)?;
    }
    Ok(start.elapsed() / DRAWN)
}
