//! The GStreamer WebRTC signalling protocol, as spoken by `webrtcsink`, `webrtcsrc` and
//! `gstwebrtc-api`, with additive fields of our own.
//!
//! JSON objects in WebSocket text frames. Those programs ignore the fields that they do not
//! know, and so do we; `docs/protocol.md` tells which is which.

use serde::{Deserialize, Serialize};

use crate::ids::PeerId;

mod error;
mod ice;
mod meta;
mod peers;
mod reading;
mod session;
#[cfg(test)]
mod tests;

pub use error::{ErrorCode, ErrorMessage};
pub use ice::{IceServer, IceServers};
pub use meta::Meta;
pub use peers::{CameraMeta, PeerInfo, PeerRole, PeerStatus, ProducerMeta};
pub use session::{
    Candidate, EndReason, PeerBody, PeerMessage, Sdp, SessionEnd, SessionRequest, SessionStart,
    SessionStarted,
};

/// The longest token that opens a broker, in bytes.
pub const MAX_TOKEN_BYTES: usize = 4 * 1024;

/// The longest message that peers take from a broker, in bytes: lists of many robots are long.
pub const MAX_BROKER_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// From a peer to the broker. Read with [`PeerRequest::parse`].
#[derive(Debug, Clone, PartialEq, Serialize)]
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

/// From the broker to a peer. Read with [`BrokerMessage::parse`].
#[derive(Debug, Clone, PartialEq, Serialize)]
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
