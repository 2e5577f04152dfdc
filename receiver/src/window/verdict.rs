//! What can be said of a camera's picture and of the way to it. Pure: what is known comes in, with
//! the time.

use std::time::Duration;

use rovercast_protocol::telemetry::CameraState;

use crate::window::figures::age;

/// How far the receiver has come on its way to the robot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Way {
    /// There is no link to the broker.
    #[default]
    NoBroker,
    /// The broker knows no such robot.
    Offline,
    /// A session is being made.
    Connecting,
    /// Pictures come, or could.
    Connected,
}

impl Way {
    /// What stands between the robot and the operator; empty when nothing does.
    pub fn hint(self) -> &'static str {
        match self {
            Self::NoBroker => "no link to the broker",
            Self::Offline => "robot off-line",
            Self::Connecting => "connecting",
            Self::Connected => "",
        }
    }
}

/// How a picture is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is what the camera sees now.
    Live,
    /// Pictures come, but each is old when it does.
    Late,
    /// No new picture has come for too long.
    Stale,
    /// The operator has stopped it.
    Frozen,
    /// There has been no picture.
    Waiting,
    /// The robot has no signal of the camera.
    Lost,
    /// The camera is switched off.
    Off,
}

impl State {
    /// One word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "LIVE",
            Self::Late => "LATE",
            Self::Stale => "STALE",
            Self::Frozen => "FROZEN",
            Self::Waiting => "WAITING",
            Self::Lost => "LOST",
            Self::Off => "OFF",
        }
    }
}

/// What is said of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How it is to be taken.
    pub state: State,
    /// What covers it: empty for a picture that can be used.
    pub title: &'static str,
    /// How old it is, or how long there has been no signal; empty where that is not known.
    pub age: String,
    /// Why.
    pub detail: String,
}

/// A camera without signal, as the robot told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoSignal {
    /// How it is.
    pub state: CameraState,
    /// Why; may be empty.
    pub reason: String,
    /// For how long, in microseconds.
    pub for_us: i64,
}

/// What is known of a camera.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Now; as all times here in microseconds of one clock.
    pub now_us: i64,
    /// When the newest picture came.
    pub arrived_us: Option<i64>,
    /// When the picture came that is shown, where the operator has stopped it.
    pub frozen_us: Option<i64>,
    /// From capture to the screen; absent while the clocks are not known.
    pub latency_us: Option<i64>,
    /// Older pictures are not to be steered by.
    pub stale: Duration,
    /// Between two pictures, as the camera promises.
    pub interval: Duration,
    /// The robot's word, when it has no signal.
    pub no_signal: Option<NoSignal>,
    /// How far the way goes.
    pub way: Way,
}

/// How much later than promised a picture may be before that counts as silence.
const INTERVALS: u32 = 3;

impl Evidence {
    /// When the newest picture becomes stale if no other comes.
    pub fn stale_at_us(&self) -> Option<i64> {
        // A camera of one picture each second is not stale before the next one is due.
        let silence = self.stale.max(self.interval * INTERVALS);
        Some(self.arrived_us?.saturating_add(micros(silence)))
    }

    /// From the capture of a picture that came then, as far as that is known.
    fn age_us(&self, arrived_us: i64) -> i64 {
        self.now_us.saturating_sub(arrived_us).saturating_add(self.latency_us.unwrap_or(0))
    }

    /// The operator's own wish comes first, then the robot's word: of a lost camera it may well
    /// send a slate, which moves.
    pub fn judge(&self) -> Verdict {
        let verdict = self.live_verdict();
        let Some(frozen_us) = self.frozen_us else { return verdict };
        let detail = match verdict.state {
            State::Live => "live goes on".to_owned(),
            state => format!("meanwhile: {}", state.word().to_lowercase()),
        };
        let age = age(self.age_us(frozen_us));
        Verdict { state: State::Frozen, title: "FROZEN", age, detail }
    }

    fn live_verdict(&self) -> Verdict {
        if let Some(lost) = &self.no_signal {
            return lost.verdict(self.way);
        }
        let Some(arrived_us) = self.arrived_us else {
            let title = match self.way {
                Way::NoBroker => "No link to the broker",
                Way::Offline => "Robot off-line",
                Way::Connecting => "Connecting",
                Way::Connected => "Waiting for first picture",
            };
            return Verdict::of(State::Waiting, title);
        };
        if self.stale_at_us().is_some_and(|at_us| self.now_us >= at_us) {
            let hint = self.way.hint();
            let detail = if hint.is_empty() { "no new picture" } else { hint };
            let age = age(self.age_us(arrived_us));
            return Verdict { state: State::Stale, title: "STALE", age, detail: detail.to_owned() };
        }
        match self.latency_us.filter(|&latency_us| latency_us > micros(self.stale)) {
            Some(_) => Verdict::of(State::Late, ""),
            None => Verdict::of(State::Live, ""),
        }
    }
}

impl Verdict {
    fn of(state: State, title: &'static str) -> Self {
        Self { state, title, age: String::new(), detail: String::new() }
    }
}

impl NoSignal {
    fn verdict(&self, way: Way) -> Verdict {
        let (state, title, detail) = match self.state {
            CameraState::Off => (State::Off, "SWITCHED OFF", ""),
            CameraState::Starting => (State::Waiting, "Camera is starting", ""),
            CameraState::Failed => {
                (State::Lost, "CAMERA FAILED", "nothing works before someone mends it")
            }
            CameraState::Lost => (State::Lost, "SIGNAL LOST", "the camera is gone"),
            _ => (State::Lost, "SIGNAL LOST", "the camera gives no pictures"),
        };
        let reason = if self.reason.is_empty() { detail } else { &self.reason };
        // Then this is the robot's last word, and may be old.
        let detail = match way.hint() {
            "" => reason.to_owned(),
            hint => format!("{reason} ({hint})"),
        };
        let age = if state == State::Lost { age(self.for_us) } else { String::new() };
        Verdict { state, title, age, detail }
    }
}

/// How good the network is to a camera, told from what it did to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// 0 (none) to 4 (good).
    pub bars: u8,
    /// The same in a word.
    pub word: &'static str,
}

/// What the network did to a camera in the last seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Treatment {
    /// Packets lost, of all: 0 to 1.
    pub lost: f64,
    /// Pictures that came, of those that the robot sent: 0 to 1.
    pub frames: f64,
    /// From here to the robot and back, in milliseconds; absent while it is not known.
    pub rtt_ms: Option<f64>,
}

impl Treatment {
    /// The worst of the three decides.
    pub fn link(self) -> Link {
        let bars_of = |value: f64, limits: [f64; 3]| -> u8 {
            4 - limits.iter().filter(|&&limit| value > limit).count() as u8
        };
        let lost = bars_of(self.lost, [0.0, 0.01, 0.05]);
        let frames = bars_of(1.0 - self.frames, [0.1, 0.25, 0.5]);
        let rtt = self.rtt_ms.map_or(4, |rtt_ms| bars_of(rtt_ms, [150.0, 300.0, 600.0]));
        let bars = lost.min(frames).min(rtt);
        let word = ["none", "bad", "weak", "fair", "good"][usize::from(bars)];
        Link { bars, word }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(now_us: i64, arrived_us: Option<i64>) -> Evidence {
        Evidence {
            now_us,
            arrived_us,
            frozen_us: None,
            latency_us: None,
            stale: Duration::from_millis(500),
            interval: Duration::from_millis(33),
            no_signal: None,
            way: Way::Connected,
        }
    }

    #[test]
    fn a_picture_is_live_until_it_is_too_old() {
        assert_eq!(evidence(499_999, Some(0)).judge().state, State::Live);
        let stale = evidence(1_250_000, Some(0)).judge();
        assert_eq!((stale.state, stale.title, &*stale.age), (State::Stale, "STALE", "1.2 s"));
        assert_eq!(stale.detail, "no new picture");
    }

    #[test]
    fn age_counts_from_the_capture_where_that_is_known() {
        let known = Evidence { latency_us: Some(300_000), ..evidence(600_000, Some(0)) };
        assert_eq!(known.judge().age, "0.9 s");
        let late = Evidence { latency_us: Some(501_000), ..evidence(0, Some(0)) };
        assert_eq!(late.judge().state, State::Late);
        assert_eq!(late.judge().title, "", "what moves is not covered");
    }

    #[test]
    fn a_slow_camera_is_stale_only_when_pictures_are_missing() {
        let slow =
            |now_us| Evidence { interval: Duration::from_secs(1), ..evidence(now_us, Some(0)) };
        assert_eq!(slow(2_900_000).judge().state, State::Live);
        assert_eq!(slow(3_000_000).judge().state, State::Stale);
    }

    #[test]
    fn the_robots_word_comes_before_a_slate_that_moves() {
        let no_signal = |state, reason: &str| {
            Some(NoSignal { state, reason: reason.to_owned(), for_us: 12_300_000 })
        };
        let lost = no_signal(CameraState::Lost, "unplugged");
        let lost = Evidence { no_signal: lost, ..evidence(0, Some(0)) };
        let verdict = lost.judge();
        assert_eq!(
            (verdict.state, &*verdict.age, &*verdict.detail),
            (State::Lost, "12.3 s", "unplugged")
        );
        let offline = Evidence { way: Way::Offline, ..lost };
        assert_eq!(offline.judge().detail, "unplugged (robot off-line)");
        let off = Evidence { no_signal: no_signal(CameraState::Off, ""), ..offline };
        assert_eq!(off.judge().state, State::Off);
        let unknown = Evidence { no_signal: no_signal(CameraState::Unknown, ""), ..off };
        assert_eq!(unknown.judge().state, State::Lost);
    }

    #[test]
    fn before_the_first_picture_the_way_is_told() {
        let told = |way| Evidence { way, ..evidence(0, None) }.judge().title;
        assert_eq!(told(Way::NoBroker), "No link to the broker");
        assert_eq!(told(Way::Offline), "Robot off-line");
        assert_eq!(told(Way::Connecting), "Connecting");
        assert_eq!(told(Way::Connected), "Waiting for first picture");
    }

    #[test]
    fn what_the_operator_stopped_says_so_and_how_live_is() {
        let frozen = Evidence { frozen_us: Some(0), ..evidence(3_200_000, Some(3_190_000)) };
        let verdict = frozen.judge();
        assert_eq!((verdict.state, &*verdict.age), (State::Frozen, "3.2 s"));
        assert_eq!(verdict.detail, "live goes on");
        let silent = Evidence { arrived_us: Some(0), ..frozen };
        assert_eq!(silent.judge().detail, "meanwhile: stale");
    }

    #[test]
    fn the_worst_decides_about_the_link() {
        let good = Treatment { lost: 0.0, frames: 1.0, rtt_ms: Some(20.0) };
        assert_eq!(good.link(), Link { bars: 4, word: "good" });
        assert_eq!(Treatment { lost: 0.02, ..good }.link().bars, 2);
        assert_eq!(Treatment { frames: 0.2, ..good }.link().word, "bad");
        assert_eq!(Treatment { rtt_ms: Some(200.0), ..good }.link().word, "fair");
        assert_eq!(Treatment { rtt_ms: None, ..good }.link().bars, 4);
    }
}
