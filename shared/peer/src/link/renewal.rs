//! When to ask the broker for ICE servers again, so that sessions always begin with credentials that
//! hold for long enough. Pure.

use std::time::Duration;

/// No credentials are kept for longer, whatever the broker says.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Follows the credentials of one connection.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    ttl: Duration,
    ask_at: Option<Duration>,
}

impl Renewal {
    /// The broker gave servers whose credentials hold for so many seconds; for ever where it does
    /// not say.
    pub(crate) fn given(&mut self, now: Duration, ttl_s: Option<u32>) {
        self.ttl = ttl_s.map_or(LONGEST, |s| Duration::from_secs(s.into())).min(LONGEST);
        self.ask_at = ttl_s.map(|_| now + (self.ttl / 2).max(Duration::from_secs(1)));
    }

    /// Whether to ask now. An answer that does not come is asked for again.
    pub(crate) fn is_due(&mut self, now: Duration) -> bool {
        let due = self.ask_at.is_some_and(|at| now >= at);
        if due {
            self.ask_at = Some(now + (self.ttl / 8).max(Duration::from_secs(1)));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_renewed_at_half_their_time() {
        let s = Duration::from_secs;
        let mut renewal = Renewal::default();
        assert!(!renewal.is_due(s(1_000_000)), "nothing was given");
        renewal.given(s(10), None);
        assert!(!renewal.is_due(s(1_000_000)), "they hold for ever");
        renewal.given(s(10), Some(80));
        assert!(!renewal.is_due(s(49)));
        assert!(renewal.is_due(s(50)) && !renewal.is_due(s(51)), "asked once");
        assert!(renewal.is_due(s(60)), "and again when no answer comes");
        renewal.given(s(61), Some(80));
        assert!(!renewal.is_due(s(100)) && renewal.is_due(s(101)));
    }

    #[test]
    fn no_length_of_time_is_too_odd() {
        let mut renewal = Renewal::default();
        renewal.given(Duration::ZERO, Some(u32::MAX));
        assert!(renewal.is_due(LONGEST));
        renewal.given(Duration::ZERO, Some(0));
        let asked = (0..100).filter(|n| renewal.is_due(Duration::from_millis(n * 100))).count();
        assert!(asked <= 10, "{asked} in ten seconds");
    }
}
