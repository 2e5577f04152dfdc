//! The broker as a program: reads flags and file, and runs [`Server`] until it is told to stop.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use rovercast_signaling::{Config, Flags, LogFormat, Server, token};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Introduces robots to viewers over WebSocket and serves the browser viewer.
#[derive(Debug, Parser)]
#[command(name = "rovercast-signaling", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    /// The settings file, for example config/signaling.toml; flags win over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// What to log: error, warn, info, debug or trace, or a filter such as `rovercast_signaling=debug`.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,

    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Mint a token, and print it alone; `token new-secret` prints a new secret to sign with
    Token(token::Args),
}

/// What clap exits with on a wrong command line, too.
const BAD_CONFIG: u8 = 2;

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let Arguments { command, config: file, log_level, flags } = arguments;
    if let Some(Command::Token(wanted)) = command {
        log(&log_level, LogFormat::Text);
        token::run(wanted)?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = match config(file, flags) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::from(BAD_CONFIG));
        }
    };
    log(&log_level, config.log_format);
    run(config)?;
    Ok(ExitCode::SUCCESS)
}

/// Logs to standard error from now on.
fn log(level: &str, format: LogFormat) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level))
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

fn config(file: Option<PathBuf>, flags: Flags) -> Result<Config, String> {
    let Some(path) = file else {
        return Config::load(None, flags).map_err(|error| error.to_string());
    };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("{name}: {error}; name a readable file with --config"))?;
    Config::load(Some((&name, &text)), flags).map_err(|error| error.to_string())
}

#[tokio::main]
async fn run(config: Config) -> anyhow::Result<()> {
    let (stop, mut stopped) = tokio::sync::mpsc::channel(1);
    // A second signal while the first is being obeyed changes nothing.
    let handler = move || {
        let _ = stop.try_send(());
    };
    ctrlc::set_handler(handler).context("cannot listen to SIGINT")?;
    let mut terminated = signal(SignalKind::terminate()).context("cannot listen to SIGTERM")?;
    let server = Server::bind(config).await?;
    // Whoever started the program may not care to read it.
    let mut said = std::io::stdout();
    let _ = writeln!(said, "listening on {}", server.url());
    if let Some(fingerprint) = server.fingerprint() {
        let _ = writeln!(said, "fingerprint {fingerprint}");
    }
    let shutdown = async {
        tokio::select! {
            _ = stopped.recv() => {}
            _ = terminated.recv() => {}
        }
    };
    server.run(shutdown).await;
    Ok(())
}
