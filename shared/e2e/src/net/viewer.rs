//! A viewer on a host of a network: what it sees, and when.

use anyhow::ensure;
use rovercast_protocol::ids::CameraId;
use rovercast_protocol::pixelclock::Reading;
use serde::{Deserialize, Serialize};

use super::Host;
use crate::lab::Program;
use crate::watcher::Picture;

/// A picture that the viewer saw.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Of which camera.
    pub camera: CameraId,
    /// When it was decoded: microseconds of the clock that test cameras burn in.
    pub at_us: i64,
    /// The time in it, in microseconds of the same clock. None when it is torn or shows no clock.
    pub clock_us: Option<i64>,
}

impl From<Picture> for Seen {
    fn from(picture: Picture) -> Self {
        let clock_us = match picture.clock {
            Reading::Whole(clock_us) => i64::try_from(clock_us).ok(),
            Reading::Torn | Reading::Absent => None,
        };
        Self { camera: picture.camera, at_us: picture.at_us, clock_us }
    }
}

/// The viewer: a receiver as a process.
#[derive(Debug)]
pub struct Viewer {
    program: Program,
}

impl Viewer {
    /// Starts to watch all cameras of a robot, known to the broker at `IP:PORT`.
    pub fn start(host: &Host, broker: &str, robot: &str) -> anyhow::Result<Self> {
        Ok(Self { program: host.start("rovercast-watch", &[broker, robot])? })
    }

    /// The first picture that shows a time later than this.
    pub fn taken_after(&mut self, clock_us: i64) -> anyhow::Result<Seen> {
        self.program.wait_for("fresh picture", |line| {
            let seen: Seen = serde_json::from_str(line).ok()?;
            seen.clock_us.is_some_and(|clock| clock > clock_us).then_some(seen)
        })
    }

    /// All that it has seen so far.
    pub fn seen(&mut self) -> Vec<Seen> {
        self.program.output().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What it has logged so far. The error is that it has panicked.
    pub fn log(&mut self) -> anyhow::Result<Vec<String>> {
        let output = self.program.output();
        ensure!(!output.contains("panicked"), "{output}");
        Ok(output.lines().filter(|line| !line.starts_with('{')).map(str::to_owned).collect())
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }
}
