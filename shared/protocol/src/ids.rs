//! The names of things on the wire: robots, cameras, peers and sessions.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest robot or camera id, in bytes.
pub const MAX_NAME_LEN: usize = 64;

/// Why a text cannot be a robot or camera id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a valid id: use 1 to {MAX_NAME_LEN} letters, digits, '-', '_' or '.', for example \"front-left\""
)]
pub struct InvalidName(String);

/// True for ids that may stand in an SDP `a=label` (RFC 4574 token), a URL and a file name alike.
fn is_name(text: &str) -> bool {
    (1..=MAX_NAME_LEN).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                if is_name(&text) { Ok(Self(text)) } else { Err(InvalidName(text)) }
            }
        }

        impl std::str::FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                text.to_owned().try_into()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

macro_rules! token {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub String);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// What the operator calls a robot. It outlives connections, unlike a [`PeerId`].
    RobotId
}
name! {
    /// What the operator calls a camera of a robot.
    CameraId
}
token! {
    /// One connection to the broker, named by the broker.
    PeerId
}
token! {
    /// One producer and one consumer talking, named by the broker.
    SessionId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens() {
        for good in ["front", "rover-1", "A.b_c", &"x".repeat(MAX_NAME_LEN)] {
            assert!(good.parse::<CameraId>().is_ok(), "{good}");
        }
        for bad in ["", ".hidden", "a b", "a/b", "ä", "a\r\nb", &"x".repeat(MAX_NAME_LEN + 1)] {
            assert!(bad.parse::<CameraId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_bad_name_in_json_says_what_to_use() {
        let error = serde_json::from_str::<RobotId>("\"my robot\"").unwrap_err();
        assert!(error.to_string().contains("letters, digits"), "{error}");
    }
}
