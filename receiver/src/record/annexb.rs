//! What a recording has to know of an access unit: whether it is a key frame, and what it tells
//! decoders beforehand. No parser of pictures. Pure.

use rovercast_protocol::codec::Codec;

/// Before every unit of a byte stream (H.264, annex B; H.265, annex B).
const START_CODE: [u8; 3] = [0, 0, 1];

/// Longer parameter sets are not remembered: real ones take about a hundred bytes.
const MAX_SET_BYTES: usize = 4096;

/// More of them are not remembered: streams from cameras have two or three.
const MAX_SETS: usize = 16;

/// What an access unit is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// Whether decoders can begin with it.
    pub(super) key_frame: bool,
    /// Its parameter sets, each once; of VP8, the header with the picture's size.
    pub(super) parameters: Vec<Vec<u8>>,
}

enum Unit {
    ParameterSet,
    Slice { key_frame: bool },
    Other,
}

/// Looks at an access unit of this codec.
pub(super) fn look(codec: Codec, data: &[u8]) -> Look {
    if codec == Codec::Vp8 {
        return look_at_vp8(data);
    }
    let mut look = Look::default();
    let mut rest = after_start_code(data);
    while let Some(unit) = rest.filter(|unit| !unit.is_empty()) {
        // Parameter sets come before the first slice: the bulk is never looked at.
        let kind = kind(codec, unit[0]);
        if let Unit::Slice { key_frame } = kind {
            look.key_frame = key_frame;
            break;
        }
        let next = after_start_code(unit);
        if let Unit::ParameterSet = kind {
            let length = next.map_or(unit.len(), |next| unit.len() - next.len() - START_CODE.len());
            let unit = without_zeros(&unit[..length]);
            // Some encoders say them twice in their first key frame.
            let known = look.parameters.iter().any(|known| known == unit);
            if !known && look.parameters.len() < MAX_SETS && unit.len() < MAX_SET_BYTES {
                look.parameters.push(unit.to_vec());
            }
        }
        rest = next;
    }
    look
}

/// Parameter sets as a byte stream.
pub(super) fn byte_stream(parameters: &[Vec<u8>]) -> Vec<u8> {
    parameters.iter().flat_map(|set| [0, 0, 0, 1].iter().chain(set)).copied().collect()
}

/// Width and height of the pictures that follow a VP8 key frame, of [`Look::parameters`].
pub(super) fn vp8_size(parameters: &[Vec<u8>]) -> Option<(u16, u16)> {
    let &[width, width_high, height, height_high] = parameters.first()?.first_chunk::<4>()?;
    // The upper two bits are for scaling.
    let size = |low, high| u16::from_le_bytes([low, high]) & 0x3fff;
    Some((size(width, width_high), size(height, height_high)))
}

/// RFC 6386, section 9.1.
fn look_at_vp8(data: &[u8]) -> Look {
    match data {
        [first, _, _, 0x9d, 0x01, 0x2a, size @ ..] if first & 1 == 0 && size.len() >= 4 => {
            Look { key_frame: true, parameters: vec![size[..4].to_vec()] }
        }
        _ => Look::default(),
    }
}

fn kind(codec: Codec, header: u8) -> Unit {
    match codec {
        Codec::H265 => match (header >> 1) & 0x3f {
            32..=34 => Unit::ParameterSet,
            kind @ 0..=31 => Unit::Slice { key_frame: (16..=23).contains(&kind) },
            _ => Unit::Other,
        },
        _ => match header & 0x1f {
            7 | 8 => Unit::ParameterSet,
            kind @ 1..=5 => Unit::Slice { key_frame: kind == 5 },
            _ => Unit::Other,
        },
    }
}

fn after_start_code(data: &[u8]) -> Option<&[u8]> {
    let at = data.windows(START_CODE.len()).position(|bytes| bytes == START_CODE)?;
    data.get(at + START_CODE.len()..)
}

/// A start code of four bytes begins with a zero that is not of the unit before it.
fn without_zeros(unit: &[u8]) -> &[u8] {
    let end = unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &unit[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frames_and_their_parameter_sets_are_found() {
        let key = [0, 0, 0, 1, 9, 16, 0, 0, 0, 1, 0x67, 66, 1, 0, 0, 1, 0x68, 5, 0, 0, 1, 0x65, 3];
        let found = look(Codec::H264, &key);
        assert_eq!(
            found,
            Look { key_frame: true, parameters: vec![vec![0x67, 66, 1], vec![0x68, 5]] }
        );
        let stream = byte_stream(&found.parameters);
        assert_eq!(stream, [0, 0, 0, 1, 0x67, 66, 1, 0, 0, 0, 1, 0x68, 5]);
        let twice = [&stream[..], &key].concat();
        assert_eq!(look(Codec::H264, &twice), found);
        assert_eq!(look(Codec::H264, &[0, 0, 1, 0x41, 7]), Look::default());

        let key = [0, 0, 1, 0x40, 1, 0, 0, 1, 0x42, 1, 0, 0, 1, 0x44, 1, 0, 0, 1, 0x26, 1];
        let found = look(Codec::H265, &key);
        assert!(found.key_frame);
        assert_eq!(found.parameters, [[0x40, 1], [0x42, 1], [0x44, 1]]);
        assert!(!look(Codec::H265, &[0, 0, 1, 2, 1]).key_frame);

        let key = [0x10, 0, 0, 0x9d, 1, 0x2a, 0x40, 0x01, 0xf0, 0x40, 9];
        let found = look(Codec::Vp8, &key);
        assert_eq!((found.key_frame, vp8_size(&found.parameters)), (true, Some((320, 240))));
        assert!(!look(Codec::Vp8, &[0x11, 0, 0]).key_frame);
    }

    #[test]
    fn what_is_no_access_unit_is_nothing() {
        for codec in Codec::ALL {
            for data in
                [&[][..], &[0, 0, 1], &[0, 0, 0, 0], &[0x10, 0, 0, 0x9d, 1, 0x2a, 1], &[7; 40]]
            {
                assert_eq!(look(codec, data), Look::default(), "{codec} {data:?}");
            }
        }
        let endless = (1..=255).flat_map(|set| [0, 0, 1, 0x67, set]).collect::<Vec<u8>>();
        assert_eq!(look(Codec::H264, &endless).parameters.len(), MAX_SETS);
        let long = [&[0, 0, 1, 0x67][..], &[1; MAX_SET_BYTES]].concat();
        assert_eq!(look(Codec::H264, &long), Look::default());
    }
}
