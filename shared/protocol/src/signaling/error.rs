//! What can be wrong.

use serde::{Deserialize, Serialize};

use crate::ids::SessionId;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_shown_as_it_stands_on_the_wire() {
        for code in [ErrorCode::TooManyConnections, ErrorCode::Forbidden] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.to_string());
        }
    }
}
