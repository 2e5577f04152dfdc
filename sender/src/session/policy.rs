//! What is decided for a session. Pure.

use std::time::Duration;

use rovercast_protocol::ids::CameraId;

/// A viewer that pinged, and then said nothing for this long, is gone. One that pings every second
/// survives a path that is cut for three.
const SILENCE: Duration = Duration::from_millis(4500);

/// A viewer that never pings, but has reported what it receives (RTCP), and then reports nothing for this
/// long, is gone. Reports come at least every 6.2 s (RFC 3550, section 6.3.1), and every second one may
/// be lost.
const NO_REPORTS: Duration = Duration::from_secs(15);

/// When a ping is late by half the time between two something may be wrong with the network,
const DOUBTFUL_PINGS: f64 = 1.5;

/// but not sooner than this, and not later: viewers ping every second, or more often. Doubt costs the
/// broker a few pings, and nothing while it answers them.
const DOUBT: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(1500)];

/// How often to look whether a viewer is there: what is dead is free within five seconds.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The cameras of a session: those wanted that exist, in the robot's order; all when none are
/// named. None when nothing would be left.
pub fn choose_cameras(
    wanted: Option<&[CameraId]>,
    available: &[CameraId],
) -> Option<Vec<CameraId>> {
    let chosen: Vec<CameraId> = available
        .iter()
        .filter(|camera| wanted.is_none_or(|wanted| wanted.contains(camera)))
        .cloned()
        .collect();
    (!chosen.is_empty()).then_some(chosen)
}

/// Whether a viewer may control cameras: where the robot's config lets viewers, and the broker does not
/// say that this one's token does not. The error is for the viewer.
pub fn may_control(config: bool, token: Option<bool>) -> Result<(), &'static str> {
    match (config, token) {
        (false, _) => Err("this robot does not let its viewers control cameras: \
                           set sessions.control_cameras = true in the robot's config"),
        (true, Some(false)) => Err("your token does not allow to control this robot: \
                                    ask for one with its control scope"),
        (true, _) => Ok(()),
    }
}

/// Key frames for one viewer are at least so far apart. Encoders make none sooner, either.
const KEY_FRAMES_APART: Duration = Duration::from_millis(100);

/// A viewer earns a key frame in this time: each costs all viewers of the camera bitrate.
const KEY_FRAME_EARNED: Duration = Duration::from_millis(300);

/// Key frames that a viewer has saved at most. On a path that loses much the first may be lost, too.
const KEY_FRAMES_SAVED: u32 = 4;

/// Which of a viewer's requests for a key frame pass.
#[derive(Debug, Default)]
pub struct KeyFrameRequests {
    passed: Option<Duration>,
    /// When all that may be saved has been earned back.
    full: Duration,
}

impl KeyFrameRequests {
    /// Whether a request at this time passes.
    pub fn passes(&mut self, now: Duration) -> bool {
        let apart = self.passed.is_none_or(|passed| now.saturating_sub(passed) >= KEY_FRAMES_APART);
        let full = self.full.max(now) + KEY_FRAME_EARNED;
        let passes = apart && full - now <= KEY_FRAME_EARNED * KEY_FRAMES_SAVED;
        if passes {
            (self.passed, self.full) = (Some(now), full);
        }
        passes
    }
}

/// Whether the viewer is still there. Viewers that never ping (other programs) are known by their
/// reports; those that do not even report are left to ICE.
#[derive(Debug, Default)]
pub struct Liveness {
    heard: Option<Duration>,
    /// When it pinged last, and how long after the one before.
    pinged: Option<(Duration, Duration)>,
    reported: Option<Duration>,
    looked: Option<Duration>,
}

impl Liveness {
    /// The viewer pinged. True for the first time.
    pub fn pinged(&mut self, now: Duration) -> bool {
        let apart = self.pinged.map_or(DOUBT[1], |(last, _)| now.saturating_sub(last));
        self.pinged = Some((now, apart));
        self.heard.replace(now).is_none()
    }

    /// The viewer said anything else.
    pub fn heard(&mut self, now: Duration) {
        self.heard = self.heard.map(|_| now);
    }

    /// Its last report came at this time.
    pub fn reported(&mut self, at: Duration) {
        self.reported = self.reported.max(Some(at));
    }

    /// Whether its pings can tell that it is there.
    pub fn pings(&self) -> bool {
        self.heard.is_some()
    }

    /// Whether its reports can tell that it is there.
    pub fn reports(&self) -> bool {
        self.reported.is_some()
    }

    /// Whether it has been silent for so long that something may be wrong with the network.
    pub fn is_in_doubt(&self, now: Duration) -> bool {
        let apart = self.pinged.map_or(DOUBT[1], |(_, apart)| apart.mul_f64(DOUBTFUL_PINGS));
        let doubt = apart.clamp(DOUBT[0], DOUBT[1]);
        self.heard.is_some_and(|heard| now.saturating_sub(heard) > doubt)
    }

    /// Whether it is gone. To be asked every [`LOOK_EVERY`]: a robot that asks much later stood still
    /// itself, and what the viewer said meanwhile still waits to be heard.
    pub fn is_gone(&mut self, now: Duration) -> bool {
        let looked = self.looked.replace(now).unwrap_or(now);
        let stood_still = now.saturating_sub(looked).saturating_sub(2 * LOOK_EVERY);
        self.heard = self.heard.map(|heard| heard + stood_still);
        self.reported = self.reported.map(|reported| reported + stood_still);
        let (last, patience) = match (self.heard, self.reported) {
            (Some(heard), _) => (heard, SILENCE),
            (None, Some(reported)) => (reported, NO_REPORTS),
            (None, None) => return false,
        };
        now.saturating_sub(last) > patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_takes_the_robot_and_the_token() {
        for token in [None, Some(false), Some(true)] {
            let refused = may_control(false, token).unwrap_err();
            assert!(refused.contains("sessions.control_cameras"), "the robot has the last word");
        }
        assert_eq!(may_control(true, None), Ok(()), "a broker that asks for no tokens");
        assert_eq!(may_control(true, Some(true)), Ok(()));
        assert!(may_control(true, Some(false)).unwrap_err().contains("token"));
    }

    fn ids(names: &[&str]) -> Vec<CameraId> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn cameras_come_in_the_robots_order() {
        let all = ids(&["a", "b", "c"]);
        assert_eq!(choose_cameras(None, &all), Some(all.clone()));
        assert_eq!(choose_cameras(Some(&ids(&["c", "x", "a", "a"])), &all), Some(ids(&["a", "c"])));
        assert_eq!(choose_cameras(Some(&ids(&["x"])), &all), None);
        assert_eq!(choose_cameras(Some(&[]), &all), None);
    }

    /// When a viewer is found to be gone that says something at these times, looked for from 0 s on
    /// for a minute.
    fn gone_at(pings_ms: &[u64], others_ms: &[u64]) -> Option<u64> {
        let mut liveness = Liveness::default();
        (0..60_000).step_by(50).find(|&ms| {
            let now = Duration::from_millis(ms);
            if pings_ms.contains(&ms) {
                liveness.pinged(now);
            }
            if others_ms.contains(&ms) {
                liveness.heard(now);
            }
            ms % 100 == 0 && liveness.is_gone(now)
        })
    }

    fn every_second(from_ms: u64, to_ms: u64) -> impl Iterator<Item = u64> {
        (from_ms..to_ms).step_by(1000)
    }

    #[test]
    fn only_a_viewer_that_pinged_can_go_silent() {
        let mut liveness = Liveness::default();
        assert!(liveness.pinged(Duration::from_secs(10)), "the first");
        assert!(!liveness.pinged(Duration::from_secs(10)), "the second");
        assert_eq!(gone_at(&[], &[]), None);
        assert_eq!(gone_at(&[], &[3_000]), None, "it never pinged: who could tell");
        assert!(!Liveness::default().pings() && !Liveness::default().reports());
        assert!(liveness.pings());
        assert!(!Liveness::default().is_in_doubt(Duration::from_secs(60)));
        let mut liveness = Liveness::default();
        liveness.pinged(Duration::from_secs(10));
        assert!(!liveness.is_in_doubt(Duration::from_millis(11_500)));
        assert!(liveness.is_in_doubt(Duration::from_millis(11_501)));
    }

    #[test]
    fn who_pings_often_is_in_doubt_soon() {
        let doubt_ms = |apart_ms: u64| {
            let mut liveness = Liveness::default();
            for n in 0..10 {
                liveness.pinged(Duration::from_millis(n * apart_ms));
            }
            let last_ms = 9 * apart_ms;
            (0..).find(|ms| liveness.is_in_doubt(Duration::from_millis(last_ms + ms)))
        };
        assert_eq!([100, 200, 1_000].map(doubt_ms), [Some(251), Some(301), Some(1_501)]);
    }

    #[test]
    fn what_is_dead_is_gone_within_five_seconds() {
        for last_ms in (0..3_000).step_by(50) {
            let gone_ms = gone_at(&[0, last_ms], &[]).unwrap();
            assert!((4_501..=4_600).contains(&(gone_ms - last_ms)), "{last_ms}: {gone_ms}");
        }
        assert!(gone_at(&[1_000], &[3_000]).is_some_and(|ms| (7_501..=7_600).contains(&ms)));
    }

    #[test]
    fn who_only_reports_is_gone_when_it_stops() {
        let gone_at = |reports_s: &[u64], pings_s: &[u64]| {
            let mut liveness = Liveness::default();
            let looks = (0..60_000).step_by(100);
            looks.into_iter().find(|&ms| {
                let now = Duration::from_millis(ms);
                let reported = reports_s.iter().map(|s| Duration::from_secs(*s));
                reported.filter(|at| *at <= now).for_each(|at| liveness.reported(at));
                if pings_s.iter().any(|s| Duration::from_secs(*s) == now) {
                    liveness.pinged(now);
                }
                liveness.is_gone(now)
            })
        };
        assert_eq!(gone_at(&[2, 8, 14], &[]), Some(29_100));
        assert_eq!(gone_at(&[2, 14, 26, 38, 50], &[]), None, "every second one is lost");
        assert_eq!(gone_at(&[], &[]), None, "it never reported: who could tell");
        assert_eq!(gone_at(&[1, 6, 11], &[3]), Some(7_600), "pings tell better");
    }

    #[test]
    fn a_viewer_that_is_cut_off_for_three_seconds_is_kept() {
        for phase_ms in (0..1_000).step_by(50) {
            for cut_ms in (5_000..6_000).step_by(50) {
                let through = |ms: &u64| !(cut_ms..cut_ms + 3_000).contains(ms);
                let pings: Vec<u64> = every_second(phase_ms, 60_000).filter(through).collect();
                assert_eq!(gone_at(&pings, &[]), None, "pings at {phase_ms}, cut at {cut_ms}");
            }
        }
    }

    #[test]
    fn a_robot_that_stood_still_does_not_blame_the_viewer() {
        let mut liveness = Liveness::default();
        let at = |ms: u64| Duration::from_millis(ms);
        liveness.pinged(at(900));
        assert!(!liveness.is_gone(at(1_000)));
        // It stands still for twenty seconds, and looks before it listens.
        assert!(!liveness.is_gone(at(21_000)));
        assert!(!liveness.is_gone(at(21_100)));
        liveness.pinged(at(21_200));
        let gone = (212..300).map(|n| n * 100).find(|&ms| liveness.is_gone(at(ms)));
        assert_eq!(gone, Some(25_800), "but a viewer that says nothing afterwards is gone");
    }

    #[test]
    fn one_viewer_cannot_ask_for_key_frames_all_the_time() {
        let mut requests = KeyFrameRequests::default();
        let mut passed = |from: u64, to: u64| -> Vec<u64> {
            let times = (from..to).step_by(50);
            times.filter(|&ms| requests.passes(Duration::from_millis(ms))).collect()
        };
        let first = passed(0, 6000);
        assert_eq!(first[..4], [0, 100, 200, 300], "who was modest is helped at once");
        assert_eq!(first.len(), 4 + 19, "then one is passed every 300 ms: {first:?}");
        assert_eq!(passed(10_000, 10_350), [10_000, 10_100, 10_200, 10_300]);
    }
}
