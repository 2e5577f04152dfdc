//! Whether an encoder is alive, by what goes in and what comes out. Pure.

use std::time::Duration;

/// An encoder that takes frames and gives nothing for this long hangs.
const STUCK: Duration = Duration::from_secs(3);

/// As many frames an encoder may keep to itself.
const DEPTH: u64 = 4;

/// The pulse of one encoder.
#[derive(Debug, Default)]
pub struct Pulse {
    offered: u64,
    encoded: u64,
    /// Since when it has been owing something.
    owes: Option<Duration>,
}

impl Pulse {
    /// Takes how many frames were offered to it and how many access units came out, both since the
    /// camera exists. True when it hangs.
    pub fn is_stuck(&mut self, offered: u64, encoded: u64, now: Duration) -> bool {
        if encoded != self.encoded {
            *self = Self { offered, encoded, owes: None };
        }
        if offered == self.offered {
            return false;
        }
        let owes = *self.owes.get_or_insert(now);
        offered - self.offered > DEPTH && now.saturating_sub(owes) > STUCK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many milliseconds an encoder is taken for stuck, that gets a frame in each of
    /// these periods and gives the first so many.
    fn stuck_after(period_ms: u64, frames: u64, given: u64) -> Option<u64> {
        let mut pulse = Pulse::default();
        (0..60_000).step_by(40).find(|&ms| {
            let offered = (ms / period_ms).min(frames);
            pulse.is_stuck(offered, offered.min(given), Duration::from_millis(ms))
        })
    }

    #[test]
    fn one_that_takes_and_gives_nothing_hangs() {
        assert_eq!(stuck_after(33, u64::MAX, 0), Some(3080));
        assert_eq!(stuck_after(33, u64::MAX, 300), Some(9960 + 3040));
        assert_eq!(stuck_after(1000, u64::MAX, 5), Some(10_000), "slowly fed, it gets its time");
    }

    #[test]
    fn one_that_is_given_nothing_owes_nothing() {
        assert_eq!(stuck_after(33, 300, 300), None);
        assert_eq!(stuck_after(33, 300, u64::MAX), None);
        assert_eq!(stuck_after(33, 0, 0), None);
        assert_eq!(stuck_after(33, 300, 297), None, "some keep a few frames");
    }

    #[test]
    fn after_a_long_rest_it_gets_its_time_again() {
        let mut pulse = Pulse::default();
        let second = Duration::from_secs(1);
        assert!(!pulse.is_stuck(100, 100, second));
        assert!(!pulse.is_stuck(100, 100, 1000 * second));
        assert!(!pulse.is_stuck(110, 100, 1001 * second));
        assert!(!pulse.is_stuck(200, 100, 1004 * second));
        assert!(pulse.is_stuck(210, 100, 1005 * second));
    }
}
