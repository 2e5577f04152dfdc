//! What `rovercast-sender` does besides streaming: tools for whoever sets a robot up, or wonders
//! where the picture is. None of them changes anything.

pub mod address;
pub mod check;
pub mod devices;
pub mod doctor;
pub mod doubts;
pub mod finding;
pub mod formats;
pub mod here;
pub mod nodes;
pub mod pipeline;
pub mod secrets;
pub mod sensors;
pub mod shell;

use std::path::PathBuf;

use clap::Args;

/// The config that a tool looks at.
#[derive(Debug, Args)]
pub struct ConfigFile {
    /// The robot's settings.
    #[arg(long = "config", value_name = "FILE", default_value = "config/sender.toml")]
    pub path: PathBuf,
}

/// The names of all that the sender does besides streaming.
pub const SUBCOMMANDS: [&str; 5] =
    ["devices", "pipeline", "check", "doctor", crate::camera::probe::SUBCOMMAND];
