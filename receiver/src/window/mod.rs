//! The operator's window: all cameras of a robot in one, each as soon as it is there. SDL draws it,
//! by the GPU where there is one.
//!
//! Pure: where things go (`layout`), what keys mean (`keys`, `desk`), what is known (`board`), what
//! is to be thought of it (`verdict`, `figures`), what is drawn (`scene`), text (`text`) and how
//! samples stand for colors (`colors`). `wall` is the handle for other threads; `screen` has the
//! loop, `live` what happens in it; `paint`, `planes` and `draw` draw; `save` writes snapshots.

pub mod board;
pub mod colors;
pub mod desk;
mod draw;
pub mod figures;
pub mod keys;
pub mod layout;
mod live;
mod paint;
mod planes;
mod save;
pub mod scene;
mod screen;
pub mod text;
pub mod verdict;
mod wall;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use serde::Deserialize;

pub use board::{Face, Note, Recording};
pub use screen::Window;
pub use verdict::Way;
pub use wall::{OnPresented, Wall};

/// How the window is to be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WindowSettings {
    /// Whether a picture waits for the display's next refresh: nothing tears then, but pictures are
    /// shown up to one refresh later.
    pub vsync: bool,
    /// What draws: `auto` (a GPU where there is one), `gpu` or `software`.
    pub renderer: Renderer,
    /// A camera that gives no new picture for so long is marked as stale, in milliseconds: 100 to
    /// 60000. A slow camera has at least three of its frame times.
    pub stale_ms: u32,
    /// What is shown of the robot's telemetry: dotted paths, of which those that begin with
    /// `camera.` are looked up in each camera's entry. At most 16.
    pub telemetry: Vec<String>,
    /// The folder that snapshots go into; made when it is needed.
    pub snapshots: PathBuf,
    /// Whether the window begins with the whole screen.
    pub full_screen: bool,
    /// Width and height of the window in pixels: 320 to 16384 each.
    pub size: (u32, u32),
}

/// What draws a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Renderer {
    /// A GPU where there is one, else the processor.
    #[default]
    Auto,
    /// OpenGL, whatever it is made of.
    Gpu,
    /// The processor.
    Software,
}

impl Default for WindowSettings {
    fn default() -> Self {
        let telemetry = ["host.cpuPercent", "host.temperatureCelsius", "camera.encoder"];
        Self {
            vsync: false,
            renderer: Renderer::Auto,
            stale_ms: 500,
            telemetry: telemetry.map(str::to_owned).into(),
            snapshots: "snapshots".into(),
            full_screen: false,
            size: (1280, 720),
        }
    }
}

impl WindowSettings {
    /// Checks the ranges. The error names the setting.
    pub fn check(&self) -> anyhow::Result<()> {
        let (width, height) = self.size;
        let sizes = 320..=16_384;
        ensure!((100..=60_000).contains(&self.stale_ms), "stale_ms: 100 to 60000");
        ensure!(self.telemetry.len() <= 16, "telemetry: at most 16 paths");
        ensure!(sizes.contains(&width) && sizes.contains(&height), "size: 320 to 16384 each");
        Ok(())
    }

    fn stale(&self) -> Duration {
        Duration::from_millis(self.stale_ms.into())
    }
}

/// What the operator wants of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowCommand {
    /// The end.
    Quit,
    /// A recording begins, or ends.
    Record(bool),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked() {
        let settings = WindowSettings::default();
        settings.check().unwrap();
        let bad = [
            WindowSettings { stale_ms: 99, ..settings.clone() },
            WindowSettings { size: (1280, 0), ..settings.clone() },
            WindowSettings { telemetry: vec![String::new(); 17], ..settings },
        ];
        for (settings, name) in bad.into_iter().zip(["stale_ms", "size", "telemetry"]) {
            assert!(settings.check().unwrap_err().to_string().starts_with(name));
        }
    }
}
