//! What the receiver prints: one JSON object on each line.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{SystemTime, UNIX_EPOCH};

use rovercast_protocol::control::{SignalLost, SignalRestored};
use rovercast_protocol::ids::{CameraId, RobotId};
use rovercast_protocol::telemetry::Telemetry;
use serde::Serialize;

use crate::stages::{StageTimes, Stages};

/// Lines that may wait for a slow reader; beyond, new ones are dropped.
const BACKLOG: usize = 1024;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Report {
    /// A camera in the last second.
    Camera(CameraReport),
    /// What the robot told, as it told it.
    Telemetry {
        /// Which robot.
        robot: RobotId,
        /// The figures.
        #[serde(flatten)]
        telemetry: Telemetry,
    },
    /// A camera gives no pictures, as the robot told it.
    SignalLost {
        /// Which robot.
        robot: RobotId,
        /// Which camera, how it is and why.
        #[serde(flatten)]
        signal: SignalLost,
    },
    /// It gives pictures again, as the robot told it.
    SignalRestored {
        /// Which robot.
        robot: RobotId,
        /// Which camera, and how long it was away.
        #[serde(flatten)]
        signal: SignalRestored,
    },
}

/// A camera in the last second.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CameraReport {
    /// Which robot.
    pub robot: RobotId,
    /// Which camera.
    pub camera: CameraId,
    /// Whether there is a session with the robot.
    pub connected: bool,
    /// Picture width in pixels; 0 before the first picture.
    pub width: u32,
    /// Picture height in pixels; 0 before the first picture.
    pub height: u32,
    /// What decodes it: the factory name of the decoder.
    pub decoder: String,
    /// Pictures decoded in this second.
    pub fps: f64,
    /// Bits of video received in this second, in units of 1,000.
    pub bitrate_kbps: u64,
    /// Packets lost since the session began.
    pub packets_lost: u64,
    /// Packets that were lost and came when they were asked for again, since the session began.
    pub packets_recovered: u64,
    /// Packets that were lost and restored from others, since the session began.
    pub packets_restored: u64,
    /// Pictures decoded since the receiver started.
    pub frames_decoded: u64,
    /// Access units not decoded, because the decoder was too slow, since the receiver started.
    pub frames_dropped: u64,
    /// The longest that a missing packet is waited for.
    pub jitter_buffer_ms: u32,
    /// How unevenly packets come.
    pub jitter_ms: f64,
    /// From capture to decoded picture, over the pictures of this second; absent while the
    /// robot's clock is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<Spread>,
    /// The clocks' difference is known to this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_error_ms: Option<f64>,
    /// To the robot and back, by the quickest of the last exchanges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
    /// From capture to screen by stage, over the pictures of this second.
    #[serde(skip_serializing_if = "Stages::is_empty")]
    pub stages_ms: Stages,
    /// The same picture by picture, for those who add them up.
    #[serde(skip)]
    pub frames: Vec<StageTimes>,
}

/// How values spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// The median.
    pub p50: f64,
    /// What all but five of a hundred do not exceed.
    pub p95: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of microseconds, in milliseconds; none of no values.
    pub fn of_us(mut values: Vec<i64>) -> Option<Self> {
        values.sort_unstable();
        let ms = |us: i64| us as f64 / 1000.0;
        let part = |percent: usize| values.get(values.len() * percent / 100).copied().map(ms);
        Some(Self { p50: part(50)?, p95: part(95)?, max: ms(*values.last()?) })
    }
}

/// Takes reports; called on the receiver's one event loop, so that it must not block.
pub type OnReport = Arc<dyn Fn(&Report) + Send + Sync>;

/// Where reports go.
#[derive(Clone, Default)]
pub struct Reports(Vec<OnReport>);

impl std::fmt::Debug for Reports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reports to {}", self.0.len())
    }
}

impl Reports {
    /// Nowhere.
    pub fn none() -> Self {
        Self::default()
    }

    /// There, too.
    pub fn and(mut self, on_report: OnReport) -> Self {
        self.0.push(on_report);
        self
    }

    /// To standard output, too, by a thread of its own: a reader that stalls must not stall the
    /// media, but loses the newest lines.
    pub fn and_stdout(self) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel::<Report>(BACKLOG);
        std::thread::Builder::new().name("report".into()).spawn(move || {
            let mut out = std::io::stdout();
            for report in receiver {
                let written = line(&report).and_then(|line| out.write_all(line.as_bytes()));
                if written.is_err() {
                    return;
                }
            }
        })?;
        Ok(self.and(Arc::new(move |report| {
            let _ = sender.try_send(report.clone());
        })))
    }

    /// Tells all of them.
    pub fn send(&self, report: &Report) {
        self.0.iter().for_each(|on_report| on_report(report));
    }
}

fn line(report: &Report) -> std::io::Result<String> {
    let mut json = serde_json::to_value(report)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    json["time"] = (now.as_millis() as f64 / 1000.0).into();
    Ok(format!("{json}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_reported_as_they_were_told() {
        let (robot, camera): (RobotId, CameraId) = ("r".parse().unwrap(), "c".parse().unwrap());
        let (state, reason) = (rovercast_protocol::telemetry::CameraState::Stalled, "why".into());
        let signal = SignalLost { camera: camera.clone(), state, reason, since_us: 5 };
        let lost = Report::SignalLost { robot: robot.clone(), signal };
        let json = r#"{"type":"signalLost","robot":"r","camera":"c","state":"stalled","reason":"why","sinceUs":5}"#;
        assert_eq!(serde_json::to_string(&lost).unwrap(), json);
        let signal = SignalRestored { camera, lost_us: 9 };
        let restored = Report::SignalRestored { robot, signal };
        let json = r#"{"type":"signalRestored","robot":"r","camera":"c","lostUs":9}"#;
        assert_eq!(serde_json::to_string(&restored).unwrap(), json);
    }

    #[test]
    fn spread_of_nothing_is_nothing() {
        assert_eq!(Spread::of_us(vec![]), None);
        let three = Some(Spread { p50: 2.0, p95: 3.0, max: 3.0 });
        assert_eq!(Spread::of_us(vec![3000, 1000, 2000]), three);
        let hundred = Some(Spread { p50: 51.0, p95: 96.0, max: 100.0 });
        assert_eq!(Spread::of_us((1..=100).map(|ms| ms * 1000).collect()), hundred);
    }
}
