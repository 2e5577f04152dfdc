//! What RTP packets say of their frame's times, in header extensions (RFC 8285, one-byte form): when
//! it was captured, and how long it took until it was encoded and sent. No RTP header is read or
//! written here: only what is in the extensions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The name of the extension with the time of capture, as browsers know it.
pub const CAPTURE_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

/// The name of our own extension, with the stages on the robot.
pub const STAGES: &str = "urn:x-rovercast:frame-stages";

/// The name of the extension by which a sender asks browsers not to hold pictures back.
pub const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";

/// The least and the most that a picture may be held back, in units of 10 ms, 12 bits each: 0 and
/// 500 ms. With these Chromium shows every picture as it comes, unless the page itself asks for more;
/// with a higher limit it does not, and with a lower one pages could not ask for that much.
pub const SHOW_AT_ONCE: [u8; 3] = [0, 0, 50];

/// So many bytes the extensions add to a packet at most, with their header and padding.
pub const MAX_BYTES: u32 = 24;

/// From NTP's epoch, 1900, to that of Unix.
const NTP_TO_UNIX: Duration = Duration::from_secs(2_208_988_800);

/// NTP timestamps count seconds modulo 2^32.
const NTP_ERA_US: i64 = (1 << 32) * 1_000_000;

/// The time of day when a robot's clock read zero: NTP's, in microseconds. It is fixed when the
/// robot's program starts, so that capture times never step, whatever is done to its time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(i64);

impl Epoch {
    /// The epoch of a clock that reads `now_us` when it is `unix` since 1970.
    pub fn new(unix: Duration, now_us: i64) -> Self {
        let ntp_us = i64::try_from((unix + NTP_TO_UNIX).as_micros()).unwrap_or(i64::MAX);
        Self(ntp_us.saturating_sub(now_us))
    }

    /// The same, in NTP's microseconds.
    pub fn from_ntp_us(us: i64) -> Self {
        Self(us)
    }

    /// A time of capture, in microseconds of the robot's clock, as [`CAPTURE_TIME`] has it: an NTP
    /// timestamp of 64 bits.
    pub fn capture_time(self, capture_us: i64) -> [u8; 8] {
        let ntp_us = self.0.wrapping_add(capture_us).rem_euclid(NTP_ERA_US) as u64;
        let (seconds, us) = (ntp_us / 1_000_000, ntp_us % 1_000_000);
        let fraction = ((us << 32) + 500_000) / 1_000_000;
        (seconds << 32 | fraction).to_be_bytes()
    }

    /// The reverse: exact, and none of what is no such extension. Its longer form, with the offset of
    /// another clock, is taken, too.
    pub fn capture_us(self, extension: &[u8]) -> Option<i64> {
        let timestamp = u64::from_be_bytes(*extension.first_chunk()?);
        let (seconds, fraction) = ((timestamp >> 32) as i64, timestamp & 0xFFFF_FFFF);
        let us = (fraction * 1_000_000 + (1 << 31)) >> 32;
        let ntp_us = seconds * 1_000_000 + us as i64;
        Some(ntp_us.checked_sub(self.0)?.rem_euclid(NTP_ERA_US))
    }
}

/// How long a frame had been on the robot, since its capture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stages {
    /// When its access unit left the encoder, in microseconds; none where that is not known.
    pub encoded_us: Option<u32>,
    /// When its last packet was handed to the transport, in microseconds; none where that is not
    /// known.
    pub sent_us: Option<u32>,
}

/// The unit on the wire: 0.1 ms.
const UNIT_US: u32 = 100;

/// Longer than can be told, or not known.
const UNTOLD: u16 = u16::MAX;

impl Stages {
    /// As [`STAGES`] has it: both in units of 0.1 ms, 16 bits each.
    pub fn to_bytes(self) -> [u8; 4] {
        let units = |us: Option<u32>| {
            let units = us.map(|us| us.saturating_add(UNIT_US / 2) / UNIT_US);
            units.and_then(|units| u16::try_from(units).ok()).unwrap_or(UNTOLD).to_be_bytes()
        };
        let ([a, b], [c, d]) = (units(self.encoded_us), units(self.sent_us));
        [a, b, c, d]
    }

    /// The reverse; none of what is no such extension, or contradicts itself. What a later version
    /// may have added is passed over.
    pub fn from_bytes(extension: &[u8]) -> Option<Self> {
        let &[a, b, c, d] = extension.first_chunk()?;
        let us = |units: u16| (units != UNTOLD).then(|| u32::from(units) * UNIT_US);
        let (encoded_us, sent_us) =
            (us(u16::from_be_bytes([a, b])), us(u16::from_be_bytes([c, d])));
        let backwards = encoded_us.zip(sent_us).is_some_and(|(encoded, sent)| sent < encoded);
        (!backwards).then_some(Self { encoded_us, sent_us })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_time_looks_as_the_extension_says() {
        // 2036-02-07T06:28:14.5Z, a second and a half before the era ends.
        let unix = Duration::from_millis(2_085_978_494_500);
        let epoch = Epoch::new(unix, 10_000_000);
        assert_eq!(epoch.capture_time(10_000_000), [0xFF, 0xFF, 0xFF, 0xFE, 0x80, 0, 0, 0]);
        assert_eq!(epoch.capture_time(11_750_000), [0, 0, 0, 0, 0x40, 0, 0, 0], "the next era");
        assert_eq!(epoch.capture_us(&[0, 0, 0, 0, 0x40, 0, 0, 0]), Some(11_750_000));
    }

    #[test]
    fn capture_times_come_back_exactly() {
        for unix_s in [0, 1_000_000_000, 1_800_000_000, 2_085_978_490, 4_000_000_000] {
            let now_us = 77_000_000_123;
            let epoch = Epoch::new(Duration::from_micros(unix_s * 1_000_000 + 654_321), now_us);
            let times = (0..100_000).map(|n| now_us - 1_000 + n * 9_973);
            for capture_us in times.chain([0, 1, 999_999, 4_000_000_000_000_000]) {
                let told = epoch.capture_time(capture_us);
                assert_eq!(epoch.capture_us(&told), Some(capture_us));
                assert_eq!(epoch.capture_us(&[&told[..], &[7; 8]].concat()), Some(capture_us));
            }
        }
    }

    #[test]
    fn stages_come_back_to_the_tenth_of_a_millisecond() {
        for us in (0..6_553_400).step_by(77) {
            let stages = Stages { encoded_us: Some(us), sent_us: Some(us + 40) };
            let Some(Stages { encoded_us: Some(encoded), sent_us: Some(sent) }) =
                Stages::from_bytes(&stages.to_bytes())
            else {
                panic!("{stages:?}")
            };
            assert!(encoded.abs_diff(us) <= 50 && sent.abs_diff(us + 40) <= 50, "{stages:?}");
        }
        for untold in [None, Some(6_553_450), Some(u32::MAX)] {
            let stages = Stages { encoded_us: Some(300), sent_us: untold };
            let told = Stages { encoded_us: Some(300), sent_us: None };
            assert_eq!(Stages::from_bytes(&stages.to_bytes()), Some(told));
        }
        assert_eq!(Stages::from_bytes(&Stages::default().to_bytes()), Some(Stages::default()));
    }

    #[test]
    fn garbage_is_no_frames_time() {
        let epochs = [i64::MIN, -1, 0, 3_900_000_000_000_000, i64::MAX].map(Epoch::from_ntp_us);
        let mut seed = 1_u64;
        for round in 0..20_000 {
            let garbage: Vec<u8> = (0..round % 17)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    if round % 5 == 0 { 0xFF } else { (seed >> 56) as u8 }
                })
                .collect();
            for epoch in epochs {
                let us = epoch.capture_us(&garbage);
                assert!(us.is_none_or(|us| (0..NTP_ERA_US).contains(&us)), "{garbage:?}");
                assert!(garbage.len() >= 8 || us.is_none(), "{garbage:?}");
            }
            if let Some(Stages { encoded_us: Some(encoded), sent_us: Some(sent) }) =
                Stages::from_bytes(&garbage)
            {
                assert!(encoded <= sent, "{garbage:?}");
            }
        }
        assert_eq!(Stages::from_bytes(&[0, 2, 0, 1]), None, "sent before it was encoded");
        assert_eq!(Stages::from_bytes(&[0, 2, 0]), None);
    }
}
