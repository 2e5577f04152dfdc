//! What is decided for a session. Pure.

use std::time::Duration;

use rovercast_protocol::ids::CameraId;

/// A viewer that pinged, and then not for this long, is gone.
const SILENCE: Duration = Duration::from_secs(15);

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

/// Whether the viewer is still there. Viewers that never ping (other programs) are left to ICE.
#[derive(Debug, Default)]
pub struct Liveness {
    pinged: Option<Duration>,
}

impl Liveness {
    /// The viewer pinged. True for the first time.
    pub fn pinged(&mut self, now: Duration) -> bool {
        self.pinged.replace(now).is_none()
    }

    /// Whether it is gone.
    pub fn is_gone(&self, now: Duration) -> bool {
        self.pinged.is_some_and(|pinged| now.saturating_sub(pinged) > SILENCE)
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
}
