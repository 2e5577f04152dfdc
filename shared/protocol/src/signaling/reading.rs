//! How messages are read: the `type` first, then the fields of that type alone. To read an enum that
//! is told by one field among others, serde puts all of them into a tree, which takes many times the
//! memory of the text: whoever writes the text must not be able to have that.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Error};

use super::session::PeerMessageFields;
use super::{
    BrokerMessage, Candidate, ErrorCode, ErrorMessage, PeerInfo, PeerMessage, PeerRequest, Sdp,
};
use crate::ids::SessionId;

/// How much is said at most of a frame that cannot be understood.
const MAX_DETAILS_BYTES: usize = 512;

impl PeerRequest {
    /// Parses the text of a frame. The error is what to answer.
    pub fn parse(text: &str) -> Result<Self, ErrorMessage> {
        // Nearly all that a broker reads is to be relayed: that is read at once.
        if let Ok(Relayed { message, .. }) = serde_json::from_str(text) {
            return Ok(Self::Peer(message));
        }
        let malformed = |error: serde_json::Error| refusal(ErrorCode::Malformed, &error);
        let tag = tag(text).map_err(malformed)?;
        let request = match &*tag {
            "setPeerStatus" => read(text).map(Self::SetPeerStatus),
            "startSession" => read(text).map(Self::StartSession),
            "endSession" => read(text).map(Self::EndSession),
            "peer" => read(text).map(Self::Peer),
            "error" => read(text).map(Self::Error),
            "list" => Ok(Self::List),
            "listConsumers" => Ok(Self::ListConsumers),
            "getIceServers" => Ok(Self::GetIceServers),
            other => return Err(refusal(ErrorCode::UnknownType, &unknown(other))),
        };
        request.map_err(malformed)
    }
}

impl BrokerMessage {
    /// Parses the text of a frame. The error says what is wrong with it, or that no message of this
    /// `type` is known.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Producers {
            producers: Vec<PeerInfo>,
        }
        #[derive(Deserialize)]
        struct Consumers {
            consumers: Vec<PeerInfo>,
        }
        match &*tag(text)? {
            "welcome" => read(text).map(Self::Welcome),
            "peerStatusChanged" => read(text).map(Self::PeerStatusChanged),
            "startSession" => read(text).map(Self::StartSession),
            "sessionStarted" => read(text).map(Self::SessionStarted),
            "endSession" => read(text).map(Self::EndSession),
            "peer" => read(text).map(Self::Peer),
            "list" => read(text).map(|Producers { producers }| Self::List { producers }),
            "listConsumers" => {
                read(text).map(|Consumers { consumers }| Self::ListConsumers { consumers })
            }
            "iceServers" => read(text).map(Self::IceServers),
            "error" => read(text).map(Self::Error),
            other => Err(unknown(other)),
        }
    }
}

/// The `type` of a message.
fn tag(text: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Tagged<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
    }
    // Fields could be read from a list, too.
    if !text.trim_start().starts_with('{') {
        return Err(serde_json::Error::custom("a JSON object is wanted"));
    }
    Ok(serde_json::from_str::<Tagged<'_>>(text)?.r#type)
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}

fn unknown(tag: &str) -> serde_json::Error {
    serde_json::Error::custom(format_args!("no message of the type {tag:?} is known"))
}

fn refusal(code: ErrorCode, error: &serde_json::Error) -> ErrorMessage {
    // It may quote the frame, whose author would have it grow by being escaped.
    let mut details = error.to_string();
    details.truncate(details.floor_char_boundary(MAX_DETAILS_BYTES));
    ErrorMessage { details, code: Some(code), session_id: None }
}

/// A [`PeerRequest::Peer`], and nothing else.
#[derive(Deserialize)]
#[serde(try_from = "RelayedFields")]
pub(super) struct Relayed {
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
