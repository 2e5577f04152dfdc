//! What an access unit holds, as far as it shows without decoding. Pure.

use rovercast_protocol::codec::Codec;

/// What an encoder put into one access unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contents {
    /// Whether viewers can start here.
    pub key_frame: bool,
    /// Whether all parameter sets stand before the picture; VP8 has none, its key frames are whole.
    pub parameter_sets: bool,
    /// Slices of the picture; 0 when there is none.
    pub slices: usize,
}

/// Looks into an access unit: Annex B for H.264 and H.265.
pub fn contents(codec: Codec, unit: &[u8]) -> Contents {
    match codec {
        Codec::Vp8 => vp8(unit),
        Codec::H264 => {
            let kind = |byte: u8| match byte & 0x1f {
                1 => Nal::Slice,
                5 => Nal::KeySlice,
                7 => Nal::ParameterSet(0),
                8 => Nal::ParameterSet(1),
                _ => Nal::Other,
            };
            annex_b(unit, kind, 2)
        }
        Codec::H265 => {
            let kind = |byte: u8| match byte >> 1 & 0x3f {
                // IDR pictures; those by which a viewer could start, but with pictures missing after,
                // do not count.
                19 | 20 => Nal::KeySlice,
                0..=9 | 16..=18 | 21 => Nal::Slice,
                kind @ 32..=34 => Nal::ParameterSet(kind - 32),
                _ => Nal::Other,
            };
            annex_b(unit, kind, 3)
        }
    }
}

enum Nal {
    Slice,
    KeySlice,
    ParameterSet(u8),
    Other,
}

fn annex_b(unit: &[u8], kind: impl Fn(u8) -> Nal, sets: u32) -> Contents {
    let mut contents = Contents::default();
    let mut seen = 0u32;
    for (start, _) in unit.windows(3).enumerate().filter(|(_, code)| *code == [0, 0, 1]) {
        let Some(&header) = unit.get(start + 3) else { break };
        match kind(header) {
            Nal::ParameterSet(set) if contents.slices == 0 => seen |= 1 << set,
            Nal::Slice => contents.slices += 1,
            Nal::KeySlice => {
                contents.key_frame = true;
                contents.slices += 1;
            }
            Nal::ParameterSet(_) | Nal::Other => {}
        }
    }
    contents.parameter_sets = seen.count_ones() == sets;
    contents
}

fn vp8(unit: &[u8]) -> Contents {
    let key_frame = unit.len() > 10 && unit[0] & 1 == 0 && unit[3..6] == [0x9d, 0x01, 0x2a];
    Contents { key_frame, parameter_sets: key_frame, slices: usize::from(unit.len() > 3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nal_units_are_told_apart() {
        let h264 = [0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 1, 0x65, 9, 0, 0, 1, 0x65, 8];
        let whole = Contents { key_frame: true, parameter_sets: true, slices: 2 };
        assert_eq!(contents(Codec::H264, &h264), whole);
        let late = [0, 0, 1, 0x67, 1, 0, 0, 1, 0x65, 9, 0, 0, 1, 0x68, 2];
        assert!(!contents(Codec::H264, &late).parameter_sets);
        let delta = [0, 0, 0, 1, 0x41, 9, 9];
        assert_eq!(contents(Codec::H264, &delta), Contents { slices: 1, ..Contents::default() });
        let h265 = [0, 0, 1, 0x40, 1, 0, 0, 1, 0x42, 1, 0, 0, 1, 0x44, 1, 0, 0, 1, 0x26, 1];
        assert_eq!(contents(Codec::H265, &h265), Contents { slices: 1, ..whole });
        assert!(!contents(Codec::H265, &[0, 0, 1, 0x2a, 1]).key_frame, "an open picture");
    }

    #[test]
    fn key_frames_of_vp8_are_known_by_their_start_code() {
        let key = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0, 0, 0];
        assert!(contents(Codec::Vp8, &key).key_frame);
        assert!(!contents(Codec::Vp8, &[0x11; 12]).key_frame);
    }

    #[test]
    fn nonsense_holds_nothing() {
        for codec in Codec::ALL {
            for unit in [&[][..], &[0, 0, 1], &[0, 0], &[7; 3]] {
                assert_eq!(contents(codec, unit), Contents::default(), "{codec} {unit:?}");
            }
        }
    }
}
