//! The command line of `rovercast-receiver`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use rovercast_peer::link::check_url;
use rovercast_protocol::ids::{CameraId, RobotId};
use rovercast_protocol::signaling::PeerInfo;
use rovercast_receiver::app::{self, Settings};
use rovercast_receiver::output::Output;
use rovercast_receiver::report::Reports;
use rovercast_receiver::robots;
use tokio::signal::unix::{SignalKind, signal};

/// Shows a robot's cameras. Without --robot, lists the robots that are on-line.
#[derive(Debug, Parser)]
#[command(name = "rovercast-receiver", version)]
struct Arguments {
    /// The broker's WebSocket.
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:8765", value_parser = check_url)]
    url: String,
    /// The robot to show.
    #[arg(long, value_name = "ID")]
    robot: Option<RobotId>,
    /// A camera to show, may be given several times; all of the robot's when left out.
    #[arg(long = "camera", value_name = "ID", requires = "robot")]
    cameras: Vec<CameraId>,
    /// Where pictures go: `window`, `null`, or a GStreamer launch fragment for each camera, in
    /// which `{camera}` is replaced by its id. Sinks in it show pictures as they come, unless it
    /// sets `sync=` itself.
    #[arg(long, value_name = "SINK", default_value = "window")]
    sink: String,
    /// Prints one line for each camera and second, and the robot's telemetry.
    #[arg(long, value_name = "FORMAT")]
    stats: Option<Stats>,
    /// Has the robot take a JPEG of what the one --camera sees, writes it to FILE, shows nothing.
    #[arg(long, value_name = "FILE", requires = "cameras", conflicts_with = "stats")]
    snapshot: Option<PathBuf>,
    /// The longest that a missing packet is waited for, in milliseconds: 0 to 2000. Pictures whose
    /// packets are all there never wait.
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u16).range(0..=2000))]
    jitter_buffer_ms: u16,
    /// What to log: error, warn, info, debug or trace, or a filter such as `rovercast_peer=debug`.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Stats {
    /// One JSON object on each line.
    Json,
}

fn main() -> ExitCode {
    rovercast_peer::start::set_environment();
    let arguments = Arguments::parse();
    rovercast_peer::start::log_to_stderr(&arguments.log_level);
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rovercast-receiver: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let Some(robot) = arguments.robot else {
        return print_robots(&runtime.block_on(robots::list(&arguments.url))?);
    };
    rovercast_peer::start::start()?;
    let reports = match arguments.stats {
        Some(Stats::Json) => Reports::none().and_stdout()?,
        None => Reports::none(),
    };
    let settings = Settings {
        url: arguments.url,
        robot,
        cameras: arguments.cameras,
        output: Output::parse(&arguments.sink),
        jitter_buffer: Duration::from_millis(arguments.jitter_buffer_ms.into()),
    };
    let (stop_tx, mut stop) = tokio::sync::watch::channel(false);
    ctrlc::set_handler(move || {
        stop_tx.send_replace(true);
    })
    .context("cannot handle Ctrl-C")?;
    let outcome = runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate()).context("cannot listen to SIGTERM")?;
        let shutdown = async move {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => {}
                _ = terminated.recv() => {}
            }
        };
        match arguments.snapshot {
            Some(file) => take_snapshot(settings, &file, shutdown).await,
            None => app::run(settings, reports, shutdown).await,
        }
    });
    runtime.shutdown_background();
    outcome
}

async fn take_snapshot(
    settings: Settings,
    file: &Path,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let [camera] = settings.cameras.as_slice() else {
        bail!("--snapshot takes one picture: give one --camera");
    };
    let camera = camera.clone();
    let jpeg = app::snapshot(settings, camera, shutdown).await?;
    if jpeg.is_empty() {
        bail!("stopped before the snapshot came");
    }
    std::fs::write(file, jpeg).with_context(|| format!("cannot write {}", file.display()))
}

fn print_robots(producers: &[PeerInfo]) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    if producers.is_empty() {
        writeln!(out, "no robot is on-line")?;
    }
    for producer in producers {
        let Some(robot) = robots::robot_id(&producer.id, producer.meta.as_ref()) else { continue };
        let cameras = producer.meta.as_ref().and_then(|meta| meta.get("cameras")?.as_array());
        let ids = cameras.into_iter().flatten().filter_map(|camera| camera.get("id")?.as_str());
        // Anybody can be a producer: only what can be an id goes to the terminal.
        let ids: Vec<&str> = ids.filter(|id| id.parse::<CameraId>().is_ok()).collect();
        writeln!(out, "{robot}\t{}", ids.join(" "))?;
    }
    Ok(())
}
