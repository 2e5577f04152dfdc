//! The payload types of a media section: which number stands for which codec, and which of them a
//! sender of ours can fill.

use gst_sdp::SDPMediaRef;
use rovercast_protocol::codec::Codec;

/// One payload type that carries a codec that we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Its number in the packets: 0 to 127.
    pub number: u8,
    /// The codec.
    pub codec: Codec,
    /// What `a=fmtp` says of it; empty where it says nothing.
    pub parameters: String,
}

impl Payload {
    /// How well what we send fits, less being better; none where it does not. Our H.264 has pictures in
    /// several packets (packetization mode 1). Who says nothing of that should take only whole ones, by
    /// the letter; GStreamer says nothing and takes all.
    fn fitness(&self) -> Option<u8> {
        if self.codec != Codec::H264 {
            return Some(0);
        }
        match self.parameter("packetization-mode") {
            // What every decoder has, and what our own offers name.
            Some("1") => {
                let profile = self.parameter("profile-level-id").unwrap_or_default();
                Some(u8::from(!profile.to_ascii_lowercase().starts_with("42e0")))
            }
            Some(_) => None,
            None => Some(2),
        }
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.split(';').find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// The payload type by which this codec is best sent to who offers these.
pub fn suiting(offered: &[Payload], codec: Codec) -> Option<&Payload> {
    let fitting = offered.iter().filter(|payload| payload.codec == codec);
    // Of equals the first, which is preferred.
    fitting
        .filter_map(|payload| Some((payload.fitness()?, payload)))
        .min_by_key(|(fitness, _)| *fitness)
        .map(|(_, payload)| payload)
}

/// Those of a section, in the order of its preference.
pub(crate) fn read(media: &SDPMediaRef) -> Vec<Payload> {
    let value = |name: &str, number: &str| {
        let lines = media.attributes().filter(|attribute| attribute.key() == name);
        let of_number = lines.filter_map(|line| {
            let (of, rest) = line.value()?.split_once(' ')?;
            (of == number).then(|| rest.to_owned())
        });
        of_number.into_iter().next()
    };
    let payload = |number: &str| {
        let encoding = value("rtpmap", number)?;
        Some(Payload {
            number: number.parse().ok().filter(|number| *number < 128)?,
            codec: encoding.split('/').next()?.parse().ok()?,
            parameters: value("fmtp", number).unwrap_or_default(),
        })
    };
    media.formats().filter_map(payload).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(list: &[(u8, &str, &str)]) -> Vec<Payload> {
        let payload = |&(number, codec, parameters): &(u8, &str, &str)| Payload {
            number,
            codec: codec.parse().unwrap(),
            parameters: parameters.to_owned(),
        };
        list.iter().map(payload).collect()
    }

    fn chosen(list: &[(u8, &str, &str)], codec: Codec) -> Option<u8> {
        suiting(&offered(list), codec).map(|payload| payload.number)
    }

    /// As Chromium offers them.
    #[test]
    fn the_usual_profile_is_preferred() {
        let list = [
            (96, "VP8", ""),
            (102, "H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f"),
            (104, "H264", "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f"),
            (106, "H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42E01F"),
            (
                108,
                "H264",
                "level-asymmetry-allowed=1; packetization-mode=1; profile-level-id=42e034",
            ),
        ];
        assert_eq!(chosen(&list, Codec::H264), Some(106));
        assert_eq!(chosen(&list[..2], Codec::H264), Some(102));
        assert_eq!(chosen(&list, Codec::Vp8), Some(96));
        assert_eq!(chosen(&list, Codec::H265), None);
    }

    #[test]
    fn who_takes_whole_pictures_only_gets_none() {
        assert_eq!(chosen(&[(97, "H264", "packetization-mode=0")], Codec::H264), None);
        // As GStreamer offers it.
        assert_eq!(chosen(&[(97, "H264", "")], Codec::H264), Some(97));
        let both = [(97, "H264", ""), (98, "H264", "packetization-mode=1")];
        assert_eq!(chosen(&both, Codec::H264), Some(98));
        assert_eq!(
            chosen(&[(97, "H264", "packetization-mode"), (1, "VP8", "=;;")], Codec::Vp8),
            Some(1)
        );
    }
}
