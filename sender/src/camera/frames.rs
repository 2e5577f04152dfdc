//! What is decided for each raw frame: its time, and whether it is one too many. Pure.

use std::time::Duration;

/// A frame whose own time lies further in the past than this was not stamped by this host's clock.
const OLDEST_CAPTURE: Duration = Duration::from_secs(1);

/// The time a frame was captured, on the shared clock: its own time where that is plausible
/// (drivers stamp well), else now.
pub fn capture_time(stamped: Option<Duration>, now: Duration) -> Duration {
    stamped.filter(|&stamped| stamped <= now && now - stamped <= OLDEST_CAPTURE).unwrap_or(now)
}

/// Lets no more than a number of frames per second pass, and drops evenly.
#[derive(Debug)]
pub struct RateLimit {
    interval: Duration,
    due: Duration,
}

impl RateLimit {
    /// A limit of `fps` frames per second.
    pub fn new(fps: u32) -> Self {
        Self { interval: Duration::from_secs(1) / fps, due: Duration::ZERO }
    }

    /// Changes the limit.
    pub fn set_fps(&mut self, fps: u32) {
        self.interval = Duration::from_secs(1) / fps;
    }

    /// Whether the frame of this time passes. A frame may come a little early: cameras jitter.
    pub fn passes(&mut self, at: Duration) -> bool {
        if at + self.interval / 4 < self.due {
            return false;
        }
        self.due = self.due.max(at.saturating_sub(self.interval)) + self.interval;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn plausible_times_are_kept() {
        let stamped = NOW - Duration::from_millis(20);
        assert_eq!(capture_time(Some(stamped), NOW), stamped);
        assert_eq!(capture_time(Some(Duration::ZERO), NOW), NOW, "starts from zero");
        assert_eq!(capture_time(Some(NOW + Duration::from_millis(1)), NOW), NOW, "in the future");
        assert_eq!(capture_time(None, NOW), NOW);
    }

    fn passed(fps_in: u32, limit: u32, jitter_us: [u64; 2]) -> usize {
        let mut limit = RateLimit::new(limit);
        (0..fps_in * 10)
            .filter(|&n| {
                let jitter = Duration::from_micros(jitter_us[n as usize % 2]);
                limit.passes(NOW + Duration::from_secs(1) * n / fps_in + jitter)
            })
            .count()
    }

    #[test]
    fn drops_only_what_is_too_much() {
        assert_eq!(passed(30, 30, [0, 0]), 300);
        assert_eq!(passed(30, 30, [0, 4000]), 300, "jitter costs no frame");
        assert_eq!(passed(25, 30, [0, 0]), 250);
        assert!((300..=301).contains(&passed(60, 30, [0, 0])));
        assert!((148..=152).contains(&passed(60, 15, [0, 3000])));
    }
}
