//! Which packets go on to the depayloader: whole pictures only. Pure.
//!
//! Depayloaders make pictures of what they get: after a loss they pass on halves of key frames,
//! which decoders show. So a picture's packets are held until the last of them is there, which
//! costs no time, since nobody can decode it earlier; and what is not whole goes no further.

use std::time::Duration;

use rovercast_protocol::codec::Codec;

/// A picture has no more bytes than this: no encoder for live video makes larger ones.
const MAX_PICTURE_BYTES: usize = 8 * 1024 * 1024;

/// What encoder and packets need, beside the round trip, until a key frame that was asked for is here.
const KEY_FRAME_TAKES: Duration = Duration::from_millis(150);

/// Requests for key frames are at least so far apart.
const REQUESTS_APART: Duration = Duration::from_millis(50);

/// What is to be known of an RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Its number.
    pub sequence: u16,
    /// That of its picture.
    pub timestamp: u32,
    /// Whether it says that it is the last of its picture.
    pub ends: bool,
    /// Whether it surely is the first of its picture.
    pub begins: bool,
    /// Its size.
    pub bytes: usize,
}

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It waits for the rest of its picture.
    Held,
    /// It goes on, behind those that are held.
    Passed,
    /// It goes nowhere.
    Dropped,
}

/// What to do when a packet comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// First, with what is held: passed on, dropped, or held further.
    pub held: Fate,
    /// Then, with the packet.
    pub packet: Fate,
    /// Whether a key frame is to be asked for.
    pub asks: bool,
}

/// Follows the packets of one track.
#[derive(Debug, Default)]
pub struct Frames {
    expected: Option<u16>,
    timestamp: Option<u32>,
    broken: bool,
    held_bytes: usize,
    lacks_key_frame: bool,
    asked: Duration,
}

impl Frames {
    /// A packet comes at `now`, by a path with this round trip. `gap`: something is known to be
    /// missing before it.
    pub fn take(&mut self, packet: &Packet, gap: bool, now: Duration, rtt: Duration) -> Verdict {
        let first = self.expected.is_none();
        let gap = gap || self.expected.is_some_and(|expected| expected != packet.sequence);
        self.expected = Some(packet.sequence.wrapping_add(1));
        let begins = self.timestamp.replace(packet.timestamp) != Some(packet.timestamp);
        let mut held = Fate::Held;
        if first || gap {
            // What is missing may be the end of one picture, the beginning of the next, or both.
            (self.broken, held) = (!packet.begins, Fate::Dropped);
            self.lacks_key_frame = true;
        } else if begins && self.held_bytes > 0 {
            // Of a sender that does not mark the last packets.
            (self.broken, held) = (false, Fate::Passed);
        } else if begins {
            self.broken = false;
        }
        if held != Fate::Held {
            self.held_bytes = 0;
        }
        self.held_bytes += packet.bytes;
        if self.held_bytes > MAX_PICTURE_BYTES {
            (self.broken, held) = (true, Fate::Dropped);
        }
        let packet = match (self.broken, packet.ends) {
            (true, _) => Fate::Dropped,
            (false, true) => Fate::Passed,
            (false, false) => Fate::Held,
        };
        if packet != Fate::Held {
            self.held_bytes = 0;
        }
        Verdict { held, packet, asks: self.asks(first, gap, now, rtt) }
    }

    /// A whole key frame has gone on.
    pub fn has_key_frame(&mut self) {
        self.lacks_key_frame = false;
    }

    /// A gap asks at once, but for what a request that is still under way will bring, too.
    fn asks(&mut self, first: bool, gap: bool, now: Duration, rtt: Duration) -> bool {
        if first {
            // A track begins with a key frame without being asked.
            self.asked = now;
        }
        let under_way = rtt.max(REQUESTS_APART);
        let patience = if gap { under_way } else { under_way + KEY_FRAME_TAKES };
        let asks = self.lacks_key_frame && now.saturating_sub(self.asked) >= patience;
        if asks {
            self.asked = now;
        }
        asks
    }
}

impl Packet {
    /// Reads an RTP packet (RFC 3550, section 5.1) with a payload of this codec.
    pub fn parse(bytes: &[u8], codec: Codec) -> Option<Self> {
        let [first, second, ..] = *bytes else { return None };
        let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let mut payload = 12 + 4 * usize::from(first & 0x0f);
        if first & 0x10 != 0 {
            payload += 4 + 4 * (word(payload)? & 0xffff) as usize;
        }
        Some(Self {
            sequence: (word(0)? & 0xffff) as u16,
            timestamp: word(4)?,
            ends: second & 0x80 != 0,
            begins: begins(codec, bytes.get(payload..)?),
            bytes: bytes.len(),
        })
    }
}

/// Whether a payload is surely the first of its picture.
fn begins(codec: Codec, payload: &[u8]) -> bool {
    match (codec, payload) {
        // RFC 6184: a NAL unit, or several (24). Delimiter, parameter sets and SEI come first.
        (Codec::H264, [24, _, _, first, ..] | [first, ..]) => (6..=9).contains(&(first & 0x1f)),
        // RFC 7798: likewise (48), with headers of two bytes.
        (Codec::H265, [head, _, rest @ ..]) => {
            let first = match (head >> 1 & 0x3f, rest) {
                (48, [_, _, first, ..]) => first >> 1 & 0x3f,
                (kind, _) => kind,
            };
            (32..=35).contains(&first) || first == 39
        }
        // RFC 7741: the beginning of the first partition.
        (Codec::Vp8, [head, ..]) => head & 0x17 == 0x10,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(80);

    /// A track of pictures of three packets each, 33 ms apart; the packet with number 0 is the first
    /// of picture 0. Told which packets are missing, says which pictures go on, whole, and at which
    /// packets a key frame is asked for.
    fn play(packets: u16, missing: &[u16], head_is_known: bool) -> (Vec<u16>, Vec<u16>) {
        let (mut frames, mut held) = (Frames::default(), Vec::new());
        let (mut passed, mut asked) = (Vec::new(), Vec::new());
        for number in (0..packets).filter(|number| !missing.contains(number)) {
            let packet = Packet {
                sequence: number.wrapping_add(65_530),
                timestamp: u32::from(number / 3),
                ends: number % 3 == 2,
                begins: head_is_known && number % 3 == 0,
                bytes: 1000,
            };
            let now = Duration::from_millis(u64::from(number / 3) * 33);
            let verdict = frames.take(&packet, false, now, RTT);
            match verdict.held {
                Fate::Held => {}
                Fate::Passed => passed.append(&mut held),
                Fate::Dropped => held.clear(),
            }
            match verdict.packet {
                Fate::Held => held.push(number),
                Fate::Passed => {
                    passed.append(&mut held);
                    passed.push(number);
                }
                Fate::Dropped => {}
            }
            asked.extend(verdict.asks.then_some(number));
        }
        let whole = |picture: &[u16]| picture.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        assert!(
            passed.chunks(3).all(|picture| picture[0] % 3 == 0 && whole(picture)),
            "{passed:?}"
        );
        (passed.chunks(3).map(|picture| picture[0] / 3).collect(), asked)
    }

    #[test]
    fn without_a_loss_everything_goes_on() {
        let (passed, _) = play(60, &[], true);
        assert!(passed.into_iter().eq(0..20));
    }

    #[test]
    fn only_whole_pictures_go_on_whatever_is_missing() {
        for missing in 9..15 {
            let (passed, _) = play(60, &[missing], true);
            let picture = missing / 3;
            assert!(passed.iter().copied().eq((0..20).filter(|n| *n != picture)), "{missing}");
        }
        let (passed, _) = play(60, &[10, 11, 12], true);
        assert!(passed.into_iter().eq((0..20).filter(|n| ![3, 4].contains(n))), "two with one gap");
        let (passed, _) = play(60, &[9, 10, 11], true);
        assert!(passed.into_iter().eq((0..20).filter(|n| *n != 3)), "one, from end to end");
    }

    #[test]
    fn where_a_beginning_cannot_be_told_a_picture_behind_a_gap_is_not_trusted() {
        let (passed, _) = play(60, &[9, 10, 11], false);
        assert!(passed.into_iter().eq((1..20).filter(|n| ![3, 4].contains(n))));
    }

    #[test]
    fn a_key_frame_is_asked_for_at_once_and_again_until_it_comes() {
        // Nothing is asked at first: 230 ms are seven pictures.
        let (_, asked) = play(90, &[13], true);
        assert_eq!(asked[0], 14, "with the first packet behind the gap");
        assert_eq!(asked[1] / 3, 14 / 3 + 7, "as soon as it should have been there");
        let (_, asked) = play(24, &[13, 15, 17], true);
        assert_eq!(asked, [14], "what it brings mends the later gaps, too");
    }

    #[test]
    fn nothing_is_asked_for_with_a_key_frame_there() {
        let mut frames = Frames::default();
        let packet = |sequence| Packet {
            sequence,
            timestamp: u32::from(sequence),
            ends: true,
            begins: true,
            bytes: 10,
        };
        assert!(!frames.take(&packet(0), false, Duration::ZERO, RTT).asks);
        frames.has_key_frame();
        for sequence in 1..100 {
            let now = Duration::from_millis(u64::from(sequence) * 33);
            let passed = Verdict { held: Fate::Held, packet: Fate::Passed, asks: false };
            assert_eq!(frames.take(&packet(sequence), false, now, RTT), passed);
        }
        let now = Duration::from_secs(10);
        assert!(frames.take(&packet(100), true, now, RTT).asks, "a gap that it was told of");
    }

    #[test]
    fn senders_that_mark_no_end_are_understood() {
        let mut frames = Frames::default();
        let mut take = |sequence, timestamp| {
            let begins = sequence % 2 == 0;
            let packet = Packet { sequence, timestamp, ends: false, begins, bytes: 10 };
            frames.take(&packet, false, Duration::ZERO, RTT).held
        };
        let fates = [take(0, 0), take(1, 0), take(2, 7), take(3, 7), take(5, 9), take(6, 11)];
        use Fate::{Dropped, Held, Passed};
        // What is held when number 4 is missing, and number 5, of which the beginning is missing.
        assert_eq!(fates, [Dropped, Held, Passed, Held, Dropped, Held]);
    }

    #[test]
    fn a_picture_without_end_is_not_kept() {
        let mut frames = Frames::default();
        let (mut held, mut most) = (0, 0);
        for sequence in 0..20_000 {
            let packet =
                Packet { sequence, timestamp: 0, ends: false, begins: sequence == 0, bytes: 1200 };
            let verdict = frames.take(&packet, false, Duration::ZERO, RTT);
            held = if verdict.held == Fate::Held { held } else { 0 };
            held += if verdict.packet == Fate::Held { packet.bytes } else { 0 };
            most = most.max(held);
        }
        assert!((1_000_000..=MAX_PICTURE_BYTES).contains(&most), "{most}");
        assert_eq!(held, 0);
    }

    #[test]
    fn beginnings_are_recognized() {
        let begin = |codec, payload: &[u8]| {
            let plain = [&[0x80, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3], payload].concat();
            let extended = [
                &[0x91, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3][..],
                &[0; 4],
                &[0xbe, 0xde, 0, 1],
                &[0; 4],
            ];
            let extended = [&extended.concat(), payload].concat();
            let [plain, extended] =
                [plain, extended].map(|bytes| Packet::parse(&bytes, codec).unwrap());
            assert_eq!(plain.begins, extended.begins);
            assert_eq!((plain.sequence, plain.timestamp, plain.ends), (1, 2, false));
            plain.begins
        };
        assert!(begin(Codec::H264, &[9, 0x10]) && begin(Codec::H264, &[0x67, 1]));
        assert!(begin(Codec::H264, &[24, 0, 2, 9, 0x10]));
        assert!(!begin(Codec::H264, &[0x65, 0x88]) && !begin(Codec::H264, &[0x7c, 0x85]));
        assert!(!begin(Codec::H264, &[24, 0, 2, 0x41, 0x10]) && !begin(Codec::H264, &[]));
        assert!(begin(Codec::H265, &[0x40, 1]) && begin(Codec::H265, &[0x60, 1, 0, 9, 0x42, 1]));
        assert!(!begin(Codec::H265, &[0x26, 1, 2]) && !begin(Codec::H265, &[0x62, 1, 0x93]));
        assert!(begin(Codec::Vp8, &[0x90, 0x80, 1, 2]) && !begin(Codec::Vp8, &[0x80, 0x80, 1, 2]));
        assert!(!begin(Codec::Vp8, &[0x91, 0x80, 1, 2]));
        assert_eq!(Packet::parse(&[0x80, 96, 0, 1, 0, 0, 0, 2], Codec::Vp8), None);
        assert_eq!(Packet::parse(&[], Codec::Vp8), None);
    }
}
