//! One clock for both ends: the offset between two hosts' clocks, and capture times from RTP.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The tick rate of RTP timestamps of every video payload (RFC 6184 and friends).
pub const VIDEO_CLOCK_HZ: i64 = 90_000;

/// How many exchanges are kept.
const WINDOW: usize = 64;

/// Two clocks run apart by no more than this, in parts per million: good for the worst of quartz, and
/// for what NTP does to bring a clock back.
const DRIFT_PPM: i64 = 200;

/// Where the other clock stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// Remote clock minus local clock, in microseconds.
    pub offset_us: i64,
    /// How far that may be off, in microseconds, either way.
    pub error_us: i64,
    /// The shortest round trip of late, in microseconds.
    pub rtt_us: i64,
}

impl Offset {
    /// A remote clock reading, on the local clock.
    pub fn to_local(self, remote_us: i64) -> i64 {
        remote_us.saturating_sub(self.offset_us)
    }
}

/// What one ping and its answer told.
#[derive(Debug, Clone, Copy)]
struct Exchange {
    offset_us: i64,
    rtt_us: i64,
    /// When it was over, on the local clock.
    at_us: i64,
}

impl Exchange {
    /// Between which two values the offset is at this moment. The way there and the way back may
    /// have taken any share of the round trip, and the clocks have drifted since.
    fn range(&self, now_us: i64) -> (i64, i64) {
        let age_us = now_us.saturating_sub(self.at_us).max(0);
        let drifted_us = (age_us / 1_000_000 * DRIFT_PPM)
            .saturating_add(age_us % 1_000_000 * DRIFT_PPM / 1_000_000);
        // What the divisions have cut off.
        let rounding_us = 2;
        let error_us = (self.rtt_us / 2).saturating_add(drifted_us).saturating_add(rounding_us);
        (self.offset_us.saturating_sub(error_us), self.offset_us.saturating_add(error_us))
    }
}

/// Estimates [`Offset`] from ping and pong times, after NTP (RFC 5905, section 8).
///
/// Each exchange tells a range that the offset is in. All of them are right, so it is where they
/// overlap: one that was fast on its way there and one that was fast on its way back, both of them
/// slow otherwise, are together as good as one that was fast both ways.
#[derive(Debug, Clone, Default)]
pub struct OffsetEstimator {
    exchanges: VecDeque<Exchange>,
}

impl OffsetEstimator {
    /// Takes one exchange: pinged at `sent_us`, answered between `remote_received_us` and
    /// `remote_sent_us` on the remote clock, the answer here at `received_us`.
    /// Times that contradict each other (a peer that lies) are ignored.
    pub fn exchange(
        &mut self,
        sent_us: i64,
        remote_received_us: i64,
        remote_sent_us: i64,
        received_us: i64,
    ) {
        let exchange = || {
            let remote_held = remote_sent_us.checked_sub(remote_received_us)?;
            let rtt_us = received_us.checked_sub(sent_us)?.checked_sub(remote_held)?;
            let forth = remote_received_us.checked_sub(sent_us)?;
            let back = remote_sent_us.checked_sub(received_us)?;
            let offset_us = forth.checked_add(back)? / 2;
            let told = Exchange { offset_us, rtt_us, at_us: received_us };
            (rtt_us >= 0 && remote_held >= 0).then_some(told)
        };
        if let Some(exchange) = exchange() {
            if self.exchanges.len() == WINDOW {
                self.exchanges.pop_front();
            }
            self.exchanges.push_back(exchange);
        }
    }

    /// How many exchanges it goes by.
    pub fn exchanges(&self) -> usize {
        self.exchanges.len()
    }

    /// The best estimate at this moment of the local clock.
    pub fn offset(&self, now_us: i64) -> Option<Offset> {
        let mut newest_first = self.exchanges.iter().rev().map(|one| (one.range(now_us), one));
        let ((mut low, mut high), newest) = newest_first.next()?;
        let mut rtt_us = newest.rtt_us;
        for ((lowest, highest), exchange) in newest_first {
            let overlap = (low.max(lowest), high.min(highest));
            // Then a clock was set since, or the other host slept: what came before is void.
            if overlap.0 > overlap.1 {
                break;
            }
            (low, high) = overlap;
            rtt_us = rtt_us.min(exchange.rtt_us);
        }
        let error_us = high.saturating_sub(low) / 2 + 1;
        Some(Offset { offset_us: low.saturating_add(error_us - 1), error_us, rtt_us })
    }
}

/// A point where an RTP timestamp and the sender's clock are known to meet. RTP timestamps run
/// linearly from there, so that one anchor tells the capture time of every frame of the track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtpAnchor {
    /// The RTP timestamp.
    pub rtp: u32,
    /// When a frame with that timestamp would have been captured: the sender's clock, microseconds.
    pub capture_us: i64,
}

impl RtpAnchor {
    /// The capture time of the frame with this RTP timestamp, on the sender's clock. Right within
    /// six hours of the anchor, where the 32-bit timestamp would wrap around.
    pub fn capture_us(self, rtp: u32) -> i64 {
        let ticks = i64::from(rtp.wrapping_sub(self.rtp) as i32);
        self.capture_us.saturating_add(ticks * 1_000_000 / VIDEO_CLOCK_HZ)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_round_trip_decides() {
        let mut estimator = OffsetEstimator::default();
        assert_eq!(estimator.offset(0), None);
        estimator.exchange(0, 1_000_900, 1_000_900, 1_000);
        estimator.exchange(10_000, 1_010_050, 1_010_060, 10_110);
        let offset = estimator.offset(10_110).unwrap();
        assert!((offset.offset_us - 1_000_000).abs() <= 2, "{offset:?}");
        assert!((50..60).contains(&offset.error_us), "{offset:?}");
        assert_eq!(offset.rtt_us, 100);
        assert_eq!(Offset { offset_us: 1_000_000, ..offset }.to_local(1_500_000), 500_000);
    }

    #[test]
    fn a_peer_that_lies_is_ignored() {
        let mut estimator = OffsetEstimator::default();
        estimator.exchange(0, 500, 400, 1_000);
        estimator.exchange(0, 0, 2_000, 1_000);
        estimator.exchange(i64::MIN, i64::MAX, i64::MIN, i64::MAX);
        assert_eq!(estimator.offset(0), None);
        // What is not contradictory is taken, however absurd, and does no harm.
        estimator.exchange(0, i64::MIN / 2, i64::MIN / 2, i64::MAX / 2);
        estimator.exchange(0, i64::MAX / 2, i64::MAX / 2, 7);
        estimator.exchange(i64::MIN / 4, i64::MIN / 4, i64::MIN / 4, i64::MIN / 4);
        for now_us in [i64::MIN, 0, i64::MAX] {
            estimator.offset(now_us).unwrap();
        }
    }

    #[test]
    fn after_a_step_of_the_clock_the_newest_is_right() {
        let mut estimator = OffsetEstimator::default();
        for second in 0..40 {
            let us = second * 1_000_000;
            estimator.exchange(us, us + 50, us + 50, us + 100);
        }
        let us = 40_000_000;
        estimator.exchange(us, us + 9_000_050, us + 9_000_050, us + 100);
        let offset = estimator.offset(us + 100).unwrap();
        assert!((offset.offset_us - 9_000_000).abs() <= 2 && offset.error_us < 60, "{offset:?}");
    }

    /// Two clocks that run apart by 100 ppm, and a path whose two directions queue for themselves:
    /// most packets wait for up to 20 ms, few for nothing. Returns the largest error bound after a
    /// number of pings, having checked each.
    fn bound_us(pings_per_s: i64, settled: i64, mut seed: u64) -> i64 {
        let mut random = move |bound: i64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 1) as i64 % bound
        };
        let remote = |us: i64| us + us / 10_000 - 123_456_789;
        let mut estimator = OffsetEstimator::default();
        let mut largest_us = 0;
        for ping in 0..600 {
            let sent = ping * 1_000_000 / pings_per_s;
            let mut way = || 300 + if random(4) == 0 { random(100) } else { random(20_000) };
            let (forth, held, back) = (way(), 80, way());
            let answered = sent + forth + held;
            let received = answered + back;
            estimator.exchange(sent, remote(sent + forth), remote(answered), received);
            for later in [0, 500_000 / pings_per_s] {
                let now = received + later;
                let offset = estimator.offset(now).unwrap();
                let off_by = (offset.offset_us - (remote(now) - now)).abs();
                assert!(off_by <= offset.error_us, "{off_by} us at ping {ping}: {offset:?}");
                if ping >= settled {
                    largest_us = largest_us.max(offset.error_us);
                }
            }
        }
        largest_us
    }

    #[test]
    fn the_error_is_within_its_bound_whatever_the_queues_do() {
        for seed in 1..=20 {
            let bound = bound_us(1, 30, seed);
            assert!(bound < 6_000, "{bound} us, pinged once a second");
            let bound = bound_us(5, 30, seed);
            assert!(bound < 3_000, "{bound} us, pinged five times a second");
        }
    }

    #[test]
    fn capture_times_survive_the_wrap_of_rtp_timestamps() {
        let anchor = RtpAnchor { rtp: u32::MAX - 44_999, capture_us: 7_000_000 };
        assert_eq!(anchor.capture_us(45_000), 8_000_000);
        assert_eq!(anchor.capture_us(u32::MAX - 134_999), 6_000_000);
    }
}
