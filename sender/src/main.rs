//! The command line of `rovercast-sender`.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use rovercast_metrics::address::Address;
use rovercast_peer::link::check_url;
use rovercast_sender::app;
use rovercast_sender::camera::probe::trial::{self, Trial, Verdict};
use rovercast_sender::camera::probe::{self, Probe, cache};
use rovercast_sender::config::{Config, SignalingConfig};
use rovercast_sender::tools::{check, devices, doctor, pipeline};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// Streams a robot's cameras and telemetry to viewers over WebRTC.
#[derive(Debug, Parser)]
#[command(name = "rovercast-sender", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Something else to do than to stream.
    #[command(subcommand)]
    command: Option<Command>,
    /// The robot's settings.
    #[arg(long, value_name = "FILE", default_value = "config/sender.toml")]
    config: PathBuf,
    /// Embeds the broker and the browser viewer, listening here, instead of using another broker.
    #[arg(long, value_name = "ADDR")]
    serve: Option<SocketAddr>,
    /// With --serve: let everybody in who can reach that address, although nothing tells them apart.
    #[arg(long, requires = "serve")]
    insecure: bool,
    /// The broker's WebSocket, in place of `signaling.url` of the config.
    #[arg(long, value_name = "URL", conflicts_with = "serve", value_parser = check_url)]
    url: Option<String>,
    /// The file with the robot's token, in place of `signaling.token_file` of the config.
    #[arg(long, value_name = "FILE", conflicts_with = "serve")]
    token_file: Option<PathBuf>,
    /// Where Prometheus gets figures: a port for this computer alone, or an address with a port, in
    /// place of `metrics.address` of the config.
    #[arg(long, value_name = "ADDR")]
    metrics: Option<Address>,
    /// What to log: error, warn, info, debug or trace, or a filter such as `rovercast_sender=debug`.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

/// What else the program does.
#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the cameras and encoders of this computer, having tried the encoders.
    Devices(devices::Arguments),
    /// Says what is wrong or doubtful in a config. Exits with 0 when it is usable, else with 2.
    Check(check::Arguments),
    /// Finds out why there is no picture. Exits with 0 when nothing is broken, else with 1.
    Doctor(doctor::Arguments),
    /// Prints a camera's pipeline as a command line to try it with.
    Pipeline(pipeline::Arguments),
    /// Tries an encoder and prints the verdict as a line of JSON; the sender calls it by itself.
    #[command(name = probe::SUBCOMMAND, hide = true)]
    ProbeEncoder(ProbeArguments),
}

/// What is tried.
#[derive(Debug, Args)]
struct ProbeArguments {
    /// The encoder's factory name.
    factory: String,
    /// Width in pixels.
    #[arg(value_parser = clap::value_parser!(u32).range(16..=8192))]
    width: u32,
    /// Height in pixels.
    #[arg(value_parser = clap::value_parser!(u32).range(16..=8192))]
    height: u32,
    /// Frames per second.
    #[arg(value_parser = clap::value_parser!(u32).range(1..=240))]
    fps: u32,
    /// Bits per second, in units of 1,000.
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    bitrate_kbps: u32,
}

fn main() -> ExitCode {
    rovercast_peer::start::set_environment();
    let arguments = Arguments::parse();
    let Some(command) = arguments.command else { return stream(arguments) };
    if let Command::ProbeEncoder(wanted) = command {
        return probe_encoder(wanted);
    }
    match tool(command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("rovercast-sender: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a tool, and prints what it found.
#[tokio::main(flavor = "current_thread")]
async fn tool(command: Command) -> anyhow::Result<ExitCode> {
    gst::init().context("GStreamer does not start")?;
    // Nothing is remembered: tools find out how it is now.
    let probe = Probe::new(std::env::current_exe()?, None);
    let (text, code) = match command {
        Command::Devices(wanted) => (devices::run(wanted, &probe).await?, ExitCode::SUCCESS),
        Command::Pipeline(wanted) => {
            let report = pipeline::run(wanted, &probe).await?;
            let code = if report.complete { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            (report.text, code)
        }
        Command::Doctor(wanted) => {
            let report = doctor::run(wanted, &probe).await?;
            let code = if report.well { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            (report.text, code)
        }
        Command::Check(wanted) => {
            let report = check::run(&wanted);
            let code = if report.usable { ExitCode::SUCCESS } else { ExitCode::from(2) };
            (report.text, code)
        }
        Command::ProbeEncoder(_) => (String::new(), ExitCode::FAILURE),
    };
    // Whoever reads it may have seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(code)
}

/// Tries an encoder. The process ends by itself soon after the sender has stopped waiting, should
/// the sender be gone.
fn probe_encoder(wanted: ProbeArguments) -> ExitCode {
    std::thread::spawn(|| {
        std::thread::sleep(2 * probe::LIMIT);
        std::process::exit(1);
    });
    let ProbeArguments { factory, width, height, fps, bitrate_kbps } = wanted;
    let verdict = match gst::init() {
        Ok(()) => trial::run(&Trial { factory, width, height, fps, bitrate_kbps }),
        Err(error) => Verdict::Fails(format!("GStreamer does not start: {error}")),
    };
    let told = std::io::stdout().write_all(probe::line(&verdict).as_bytes());
    match verdict {
        Verdict::Works { .. } if told.is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn stream(arguments: Arguments) -> ExitCode {
    rovercast_peer::start::log_to_stderr(&arguments.log_level);
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    match run(config, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rovercast-sender: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config, arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { config: file, serve, insecure, mut url, token_file, metrics, .. } = arguments;
    rovercast_peer::start::start()?;
    let (stop_tx, stop) = watch::channel(false);
    let stop_on_signal = stop_tx.clone();
    ctrlc::set_handler(move || {
        stop_tx.send_replace(true);
    })
    .context("cannot handle Ctrl-C")?;
    let stopped = |mut stop: watch::Receiver<bool>| async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        let mut broker = None;
        if let Some(address) = serve {
            let settings =
                rovercast_signaling::Config { listen: address, insecure, ..Default::default() };
            let server = rovercast_signaling::Server::bind(settings).await?;
            let address = server.local_addr();
            // Whoever waits for the line may have gone already.
            let _ = writeln!(std::io::stdout(), "listening on http://{address}");
            url = Some(format!("ws://{}/ws", reachable(address)));
            broker = Some(tokio::spawn(server.run(stopped(stop.clone()))));
        }
        let (reloads_tx, reloads) = mpsc::channel(1);
        let hangups = signal(SignalKind::hangup()).context("cannot listen to SIGHUP")?;
        let over = Flags { url, token_file, embeds: serve.is_some(), metrics };
        let config = over.applied(config);
        tokio::spawn(reload(file, over, hangups, reloads_tx));
        let mut terminated = signal(SignalKind::terminate()).context("cannot listen to SIGTERM")?;
        tokio::spawn(async move {
            terminated.recv().await;
            stop_on_signal.send_replace(true);
        });
        app::run(config, probe()?, reloads, stopped(stop)).await?;
        if let Some(broker) = broker {
            broker.await?;
        }
        Ok(())
    });
    // Nothing that still waits for a device may hold up the end.
    runtime.shutdown_background();
    outcome
}

/// Tries encoders by processes of this same program, and remembers what works.
fn probe() -> anyhow::Result<Probe> {
    let program = std::env::current_exe().context("cannot find the program itself")?;
    let folder = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = cache::folder(folder("XDG_CACHE_HOME"), folder("HOME"));
    Ok(Probe::new(program, cache.as_deref()))
}

/// Reads the config again whenever asked to. One that is wrong changes nothing.
async fn reload(file: PathBuf, over: Flags, mut hangups: Signal, reloads: mpsc::Sender<Config>) {
    while hangups.recv().await.is_some() {
        match Config::load(&file) {
            Ok(config) => {
                let _ = reloads.send(over.applied(config)).await;
            }
            Err(error) => tracing::error!("the config stays as it was:\n{error:#}"),
        }
    }
}

/// What the command line says in place of the config.
struct Flags {
    url: Option<String>,
    token_file: Option<PathBuf>,
    /// Whether the broker is this program itself: what the config says of another is void.
    embeds: bool,
    metrics: Option<Address>,
}

impl Flags {
    fn applied(&self, mut config: Config) -> Config {
        let signaling = &mut config.signaling;
        if let Some(url) = &self.url {
            signaling.url.clone_from(url);
        }
        if let Some(file) = &self.token_file {
            signaling.token_file = Some(file.clone());
        }
        if self.embeds {
            let SignalingConfig { token_file, ca_file, tls_fingerprint, .. } = signaling;
            (*token_file, *ca_file, *tls_fingerprint) = (None, None, None);
        }
        config.metrics.address = self.metrics.or(config.metrics.address);
        config
    }
}

/// Where to reach a server on this host that may listen on every address.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let loopback: std::net::IpAddr = match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(loopback);
    }
    address
}
