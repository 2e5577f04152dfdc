//! The values of labels: what a message is, and why a connection is over. None is chosen by a peer.

use rovercast_protocol::signaling::{BrokerMessage, PeerRequest};

/// An enum of such values, each listed once.
macro_rules! labels {
    (
        $(#[$doc:meta])* $type:ident, $(#[$name_doc:meta])* name;
        $($(#[$value_doc:meta])* $value:ident = $name:literal,)+
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type {
            $($(#[$value_doc])* $value,)+
        }

        impl $type {
            /// All of them, in the order of their numbers.
            pub(super) const ALL: &[Self] = &[$(Self::$value),+];

            $(#[$name_doc])*
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)+
                }
            }
        }
    };
}

labels! {
    /// What a message is.
    Kind,
    /// Its `type` on the wire.
    name;
    /// `welcome`
    Welcome = "welcome",
    /// `setPeerStatus`
    SetPeerStatus = "setPeerStatus",
    /// `peerStatusChanged`
    PeerStatusChanged = "peerStatusChanged",
    /// `list`
    List = "list",
    /// `listConsumers`
    ListConsumers = "listConsumers",
    /// `startSession`
    StartSession = "startSession",
    /// `sessionStarted`
    SessionStarted = "sessionStarted",
    /// `peer`
    Peer = "peer",
    /// `endSession`
    EndSession = "endSession",
    /// `getIceServers`
    GetIceServers = "getIceServers",
    /// `iceServers`
    IceServers = "iceServers",
    /// `error`
    Error = "error",
    /// Nothing that is understood.
    Invalid = "invalid",
}

labels! {
    /// Why a connection of a peer is over.
    Ended,
    /// In a figure and in the log.
    name;
    /// The peer closed it, or it broke.
    Left = "left",
    /// Nothing was heard for too long.
    Silent = "silent",
    /// The peer did not read, and its queue was full.
    TooSlow = "too-slow",
    /// The peer flooded a robot.
    TooFast = "too-fast",
    /// A frame was too large.
    TooLarge = "too-large",
    /// The peer was refused too often.
    RateLimited = "rate-limited",
    /// The token has expired.
    TokenExpired = "token-expired",
    /// A newer connection publishes the same robot.
    Replaced = "replaced",
    /// The broker stops.
    ShuttingDown = "shutting-down",
}

impl Kind {
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
