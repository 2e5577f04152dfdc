//! STUN and TURN servers, as the broker names them.

use serde::{Deserialize, Serialize};

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

#[cfg(test)]
mod tests {
    use super::*;

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
