//! Session descriptions, parsed and checked before webrtcbin sees them: a malformed one can crash
//! it. Also where a track says which camera it is: `a=label` (RFC 4574).

use gst_sdp::{SDPAttribute, SDPMediaRef, SDPMessage, SDPMessageRef};
use rovercast_protocol::codec::Codec;
use rovercast_protocol::frame_times::{CAPTURE_TIME, STAGES};
use rovercast_protocol::ids::CameraId;

use crate::fingerprint::Fingerprint;

/// No session has more media sections than this: 64 cameras and a data channel.
const MAX_SECTIONS: u32 = 65;

/// Why a session description or a candidate is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no SDP.
    #[error("the SDP cannot be parsed")]
    Unparsable,
    /// It has no media section, or far too many.
    #[error("the SDP has {0} media sections: 1 to {MAX_SECTIONS} are accepted")]
    Sections(u32),
    /// An attribute that WebRTC needs is missing.
    #[error("media section {section} of the SDP lacks a usable a={attribute}")]
    Missing {
        /// Which section, counted from 0.
        section: usize,
        /// The attribute's name.
        attribute: &'static str,
    },
    /// An answer that does not fit the offer.
    #[error(
        "the sections of the SDP answer are not those of the offer: same number, kinds and mids"
    )]
    OtherSections,
    /// A section that is not in the bundle: it would have a connection of its own.
    #[error("media section {0} of the SDP is not in its a=group:BUNDLE")]
    NotBundled(usize),
    /// A second answer, or an answer where there was no offer.
    #[error("an SDP answer is not expected now")]
    NotExpected,
    /// It is no candidate.
    #[error("the ICE candidate cannot be parsed")]
    Candidate,
}

/// A session description that webrtcbin may be given.
#[derive(Debug)]
pub struct Description {
    /// The SDP itself.
    pub message: SDPMessage,
    /// What it says, section by section.
    pub sections: Vec<Section>,
}

/// One media section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// `video`, `audio` or `application`.
    pub kind: String,
    /// Its name within the session.
    pub mid: String,
    /// The camera it carries, where the sender is one of ours.
    pub label: Option<CameraId>,
    /// The first of its codecs that we know.
    pub codec: Option<Codec>,
    /// True when the answerer refused it.
    pub rejected: bool,
    /// The certificates that may stand for the peer.
    pub fingerprints: Vec<Fingerprint>,
    /// The header extensions of its RTP packets that may be used in either direction.
    pub extensions: Vec<Extension>,
}

/// A header extension of RTP packets (RFC 8285).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Its number in the packets: 1 to 14.
    pub id: u8,
    /// Its name.
    pub uri: String,
}

impl Section {
    /// The number that an extension has in this section's packets; none where it is not used.
    pub fn extension(&self, uri: &str) -> Option<u8> {
        self.extensions.iter().find(|extension| extension.uri == uri).map(|found| found.id)
    }
}

impl Description {
    /// Parses and checks.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        if text.contains('\0') || !text.starts_with("v=0") {
            return Err(Refused::Unparsable);
        }
        let message = SDPMessage::parse_buffer(text.as_bytes()).map_err(|_| Refused::Unparsable)?;
        let count = message.medias_len();
        if !(1..=MAX_SECTIONS).contains(&count) {
            return Err(Refused::Sections(count));
        }
        let sections = message
            .medias()
            .enumerate()
            .map(|(index, media)| section(&message, index, media))
            .collect::<Result<Vec<_>, _>>()?;
        // One DTLS connection for all: the one whose certificate is checked.
        let bundle = message.attribute_val("group").unwrap_or_default();
        let bundled =
            |mid: &str| bundle.starts_with("BUNDLE ") && bundle.split(' ').any(|m| m == mid);
        let used = sections.iter().filter(|section| !section.rejected).count();
        let outside = |section: &Section| !section.rejected && !bundled(&section.mid);
        match sections.iter().position(outside) {
            Some(index) if used > 1 => Err(Refused::NotBundled(index)),
            _ => Ok(Self { message, sections }),
        }
    }

    /// Checks that this answer fits an offer with these sections.
    pub fn answers(&self, offered: &[Section]) -> Result<(), Refused> {
        let fits = |(answer, offer): (&Section, &Section)| {
            answer.kind == offer.kind && (answer.rejected || answer.mid == offer.mid)
        };
        let same_number = self.sections.len() == offered.len();
        if same_number && self.sections.iter().zip(offered).all(fits) {
            Ok(())
        } else {
            Err(Refused::OtherSections)
        }
    }

    /// The fingerprints of every section that is in use.
    pub fn fingerprints(&self) -> Vec<Vec<Fingerprint>> {
        let used = self.sections.iter().filter(|section| !section.rejected);
        used.map(|section| section.fingerprints.clone()).collect()
    }
}

fn section(message: &SDPMessageRef, index: usize, media: &SDPMediaRef) -> Result<Section, Refused> {
    let find = |name: &str| media.attribute_val(name).or_else(|| message.attribute_val(name));
    let need = |name: &'static str| {
        find(name)
            .filter(|value| !value.is_empty())
            .ok_or(Refused::Missing { section: index, attribute: name })
    };
    let mid = media.attribute_val("mid").unwrap_or_default();
    let bundle_only = media.attribute_val("bundle-only").is_some();
    let rejected = media.port() == 0 && !bundle_only;
    let mut fingerprints = Vec::new();
    if !rejected {
        need("mid")?;
        need("ice-ufrag")?;
        need("ice-pwd")?;
        need("fingerprint")?;
        // A section's own replace those of the session (RFC 8122, section 5).
        let own = media.attributes().filter(|attribute| attribute.key() == "fingerprint");
        let mut values: Vec<_> = own.filter_map(|attribute| attribute.value()).collect();
        if values.is_empty() {
            let shared = message.attributes().filter(|attribute| attribute.key() == "fingerprint");
            values.extend(shared.filter_map(|attribute| attribute.value()));
        }
        fingerprints.extend(values.into_iter().filter_map(Fingerprint::parse));
        if fingerprints.is_empty() {
            return Err(Refused::Missing { section: index, attribute: "fingerprint" });
        }
    }
    Ok(Section {
        kind: media.media().unwrap_or_default().to_owned(),
        mid: mid.to_owned(),
        label: media.attribute_val("label").and_then(|label| label.parse().ok()),
        codec: codec(media),
        rejected,
        fingerprints,
        extensions: media.attributes().filter_map(extension).collect(),
    })
}

/// One whose direction is not both ways is left out: nobody needs that, and what is sent must be
/// wanted for certain.
fn extension(attribute: &SDPAttribute) -> Option<Extension> {
    let value = attribute.value().filter(|_| attribute.key() == "extmap")?;
    let mut words = value.split_ascii_whitespace();
    let id = words.next()?.trim_end_matches("/sendrecv").parse().ok()?;
    let uri = words.next()?.to_owned();
    // Others need the two-byte form, which is not used here.
    (1..=14).contains(&id).then_some(Extension { id, uri })
}

/// In the order of the section's payload types, which is that of preference.
fn codec(media: &SDPMediaRef) -> Option<Codec> {
    media.formats().find_map(|payload| {
        let maps = media.attributes().filter(|attribute| attribute.key() == "rtpmap");
        let names = maps.filter_map(|map| {
            let (number, encoding) = map.value()?.split_once(' ')?;
            let name = encoding.split('/').next()?;
            (number == payload).then_some(name)
        });
        names.filter_map(|name| name.parse().ok()).next()
    })
}

/// What every browser takes: constrained baseline at level 3.1, and any higher level all the same
/// (RFC 6184, section 8.1).
const H264_PROFILE: &str = ";profile-level-id=42e01f;level-asymmetry-allowed=1";

/// Writes into the video sections of an offer which cameras they are, in their order, and the
/// H.264 profile that browsers look for. (In the caps of the track the profile would keep
/// encoders from any higher level.)
pub fn label_tracks(message: &mut SDPMessageRef, cameras: &[CameraId]) {
    let video = message.medias_mut().filter(|media| media.media() == Some("video"));
    for (media, camera) in video.zip(cameras) {
        media.add_attribute("label", Some(camera.as_str()));
        let fmtp = media.attributes().position(|attribute| {
            let value = attribute.value().unwrap_or_default();
            attribute.key() == "fmtp" && value.contains("packetization-mode=")
        });
        let value = fmtp.and_then(|at| media.attribute(at as u32)?.value().map(str::to_owned));
        if let (Some(at), Some(value)) = (fmtp, value) {
            let attribute = SDPAttribute::new("fmtp", Some(&(value + H264_PROFILE)));
            // It is there: it was just found.
            let _ = media.replace_attribute(at as u32, attribute);
        }
    }
}

/// The header extensions that our receivers read.
const READ_EXTENSIONS: [&str; 2] = [CAPTURE_TIME, STAGES];

/// Writes into an answer which of the offered header extensions are taken: webrtcbin up to 1.22 takes
/// none by itself.
pub fn accept_extensions(answer: &mut SDPMessageRef, offered: &[Section]) {
    for (media, offered) in answer.medias_mut().zip(offered) {
        let taken: Vec<Extension> = media.attributes().filter_map(extension).collect();
        for uri in READ_EXTENSIONS {
            let id = offered.extension(uri).filter(|_| media.port() != 0);
            if let Some(id) = id.filter(|_| taken.iter().all(|taken| taken.uri != uri)) {
                media.add_attribute("extmap", Some(&format!("{id} {uri}")));
            }
        }
    }
}

/// Checks a trickled candidate (RFC 8839, section 5.1): webrtcbin logs what it cannot parse, but
/// the peer should hear of it.
pub fn check_candidate(text: &str) -> Result<(), Refused> {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let sane = text.len() <= 1024
        && !text.contains('\0')
        && fields.len() >= 8
        && fields[0].trim_start_matches("a=").starts_with("candidate:")
        && fields[3].parse::<u32>().is_ok()
        && fields[5].parse::<u16>().is_ok()
        && fields[6] == "typ";
    if sane { Ok(()) } else { Err(Refused::Candidate) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "AB:CD";

    fn sdp(section: &str) -> String {
        format!("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{section}")
    }

    fn video(attributes: &str) -> String {
        sdp(&format!("m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\n{attributes}"))
    }

    fn whole() -> String {
        video(&format!(
            "a=mid:video0\r\na=label:front\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=fingerprint:sha-256 {HASH}\r\n"
        ))
    }

    #[test]
    fn sections_tell_mid_and_camera() {
        gst::init().unwrap();
        let description = Description::parse(&whole()).unwrap();
        let section = &description.sections[0];
        assert_eq!((section.kind.as_str(), section.mid.as_str()), ("video", "video0"));
        assert_eq!(section.label.as_ref().unwrap().as_str(), "front");
        assert_eq!(description.fingerprints(), [[Fingerprint::parse("sha-256 AB:CD").unwrap()]]);
        let offered = description.sections.clone();
        assert_eq!(description.answers(&offered), Ok(()));
        assert!(description.answers(&[]).is_err());
        for change in [("mid:video0", "mid:other"), ("m=video", "m=audio")] {
            let other = Description::parse(&whole().replace(change.0, change.1)).unwrap();
            assert_eq!(other.answers(&offered), Err(Refused::OtherSections));
        }
    }

    #[test]
    fn a_section_tells_the_codec_that_it_prefers() {
        gst::init().unwrap();
        let codec = |payloads: &str, maps: &str| {
            let text = whole().replace("SAVPF 96", &format!("SAVPF {payloads}"));
            Description::parse(&(text + maps)).unwrap().sections[0].codec
        };
        let maps = "a=rtpmap:96 h265/90000\r\na=rtpmap:97 rtx/90000\r\na=rtpmap:98 VP8/90000\r\n";
        assert_eq!(codec("96 97 98", maps), Some(Codec::H265));
        assert_eq!(codec("97 98 96", maps), Some(Codec::Vp8));
        assert_eq!(codec("97", maps), None);
        assert_eq!(codec("96", "a=rtpmap:96\r\n"), None);
    }

    #[test]
    fn sections_tell_their_header_extensions() {
        gst::init().unwrap();
        let text = whole()
            + "a=extmap:3 urn:a\r\na=extmap:4/sendrecv urn:b x=1\r\na=extmap:5/inactive urn:c\r\n\
               a=extmap:15 urn:d\r\na=extmap:0 urn:e\r\na=extmap:6\r\na=extmap:x urn:f\r\na=extmap\r\n";
        let section = Description::parse(&text).unwrap().sections.remove(0);
        assert_eq!((section.extension("urn:a"), section.extension("urn:b")), (Some(3), Some(4)));
        assert_eq!(section.extensions.len(), 2, "{section:?}");
    }

    #[test]
    fn answers_take_the_extensions_that_are_read() {
        gst::init().unwrap();
        let answered = |offered: &str, answer: &str| {
            let offer = Description::parse(&(whole() + offered)).unwrap();
            let mut message = SDPMessage::parse_buffer((whole() + answer).as_bytes()).unwrap();
            accept_extensions(&mut message, &offer.sections);
            Description::parse(&message.as_text().unwrap()).unwrap().sections[0].extensions.clone()
        };
        let extmap = |id: u8, uri: &str| format!("a=extmap:{id} {uri}\r\n");
        let offered = extmap(9, STAGES) + &extmap(4, CAPTURE_TIME) + &extmap(5, "urn:other");
        let both =
            [(4, CAPTURE_TIME), (9, STAGES)].map(|(id, uri)| Extension { id, uri: uri.to_owned() });
        assert_eq!(answered(&offered, ""), both);
        assert_eq!(answered(&offered, &extmap(4, CAPTURE_TIME)), both, "what is there stays");
        assert_eq!(answered("", ""), []);
        assert_eq!(answered(&extmap(5, "urn:other"), ""), []);
    }

    #[test]
    fn only_h264_is_given_a_profile() {
        gst::init().unwrap();
        let parameters = "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n";
        let second = "m=video 0 UDP/TLS/RTP/SAVPF 100\r\na=rtpmap:100 VP8/90000\r\n";
        let text = whole() + parameters + second;
        let mut message = SDPMessage::parse_buffer(text.as_bytes()).unwrap();
        let cameras = ["front", "rear"].map(|camera| camera.parse().unwrap());
        label_tracks(&mut message, &cameras);
        let text = message.as_text().unwrap();
        let (first, second) = text.split_once("m=video 0").unwrap();
        let whole =
            "a=fmtp:96 packetization-mode=1;profile-level-id=42e01f;level-asymmetry-allowed=1";
        assert!(first.contains(whole), "{first}");
        assert!(second.contains("a=label:rear") && !second.contains("fmtp"), "{second}");
    }

    #[test]
    fn sections_must_share_one_connection() {
        gst::init().unwrap();
        let second = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:data\r\n\
                      a=ice-ufrag:u\r\na=ice-pwd:p\r\na=fingerprint:sha-256 AB:CD\r\n";
        let two = whole() + second;
        assert_eq!(Description::parse(&two).unwrap_err(), Refused::NotBundled(0));
        let group = |mids: &str| {
            two.replacen("t=0 0\r\n", &format!("t=0 0\r\na=group:BUNDLE {mids}\r\n"), 1)
        };
        assert_eq!(Description::parse(&group("video0")).unwrap_err(), Refused::NotBundled(1));
        assert!(Description::parse(&group("video0 data")).is_ok());
    }

    #[test]
    fn a_sections_own_fingerprint_replaces_that_of_the_session() {
        gst::init().unwrap();
        let both = whole().replacen("t=0 0\r\n", "t=0 0\r\na=fingerprint:sha-256 EE:FF\r\n", 1);
        let own = [[Fingerprint::parse("sha-256 AB:CD").unwrap()]];
        assert_eq!(Description::parse(&both).unwrap().fingerprints(), own);
    }

    #[test]
    fn what_webrtcbin_could_choke_on_is_refused() {
        gst::init().unwrap();
        for attribute in ["mid", "ice-ufrag", "ice-pwd", "fingerprint"] {
            let broken: String = whole()
                .split_inclusive("\r\n")
                .filter(|line| !line.starts_with(&format!("a={attribute}")))
                .collect();
            let missing = Refused::Missing { section: 0, attribute };
            assert_eq!(Description::parse(&broken).unwrap_err(), missing);
        }
        assert_eq!(Description::parse(&sdp("")).unwrap_err(), Refused::Sections(0));
        for text in ["", "hello", "v=0\0", "m=video"] {
            assert_eq!(Description::parse(text).unwrap_err(), Refused::Unparsable, "{text:?}");
        }
        let weak = whole().replace("sha-256", "sha-1");
        assert!(Description::parse(&weak).is_err());
    }

    #[test]
    fn candidates_are_checked() {
        let good = "candidate:1 1 UDP 2015363327 192.0.2.1 46304 typ host";
        assert_eq!(check_candidate(good), Ok(()));
        assert_eq!(check_candidate(&format!("a={good}")), Ok(()));
        for bad in
            ["", "candidate:1", "x 1 UDP 1 192.0.2.1 1 typ host", &good.replace("46304", "x")]
        {
            assert_eq!(check_candidate(bad), Err(Refused::Candidate), "{bad}");
        }
    }
}
