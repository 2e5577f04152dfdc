//! The command line of `rovercast-receiver`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use rovercast_metrics::address::Address;
use rovercast_metrics::server::Server;
use rovercast_peer::link::check_url;
use rovercast_protocol::ids::{CameraId, RobotId};
use rovercast_protocol::signaling::{Meta, PeerInfo};
use rovercast_receiver::app::{self, Settings};
use rovercast_receiver::config::Config;
use rovercast_receiver::metrics::Metrics;
use rovercast_receiver::output::Output;
use rovercast_receiver::report::{OnReport, Reports};
use rovercast_receiver::window::{Window, WindowCommand};
use rovercast_receiver::{record, robots};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// Shows a robot's cameras. Without --robot, lists the robots that are on-line.
#[derive(Debug, Parser)]
#[command(name = "rovercast-receiver", version)]
struct Arguments {
    /// The settings file, for example config/receiver.toml; flags win over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The broker's WebSocket [default: ws://127.0.0.1:8765]
    #[arg(long, value_name = "URL", value_parser = check_url)]
    url: Option<String>,
    /// The file with the operator's token, for a broker that asks for one.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The robot to show.
    #[arg(long, value_name = "ID")]
    robot: Option<RobotId>,
    /// A camera to show, may be given several times; all of the robot's when left out.
    #[arg(long = "camera", value_name = "ID")]
    cameras: Vec<CameraId>,
    /// Where pictures go: `window`, `windows`, `null`, or a GStreamer launch fragment for each camera, in
    /// which `{camera}` is replaced by its id. Sinks in it show pictures as they come, unless it
    /// sets `sync=` itself [default: window]
    #[arg(long, value_name = "SINK")]
    sink: Option<String>,
    /// Prints one line for each camera and second, and the robot's telemetry.
    #[arg(long, value_name = "FORMAT")]
    stats: Option<Stats>,
    /// Has the robot take a JPEG of what the one --camera sees, writes it to FILE, shows nothing.
    #[arg(long, value_name = "FILE", requires = "cameras", conflicts_with = "stats")]
    snapshot: Option<PathBuf>,
    /// The longest that a missing packet is waited for, in milliseconds: 0 to 2000 [default: 200].
    /// Pictures whose packets are all there never wait.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(0..=2000))]
    jitter_buffer_ms: Option<u32>,
    /// Records from the start, into this folder.
    #[arg(long, value_name = "DIR", conflicts_with = "snapshot")]
    record: Option<PathBuf>,
    /// How to record: `mp4` or `mkv`, a file for each camera, or `mcap`, one with everything
    /// [default: mp4]
    #[arg(long, value_name = "FORMAT")]
    record_format: Option<record::Format>,
    /// Where Prometheus gets figures: a port for this computer alone, or an address with a port.
    #[arg(long, value_name = "ADDR", conflicts_with = "snapshot")]
    metrics: Option<Address>,
    /// What to log: error, warn, info, debug or trace, or a filter such as `rovercast_peer=debug`.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Stats {
    /// One JSON object on each line.
    Json,
}

/// What clap exits with on a wrong command line, too.
const BAD_CONFIG: u8 = 2;

fn main() -> ExitCode {
    rovercast_peer::start::set_environment();
    let arguments = Arguments::parse();
    rovercast_peer::start::log_to_stderr(&arguments.log_level);
    let config = match config(&arguments) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(BAD_CONFIG);
        }
    };
    match run(config, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rovercast-receiver: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The settings of the file, overridden by flags.
fn config(arguments: &Arguments) -> Result<Config, String> {
    let mut config = match &arguments.config {
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("{name}: {error}; name a readable file with --config"))?;
            Config::parse(&name, &text).map_err(|error| error.to_string())?
        }
        None => Config::default(),
    };
    fn over<T: Clone>(setting: &mut T, flag: &Option<T>) {
        if let Some(flag) = flag {
            setting.clone_from(flag);
        }
    }
    over(&mut config.url, &arguments.url);
    config.token_file = arguments.token_file.clone().or(config.token_file);
    over(&mut config.sink, &arguments.sink);
    config.metrics.address = arguments.metrics.or(config.metrics.address);
    over(&mut config.playout.max_ms, &arguments.jitter_buffer_ms);
    config.playout.min_ms = config.playout.min_ms.min(config.playout.max_ms);
    over(&mut config.record.directory, &arguments.record);
    over(&mut config.record.format, &arguments.record_format);
    config.robot = arguments.robot.clone().or(config.robot);
    if !arguments.cameras.is_empty() {
        config.cameras.clone_from(&arguments.cameras);
    }
    if config.robot.is_none() && !config.cameras.is_empty() {
        return Err("cameras without a robot: name it with --robot".to_owned());
    }
    Ok(config)
}

fn run(config: Config, arguments: Arguments) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let broker = config.target();
    let Some(robot) = config.robot else {
        return print_robots(&runtime.block_on(robots::list(broker))?);
    };
    rovercast_peer::start::start()?;
    let mut reports = Reports::none();
    if let Some(Stats::Json) = arguments.stats {
        reports = reports.and_stdout()?;
    }
    if let Some(address) = config.metrics.address {
        reports = reports.and(runtime.block_on(metrics(address))?);
    }
    let (stop, stopped) = watch::channel(false);
    let stops = stop.clone();
    ctrlc::set_handler(move || {
        stops.send_replace(true);
    })
    .context("cannot handle Ctrl-C")?;
    let (record, recording) = watch::channel(arguments.record.is_some());
    let (mut window, mut wall) = (None, None);
    let output = match config.sink.as_str() {
        "window" if arguments.snapshot.is_none() => {
            let (opened, handle, commands) = Window::open(robot.clone(), config.window)?;
            runtime.spawn(obey(commands, record.clone(), stop.clone()));
            let shown_on = handle.clone();
            reports = reports.and(Arc::new(move |report| shown_on.report(report)));
            (window, wall) = (Some(opened), Some(handle.clone()));
            Output::Window(handle)
        }
        sink => Output::parse(sink),
    };
    let settings = Settings {
        policy: config.ice_transport_policy,
        cameras: config.cameras,
        decode: config.decode,
        record: config.record,
        playout: config.playout,
        ..Settings::new(broker, robot, output)
    };
    let receiving = runtime.spawn(async move {
        let outcome = match arguments.snapshot {
            Some(file) => take_snapshot(settings, &file, shutdown(stopped)).await,
            None => app::run(settings, reports, recording, shutdown(stopped)).await,
        };
        if let Some(wall) = wall {
            wall.close();
        }
        outcome
    });
    let shown = match &mut window {
        Some(window) => {
            let shown = window.run();
            stop.send_replace(true);
            shown
        }
        None => Ok(()),
    };
    // The window stays until nobody is left who could show something.
    let received = runtime.block_on(receiving).context("the receiver has ended")?;
    runtime.shutdown_background();
    shown.and(received)
}

/// Gives figures for Prometheus away there, until the program ends. What is reported has to be told to
/// the function that is returned.
async fn metrics(address: Address) -> anyhow::Result<OnReport> {
    let server = Server::bind(address).await?;
    server.announce();
    let metrics = Arc::new(Metrics::default());
    tokio::spawn(server.serve(metrics.clone(), std::future::pending()));
    Ok(Arc::new(move |report| metrics.on_report(report)))
}

/// Resolves on Ctrl-C, SIGTERM, or when the window is closed.
async fn shutdown(mut stopped: watch::Receiver<bool>) {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(error) => {
                tracing::warn!("cannot listen to SIGTERM: {error}");
                std::future::pending().await
            }
        }
    };
    tokio::select! {
        _ = stopped.wait_for(|stop| *stop) => {}
        _ = terminated => {}
    }
}

/// Does what the operator wants in the window.
async fn obey(
    mut commands: mpsc::Receiver<WindowCommand>,
    record: watch::Sender<bool>,
    stop: watch::Sender<bool>,
) {
    while let Some(command) = commands.recv().await {
        match command {
            WindowCommand::Quit => {
                stop.send_replace(true);
            }
            WindowCommand::Record(wanted) => {
                record.send_replace(wanted);
            }
        }
    }
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
        let meta: Option<Value> = producer.meta.as_ref().and_then(Meta::read);
        let cameras = meta.as_ref().and_then(|meta| meta.get("cameras")?.as_array());
        let ids = cameras.into_iter().flatten().filter_map(|camera| camera.get("id")?.as_str());
        // Anybody can be a producer: only what can be an id goes to the terminal.
        let ids: Vec<&str> = ids.filter(|id| id.parse::<CameraId>().is_ok()).collect();
        writeln!(out, "{robot}\t{}", ids.join(" "))?;
    }
    Ok(())
}
