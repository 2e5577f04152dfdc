//! The GStreamer WebRTC signalling protocol, as spoken by `webrtcsink`, `webrtcsrc` and
//! `gstwebrtc-api`, with additive fields of our own.
//!
//! JSON objects in WebSocket text frames. Those programs ignore the fields that they do not
//! know, and so do we; `docs/protocol.md` tells which is which.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{CameraId, PeerId, RobotId, SessionId};

/// From a peer to the broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum PeerRequest {
    /// Takes or leaves roles.
    SetPeerStatus(PeerStatus),
    /// Asks for a session with another peer.
    StartSession(SessionRequest),
    /// Leaves a session.
    EndSession(SessionEnd),
    /// Relays SDP or a candidate to the other peer of a session.
    Peer(PeerMessage),
    /// Relays a complaint to the other peer of a session (ours).
    Error(ErrorMessage),
    /// Asks for the producers that are on-line.
    List,
    /// Asks for the consumers that wait to be called.
    ListConsumers,
    /// Asks for STUN and TURN servers with fresh credentials (ours).
    GetIceServers,
}

/// From the broker to a peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum BrokerMessage {
    /// The first message on every connection.
    Welcome(Welcome),
    /// To listeners: a peer took or left roles; no roles means that it is gone.
    PeerStatusChanged(PeerStatus),
    /// To a producer: a consumer wants a session.
    StartSession(SessionStart),
    /// To a consumer: its session exists.
    SessionStarted(SessionStarted),
    /// The session is over.
    EndSession(SessionEnd),
    /// SDP or a candidate of the other peer of a session.
    Peer(PeerMessage),
    /// The answer to [`PeerRequest::List`].
    List {
        /// The producers that are on-line.
        producers: Vec<PeerInfo>,
    },
    /// The answer to [`PeerRequest::ListConsumers`].
    ListConsumers {
        /// The consumers that wait to be called.
        consumers: Vec<PeerInfo>,
    },
    /// The answer to [`PeerRequest::GetIceServers`] (ours).
    IceServers(IceServers),
    /// A request that was refused, or the other peer's complaint.
    Error(ErrorMessage),
}

/// The broker's greeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// This connection's id.
    pub peer_id: PeerId,
    /// STUN and TURN servers to use, as in the browser's `RTCIceServer` (ours).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ice_servers: Vec<IceServer>,
    /// For how long their credentials are good, in seconds; for ever when left out (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ice_servers_ttl_s: Option<u32>,
}

/// STUN and TURN servers to use from now on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceServers {
    /// The servers, as in [`Welcome`].
    #[serde(default)]
    pub ice_servers: Vec<IceServer>,
    /// For how long their credentials are good, in seconds; for ever when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ice_servers_ttl_s: Option<u32>,
}

/// One STUN or TURN server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceServer {
    /// `stun:host:port`, `turn:host:port?transport=udp` …
    pub urls: Vec<String>,
    /// The user, for TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password, for TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl std::fmt::Debug for IceServer {
    /// Leaves the credential out, so that no log ever carries it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceServer").field("urls", &self.urls).finish_non_exhaustive()
    }
}

/// What a peer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PeerRole {
    /// Sends media: a robot.
    Producer,
    /// Is told when producers come and go.
    Listener,
    /// Waits to be called by a producer.
    Consumer,
}

/// The roles of a peer and what it says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    /// Which peer; left out by peers that speak of themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<PeerId>,
    /// Its roles; none when it is gone.
    #[serde(default)]
    pub roles: Vec<PeerRole>,
    /// What it says of itself: any JSON. Robots send [`ProducerMeta`].
    #[serde(default)]
    pub meta: Option<Value>,
}

/// A peer in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerInfo {
    /// Which peer.
    pub id: PeerId,
    /// What it says of itself.
    #[serde(default)]
    pub meta: Option<Value>,
}

/// What a robot says of itself (ours; other producers send what they like).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducerMeta {
    /// The robot's id: stays the same when its connection, and with it its peer id, does not.
    pub name: RobotId,
    /// What it is: `robot`.
    pub kind: String,
    /// Its cameras.
    pub cameras: Vec<CameraMeta>,
}

/// What a robot says of a camera.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CameraMeta {
    /// The camera's id, also the `a=label` of its track.
    pub id: CameraId,
    /// Its name for people.
    pub label: String,
    /// Picture width in pixels.
    pub width: u32,
    /// Picture height in pixels.
    pub height: u32,
    /// Frames per second, at most.
    pub fps: u32,
    /// `h264`.
    pub codec: String,
}

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
struct PeerMessageFields {
    session_id: SessionId,
    sdp: Option<Sdp>,
    ice: Option<Candidate>,
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
#[serde(tag = "type", rename_all = "camelCase")]
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

/// Something that went wrong, for people (`details`) and for programs (`code`, ours).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorMessage {
    /// What is wrong, and how to mend it.
    pub details: String,
    /// What is wrong, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// The session that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The text is no JSON object, or a field is missing or of the wrong type.
    Malformed,
    /// No message of this `type` is known.
    UnknownType,
    /// The frame is larger than the broker accepts; it ends the connection.
    TooLarge,
    /// Binary frames are not part of the protocol.
    NotText,
    /// Nobody with this peer id is connected.
    UnknownPeer,
    /// The peer asked for is neither a producer nor a waiting consumer, or asks for itself.
    NotAProducer,
    /// No such session, or the asking peer is not part of it.
    UnknownSession,
    /// Only the producer of a session offers.
    NotTheProducer,
    /// A peer cannot be producer and waiting consumer at once.
    ConflictingRoles,
    /// The peer did not read its messages and was dropped.
    TooSlow,
    /// The peer sends more to a robot than that takes, and was dropped.
    TooFast,
    /// The SDP cannot be parsed or used.
    BadSdp,
    /// The SDP offer takes none of the codecs that the cameras have.
    NotAcceptable,
    /// The candidate cannot be parsed.
    BadCandidate,
    /// None of the cameras asked for exists.
    UnknownCamera,
    /// The DTLS certificate is not the one that the SDP promised.
    FingerprintMismatch,
    /// The session did not connect in time.
    NegotiationTimeout,
    /// The robot, or the peer that asks, has as many sessions as it may.
    TooManySessions,
    /// The broker wants a token, and there is none, or none that it trusts.
    Unauthorized,
    /// The token was good until now.
    TokenExpired,
    /// The token does not allow this.
    Forbidden,
    /// Somebody else publishes a robot of this name.
    RobotTaken,
    /// A newer connection publishes the same robot; this one ends.
    Replaced,
    /// The peer asks more, or more often in vain, than it may.
    RateLimited,
    /// The broker, or one address, has as many connections as it may.
    TooManyConnections,
    /// The broker stops; the connection ends.
    ShuttingDown,
    /// Something failed inside.
    Internal,
    /// A code of a later version.
    #[serde(other)]
    Other,
}

impl std::fmt::Display for ErrorCode {
    /// As it stands on the wire.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// The `type` of every [`PeerRequest`].
const REQUEST_TYPES: [&str; 8] = [
    "setPeerStatus",
    "startSession",
    "endSession",
    "peer",
    "error",
    "list",
    "listConsumers",
    "getIceServers",
];

/// How much is said at most of a frame that cannot be understood.
const MAX_DETAILS_BYTES: usize = 512;

impl PeerRequest {
    /// Parses the text of a frame. The error is what to answer.
    pub fn parse(text: &str) -> Result<Self, ErrorMessage> {
        // Nearly all that a broker reads is to be relayed. An enum that is told by a field among
        // others is read into a tree first, which takes several times as long.
        if let Ok(Relayed { message, .. }) = serde_json::from_str(text) {
            return Ok(Self::Peer(message));
        }
        serde_json::from_str(text).map_err(|error| {
            #[derive(Deserialize)]
            struct Tag {
                r#type: String,
            }
            let tag = serde_json::from_str::<Tag>(text).ok();
            let code = match tag {
                Some(tag) if !REQUEST_TYPES.contains(&tag.r#type.as_str()) => {
                    ErrorCode::UnknownType
                }
                _ => ErrorCode::Malformed,
            };
            // It may quote the frame, whose author would have it grow by being escaped.
            let mut details = error.to_string();
            details.truncate(details.floor_char_boundary(MAX_DETAILS_BYTES));
            ErrorMessage { details, code: Some(code), session_id: None }
        })
    }
}

/// A [`PeerRequest::Peer`], and nothing else.
#[derive(Deserialize)]
#[serde(try_from = "RelayedFields")]
struct Relayed {
    message: PeerMessage,
}

/// As [`PeerMessageFields`], with the tag.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RelayedFields {
    #[serde(rename = "type")]
    _tag: PeerTag,
    session_id: SessionId,
    sdp: Option<Sdp>,
    ice: Option<Candidate>,
}

impl TryFrom<RelayedFields> for Relayed {
    type Error = &'static str;
    fn try_from(fields: RelayedFields) -> Result<Self, Self::Error> {
        let RelayedFields { _tag, session_id, sdp, ice } = fields;
        let message = PeerMessageFields { session_id, sdp, ice }.try_into()?;
        Ok(Self { message })
    }
}

/// The text `peer`: at any other the reader gives up, mostly at the beginning of the text.
#[derive(Deserialize)]
#[serde(try_from = "&str")]
struct PeerTag;

impl TryFrom<&str> for PeerTag {
    type Error = &'static str;
    fn try_from(text: &str) -> Result<Self, Self::Error> {
        if text == "peer" { Ok(Self) } else { Err("not to be relayed") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> PeerRequest {
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
    }

    /// As GStreamer's own programs write them.
    #[test]
    fn requests_of_other_programs_are_understood() {
        let status = request(r#"{"type":"setPeerStatus","roles":["listener"],"meta":null}"#);
        let PeerRequest::SetPeerStatus(status) = status else { panic!("{status:?}") };
        assert_eq!((status.roles, status.meta), (vec![PeerRole::Listener], None));

        let start = request(r#"{"type":"startSession","peerId":"p","offer":null}"#);
        let PeerRequest::StartSession(start) = start else { panic!("{start:?}") };
        assert_eq!(
            start,
            SessionRequest { peer_id: PeerId("p".into()), offer: None, cameras: None }
        );

        let sdp = request(r#"{"type":"peer","sessionId":"s","sdp":{"type":"answer","sdp":"v=0"}}"#);
        let PeerRequest::Peer(sdp) = sdp else { panic!("{sdp:?}") };
        assert_eq!(sdp.body, PeerBody::Sdp(Sdp::Answer { sdp: "v=0".into() }));

        let ice = r#"{"type":"peer","sessionId":"s","ice":{"candidate":"","sdpMLineIndex":1}}"#;
        let PeerRequest::Peer(message) = request(ice) else { panic!("{ice}") };
        let candidate = Candidate { candidate: String::new(), sdp_m_line_index: 1 };
        assert_eq!(message.body, PeerBody::Ice(candidate));
        assert_eq!(serde_json::to_string(&PeerRequest::Peer(message)).unwrap(), ice);

        assert_eq!(request(r#"{"type":"list"}"#), PeerRequest::List);
    }

    /// The short way to read what is relayed leads nowhere else than the long one.
    #[test]
    fn what_is_relayed_is_read_in_one_way() {
        let ice = r#""ice":{"candidate":"c","sdpMLineIndex":1,"sdpMid":"0"}"#;
        for (json, is_read) in [
            (format!(r#"{{"type":"peer","sessionId":"s",{ice}}}"#), true),
            (format!(r#"{{{ice},"added":[1],"sessionId":"s","type":"peer"}}"#), true),
            (format!(r#"{{"type":"peer","sessionId":"s","sdp":null,{ice}}}"#), true),
            (r#"{"type":"peer","sessionId":"s","sdp":{"type":"offer","sdp":"v"}}"#.into(), true),
            (format!(r#"{{"type":"peer","type":"peer","sessionId":"s",{ice}}}"#), false),
            (format!(r#"{{"type":"list","type":"peer","sessionId":"s",{ice}}}"#), false),
            (format!(r#"{{"type":"peer","sessionId":"s",{ice},{ice}}}"#), false),
            (format!(r#"{{"type":["peer"],"sessionId":"s",{ice}}}"#), false),
            (format!(r#"{{"type":{{"peer":null}},"sessionId":"s",{ice}}}"#), false),
            (format!(r#"{{"type":"peer","sessionId":"s",{ice}}} x"#), false),
        ] {
            let long = serde_json::from_str::<PeerRequest>(&json).ok();
            assert_eq!(PeerRequest::parse(&json).ok(), long, "{json}");
            assert_eq!(serde_json::from_str::<Relayed>(&json).is_ok(), is_read, "{json}");
            assert_eq!(long.is_some(), is_read, "{json}");
        }
        for other in [r#"{"type":"list"}"#, r#"{"type":"endSession","sessionId":"s"}"#] {
            assert!(serde_json::from_str::<Relayed>(other).is_err());
            assert!(PeerRequest::parse(other).is_ok());
        }
    }

    #[test]
    fn our_fields_are_left_out_when_empty() {
        let welcome = BrokerMessage::Welcome(Welcome {
            peer_id: PeerId("p".into()),
            ice_servers: vec![],
            ice_servers_ttl_s: None,
        });
        assert_eq!(serde_json::to_string(&welcome).unwrap(), r#"{"type":"welcome","peerId":"p"}"#);
    }

    #[test]
    fn failures_to_parse_have_codes() {
        let code = |json: &str| PeerRequest::parse(json).unwrap_err().code.unwrap();
        assert_eq!(code(r#"{"type":"reboot"}"#), ErrorCode::UnknownType);
        for malformed in [
            "",
            "{",
            "[]",
            "7",
            "{}",
            r#"{"type":7}"#,
            r#"{"type":"peer"}"#,
            r#"{"type":"peer","sessionId":"s"}"#,
            r#"{"type":"setPeerStatus","roles":["king"]}"#,
            r#"{"type":"peer","sessionId":"s","ice":{"candidate":"","sdpMLineIndex":0},"sdp":{"type":"offer","sdp":""}}"#,
            r#"{"type":"peer","sessionId":"s","sdp":{"type":"answer","sdp":""},"sdp":{"type":"offer","sdp":""}}"#,
            r#"{"type":"peer","sessionId":"s","sessionId":"t","sdp":{"type":"answer","sdp":""}}"#,
        ] {
            assert_eq!(code(malformed), ErrorCode::Malformed, "{malformed}");
        }
    }

    #[test]
    fn a_code_is_shown_as_it_stands_on_the_wire() {
        for code in [ErrorCode::TooManyConnections, ErrorCode::Forbidden] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.to_string());
        }
    }

    #[test]
    fn codes_and_reasons_of_later_versions_are_tolerated() {
        let error: BrokerMessage =
            serde_json::from_str(r#"{"type":"error","details":"d","code":"from-the-future"}"#)
                .unwrap();
        let BrokerMessage::Error(error) = error else { panic!("{error:?}") };
        assert_eq!(error.code, Some(ErrorCode::Other));
    }

    #[test]
    fn credentials_are_not_in_debug_output() {
        let server = IceServer {
            urls: vec!["turn:x".into()],
            username: None,
            credential: Some("s3cret".into()),
        };
        assert!(!format!("{server:?}").contains("s3cret"));
    }
}
