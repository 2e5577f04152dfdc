//! Sessions: how they begin and end, and what is relayed in them.

use serde::{Deserialize, Serialize};

use crate::ids::{CameraId, PeerId, SessionId};

/// A consumer's wish for a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionRequest {
    /// The producer wanted.
    pub peer_id: PeerId,
    /// An SDP offer, when the consumer offers. Without one the robot does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<String>,
    /// The cameras wanted; all of them when left out (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cameras: Option<Vec<CameraId>>,
}

/// A session asked of a producer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionStart {
    /// The consumer that asks.
    pub peer_id: PeerId,
    /// The session's id.
    pub session_id: SessionId,
    /// The consumer's SDP offer, if it made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<String>,
    /// The cameras wanted, of those that the consumer may see; all of them when left out (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cameras: Option<Vec<CameraId>>,
    /// Whether the consumer's token allows it to control the robot; left out by a broker that
    /// knows no tokens (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<bool>,
}

/// A session promised to a consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionStarted {
    /// The producer.
    pub peer_id: PeerId,
    /// The session's id.
    pub session_id: SessionId,
}

/// The end of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionEnd {
    /// The session's id.
    pub session_id: SessionId,
    /// Why (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndReason>,
}

/// Why the broker ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndReason {
    /// The other peer ended it.
    Ended,
    /// The other peer's connection to the broker is gone; its media may well go on.
    PeerLeft,
    /// The broker stops; the media may well go on.
    BrokerStops,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}

/// SDP or a candidate, relayed as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "PeerMessageFields")]
pub struct PeerMessage {
    /// The session that it belongs to.
    pub session_id: SessionId,
    /// SDP or a candidate.
    #[serde(flatten)]
    pub body: PeerBody,
}

/// A [`PeerMessage`] as it is read. The broker relays the frame as it came, so it must not be
/// possible that it reads a candidate where the other peer reads an offer: a frame with both, or
/// with one of them twice, is refused.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PeerMessageFields {
    pub(super) session_id: SessionId,
    pub(super) sdp: Option<Sdp>,
    pub(super) ice: Option<Candidate>,
}

impl TryFrom<PeerMessageFields> for PeerMessage {
    type Error = &'static str;
    fn try_from(fields: PeerMessageFields) -> Result<Self, Self::Error> {
        let body = match (fields.sdp, fields.ice) {
            (Some(sdp), None) => PeerBody::Sdp(sdp),
            (None, Some(candidate)) => PeerBody::Ice(candidate),
            _ => return Err("a `peer` message carries either `sdp` or `ice`, and only one"),
        };
        Ok(Self { session_id: fields.session_id, body })
    }
}

/// SDP or a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PeerBody {
    /// A session description.
    Sdp(Sdp),
    /// An ICE candidate.
    Ice(Candidate),
}

/// A session description (RFC 8866).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", from = "SdpFields")]
pub enum Sdp {
    /// The first half of the negotiation.
    Offer {
        /// The description.
        sdp: String,
    },
    /// The second half.
    Answer {
        /// The description.
        sdp: String,
    },
}

/// An [`Sdp`] as it is read: by the tag first it would be read into a tree, which takes many times the
/// memory of the text.
#[derive(Deserialize)]
struct SdpFields {
    r#type: SdpType,
    sdp: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum SdpType {
    Offer,
    Answer,
}

impl From<SdpFields> for Sdp {
    fn from(fields: SdpFields) -> Self {
        let SdpFields { r#type, sdp } = fields;
        match r#type {
            SdpType::Offer => Self::Offer { sdp },
            SdpType::Answer => Self::Answer { sdp },
        }
    }
}

/// A trickled ICE candidate (RFC 8838); an empty text says that there are no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The candidate attribute.
    pub candidate: String,
    /// Which m-line of the SDP it belongs to.
    #[serde(rename = "sdpMLineIndex")]
    pub sdp_m_line_index: u32,
}
