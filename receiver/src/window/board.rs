//! What is known of the robot and of its cameras, as it was told. Pure: what came when, not what
//! is to be thought of it.

use std::collections::VecDeque;
use std::time::Duration;

use rovercast_protocol::ids::CameraId;
use rovercast_protocol::telemetry::{CameraFigures, CameraState};
use serde_json::Value;

use crate::report::{CameraReport, Report};
use crate::window::figures::short;
use crate::window::verdict::{Evidence, NoSignal, Treatment, Way};

/// Cameras of one robot, at most; more are not shown.
const MAX_CAMERAS: usize = 64;

/// Reports of a camera from which its losses are told: one comes each second.
const REMEMBERED: usize = 6;

/// Bytes of a media packet, about: only their number matters, and only roughly.
const PACKET_BYTES: f64 = 1200.0;

/// A camera before anything came of it, as the robot introduces it.
#[derive(Debug, Clone, PartialEq)]
pub struct Face {
    /// Its id.
    pub id: CameraId,
    /// What people call it.
    pub label: String,
    /// Width and height of its pictures in pixels; 0 where they are not known.
    pub size: (u32, u32),
    /// Frames per second; 0 where they are not known.
    pub fps: u32,
}

impl Face {
    /// Those in what a robot says of itself, of the cameras that are `wanted`: all when that is
    /// empty. What cannot be understood is left out.
    pub fn of_robot(meta: Option<&Value>, wanted: &[CameraId]) -> Vec<Self> {
        let entries = meta.and_then(|meta| meta.get("cameras")?.as_array());
        let faces = entries.into_iter().flatten().filter_map(Self::parse);
        let faces = faces.filter(|face| wanted.is_empty() || wanted.contains(&face.id));
        faces.take(MAX_CAMERAS).collect()
    }

    fn parse(entry: &Value) -> Option<Self> {
        let id: CameraId = entry.get("id")?.as_str()?.parse().ok()?;
        let number = |name| {
            let number = entry.get(name).and_then(Value::as_u64);
            number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
        };
        let label = entry.get("label").and_then(Value::as_str).map(short);
        let label = label.filter(|label| !label.is_empty());
        Some(Self {
            label: label.unwrap_or_else(|| id.to_string()),
            size: (number("width"), number("height")),
            fps: number("fps"),
            id,
        })
    }

    fn unknown(id: CameraId) -> Self {
        Self { label: id.to_string(), id, size: (0, 0), fps: 0 }
    }
}

/// A recording that is being made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// Since when: microseconds of this host's clock.
    pub since_us: i64,
    /// What is wrong with it, for people.
    pub warning: Option<String>,
}

/// Something that happened, told in passing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What, for people.
    pub text: String,
    /// Whether something went wrong.
    pub bad: bool,
}

/// What is known of one camera.
#[derive(Debug, Clone)]
pub struct Camera {
    /// How the robot introduced it.
    pub face: Face,
    /// Its figures of the last second.
    pub report: Option<CameraReport>,
    /// When the newest picture came.
    pub arrived_us: Option<i64>,
    /// When the picture came that is on the screen, and its aspect.
    pub shown: Option<(i64, f64)>,
    /// From the decoder to the screen, on average, in microseconds.
    pub screen_lag_us: f64,
    latency_us: Option<i64>,
    /// When it was told, and how many packets were lost by then.
    losses: VecDeque<(i64, u64)>,
    /// The robot's word.
    figures: Option<CameraFigures>,
    no_signal: Option<Told>,
}

/// The robot's word on a camera without signal.
#[derive(Debug, Clone)]
struct Told {
    state: CameraState,
    reason: String,
    /// Since when: the robot's clock, and when we first heard of it.
    since_us: i64,
    heard_us: i64,
}

impl Camera {
    fn new(face: Face) -> Self {
        Self {
            face,
            report: None,
            arrived_us: None,
            shown: None,
            screen_lag_us: 0.0,
            latency_us: None,
            losses: VecDeque::new(),
            figures: None,
            no_signal: None,
        }
    }

    /// Its pictures' width to height.
    pub fn aspect(&self) -> f64 {
        let (width, height) = self.face.size;
        let promised = (width > 0 && height > 0).then(|| f64::from(width) / f64::from(height));
        // Nobody is shown a picture that is a line.
        self.shown.map(|(_, aspect)| aspect).or(promised).unwrap_or(16.0 / 9.0).clamp(0.25, 4.0)
    }

    /// From capture to the screen, in microseconds; absent while the clocks are not known.
    pub fn latency_us(&self) -> Option<i64> {
        self.latency_us.map(|latency_us| latency_us + self.screen_lag_us as i64)
    }

    /// What the network has done to it lately; none before it was measured.
    pub fn treatment(&self) -> Option<Treatment> {
        let report = self.report.as_ref().filter(|report| report.connected)?;
        let (first, last) = (self.losses.front()?, self.losses.back()?);
        let seconds = (last.0 - first.0) as f64 / 1e6;
        let lost = last.1.saturating_sub(first.1) as f64;
        let came = report.bitrate_kbps as f64 * 125.0 * seconds / PACKET_BYTES;
        let lost = if lost > 0.0 { lost / (lost + came) } else { 0.0 };
        // Where the robot sends fewer than it promised, the way is not to blame.
        let told = self.figures.as_ref().map(|figures| f64::from(figures.fps));
        let promised = f64::from(self.face.fps);
        let sent =
            told.map_or(promised, |told| if promised > 0.0 { told.min(promised) } else { told });
        let frames = if sent > 0.0 { (report.fps / sent).min(1.0) } else { 1.0 };
        // The clocks' difference is known to half a round trip.
        let rtt_ms = report.clock_error_ms.map(|error_ms| error_ms * 2.0);
        Some(Treatment { lost, frames, rtt_ms })
    }

    fn report(&mut self, report: CameraReport, now_us: i64) {
        if self.losses.back().is_some_and(|&(_, lost)| lost > report.packets_lost) {
            // A new session counts anew.
            self.losses.clear();
        }
        if self.losses.len() == REMEMBERED {
            self.losses.pop_front();
        }
        self.losses.push_back((now_us, report.packets_lost));
        if let Some(latency) = report.latency_ms {
            self.latency_us = Some((latency.p50 * 1000.0) as i64);
        }
        self.report = Some(report);
    }

    fn no_signal(&mut self, state: CameraState, reason: &str, since_us: i64, now_us: i64) {
        if state == CameraState::Live {
            self.no_signal = None;
            return;
        }
        let before = self.no_signal.as_ref().filter(|told| told.since_us == since_us);
        let heard_us = before.map_or(now_us, |told| told.heard_us);
        self.no_signal = Some(Told { state, reason: short(reason), since_us, heard_us });
    }
}

/// All that is known.
#[derive(Debug, Clone, Default)]
pub struct Board {
    /// How far the receiver has come on its way to the robot.
    pub way: Way,
    /// The robot's figures, as JSON.
    pub telemetry: Option<Value>,
    /// The robot's clock minus this host's, in microseconds.
    pub robot_ahead_us: Option<i64>,
    /// The recording that is being made.
    pub recording: Option<Recording>,
    /// What happened last, and when.
    pub note: Option<(Note, i64)>,
    /// The cameras, in the order in which they are shown.
    pub cameras: Vec<Camera>,
}

impl Board {
    /// The robot introduces its cameras. What is known of them stays; others go.
    pub fn introduce(&mut self, faces: Vec<Face>) {
        let mut before = std::mem::take(&mut self.cameras);
        self.cameras = faces
            .into_iter()
            .map(|face| match before.iter().position(|camera| camera.face.id == face.id) {
                Some(index) => Camera { face, ..before.swap_remove(index) },
                None => Camera::new(face),
            })
            .collect();
    }

    /// A camera; one that was not introduced comes last. None when there are too many.
    pub fn camera(&mut self, id: &CameraId) -> Option<&mut Camera> {
        let index = match self.cameras.iter().position(|camera| camera.face.id == *id) {
            Some(index) => index,
            None if self.cameras.len() < MAX_CAMERAS => {
                self.cameras.push(Camera::new(Face::unknown(id.clone())));
                self.cameras.len() - 1
            }
            None => return None,
        };
        self.cameras.get_mut(index)
    }

    /// Takes what the receiver reports.
    pub fn report(&mut self, report: Report, now_us: i64) {
        match report {
            Report::Camera(report) => {
                if let Some(camera) = self.camera(&report.camera.clone()) {
                    camera.report(report, now_us);
                }
            }
            Report::Telemetry { telemetry, .. } => {
                self.telemetry = serde_json::to_value(&telemetry).ok();
                for figures in telemetry.cameras {
                    // It tells of every camera of the robot, also of those not asked for.
                    let mut known = self.cameras.iter_mut();
                    if let Some(camera) = known.find(|camera| camera.face.id == figures.id) {
                        let reason = figures.reason.as_deref().unwrap_or_default();
                        camera.no_signal(figures.state, reason, figures.since_us, now_us);
                        camera.figures = Some(figures);
                    }
                }
            }
            Report::SignalLost { signal, .. } => {
                if let Some(camera) = self.camera(&signal.camera) {
                    camera.no_signal(signal.state, &signal.reason, signal.since_us, now_us);
                }
            }
            Report::SignalRestored { signal, .. } => {
                if let Some(camera) = self.camera(&signal.camera) {
                    camera.no_signal = None;
                }
            }
        }
    }

    /// What is to be judged of a camera.
    pub fn evidence(&self, camera: &Camera, stale: Duration, now_us: i64) -> Evidence {
        let no_signal = camera.no_signal.as_ref().map(|told| {
            let ahead_us = self.robot_ahead_us.filter(|_| told.since_us != 0);
            let since_us = ahead_us.map(|ahead_us| told.since_us.saturating_sub(ahead_us));
            let since_us = since_us.unwrap_or(told.heard_us);
            let for_us = now_us.saturating_sub(since_us);
            NoSignal { state: told.state, reason: told.reason.clone(), for_us }
        });
        let interval = Duration::from_secs(1).checked_div(camera.face.fps).unwrap_or_default();
        Evidence {
            now_us,
            arrived_us: camera.arrived_us,
            frozen_us: None,
            latency_us: camera.latency_us(),
            stale,
            interval,
            no_signal,
            way: self.way,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::report::Spread;
    use crate::stages::Stages;
    use crate::window::verdict::State;
    use rovercast_protocol::control::{SignalLost, SignalRestored};
    use rovercast_protocol::telemetry::{HostFigures, Telemetry};
    use serde_json::json;

    pub(crate) const STALE: Duration = Duration::from_millis(500);

    pub(crate) fn camera_report(camera: &str, packets_lost: u64) -> Report {
        Report::Camera(CameraReport {
            robot: "r".parse().unwrap(),
            camera: camera.parse().unwrap(),
            connected: true,
            width: 640,
            height: 480,
            decoder: "avdec_h264".to_owned(),
            fps: 30.0,
            bitrate_kbps: 1920,
            packets_lost,
            packets_recovered: 0,
            packets_restored: 0,
            frames_decoded: 90,
            frames_dropped: 0,
            jitter_buffer_ms: 100,
            jitter_ms: 0.5,
            latency_ms: Some(Spread { p50: 40.0, p95: 50.0, max: 60.0 }),
            clock_error_ms: Some(4.0),
            round_trip_ms: Some(8.0),
            stages_ms: Stages::default(),
            frames: Vec::new(),
        })
    }

    fn told(state: CameraState, since_us: i64) -> Report {
        let figures = CameraFigures {
            id: "a".parse().unwrap(),
            state,
            reason: Some("why".to_owned()),
            since_us,
            fault: None,
            encoder: None,
            fps: 15.0,
            bitrate_kbps: 0,
            frames_dropped: 0,
        };
        let telemetry = Telemetry { seq: 0, host: HostFigures::default(), cameras: vec![figures] };
        Report::Telemetry { robot: "r".parse().unwrap(), telemetry }
    }

    pub(crate) fn board(cameras: &[&str]) -> Board {
        let mut board = Board { way: Way::Connected, ..Board::default() };
        let face = |id: &&str| Face {
            id: id.parse().unwrap(),
            label: id.to_uppercase(),
            size: (640, 480),
            fps: 30,
        };
        board.introduce(cameras.iter().map(face).collect());
        board
    }

    #[test]
    fn a_robot_introduces_its_cameras() {
        let meta = json!({"cameras": [
            {"id": "a", "label": "Front\n", "width": 640, "height": 480, "fps": 30},
            {"id": "b", "width": "wide"},
            {"id": "not an id"},
            7,
        ]});
        let faces = Face::of_robot(Some(&meta), &[]);
        assert_eq!(faces.len(), 2);
        assert_eq!((&*faces[0].label, faces[0].size, faces[0].fps), ("Front", (640, 480), 30));
        assert_eq!((&*faces[1].label, faces[1].size), ("b", (0, 0)));
        assert_eq!(Face::of_robot(Some(&meta), &["b".parse().unwrap()]).len(), 1);
        assert!(Face::of_robot(None, &[]).is_empty());
    }

    #[test]
    fn what_is_known_of_a_camera_survives_a_new_introduction() {
        let mut board = board(&["a", "b", "c"]);
        board.report(camera_report("c", 0), 0);
        let faces = ["c", "a"].map(|id| Face::unknown(id.parse().unwrap()));
        board.introduce(faces.into());
        let ids: Vec<&str> = board.cameras.iter().map(|camera| camera.face.id.as_str()).collect();
        assert_eq!(ids, ["c", "a"]);
        assert!(board.cameras[0].report.is_some());
    }

    #[test]
    fn cameras_are_bounded() {
        let mut board = Board::default();
        for n in 0..1000 {
            board.report(camera_report(&format!("c{n}"), 0), 0);
        }
        assert_eq!(board.cameras.len(), MAX_CAMERAS);
    }

    #[test]
    fn losses_are_those_of_the_last_seconds() {
        let mut board = board(&["a"]);
        let seconds = |n: i64| n * 1_000_000;
        board.report(camera_report("a", 100), seconds(0));
        assert_eq!(board.cameras[0].treatment().unwrap().lost, 0.0);
        for n in 1..=5 {
            board.report(camera_report("a", 100 + 2 * n as u64), seconds(n));
        }
        // 200 packets a second came.
        let lost = board.cameras[0].treatment().unwrap().lost;
        assert!((lost - 10.0 / 1010.0).abs() < 1e-9, "{lost}");
        for n in 6..=11 {
            board.report(camera_report("a", 110), seconds(n));
        }
        assert_eq!(board.cameras[0].treatment().unwrap().lost, 0.0);
        board.report(camera_report("a", 3), seconds(12));
        assert_eq!(board.cameras[0].treatment().unwrap().lost, 0.0, "a new session");
    }

    #[test]
    fn the_way_is_not_blamed_for_what_the_robot_did_not_send() {
        let mut board = board(&["a"]);
        board.report(camera_report("a", 0), 0);
        board.report(told(CameraState::Live, 0), 0);
        assert_eq!(board.cameras[0].treatment().unwrap().frames, 1.0);
        assert_eq!(board.cameras[0].treatment().unwrap().rtt_ms, Some(8.0));
    }

    #[test]
    fn a_signal_is_lost_since_the_robot_said_and_restored() {
        let mut board = board(&["a"]);
        let (robot, id): (_, CameraId) = ("r".parse().unwrap(), "a".parse().unwrap());
        let state = CameraState::Lost;
        let signal = SignalLost { camera: id.clone(), state, reason: "gone".into(), since_us: 900 };
        board.report(Report::SignalLost { robot, signal }, 5_000_000);
        let age = |board: &Board, now_us| {
            let verdict = board.evidence(&board.cameras[0], STALE, now_us).judge();
            assert_eq!(verdict.state, State::Lost);
            verdict.age
        };
        assert_eq!(age(&board, 6_000_000), "1.0 s", "since it was heard");
        board.report(told(CameraState::Stalled, 900), 7_000_000);
        assert_eq!(age(&board, 7_000_000), "2.0 s", "the same loss");
        board.robot_ahead_us = Some(-2_000_000);
        assert_eq!(age(&board, 7_000_000), "4.9 s", "since the robot's clock said so");
        let signal = SignalRestored { camera: id, lost_us: 9 };
        board.report(Report::SignalRestored { robot: "r".parse().unwrap(), signal }, 8_000_000);
        let verdict = board.evidence(&board.cameras[0], STALE, 8_000_000).judge();
        assert_eq!(verdict.state, State::Waiting);
    }
}
