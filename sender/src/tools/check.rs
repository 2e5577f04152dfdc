//! `rovercast-sender check`: whether a config can be used, and what in it is legal but doubtful.

use clap::Args;
use rovercast_protocol::settings::InvalidSettings;

use crate::config::Config;
use crate::tools::finding::{Severity, worst};
use crate::tools::here::Here;
use crate::tools::{ConfigFile, doubts::doubts};

/// What to check.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub(crate) config: ConfigFile,
}

/// What to print, and what came of it.
#[derive(Debug)]
pub struct Report {
    /// The text.
    pub text: String,
    /// Whether the sender starts with it.
    pub usable: bool,
}

/// Checks a file. GStreamer must have been started.
pub fn run(arguments: &Arguments) -> Report {
    let file = &arguments.config.path;
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => {
            let count =
                error.downcast_ref::<InvalidSettings>().map_or(1, |invalid| invalid.problems.len());
            let text = format!("{error:#}\n\nnot usable: {}\n", counted(count, "problem"));
            return Report { text, usable: false };
        }
    };
    let doubts = doubts(&config, file, &Here);
    let lines = doubts.iter().map(|doubt| format!("{doubt}\n")).collect::<String>();
    let remarks = match doubts.len() {
        0 => String::new(),
        count => format!(", {} to look at", counted(count, "thing")),
    };
    let cameras = counted(config.camera.len(), "camera");
    let usable = worst(&doubts) < Severity::Fail;
    let verdict = if usable { "usable" } else { "not usable" };
    let text = format!("{lines}{}: {verdict}, {cameras}{remarks}\n", file.display());
    Report { text, usable }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
