//! The video in what an RTMP sender sends: FLV tags. Pure. Audio and metadata are nothing to us.

/// The file header that stands before the first tag.
const FILE_HEADER: (&[u8], usize) = (b"FLV", 13);
/// Type, size, time and stream stand before a tag's data, its size once more behind.
const TAG_HEADER: usize = 11;
const VIDEO: u8 = 9;

/// One video message.
#[derive(Debug, PartialEq, Eq)]
pub enum Video<'a> {
    /// How to decode what follows: an `AVCDecoderConfigurationRecord`.
    Config(&'a [u8]),
    /// A picture.
    Unit(Unit<'a>),
}

/// An H.264 access unit, its NAL units behind their lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit<'a> {
    /// Decoding can start here.
    pub key_frame: bool,
    /// When it is decoded, by the sender's clock.
    pub dts_ms: u32,
    /// When it is shown.
    pub pts_ms: u32,
    /// The NAL units.
    pub data: &'a [u8],
}

/// The video in a tag, if it is any. The error names the codec, if that is not H.264.
pub fn video(tag: &[u8]) -> Result<Option<Video<'_>>, String> {
    let (signature, length) = FILE_HEADER;
    let tag = if tag.starts_with(signature) { tag.get(length..).unwrap_or_default() } else { tag };
    let Some((&[kind, s2, s1, s0, t2, t1, t0, t3, ..], data)) =
        tag.split_first_chunk::<TAG_HEADER>()
    else {
        return Ok(None);
    };
    let size = u32::from_be_bytes([0, s2, s1, s0]) as usize;
    let (VIDEO, Some(data)) = (kind, data.get(..size)) else { return Ok(None) };
    let Some(&first) = data.first() else { return Ok(None) };
    if first & 0x80 != 0 {
        return Err(enhanced(data.get(1..5).unwrap_or_default()));
    }
    let (frame, codec) = (first >> 4, first & 0x0f);
    match codec {
        7 => {}
        2 => return Err("Sorenson H.263".to_owned()),
        4 | 5 => return Err("VP6".to_owned()),
        12 => return Err("HEVC".to_owned()),
        13 => return Err("AV1".to_owned()),
        other => return Err(format!("video codec {other}")),
    }
    // Frames of type 5 are commands to a player.
    let Some((&[_, packet, c2, c1, c0], data)) = data.split_first_chunk::<5>() else {
        return Ok(None);
    };
    let dts_ms = u32::from_be_bytes([t3, t2, t1, t0]);
    // Signed, 24 bits.
    let shown_later_ms = i32::from_be_bytes([c2, c1, c0, 0]) >> 8;
    Ok(match (packet, frame, data.is_empty()) {
        (0, _, false) => Some(Video::Config(data)),
        (1, 1..=4, false) => Some(Video::Unit(Unit {
            key_frame: frame == 1,
            dts_ms,
            pts_ms: dts_ms.wrapping_add_signed(shown_later_ms),
            data,
        })),
        _ => None,
    })
}

/// What newer senders send in the form that they call enhanced.
fn enhanced(four_characters: &[u8]) -> String {
    match four_characters {
        b"hvc1" | b"hev1" => "HEVC".to_owned(),
        b"av01" => "AV1".to_owned(),
        b"vp09" => "VP9".to_owned(),
        b"avc1" => "H.264 in the form of enhanced RTMP".to_owned(),
        _ => "enhanced RTMP with an unknown codec".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(kind: u8, data: &[u8]) -> Vec<u8> {
        let mut tag = vec![kind, 0, 0, data.len() as u8, 0x02, 0x03, 0x04, 0x01, 0, 0, 0];
        tag.extend(data);
        tag.extend([0, 0, 0, 11 + data.len() as u8]);
        tag
    }

    #[test]
    fn pictures_have_both_their_times() {
        let unit =
            Unit { key_frame: true, dts_ms: 0x0102_0304, pts_ms: 0x0102_0304 - 2, data: b"u" };
        let picture = [0x17, 1, 0xff, 0xff, 0xfe, b'u'];
        assert_eq!(video(&tag(9, &picture)), Ok(Some(Video::Unit(unit))));
        let mut first = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        first.extend(tag(9, &[0x17, 0, 0, 0, 0, b'c']));
        assert_eq!(video(&first), Ok(Some(Video::Config(b"c"))));
    }

    #[test]
    fn other_codecs_are_named_and_all_else_is_nothing() {
        assert_eq!(video(&tag(9, b"\x90hvc1....")), Err("HEVC".to_owned()));
        assert_eq!(video(&tag(9, &[0x1c, 0, 0, 0, 0])), Err("HEVC".to_owned()));
        assert_eq!(video(&tag(8, &[0x17, 1, 0, 0, 0, 1])), Ok(None), "audio");
        assert_eq!(video(&tag(9, &[0x57, 0, 0, 0, 0])), Ok(None), "a command");
        let whole = tag(9, &[0x27, 1, 0, 0, 0, 1, 2, 3]);
        assert!(matches!(video(&whole), Ok(Some(Video::Unit(_)))));
        for length in 0..whole.len() - 4 {
            assert_eq!(video(&whole[..length]), Ok(None), "{length} bytes of it");
        }
    }
}
