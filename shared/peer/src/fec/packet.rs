//! Packets that restore others: FlexFEC as browsers have it (draft-ietf-payload-flexible-fec-scheme-03;
//! RFC 8627, which came of it, has another header). Pure.

/// Bytes of an RTP header without lists and extensions (RFC 3550, section 5.1).
const RTP_HEADER: usize = 12;

/// Bytes of the header before the numbers of the packets that are protected.
const FIXED: usize = 18;

/// How many packets each part of the mask has room for, and its bytes; a bit of each says whether it is
/// the last.
const MASKS: [(usize, usize); 3] = [(15, 2), (31, 4), (63, 8)];

/// Packets that follow each other can be protected by one that restores if they are no more than this.
pub(super) const SPAN: u16 = 109;

/// What a packet that restores is longer than the longest that it protects, at most.
pub(super) const OVERHEAD: u32 = (FIXED + 2 + 4 + 8) as u32;

/// What is common to all RTP packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub payload_type: u8,
    pub ends: bool,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
}

impl Header {
    /// Reads it; none of what is no RTP packet.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let header = packet.get(..RTP_HEADER).filter(|header| header[0] >> 6 == 2)?;
        Some(Self {
            payload_type: header[1] & 0x7f,
            ends: header[1] & 0x80 != 0,
            sequence: u16::from_be_bytes([header[2], header[3]]),
            timestamp: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            ssrc: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
        })
    }

    fn write(&self) -> [u8; RTP_HEADER] {
        let mut header = [0; RTP_HEADER];
        header[0] = 2 << 6;
        header[1] = self.payload_type | u8::from(self.ends) << 7;
        header[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        header[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        header[8..].copy_from_slice(&self.ssrc.to_be_bytes());
        header
    }
}

/// What packets have in common by exclusive or: of their headers, and of what follows these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Sum {
    /// Of the first two bytes, the number of bytes that follow the header, and the timestamp.
    header: [u8; 8],
    body: Vec<u8>,
}

impl Sum {
    fn add(&mut self, packet: &[u8]) {
        let Some((header, body)) = packet.split_at_checked(RTP_HEADER) else { return };
        let length = (body.len() as u16).to_be_bytes();
        let fields = header[..2].iter().chain(&length).chain(&header[4..8]);
        self.header.iter_mut().zip(fields).for_each(|(sum, byte)| *sum ^= byte);
        if self.body.len() < body.len() {
            self.body.resize(body.len(), 0);
        }
        self.body.iter_mut().zip(body).for_each(|(sum, byte)| *sum ^= byte);
    }
}

/// Makes the packet, with this header, that restores any one of these of one stream. None if there are
/// none, or if the first and the last are [`SPAN`] or more apart.
pub(super) fn protecting(header: Header, packets: &[&[u8]]) -> Option<Vec<u8>> {
    let first = Header::parse(packets.first()?)?;
    let mut sum = Sum::default();
    let mut offsets = Vec::with_capacity(packets.len());
    for packet in packets {
        offsets.push(Header::parse(packet)?.sequence.wrapping_sub(first.sequence));
        sum.add(packet);
    }
    let last = offsets.iter().max().copied().filter(|last| *last < SPAN)?;
    let mut made = header.write().to_vec();
    // Neither is it one of those sent again, nor is there a fixed pattern in what it protects.
    sum.header[0] &= 0x3f;
    made.extend(sum.header);
    // One stream.
    made.extend([1, 0, 0, 0]);
    made.extend(first.ssrc.to_be_bytes());
    made.extend(first.sequence.to_be_bytes());
    let mut begin = 0;
    for (room, bytes) in MASKS {
        let mut mask = offsets.iter().fold(0_u64, |mask, offset| {
            match usize::from(*offset).checked_sub(begin).filter(|at| *at < room) {
                Some(at) => mask | 1 << (room - 1 - at),
                None => mask,
            }
        });
        begin += room;
        let is_last = usize::from(last) < begin;
        mask |= u64::from(is_last) << room;
        made.extend(&mask.to_be_bytes()[8 - bytes..]);
        if is_last {
            break;
        }
    }
    made.extend(sum.body);
    Some(made)
}

/// What can restore a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repair {
    /// The stream that it protects.
    pub ssrc: u32,
    /// The numbers of the packets that it protects.
    pub sequences: Vec<u16>,
    sum: Sum,
}

impl Repair {
    /// Reads the payload of a packet that restores. None of what is garbage, or is not of use here: more
    /// than one stream, a packet that is sent again, a fixed pattern.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let (fixed, mut rest) = payload.split_at_checked(FIXED)?;
        if fixed[0] >> 6 != 0 || fixed[8] != 1 {
            return None;
        }
        let base = u16::from_be_bytes([fixed[16], fixed[17]]);
        let (mut sequences, mut begin) = (Vec::new(), 0);
        for (room, bytes) in MASKS {
            let (part, behind) = rest.split_at_checked(bytes)?;
            rest = behind;
            let mask = part.iter().fold(0_u64, |mask, byte| mask << 8 | u64::from(*byte));
            let set = (0..room).filter(|at| mask >> (room - 1 - at) & 1 == 1);
            sequences.extend(set.map(|at| base.wrapping_add((begin + at) as u16)));
            begin += room;
            if mask >> room & 1 == 1 {
                break;
            }
        }
        let header = fixed[..8].try_into().ok()?;
        let ssrc = u32::from_be_bytes([fixed[12], fixed[13], fixed[14], fixed[15]]);
        Some(Self { ssrc, sequences, sum: Sum { header, body: rest.to_vec() } })
    }

    /// The packet with this number, from all the others. None if these cannot be those.
    pub(super) fn restore<'a>(
        &self,
        sequence: u16,
        others: impl Iterator<Item = &'a [u8]>,
    ) -> Option<Vec<u8>> {
        let mut sum = self.sum.clone();
        others.for_each(|other| sum.add(other));
        if sum.body.len() > self.sum.body.len() {
            // It is as long as the longest that it protects.
            return None;
        }
        let [first, second, length @ ..] = sum.header;
        let [high, low, timestamp @ ..] = length;
        let body = sum.body.get(..usize::from(u16::from_be_bytes([high, low])))?;
        let mut packet = vec![first & 0x3f | 2 << 6, second];
        packet.extend(sequence.to_be_bytes());
        packet.extend(timestamp);
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(body);
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header =
        Header { payload_type: 127, ends: false, sequence: 7, timestamp: 9, ssrc: 0xfec };

    /// A packet of a stream, as long as its number says.
    fn packet(sequence: u16) -> Vec<u8> {
        let ends = sequence.is_multiple_of(3);
        let timestamp = 90_000 + u32::from(sequence / 3);
        let header = Header { payload_type: 96, ends, sequence, timestamp, ssrc: 0xcafe };
        let length = 20 + usize::from(sequence.wrapping_mul(31) % 90);
        let body = (0..length).map(|at| (at as u16).wrapping_mul(sequence | 1) as u8);
        header.write().into_iter().chain(body).collect()
    }

    #[test]
    fn any_one_of_those_protected_is_restored() {
        for sequences in [
            vec![5],
            vec![5, 6, 7, 8],
            vec![0xfffe, 0xffff, 0, 1],
            (100..200).step_by(7).collect(),
            (100..209).collect(),
            vec![1, 15],
            vec![1, 16],
            vec![1, 46],
            vec![1, 47],
            vec![1, 109],
        ] {
            let packets: Vec<Vec<u8>> = sequences.iter().copied().map(packet).collect();
            let slices: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
            let made = protecting(HEADER, &slices).unwrap();
            assert_eq!(Header::parse(&made), Some(HEADER));
            let longest = packets.iter().map(Vec::len).max().unwrap();
            assert!(made.len() <= longest + OVERHEAD as usize, "{sequences:?}");
            let repair = Repair::parse(&made[RTP_HEADER..]).unwrap();
            assert_eq!((repair.ssrc, &repair.sequences), (0xcafe, &sequences));
            for (missing, sequence) in sequences.iter().enumerate() {
                let others = slices.iter().enumerate().filter(|(at, _)| *at != missing);
                let restored = repair.restore(*sequence, others.map(|(_, packet)| *packet));
                assert_eq!(restored.as_ref(), Some(&packets[missing]), "{sequence}");
            }
        }
    }

    /// By the figure of the draft, section 4.2.2.1, and the bytes that libwebrtc writes for it.
    #[test]
    fn the_header_is_that_of_the_draft() {
        let packets = [1_u16, 3].map(|sequence| {
            let header = Header {
                payload_type: 96,
                ends: sequence == 3,
                sequence,
                timestamp: 5,
                ssrc: 0x01020304,
            };
            [&header.write()[..], &[0xf0, sequence as u8][..sequence as usize / 2 + 1]].concat()
        });
        let made = protecting(HEADER, &[&packets[0], &packets[1]]).unwrap();
        let lengths = 1 ^ 2;
        let expected = [
            // By exclusive or: flags, payload types, lengths and timestamps.
            vec![0, 0x80, 0, lengths, 0, 0, 0, 0],
            vec![1, 0, 0, 0, 1, 2, 3, 4],
            // The first packet, the last part of the mask, and in it the first and the third.
            vec![0, 1, 0b1101_0000, 0],
            vec![0, 3],
        ];
        assert_eq!(made[RTP_HEADER..], expected.concat());
    }

    #[test]
    fn what_is_too_far_apart_is_not_protected() {
        let packets = [1, 1 + SPAN].map(packet);
        assert_eq!(protecting(HEADER, &[&packets[0], &packets[1]]), None);
        assert_eq!(protecting(HEADER, &[]), None);
        assert_eq!(protecting(HEADER, &[&[0x80; 11]]), None);
    }

    #[test]
    fn garbage_restores_nothing_and_harms_nobody() {
        let packets = [3, 4, 5].map(packet);
        let slices: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
        let made = protecting(HEADER, &slices).unwrap().split_off(RTP_HEADER);
        // What is cut off may still restore a packet that is shorter.
        let cut = (0..made.len()).filter_map(|end| Repair::parse(&made[..end]));
        assert!(
            cut.filter_map(|cut| cut.restore(3, slices[1..].iter().copied()))
                .all(|it| it == packets[0])
        );
        let (mut seed, mut parsed) = (1_u64, 0);
        for _ in 0..50_000 {
            let mut bytes = made.clone();
            for _ in 0..4 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (seed >> 33) as usize % bytes.len();
                bytes[at] = (seed >> 56) as u8;
            }
            if let Some(repair) = Repair::parse(&bytes) {
                parsed += 1;
                assert!(repair.sequences.len() <= usize::from(SPAN));
                let restored = repair.restore(3, slices[1..].iter().copied());
                assert!(restored.is_none_or(|packet| packet.len() <= bytes.len() + 200));
            }
        }
        assert!(parsed > 10_000);
    }
}
