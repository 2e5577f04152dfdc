//! The broker as a program: reads flags and file, and runs [`Server`] until it is told to stop.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use rovercast_signaling::{Config, Flags, Server, token};
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

    /// How to log.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,

    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum LogFormat {
    /// A line for people.
    Text,
    /// An object for programs, one a line.
    Json,
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
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&arguments.log_level))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match arguments.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    if let Some(Command::Token(wanted)) = arguments.command {
        token::run(wanted)?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = match config(arguments) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::from(BAD_CONFIG));
        }
    };
    run(config)?;
    Ok(ExitCode::SUCCESS)
}

fn config(arguments: Arguments) -> Result<Config, String> {
    let Some(path) = arguments.config else {
        return Config::load(None, arguments.flags).map_err(|error| error.to_string());
    };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("{name}: {error}; name a readable file with --config"))?;
    Config::load(Some((&name, &text)), arguments.flags).map_err(|error| error.to_string())
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
    let _ = writeln!(std::io::stdout(), "listening on {}", server.url());
    let shutdown = async {
        tokio::select! {
            _ = stopped.recv() => {}
            _ = terminated.recv() => {}
        }
    };
    server.run(shutdown).await;
    Ok(())
}
