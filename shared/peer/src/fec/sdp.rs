//! What session descriptions say of packets that restore others: the payload type, and whose they are
//! (`a=ssrc-group:FEC-FR`, RFC 5956).

use gst_sdp::{SDPMediaRef, SDPMessageRef};

/// As browsers call the format.
const ENCODING: &str = "flexfec-03/90000";

/// So many microseconds what restores a packet may come after it, at most: ours leaves behind its picture.
const WINDOW: &str = "repair-window=1000000";

/// The payload types that are free for all to use (RFC 3551, section 6). Browsers have taken others, too.
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;

/// What one media section says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Correction {
    /// The payload type of the packets that restore others.
    pub payload_type: u8,
    /// The stream that is protected, and that of the packets that do so, where it is said.
    pub streams: Option<[u32; 2]>,
}

/// Reads it; none where nothing is said.
pub(crate) fn read(media: &SDPMediaRef) -> Option<Correction> {
    let values = |key: &'static str| {
        let attributes = media.attributes().filter(move |attribute| attribute.key() == key);
        attributes.filter_map(|attribute| attribute.value())
    };
    let number = values("rtpmap").find_map(|value| {
        let (number, encoding) = value.split_once(' ')?;
        encoding.trim().eq_ignore_ascii_case(ENCODING).then_some(number)
    })?;
    let payload_type = number.parse().ok().filter(|number| *number < 128)?;
    let streams = values("ssrc-group").find_map(|value| {
        let mut words = value.strip_prefix("FEC-FR ")?.split_ascii_whitespace();
        Some([words.next()?.parse().ok()?, words.next()?.parse().ok()?])
    });
    Some(Correction { payload_type, streams })
}

/// Writes it into a section, if nothing is said there yet.
pub(crate) fn write(media: &mut SDPMediaRef, correction: Correction) {
    if read(media).is_some() {
        return;
    }
    let Correction { payload_type, streams } = correction;
    media.add_format(&payload_type.to_string());
    media.add_attribute("rtpmap", Some(&format!("{payload_type} {ENCODING}")));
    media.add_attribute("fmtp", Some(&format!("{payload_type} {WINDOW}")));
    let Some([protected, restoring]) = streams else { return };
    // Both are of one source.
    let of_protected = format!("{protected} ");
    let lines = media.attributes().filter(|attribute| attribute.key() == "ssrc");
    let lines: Vec<String> = lines
        .filter_map(|line| line.value()?.strip_prefix(&of_protected))
        .map(|rest| format!("{restoring} {rest}"))
        .collect();
    for line in lines {
        media.add_attribute("ssrc", Some(&line));
    }
    media.add_attribute("ssrc-group", Some(&format!("FEC-FR {protected} {restoring}")));
}

/// A payload type that no section uses. One does for all, since they are in one bundle.
pub(crate) fn free_payload_type(message: &SDPMessageRef) -> Option<u8> {
    let used = |number: &u8| {
        let number = number.to_string();
        message.medias().any(|media| media.formats().any(|format| format == number))
    };
    DYNAMIC.rev().find(|number| !used(number))
}

#[cfg(test)]
mod tests {
    use gst_sdp::SDPMessage;

    use super::*;

    const SECTION: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 127\r\na=rtpmap:96 H264/90000\r\n\
        a=ssrc:7 msid:a b\r\na=ssrc:7 cname:x\r\na=ssrc:77 cname:other\r\n";

    fn message() -> SDPMessage {
        gst::init().unwrap();
        SDPMessage::parse_buffer(SECTION.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        for streams in [None, Some([7, 8])] {
            let mut message = message();
            let correction =
                Correction { payload_type: free_payload_type(&message).unwrap(), streams };
            assert_eq!(correction.payload_type, 126, "127 is taken");
            let media = message.media_mut(0).unwrap();
            assert_eq!(read(media), None);
            for _ in 0..2 {
                write(media, correction);
            }
            assert_eq!(read(media), Some(correction));
            let text = message.as_text().unwrap();
            assert!(text.contains("SAVPF 96 127 126\r\n"), "{text}");
            assert!(text.contains("a=rtpmap:126 flexfec-03/90000\r\n"), "once: {text}");
            let source =
                text.contains("a=ssrc:8 msid:a b\r\n") && text.contains("a=ssrc:8 cname:x\r\n");
            assert_eq!(source, streams.is_some(), "{text}");
        }
    }

    #[test]
    fn nonsense_is_nothing() {
        for line in
            ["rtpmap:128 flexfec-03/90000", "rtpmap:x flexfec-03/90000", "rtpmap:126", "rtpmap"]
        {
            let text = format!("{SECTION}a={line}\r\n");
            gst::init().unwrap();
            let message = SDPMessage::parse_buffer(text.as_bytes()).unwrap();
            assert_eq!(read(message.media(0).unwrap()), None, "{line}");
        }
        let text = format!("{SECTION}a=rtpmap:127 FlexFEC-03/90000\r\na=ssrc-group:FEC-FR 1 x\r\n");
        let message = SDPMessage::parse_buffer(text.as_bytes()).unwrap();
        let said = Correction { payload_type: 127, streams: None };
        assert_eq!(read(message.media(0).unwrap()), Some(said));
    }
}
