//! A token bucket: how much one may do at once, and how much in the long run. Reads no clock.

use std::time::Instant;

/// How fast a [`Bucket`] fills, and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// What comes back each second.
    pub per_s: u32,
    /// What may be taken at once after a rest. At least 1.
    pub burst: u32,
}

/// What one may still take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    rate: Rate,
    level: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn full(rate: Rate, now: Instant) -> Self {
        Self { rate, level: rate.burst.into(), at: now }
    }

    /// Takes so much, if it is there. Whatever costs more than the burst takes all of it.
    pub fn take(&mut self, cost: u32, now: Instant) -> bool {
        let (burst, cost) = (f64::from(self.rate.burst), f64::from(cost.min(self.rate.burst)));
        let passed_s = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed_s * f64::from(self.rate.per_s)).min(burst);
        self.at = self.at.max(now);
        let enough = self.level >= cost;
        if enough {
            self.level -= cost;
        }
        enough
    }

    /// Charges for what turned out dearer than it looked, into debt of at most one burst.
    pub fn charge(&mut self, cost: u32) {
        let burst = f64::from(self.rate.burst);
        self.level = (self.level - f64::from(cost)).max(-burst);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_then_so_much_each_second() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut bucket = Bucket::full(Rate { per_s: 2, burst: 3 }, start);
        let took: Vec<_> =
            [0, 0, 0, 0, 499, 500, 501, 1_000].map(|ms| bucket.take(1, at(ms))).to_vec();
        assert_eq!(took, [true, true, true, false, false, true, false, true]);
        // However long the rest was, no more than the burst is there.
        let took: Vec<_> = [90_000; 4].map(|ms| bucket.take(1, at(ms))).to_vec();
        assert_eq!(took, [true, true, true, false]);
        // A clock that goes back gives nothing.
        assert!(!bucket.take(1, at(80_000)));
        assert!(!bucket.take(1, at(90_100)));
    }

    #[test]
    fn what_costs_more_than_a_burst_takes_all_of_it() {
        let start = Instant::now();
        let mut bucket = Bucket::full(Rate { per_s: 1, burst: 3 }, start);
        assert!(bucket.take(100, start));
        assert!(!bucket.take(1, start));
        assert!(!bucket.take(100, start + Duration::from_secs(2)));
        assert!(bucket.take(100, start + Duration::from_secs(3)));
    }

    #[test]
    fn debts_are_paid_back_and_bounded() {
        let start = Instant::now();
        let mut bucket = Bucket::full(Rate { per_s: 1, burst: 3 }, start);
        bucket.charge(4);
        assert!(!bucket.take(1, start + Duration::from_secs(1)));
        assert!(bucket.take(1, start + Duration::from_secs(2)));
        bucket.charge(1_000_000);
        assert!(bucket.take(1, start + Duration::from_secs(6)));
    }
}
