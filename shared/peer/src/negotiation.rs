//! Session descriptions, parsed and checked before webrtcbin sees them: a malformed one can crash
//! it. Also where a track says which camera it is: `a=label` (RFC 4574).

use gst_sdp::{SDPAttribute, SDPMediaRef, SDPMessage, SDPMessageRef};
use rovercast_protocol::codec::Codec;
use rovercast_protocol::frame_times::{CAPTURE_TIME, STAGES};
use rovercast_protocol::ids::CameraId;

use crate::fec;
pub use crate::fec::Correction;
use crate::fingerprint::Fingerprint;
use crate::payloads::{self, Payload};

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
    /// An offer that refuses a section of its own, or has one name for two.
    #[error(
        "media section {0} of the SDP offer is refused already, or has the a=mid of another one"
    )]
    NotOffered(usize),
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
    /// The payload types with codecs that we know, in the order of preference.
    pub payloads: Vec<Payload>,
    /// Whether the side that describes it wants to be sent something.
    pub receives: bool,
    /// True when the answerer refused it.
    pub rejected: bool,
    /// The certificates that may stand for the peer.
    pub fingerprints: Vec<Fingerprint>,
    /// The header extensions of its RTP packets that may be used in either direction.
    pub extensions: Vec<Extension>,
    /// By which packets lost ones are restored; none where it says nothing of that.
    pub correction: Option<Correction>,
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
        let bundle = bundle(&message).unwrap_or_default();
        let bundled = |mid: &str| bundle.iter().any(|bundled| bundled == mid);
        let used = sections.iter().filter(|section| !section.rejected).count();
        let outside = |section: &Section| !section.rejected && !bundled(&section.mid);
        match sections.iter().position(outside) {
            Some(index) if used > 1 => Err(Refused::NotBundled(index)),
            _ => Ok(Self { message, sections }),
        }
    }

    /// Checks that this can be a first offer. (One that refuses sections, or has a name twice, can end
    /// the whole process within webrtcbin.)
    pub fn is_offer(&self) -> Result<(), Refused> {
        let wrong = |(index, section): (usize, &Section)| {
            let again = self.sections.iter().take(index).any(|before| before.mid == section.mid);
            (section.rejected || again).then_some(index)
        };
        match self.sections.iter().enumerate().find_map(wrong) {
            Some(index) => Err(Refused::NotOffered(index)),
            None => Ok(()),
        }
    }

    /// Gives all sections of a bundle the transport of its first. An offer may give each its own, since
    /// nobody knows yet whether the answer takes the bundle; webrtcbin always does, and refuses more
    /// than one.
    pub fn share_transport(&mut self) {
        let Some(first) = bundle(&self.message).and_then(|bundle| bundle.first().cloned()) else {
            return;
        };
        let Some(tagged) = self.sections.iter().position(|section| section.mid == first) else {
            return;
        };
        let value = |name: &str| {
            let own = self.message.media(tagged as u32)?.attribute_val(name);
            own.or_else(|| self.message.attribute_val(name)).map(str::to_owned)
        };
        let shared = ["ice-ufrag", "ice-pwd"].map(|name| (name, value(name)));
        for (_, media) in self.message.medias_mut().enumerate().filter(|(at, _)| *at != tagged) {
            remove(media, |attribute| {
                ["ice-ufrag", "ice-pwd", "candidate"].contains(&attribute.key())
            });
            for (name, value) in &shared {
                media.add_attribute(name, value.as_deref());
            }
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
    let candidates = media.attributes().filter(|attribute| attribute.key() == "candidate");
    for candidate in candidates {
        check_candidate(&format!("candidate:{}", candidate.value().unwrap_or_default()))?;
    }
    let direction = ["sendrecv", "sendonly", "recvonly", "inactive"]
        .into_iter()
        .find(|name| media.attribute_val(name).is_some())
        .or_else(|| {
            ["sendonly", "recvonly", "inactive"]
                .into_iter()
                .find(|name| message.attribute_val(name).is_some())
        });
    let payloads = payloads::read(media);
    Ok(Section {
        kind: media.media().unwrap_or_default().to_owned(),
        mid: mid.to_owned(),
        label: media.attribute_val("label").and_then(|label| label.parse().ok()),
        codec: payloads.first().map(|payload| payload.codec),
        payloads,
        receives: matches!(direction, None | Some("sendrecv" | "recvonly")),
        rejected,
        fingerprints,
        extensions: media.attributes().filter_map(extension).collect(),
        correction: fec::sdp::read(media),
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

/// Writes into our answer which cameras are in which sections, and takes out of it the kinds of
/// feedback that webrtcbin copies from the offer and that nobody here listens to.
pub fn finish_answer(message: &mut SDPMessageRef, cameras: &[(usize, CameraId)]) {
    for (index, media) in message.medias_mut().enumerate() {
        if let Some((_, camera)) = cameras.iter().find(|(section, _)| *section == index) {
            media.add_attribute("label", Some(camera.as_str()));
        }
        remove(media, |attribute| {
            let value = attribute.value().unwrap_or_default();
            attribute.key() == "rtcp-fb"
                && ["transport-cc", "goog-remb"].iter().any(|kind| value.ends_with(kind))
        });
    }
}

/// Takes attributes out of a section.
fn remove(media: &mut SDPMediaRef, unwanted: impl Fn(&SDPAttribute) -> bool) {
    while let Some(at) = media.attributes().position(&unwanted) {
        if media.remove_attribute(at as u32).is_err() {
            break;
        }
    }
}

/// The names of the sections that are to share one transport; none where nothing is said of that.
fn bundle(message: &SDPMessageRef) -> Option<Vec<String>> {
    let mids = message.attribute_val("group")?.strip_prefix("BUNDLE ")?;
    Some(mids.split_ascii_whitespace().map(str::to_owned).collect())
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
mod tests;
