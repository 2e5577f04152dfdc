//! What is known of the robot's clock for one track, and when its frames were captured by ours.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rovercast_protocol::clock::{Offset, RtpAnchor};
use rovercast_protocol::frame_times::{Epoch, Stages};

/// A track's clock. Clones are the same: the session writes it, and whoever sees the packets reads it.
#[derive(Debug, Clone, Default)]
pub struct TrackClock(Arc<Mutex<Known>>);

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    offset: Option<Offset>,
    epoch: Option<Epoch>,
    anchor: Option<RtpAnchor>,
}

/// Where a frame comes from, as far as is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin {
    /// When it was captured, in microseconds of this host's clock, and by how much that may be off.
    pub captured: Option<Captured>,
    /// How long it was on the robot.
    pub stages: Stages,
}

/// A time of capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Captured {
    /// When, in microseconds of this host's clock.
    pub at_us: i64,
    /// How far that may be off, in microseconds, either way.
    pub error_us: i64,
}

impl TrackClock {
    /// Takes where the robot's clock stands.
    pub fn set_offset(&self, offset: Option<Offset>) {
        self.lock().offset = offset;
    }

    /// Takes what the robot told of its clock; what it did not tell stays as it was.
    pub fn learn(&self, epoch: Option<Epoch>, anchor: Option<RtpAnchor>) {
        let mut known = self.lock();
        known.epoch = epoch.or(known.epoch);
        known.anchor = anchor.or(known.anchor);
    }

    /// The origin of a frame, of which a packet has this RTP timestamp and these header extensions:
    /// of `CAPTURE_TIME` and `STAGES`, where it has them. Without the first, the RTP timestamp tells
    /// the same.
    pub fn origin(&self, rtp: u32, capture_time: Option<&[u8]>, stages: Option<&[u8]>) -> Origin {
        let Known { offset, epoch, anchor } = *self.lock();
        let exact_us = epoch.zip(capture_time).and_then(|(epoch, told)| epoch.capture_us(told));
        let robot_us = exact_us.or_else(|| anchor.map(|anchor| anchor.capture_us(rtp)));
        let captured = robot_us.zip(offset).map(|(robot_us, offset)| Captured {
            at_us: offset.to_local(robot_us),
            error_us: offset.error_us,
        });
        Origin { captured, stages: stages.and_then(Stages::from_bytes).unwrap_or_default() }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFSET: Offset = Offset { offset_us: 1_000, error_us: 7, rtt_us: 14 };
    const EPOCH: i64 = 3_900_000_000_000_000;

    fn captured_us(origin: Origin) -> Option<i64> {
        origin.captured.map(|captured| captured.at_us)
    }

    #[test]
    fn the_extension_comes_before_the_anchor() {
        let clock = TrackClock::default();
        let epoch = Epoch::from_ntp_us(EPOCH);
        let told = epoch.capture_time(500_000);
        assert_eq!(clock.origin(9_000, Some(&told), None), Origin::default());
        let anchor = RtpAnchor { rtp: 0, capture_us: 300_000 };
        clock.learn(None, Some(anchor));
        assert_eq!(captured_us(clock.origin(9_000, Some(&told), None)), None, "no offset yet");
        clock.set_offset(Some(OFFSET));
        let by_anchor = Some(399_000);
        assert_eq!(captured_us(clock.origin(9_000, Some(&told), None)), by_anchor, "no epoch yet");
        clock.learn(Some(epoch), None);
        let origin = clock.origin(9_000, Some(&told), Some(&[0, 20, 0, 30]));
        assert_eq!(origin.captured, Some(Captured { at_us: 499_000, error_us: 7 }));
        let stages = Stages { encoded_us: Some(2_000), sent_us: Some(3_000) };
        assert_eq!(origin.stages, stages);
        assert_eq!(captured_us(clock.origin(9_000, None, None)), by_anchor);
        assert_eq!(captured_us(clock.origin(9_000, Some(&[1; 7]), Some(&[1]))), by_anchor);
    }

    #[test]
    fn whatever_a_robot_says_is_survived() {
        let extremes = [i64::MIN, -1, 0, i64::MAX];
        for us in extremes {
            for offset_us in extremes {
                let clock = TrackClock::default();
                clock.set_offset(Some(Offset { offset_us, error_us: i64::MAX, rtt_us: 0 }));
                let anchor = RtpAnchor { rtp: 0, capture_us: us };
                clock.learn(Some(Epoch::from_ntp_us(us)), Some(anchor));
                for told in [[0; 8], [0xFF; 8]] {
                    let origin = clock.origin(u32::MAX, Some(&told), Some(&told));
                    assert!(origin.captured.is_some());
                }
            }
        }
    }
}
