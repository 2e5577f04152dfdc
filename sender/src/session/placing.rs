//! Which camera goes into which section of a viewer's own offer. Pure.

use std::fmt;

use rovercast_peer::negotiation::Section;
use rovercast_peer::payloads::suiting;
use rovercast_protocol::codec::Codec;
use rovercast_protocol::signaling::ErrorCode;

/// A camera's place in an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The media section, counted from 0.
    pub section: usize,
    /// Which of the cameras, counted from 0.
    pub camera: usize,
    /// The payload type by which the viewer knows the camera's codec.
    pub payload_type: u8,
}

/// Why no camera has a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoPlace {
    /// Nothing is to be sent.
    NoVideo,
    /// The viewer takes none of the codecs that the cameras have: these.
    Codec(Vec<Codec>),
}

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVideo => f.write_str(
                "the SDP offer has no video section that wants to receive: offer one as recvonly",
            ),
            Self::Codec(codecs) => {
                let names: Vec<_> = codecs.iter().map(|codec| codec.name()).collect();
                write!(
                    f,
                    "the SDP offer takes none of the codecs that the cameras asked for have ({}): \
                     offer one of them (H.264 with packetization-mode=1), or set `codec` of a camera \
                     in the robot's config",
                    names.join(", ")
                )
            }
        }
    }
}

impl NoPlace {
    /// What the viewer is told by.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoVideo => ErrorCode::BadSdp,
            Self::Codec(_) => ErrorCode::NotAcceptable,
        }
    }
}

/// Gives every section that wants to receive video the first camera that is left and that it can take.
/// Sections and cameras may be left over, but not all of them.
pub fn place(sections: &[Section], codecs: &[Codec]) -> Result<Vec<Place>, NoPlace> {
    let mut left: Vec<usize> = (0..codecs.len()).collect();
    let wanting = |(_, section): &(usize, &Section)| section.kind == "video" && section.receives;
    let mut places = Vec::new();
    for (index, section) in sections.iter().enumerate().filter(wanting) {
        let fits = |camera: usize| suiting(&section.payloads, codecs[camera]);
        let found = left.iter().position(|&camera| fits(camera).is_some());
        let Some(camera) = found.map(|at| left.remove(at)) else { continue };
        if let Some(payload) = fits(camera) {
            places.push(Place { section: index, camera, payload_type: payload.number });
        }
    }
    if !places.is_empty() {
        return Ok(places);
    }
    if !sections.iter().enumerate().any(|section| wanting(&section)) {
        return Err(NoPlace::NoVideo);
    }
    let mut wanted: Vec<Codec> = Vec::new();
    for codec in codecs {
        if !wanted.contains(codec) {
            wanted.push(*codec);
        }
    }
    Err(NoPlace::Codec(wanted))
}

#[cfg(test)]
mod tests {
    use rovercast_peer::payloads::Payload;

    use super::*;
    use Codec::{H264, H265, Vp8};

    fn section(kind: &str, receives: bool, payloads: &[(u8, Codec)]) -> Section {
        let payload = |&(number, codec): &(u8, Codec)| Payload {
            number,
            codec,
            parameters: "packetization-mode=1".to_owned(),
        };
        Section {
            kind: kind.to_owned(),
            mid: String::new(),
            label: None,
            codec: None,
            payloads: payloads.iter().map(payload).collect(),
            receives,
            rejected: false,
            fingerprints: Vec::new(),
            extensions: Vec::new(),
            correction: None,
        }
    }

    /// Section, camera and payload type of each place.
    fn placed(sections: &[Section], codecs: &[Codec]) -> Vec<(usize, usize, u8)> {
        let places = place(sections, codecs).unwrap();
        places.iter().map(|place| (place.section, place.camera, place.payload_type)).collect()
    }

    #[test]
    fn cameras_take_the_sections_in_their_order() {
        let offer = [
            section("audio", true, &[]),
            section("video", true, &[(96, Vp8), (102, H264)]),
            section("video", false, &[(97, H264)]),
            section("video", true, &[(103, H264)]),
            section("application", true, &[]),
        ];
        assert_eq!(placed(&offer, &[H264]), [(1, 0, 102)]);
        assert_eq!(placed(&offer, &[H264, H264, H264]), [(1, 0, 102), (3, 1, 103)]);
    }

    #[test]
    fn a_section_takes_the_first_camera_that_it_can_decode() {
        let offer = [section("video", true, &[(96, Vp8)]), section("video", true, &[(97, H264)])];
        assert_eq!(placed(&offer, &[H265, H264, Vp8]), [(0, 2, 96), (1, 1, 97)]);
        assert_eq!(placed(&offer[..1], &[H264, Vp8]), [(0, 1, 96)]);
        assert_eq!(placed(&offer, &[H264, H264]), [(1, 0, 97)]);
    }

    #[test]
    fn an_offer_without_a_place_is_told_why() {
        let no_video = [section("audio", true, &[]), section("video", false, &[(96, H264)])];
        let refused = place(&no_video, &[H264]).unwrap_err();
        assert_eq!((refused.code(), refused), (ErrorCode::BadSdp, NoPlace::NoVideo));
        let other = [section("video", true, &[(96, Vp8)])];
        let refused = place(&other, &[H264, H265, H264]).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::NotAcceptable);
        assert!(refused.to_string().contains("(h264, h265)"), "{refused}");
    }
}
