//! What robot and viewer tell each other over a session's data channel.
//!
//! The channel is lossy (unordered, never retransmitted): every message stands for itself and is
//! said again a second later, so that a lost one costs nothing and an old one never delays a new one.

use serde::{Deserialize, Serialize};

use crate::clock::RtpAnchor;
use crate::frame_times::Epoch;
use crate::ids::CameraId;

/// The label of the data channel.
pub const CHANNEL: &str = "telemetry";

/// The longest message that either end accepts, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// From the robot to a viewer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum RobotMessage {
    /// How the robot and its cameras are; once a second, and at once when a camera's state changes.
    Telemetry(Telemetry),
    /// Where RTP timestamps and the robot's clock meet; once a second.
    Clock(Clock),
    /// The answer to [`ViewerMessage::Ping`].
    Pong(Pong),
}

/// From a viewer to the robot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum ViewerMessage {
    /// Asks for a [`Pong`]; once a second. A viewer that pinged before and has been silent for
    /// long is taken for gone.
    Ping(Ping),
}

/// How the robot and its cameras are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Telemetry {
    /// Counts up by one with each message of the robot; gaps are lost messages.
    pub seq: u64,
    /// The robot's computer.
    pub host: HostFigures,
    /// Every camera of the robot, also those that this viewer did not ask for.
    pub cameras: Vec<CameraFigures>,
}

/// The figures of the robot's computer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostFigures {
    /// Use of all cores together, 0 to 100.
    pub cpu_percent: f32,
    /// Memory in use, in bytes.
    pub memory_used_bytes: u64,
    /// Memory there is, in bytes.
    pub memory_total_bytes: u64,
    /// The hottest sensor, in degrees Celsius; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_celsius: Option<f32>,
    /// Runnable processes, averaged over one minute.
    pub load_1m: f64,
    /// Since the computer started, in seconds.
    pub uptime_s: u64,
}

/// The figures of one camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CameraFigures {
    /// Which camera.
    pub id: CameraId,
    /// Whether it delivers.
    pub state: CameraState,
    /// Why it does not, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it came into this state: the robot's clock, microseconds.
    #[serde(default)]
    pub since_us: i64,
    /// What seems wrong with its pictures; absent when nothing does, or nobody looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<PictureFault>,
    /// The factory name of the encoder in use, for example `x264enc`; absent where the camera's
    /// own stream is passed through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// Frames encoded in the last second.
    pub fps: f32,
    /// Bits encoded in the last second, in units of 1,000.
    pub bitrate_kbps: u32,
    /// Raw frames dropped before the encoder since the start, because it was busy.
    pub frames_dropped: u64,
}

/// Whether a camera delivers pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CameraState {
    /// Being opened; no picture yet.
    Starting,
    /// Pictures come.
    Live,
    /// No pictures come, though the device is open; viewers see a slate.
    Stalled,
    /// The device is gone or broken; viewers see a slate, and it is opened again and again.
    Lost,
    /// No encoder works for it; nothing can be shown before someone mends that.
    Failed,
    /// Switched off, by the config or at run time.
    Off,
    /// A state of a later version.
    #[serde(other)]
    Unknown,
}

/// What seems wrong with the pictures of a camera that is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PictureFault {
    /// The same picture again and again.
    Frozen,
    /// Everything is dark.
    Black,
    /// Hardly anything to be told apart: overexposed, or covered.
    Blinded,
    /// A fault of a later version.
    #[serde(other)]
    Unknown,
}

/// Where RTP timestamps and the robot's clock meet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Clock {
    /// One for each track of this session.
    pub tracks: Vec<TrackClock>,
    /// By which capture times in RTP packets are brought back to the robot's clock; absent where
    /// there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch_us: Option<Epoch>,
}

/// The anchor of one track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrackClock {
    /// The track, as the session's SDP names it.
    pub mid: String,
    /// Its anchor.
    #[serde(flatten)]
    pub anchor: RtpAnchor,
}

/// A question for the robot's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ping {
    /// When it was sent: the viewer's clock, microseconds.
    pub sent_us: i64,
}

/// The robot's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pong {
    /// [`Ping::sent_us`] of the ping that this answers.
    pub ping_sent_us: i64,
    /// When the ping arrived: the robot's clock, microseconds.
    pub received_us: i64,
    /// When this answer left: the robot's clock, microseconds.
    pub sent_us: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_look_as_documented() {
        let ping = ViewerMessage::Ping(Ping { sent_us: 5 });
        assert_eq!(serde_json::to_string(&ping).unwrap(), r#"{"type":"ping","sentUs":5}"#);

        let clock = RobotMessage::Clock(Clock {
            tracks: vec![TrackClock {
                mid: "video0".into(),
                anchor: RtpAnchor { rtp: 7, capture_us: 9 },
            }],
            epoch_us: Some(Epoch::from_ntp_us(11)),
        });
        let tracks = r#""tracks":[{"mid":"video0","rtp":7,"captureUs":9}]"#;
        let json = format!(r#"{{"type":"clock",{tracks},"epochUs":11}}"#);
        assert_eq!(serde_json::to_string(&clock).unwrap(), json);
        assert_eq!(serde_json::from_str::<RobotMessage>(&json).unwrap(), clock);
        // Robots of before do not tell it.
        let json = format!(r#"{{"type":"clock",{tracks}}}"#);
        let Ok(RobotMessage::Clock(clock)) = serde_json::from_str(&json) else { panic!("{json}") };
        assert_eq!(clock.epoch_us, None);
    }

    #[test]
    fn absent_figures_are_left_out() {
        let json = serde_json::to_value(HostFigures::default()).unwrap();
        assert!(json.get("temperatureCelsius").is_none());
    }
}
