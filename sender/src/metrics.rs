//! The sender's figures for Prometheus. The table in docs/metrics.md names all of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rovercast_metrics::page::{Figures, Labels, Page};
use rovercast_metrics::seconds::Seconds;
use rovercast_protocol::signaling::ErrorCode;
use rovercast_protocol::telemetry::{CameraFigures, CameraState};

use crate::camera::counters::Counters;

/// Why a session ended, or was not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The viewer or the broker ended it, or the robot stops.
    Asked,
    /// The viewer was gone.
    Gone,
    /// The viewer was not who its SDP promised.
    FingerprintMismatch,
    /// What the viewer said could not be used.
    Refused,
    /// It did not connect in time.
    Timeout,
    /// The robot has as many viewers as it may.
    TooMany,
    /// Something failed inside.
    Internal,
}

impl Reason {
    const ALL: [Self; 7] = [
        Self::Asked,
        Self::Gone,
        Self::FingerprintMismatch,
        Self::Refused,
        Self::Timeout,
        Self::TooMany,
        Self::Internal,
    ];

    /// That of a failure that the viewer was told by this code.
    pub fn of(code: ErrorCode) -> Self {
        match code {
            ErrorCode::FingerprintMismatch => Self::FingerprintMismatch,
            ErrorCode::NegotiationTimeout => Self::Timeout,
            ErrorCode::TooManySessions => Self::TooMany,
            ErrorCode::Internal => Self::Internal,
            _ => Self::Refused,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Gone => "gone",
            Self::FingerprintMismatch => "fingerprint_mismatch",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::TooMany => "too_many",
            Self::Internal => "internal",
        }
    }
}

/// What is known of a running sender; written as things happen, read when somebody asks.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Whether it is connected to the broker.
    pub linked: AtomicBool,
    /// Sessions at this moment.
    pub sessions: AtomicU64,
    started: AtomicU64,
    ended: Mutex<BTreeMap<Reason, u64>>,
    cameras: Mutex<Vec<Camera>>,
}

/// One camera, as it was at the last look.
#[derive(Debug, Clone)]
pub struct Camera {
    /// Its state and its rates.
    pub figures: CameraFigures,
    /// What flowed through it.
    pub counters: Arc<Counters>,
}

impl Metrics {
    /// A session is begun.
    pub fn session_started(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    /// A session has ended, or was refused.
    pub fn session_ended(&self, reason: Reason) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        *ended.entry(reason).or_default() += 1;
    }

    /// Takes how the cameras are now, in place of what was known of them.
    pub fn set_cameras(&self, cameras: Vec<Camera>) {
        *self.cameras.lock().unwrap_or_else(PoisonError::into_inner) = cameras;
    }
}

impl Figures for Metrics {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let linked = f64::from(u8::from(self.linked.load(Ordering::Relaxed)));
        page.gauges(
            "rovercast_sender_broker_connected",
            "Whether the sender is connected to its broker.",
            [(vec![], linked)],
        )?;
        page.gauges(
            "rovercast_sender_sessions",
            "Sessions at this moment.",
            [(vec![], load(&self.sessions) as f64)],
        )?;
        page.counters(
            "rovercast_sender_sessions_started",
            "Sessions that were begun.",
            [(vec![], load(&self.started))],
        )?;
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        page.counters(
            "rovercast_sender_sessions_ended",
            "Sessions that have ended or were refused, by reason.",
            Reason::ALL.map(|reason| {
                let labels = vec![("reason", reason.name().to_owned())];
                (labels, ended.get(&reason).copied().unwrap_or(0))
            }),
        )?;
        let cameras = self.cameras.lock().unwrap_or_else(PoisonError::into_inner).clone();
        write_states(page, &cameras)?;
        write_flow(page, &cameras)
    }
}

const STATES: [(CameraState, &str); 6] = [
    (CameraState::Starting, "starting"),
    (CameraState::Live, "live"),
    (CameraState::Stalled, "stalled"),
    (CameraState::Lost, "lost"),
    (CameraState::Failed, "failed"),
    (CameraState::Off, "off"),
];

fn labels(camera: &Camera) -> Labels {
    vec![("camera", camera.figures.id.to_string())]
}

fn write_states(page: &mut Page<'_>, cameras: &[Camera]) -> fmt::Result {
    let states = cameras.iter().flat_map(|camera| {
        STATES.iter().map(|(state, name)| {
            let mut labels = labels(camera);
            labels.push(("state", (*name).to_owned()));
            (labels, f64::from(u8::from(camera.figures.state == *state)))
        })
    });
    page.gauges(
        "rovercast_sender_camera_state",
        "1 for the state that the camera is in, 0 for the others.",
        states,
    )?;
    let encoders = cameras.iter().filter_map(|camera| {
        let mut labels = labels(camera);
        labels.push(("encoder", camera.figures.encoder.clone()?));
        Some((labels, 1.0))
    });
    page.gauges(
        "rovercast_sender_camera_encoder_info",
        "1, with the encoder in use; none where the camera's own stream is passed through.",
        encoders,
    )
}

fn write_flow(page: &mut Page<'_>, cameras: &[Camera]) -> fmt::Result {
    let each = |figure: fn(&CameraFigures) -> f64| {
        cameras.iter().map(move |camera| (labels(camera), figure(&camera.figures)))
    };
    page.gauges(
        "rovercast_sender_camera_frames_per_second",
        "Access units in the last second.",
        each(|figures| figures.fps.into()),
    )?;
    page.gauges(
        "rovercast_sender_camera_bits_per_second",
        "Bits of access units in the last second.",
        each(|figures| f64::from(figures.bitrate_kbps) * 1000.0),
    )?;
    let total = |counter: fn(&Counters) -> u64| {
        cameras.iter().map(move |camera| (labels(camera), counter(&camera.counters)))
    };
    page.counters(
        "rovercast_sender_camera_frames",
        "Access units encoded or passed through.",
        total(|counters| counters.encoded.load(Ordering::Relaxed)),
    )?;
    page.counters(
        "rovercast_sender_camera_bytes",
        "Bytes of access units.",
        total(|counters| counters.bytes.load(Ordering::Relaxed)),
    )?;
    page.counters(
        "rovercast_sender_camera_frames_dropped",
        "Raw frames dropped because the encoder was busy.",
        total(Counters::dropped),
    )?;
    page.counters(
        "rovercast_sender_camera_losses",
        "How often the camera ceased to deliver.",
        total(|counters| counters.losses.load(Ordering::Relaxed)),
    )?;
    page.counters(
        "rovercast_sender_camera_encoder_restarts",
        "How often the encoder was started anew because it failed.",
        total(|counters| counters.encoder_restarts.load(Ordering::Relaxed)),
    )?;
    let took = |seconds: fn(&Counters) -> &Seconds| {
        cameras.iter().map(move |camera| (labels(camera), seconds(&camera.counters).clone()))
    };
    page.seconds(
        "rovercast_sender_camera_encode_seconds",
        "From the capture of a frame until its access unit left the encoder.",
        took(|counters| &counters.encode),
    )?;
    page.seconds(
        "rovercast_sender_camera_send_seconds",
        "From there until its last packet was handed to the transport, in each session.",
        took(|counters| &counters.send),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rovercast_metrics::page::text;

    use super::*;

    #[test]
    fn a_camera_that_is_removed_is_no_more() {
        let metrics = Arc::new(Metrics::default());
        let counters = Arc::new(Counters::default());
        counters.encode.observe(Duration::from_millis(3));
        counters.encoded.store(7, Ordering::Relaxed);
        let figures = CameraFigures {
            id: "front".parse().unwrap(),
            state: CameraState::Stalled,
            reason: None,
            since_us: 0,
            fault: None,
            encoder: Some("x264enc".to_owned()),
            fps: 29.5,
            bitrate_kbps: 800,
            frames_dropped: 0,
        };
        metrics.set_cameras(vec![Camera { figures, counters: counters.clone() }]);
        metrics.session_started();
        metrics.session_ended(Reason::of(ErrorCode::BadSdp));
        let figures: Arc<dyn Figures> = metrics.clone();
        let page = text(&figures).unwrap();
        for line in [
            "rovercast_sender_sessions_started_total 1",
            "rovercast_sender_sessions_ended_total{reason=\"refused\"} 1",
            "rovercast_sender_sessions_ended_total{reason=\"asked\"} 0",
            "rovercast_sender_camera_state{camera=\"front\",state=\"stalled\"} 1.0",
            "rovercast_sender_camera_state{camera=\"front\",state=\"live\"} 0.0",
            "rovercast_sender_camera_encoder_info{camera=\"front\",encoder=\"x264enc\"} 1.0",
            "rovercast_sender_camera_frames_per_second{camera=\"front\"} 29.5",
            "rovercast_sender_camera_bits_per_second{camera=\"front\"} 800000.0",
            "rovercast_sender_camera_frames_total{camera=\"front\"} 7",
            "rovercast_sender_camera_encode_seconds_count{camera=\"front\"} 1",
        ] {
            assert!(page.lines().any(|told| told == line), "{line} in\n{page}");
        }
        counters.encoded.store(8, Ordering::Relaxed);
        let line = "rovercast_sender_camera_frames_total{camera=\"front\"} 8";
        assert!(text(&figures).unwrap().contains(line), "totals are those of now");
        metrics.set_cameras(Vec::new());
        assert!(!text(&figures).unwrap().contains("front"));
    }
}
