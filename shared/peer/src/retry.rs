//! When to try the broker again, and how patient to be with it. Pure.

use std::time::Duration;

use rovercast_protocol::backoff::Backoff;

/// For so long after a good link was lost, or the start, attempts follow each other quickly: a
/// network that is back should not have to wait for anybody.
const EAGER: Duration = Duration::from_secs(120);

/// Between attempts then.
const SOON: Duration = Duration::from_millis(200);

const SLOWEST: Duration = Duration::from_secs(5);

/// A link that held for this long was a good one.
const HELD: Duration = Duration::from_secs(1);

/// The shortest that is waited for an answer, when answers come quickly.
const LEAST_PATIENCE: Duration = Duration::from_millis(600);

/// The longest.
const MOST_PATIENCE: Duration = Duration::from_secs(5);

/// What is late for an answer: at least, and at most.
const LATE: [Duration; 2] = [Duration::from_millis(40), Duration::from_millis(100)];

/// Follows one link through its attempts.
#[derive(Debug)]
pub(crate) struct Retry {
    eager_until: Duration,
    backoff: Backoff,
    /// How long the last successful attempt took.
    usual: Option<Duration>,
    up_since: Option<Duration>,
}

impl Retry {
    /// The first attempt begins now.
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            eager_until: now + EAGER,
            backoff: Backoff::new(SOON, SLOWEST),
            usual: None,
            up_since: None,
        }
    }

    /// Connected; it took so long.
    pub(crate) fn up(&mut self, now: Duration, took: Duration) {
        (self.up_since, self.usual) = (Some(now), Some(took));
    }

    /// How long to wait for an answer that usually comes soon: four times what the last took.
    pub(crate) fn answer(&self) -> Duration {
        let usual = self.usual.map_or(MOST_PATIENCE, |usual| usual * 4);
        usual.clamp(LEAST_PATIENCE, MOST_PATIENCE)
    }

    /// How long a ping may be unanswered before another connection is tried: as long as the last took. On a
    /// link that works the answer comes first, since a connection takes more round trips.
    pub(crate) fn late(&self) -> Duration {
        let [shortest, longest] = LATE;
        self.usual.map_or(longest, |usual| usual.clamp(shortest, longest))
    }

    /// The link is lost, or the attempt failed. Returns how long to wait before the next; `random`
    /// is uniform in `0.0..1.0`.
    pub(crate) fn failed(&mut self, now: Duration, random: f64) -> Duration {
        match self.up_since.take() {
            Some(since) if now.saturating_sub(since) > HELD => {
                self.backoff.reset();
                self.eager_until = now + EAGER;
            }
            // Somebody takes our connections and closes them.
            Some(_) => self.eager_until = now,
            None => {}
        }
        if now < self.eager_until {
            return SOON.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0);
        }
        self.backoff.next(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn a_ping_is_late_when_a_connection_would_have_been_made() {
        let mut retry = Retry::new(s(0));
        assert_eq!(retry.late(), LATE[1], "nothing is known");
        for (took_ms, late_ms) in [(2, 40), (60, 60), (400, 100)] {
            retry.up(s(0), Duration::from_millis(took_ms));
            assert_eq!(retry.late(), Duration::from_millis(late_ms));
        }
    }

    #[test]
    fn a_network_that_is_back_does_not_wait() {
        let mut retry = Retry::new(s(0));
        retry.up(s(0), Duration::from_millis(50));
        assert!(retry.failed(s(100), 1.0) <= SOON);
        for now in 101..219 {
            assert!(retry.failed(s(now), 1.0) <= SOON, "{now}");
        }
        let waits: Vec<_> = (220..230).map(|now| retry.failed(s(now), 1.0)).collect();
        assert!(waits.is_sorted() && waits[9] == SLOWEST, "{waits:?}");
    }

    #[test]
    fn one_that_takes_connections_and_closes_them_is_not_flooded() {
        let mut retry = Retry::new(s(0));
        let (mut now, mut attempts) = (s(0), 0);
        while now < s(60) {
            retry.up(now, Duration::from_millis(10));
            now += Duration::from_millis(10);
            now += retry.failed(now, 1.0);
            attempts += 1;
        }
        assert!(attempts < 25, "{attempts}");
    }

    #[test]
    fn patience_follows_what_connecting_takes() {
        let mut retry = Retry::new(s(0));
        assert_eq!(retry.answer(), MOST_PATIENCE, "nothing is known yet");
        retry.up(s(0), Duration::from_millis(10));
        assert_eq!(retry.answer(), LEAST_PATIENCE);
        retry.up(s(0), Duration::from_millis(500));
        assert_eq!(retry.answer(), s(2));
    }
}
