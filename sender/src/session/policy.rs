//! What is decided for a session. Pure.

use std::time::Duration;

use rovercast_protocol::ids::CameraId;

/// A viewer that pinged, and then not for this long, is gone.
const SILENCE: Duration = Duration::from_secs(15);

/// The same for one that has left the broker as well.
const SILENCE_OF_ORPHANS: Duration = Duration::from_secs(4);

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

/// Key frames for one viewer are at least so far apart: each costs all viewers of the camera
/// bitrate.
const KEY_FRAMES_APART: Duration = Duration::from_millis(500);

/// Which of a viewer's requests for a key frame pass.
#[derive(Debug, Default)]
pub struct KeyFrameRequests {
    passed: Option<Duration>,
}

impl KeyFrameRequests {
    /// Whether a request at this time passes.
    pub fn passes(&mut self, now: Duration) -> bool {
        let passes =
            self.passed.is_none_or(|passed| now.saturating_sub(passed) >= KEY_FRAMES_APART);
        if passes {
            self.passed = Some(now);
        }
        passes
    }
}

/// Whether the viewer is still there. Viewers that never ping (other programs) are left to ICE.
#[derive(Debug, Default)]
pub struct Liveness {
    pinged: Option<Duration>,
    orphan: bool,
}

impl Liveness {
    /// The viewer pinged. True for the first time.
    pub fn pinged(&mut self, now: Duration) -> bool {
        self.pinged.replace(now).is_none()
    }

    /// The viewer has left the broker. False when its pings cannot tell whether it is there.
    pub fn left_broker(&mut self) -> bool {
        self.orphan = true;
        self.pinged.is_some()
    }

    /// Whether it is gone.
    pub fn is_gone(&self, now: Duration) -> bool {
        let patience = if self.orphan { SILENCE_OF_ORPHANS } else { SILENCE };
        self.pinged.is_some_and(|pinged| now.saturating_sub(pinged) > patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn only_a_viewer_that_pinged_can_go_silent() {
        let mut liveness = Liveness::default();
        assert!(!liveness.is_gone(Duration::from_secs(1000)));
        assert!(liveness.pinged(Duration::from_secs(10)));
        assert!(!liveness.pinged(Duration::from_secs(10)));
        assert!(!liveness.is_gone(Duration::from_secs(25)));
        assert!(liveness.is_gone(Duration::from_secs(26)));
    }

    #[test]
    fn a_viewer_without_broker_must_go_on_pinging() {
        let mut liveness = Liveness::default();
        assert!(!liveness.left_broker(), "it never pinged: who could tell");
        liveness.pinged(Duration::from_secs(10));
        assert!(liveness.left_broker());
        assert!(!liveness.is_gone(Duration::from_secs(14)));
        assert!(liveness.is_gone(Duration::from_secs(15)));
    }

    #[test]
    fn one_viewer_cannot_ask_for_key_frames_all_the_time() {
        let mut requests = KeyFrameRequests::default();
        let passed = (0..100).filter(|n| requests.passes(Duration::from_millis(n * 50))).count();
        assert_eq!(passed, 10);
    }
}
