//! How long to wait before trying again: exponential, with jitter, without end.

use std::time::Duration;

/// Doubles from `first` up to `ceiling`; each wait is jittered so that a fleet that lost its
/// broker does not come back in one instant.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    ceiling: Duration,
    next: Duration,
}

impl Backoff {
    /// A backoff whose waits grow from `first` to `ceiling`.
    pub fn new(first: Duration, ceiling: Duration) -> Self {
        Self { first, ceiling, next: first }
    }

    /// The next wait: between half of the current step and all of it. `random` is uniform in
    /// `0.0..1.0`; values outside are clamped.
    pub fn next(&mut self, random: f64) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.ceiling);
        step.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }

    /// Start over after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// How patient to be with the `attempt`th of a row of attempts, counted from 0, in units: 1, 1, 2, 1,
/// 1, 2, 4, 1 … Whoever does not know how long success takes, nor when it becomes possible, loses
/// least by these (Luby, Sinclair and Zuckerman, "Optimal speedup of Las Vegas algorithms", 1993):
/// most attempts are short, so that one is soon under way when the network is back, and some are
/// long, so that a slow network is not given up every time.
pub fn patience(attempt: u32) -> u32 {
    // The sequence of length 2^k - 1 is that of 2^(k-1) - 1 twice, then 2^(k-1).
    let (mut position, mut length) = (attempt.saturating_add(1), 1u32);
    loop {
        while length < position {
            length = length.saturating_mul(2).saturating_add(1);
        }
        if length == position {
            return length / 2 + 1;
        }
        (position, length) = (position - length / 2, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_attempts_are_short_and_some_are_long() {
        let first: Vec<_> = (0..15).map(patience).collect();
        assert_eq!(first, [1, 1, 2, 1, 1, 2, 4, 1, 1, 2, 1, 1, 2, 4, 8]);
        for attempt in [1000, u32::MAX - 1, u32::MAX] {
            assert!(patience(attempt) >= 1);
        }
    }

    #[test]
    fn doubles_to_the_ceiling_and_starts_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        let waits: Vec<_> = (0..4).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 350, 350]);
        backoff.reset();
        assert_eq!(backoff.next(0.0).as_millis(), 50);
    }
}
