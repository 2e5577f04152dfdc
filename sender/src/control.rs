//! What may be asked of a camera while it runs, as messages between whoever asks (a viewer's
//! session, a program on the robot) and whoever owns the camera.

pub mod socket;

use rovercast_protocol::control::{Refusal, RefusalCode};
use rovercast_protocol::ids::CameraId;
use serde::Deserialize;
use tokio::sync::oneshot;

/// Requests that may wait for the cameras; whoever asks then is refused.
pub const REQUESTS: usize = 64;

/// One request.
#[derive(Debug)]
pub struct Request {
    /// Which camera.
    pub camera: CameraId,
    /// What is wanted of it.
    pub what: What,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Answer>,
}

/// What came of a request.
pub type Answer = Result<Reply, Refusal>;

/// What is wanted of a camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// That it be otherwise, for everybody.
    Change(Change),
    /// A key frame.
    KeyFrame,
    /// A JPEG of what it sees.
    Snapshot,
}

/// How a camera is to be; what is absent stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Change {
    /// What its encoder may spend, in units of 1,000 bits per second.
    pub bitrate_kbps: Option<u32>,
    /// Frames per second, at most; no more than the config has it give.
    pub fps: Option<u32>,
    /// Whether it is on.
    pub enabled: Option<bool>,
}

impl Change {
    /// The same, if a camera can be so. The error is for people.
    pub fn checked(self) -> Result<Self, String> {
        if self == Self::default() {
            return Err("nothing to change: give bitrateKbps, fps or enabled".to_owned());
        }
        if self.bitrate_kbps.is_some_and(|kbps| !(50..=100_000).contains(&kbps)) {
            return Err("bitrateKbps must be 50 to 100000".to_owned());
        }
        if self.fps.is_some_and(|fps| !(1..=240).contains(&fps)) {
            return Err("fps must be 1 to 240".to_owned());
        }
        Ok(self)
    }
}

/// What there is when a request was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It is done.
    Done,
    /// The JPEG.
    Snapshot(Vec<u8>),
}

/// The refusal of what cannot be done, or not now. The details are for people.
pub fn refused(details: impl Into<String>) -> Refusal {
    Refusal { code: RefusalCode::Refused, details: details.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_have_limits() {
        let fits =
            |bitrate_kbps, fps, enabled| Change { bitrate_kbps, fps, enabled }.checked().is_ok();
        assert!(fits(Some(50), None, None) && fits(None, Some(240), Some(false)));
        assert!(!fits(None, None, None));
        assert!(!fits(Some(49), None, None) && !fits(Some(100_001), Some(30), None));
        assert!(!fits(None, Some(0), Some(true)) && !fits(None, Some(241), None));
    }
}
