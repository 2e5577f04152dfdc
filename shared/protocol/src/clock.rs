//! One clock for both ends: the offset between two hosts' clocks, and capture times from RTP.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The tick rate of RTP timestamps of every video payload (RFC 6184 and friends).
pub const VIDEO_CLOCK_HZ: i64 = 90_000;

/// How many exchanges are kept: the best of them decides, so that a burst of queueing is ignored
/// while a drift of the clocks is still followed.
const WINDOW: usize = 16;

/// Where the other clock stands, from the exchange with the shortest round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// Remote clock minus local clock, in microseconds.
    pub offset_us: i64,
    /// The round trip of that exchange, in microseconds; the offset is off by at most half of it.
    pub rtt_us: i64,
}

impl Offset {
    /// A remote clock reading, on the local clock.
    pub fn to_local(self, remote_us: i64) -> i64 {
        remote_us.saturating_sub(self.offset_us)
    }
}

/// Estimates [`Offset`] from ping and pong times, after NTP (RFC 5905, section 8).
#[derive(Debug, Clone, Default)]
pub struct OffsetEstimator {
    exchanges: VecDeque<Offset>,
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
            (rtt_us >= 0 && remote_held >= 0).then_some(Offset { offset_us, rtt_us })
        };
        if let Some(exchange) = exchange() {
            if self.exchanges.len() == WINDOW {
                self.exchanges.pop_front();
            }
            self.exchanges.push_back(exchange);
        }
    }

    /// The best estimate so far.
    pub fn offset(&self) -> Option<Offset> {
        self.exchanges.iter().min_by_key(|exchange| exchange.rtt_us).copied()
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
    fn the_shortest_round_trip_wins() {
        let mut estimator = OffsetEstimator::default();
        estimator.exchange(0, 1_000_900, 1_000_900, 1_000);
        estimator.exchange(10_000, 1_010_050, 1_010_060, 10_110);
        let offset = estimator.offset().unwrap();
        assert_eq!(offset, Offset { offset_us: 1_000_000, rtt_us: 100 });
        assert_eq!(offset.to_local(1_500_000), 500_000);
    }

    #[test]
    fn a_peer_that_lies_is_ignored() {
        let mut estimator = OffsetEstimator::default();
        estimator.exchange(0, 500, 400, 1_000);
        estimator.exchange(0, 0, 2_000, 1_000);
        estimator.exchange(i64::MIN, i64::MAX, i64::MIN, i64::MAX);
        assert_eq!(estimator.offset(), None);
    }

    #[test]
    fn old_exchanges_are_forgotten() {
        let mut estimator = OffsetEstimator::default();
        estimator.exchange(0, 0, 0, 1);
        for _ in 0..WINDOW {
            estimator.exchange(0, 50, 50, 100);
        }
        assert_eq!(estimator.offset().unwrap().rtt_us, 100);
    }

    #[test]
    fn capture_times_survive_the_wrap_of_rtp_timestamps() {
        let anchor = RtpAnchor { rtp: u32::MAX - 44_999, capture_us: 7_000_000 };
        assert_eq!(anchor.capture_us(45_000), 8_000_000);
        assert_eq!(anchor.capture_us(u32::MAX - 134_999), 6_000_000);
    }
}
