//! The values of labels: what a message is, and why a connection is over. None is chosen by a peer.

use rovercast_protocol::signaling::{BrokerMessage, PeerRequest};

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `welcome`
    Welcome,
    /// `setPeerStatus`
    SetPeerStatus,
    /// `peerStatusChanged`
    PeerStatusChanged,
    /// `list`
    List,
    /// `listConsumers`
    ListConsumers,
    /// `startSession`
    StartSession,
    /// `sessionStarted`
    SessionStarted,
    /// `peer`
    Peer,
    /// `endSession`
    EndSession,
    /// `getIceServers`
    GetIceServers,
    /// `iceServers`
    IceServers,
    /// `error`
    Error,
    /// Nothing that is understood.
    Invalid,
}

/// Why a connection of a peer is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The peer closed it, or it broke.
    Left,
    /// Nothing was heard for too long.
    Silent,
    /// The peer did not read, and its queue was full.
    TooSlow,
    /// The peer flooded a robot.
    TooFast,
    /// A frame was too large.
    TooLarge,
    /// The peer was refused too often.
    RateLimited,
    /// The token has expired.
    TokenExpired,
    /// A newer connection publishes the same robot.
    Replaced,
    /// The broker stops.
    ShuttingDown,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 13] = [
        Self::Welcome,
        Self::SetPeerStatus,
        Self::PeerStatusChanged,
        Self::List,
        Self::ListConsumers,
        Self::StartSession,
        Self::SessionStarted,
        Self::Peer,
        Self::EndSession,
        Self::GetIceServers,
        Self::IceServers,
        Self::Error,
        Self::Invalid,
    ];

    /// What peers say.
    pub(super) const HEARD: [Self; 9] = [
        Self::SetPeerStatus,
        Self::List,
        Self::ListConsumers,
        Self::StartSession,
        Self::Peer,
        Self::EndSession,
        Self::GetIceServers,
        Self::Error,
        Self::Invalid,
    ];

    /// What is said to them.
    pub(super) const SAID: [Self; 10] = [
        Self::Welcome,
        Self::PeerStatusChanged,
        Self::List,
        Self::ListConsumers,
        Self::StartSession,
        Self::SessionStarted,
        Self::Peer,
        Self::EndSession,
        Self::IceServers,
        Self::Error,
    ];

    /// Its `type` on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Welcome => "welcome",
            Self::SetPeerStatus => "setPeerStatus",
            Self::PeerStatusChanged => "peerStatusChanged",
            Self::List => "list",
            Self::ListConsumers => "listConsumers",
            Self::StartSession => "startSession",
            Self::SessionStarted => "sessionStarted",
            Self::Peer => "peer",
            Self::EndSession => "endSession",
            Self::GetIceServers => "getIceServers",
            Self::IceServers => "iceServers",
            Self::Error => "error",
            Self::Invalid => "invalid",
        }
    }
}

impl From<&PeerRequest> for Kind {
    fn from(request: &PeerRequest) -> Self {
        match request {
            PeerRequest::SetPeerStatus(_) => Self::SetPeerStatus,
            PeerRequest::StartSession(_) => Self::StartSession,
            PeerRequest::EndSession(_) => Self::EndSession,
            PeerRequest::Peer(_) => Self::Peer,
            PeerRequest::Error(_) => Self::Error,
            PeerRequest::List => Self::List,
            PeerRequest::ListConsumers => Self::ListConsumers,
            PeerRequest::GetIceServers => Self::GetIceServers,
        }
    }
}

impl From<&BrokerMessage> for Kind {
    fn from(message: &BrokerMessage) -> Self {
        match message {
            BrokerMessage::Welcome(_) => Self::Welcome,
            BrokerMessage::PeerStatusChanged(_) => Self::PeerStatusChanged,
            BrokerMessage::StartSession(_) => Self::StartSession,
            BrokerMessage::SessionStarted(_) => Self::SessionStarted,
            BrokerMessage::EndSession(_) => Self::EndSession,
            BrokerMessage::Peer(_) => Self::Peer,
            BrokerMessage::List { .. } => Self::List,
            BrokerMessage::ListConsumers { .. } => Self::ListConsumers,
            BrokerMessage::IceServers(_) => Self::IceServers,
            BrokerMessage::Error(_) => Self::Error,
        }
    }
}

impl Ended {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 9] = [
        Self::Left,
        Self::Silent,
        Self::TooSlow,
        Self::TooFast,
        Self::TooLarge,
        Self::RateLimited,
        Self::TokenExpired,
        Self::Replaced,
        Self::ShuttingDown,
    ];

    /// In a figure and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Silent => "silent",
            Self::TooSlow => "too-slow",
            Self::TooFast => "too-fast",
            Self::TooLarge => "too-large",
            Self::RateLimited => "rate-limited",
            Self::TokenExpired => "token-expired",
            Self::Replaced => "replaced",
            Self::ShuttingDown => "shutting-down",
        }
    }
}
