//! STUN and TURN servers in webrtcbin's terms.

use rovercast_protocol::signaling::IceServer;
use serde::Deserialize;

/// Which paths a session may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportPolicy {
    /// Every one that works; the shortest is taken.
    #[default]
    All,
    /// By a TURN server alone: the other end does not learn this one's addresses.
    Relay,
}

impl TransportPolicy {
    /// As webrtcbin calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Relay => "relay",
        }
    }
}

/// The servers of a session, as URLs that webrtcbin takes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct IceUrls {
    /// The first STUN server: webrtcbin takes one.
    pub stun: Option<String>,
    /// TURN servers with their credentials.
    pub turn: Vec<String>,
}

impl IceUrls {
    /// Translates browser-style servers. What webrtcbin cannot use is left out: `turns:` (libnice
    /// would speak plain TCP), and TURN without credentials.
    pub fn from_servers(servers: &[IceServer]) -> Self {
        let mut urls = Self::default();
        for server in servers {
            for url in &server.urls {
                match url.split_once(':') {
                    Some(("stun", host)) => {
                        urls.stun.get_or_insert_with(|| format!("stun://{host}"));
                    }
                    Some(("turn", host)) => {
                        if let (Some(user), Some(password)) = (&server.username, &server.credential)
                        {
                            let (user, password) = (encoded(user), encoded(password));
                            urls.turn.push(format!("turn://{user}:{password}@{host}"));
                        }
                    }
                    _ => {
                        tracing::warn!(%url, "ICE server left out: only stun: and turn: can be used")
                    }
                }
            }
        }
        urls
    }
}

/// Percent-encoding of everything but the unreserved characters (RFC 3986, section 2.3).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_escaped_and_unusable_servers_left_out() {
        let server = |url: &str, credential: Option<&str>| IceServer {
            urls: vec![url.into()],
            username: credential.map(|_| "1700:bob".into()),
            credential: credential.map(str::to_owned),
        };
        let urls = IceUrls::from_servers(&[
            server("stun:s.example:3478", None),
            server("stun:second.example", None),
            server("turn:t.example:3478?transport=tcp", Some("a+/=")),
            server("turn:open.example", None),
            server("turns:t.example:5349", Some("x")),
        ]);
        assert_eq!(urls.stun.as_deref(), Some("stun://s.example:3478"));
        assert_eq!(urls.turn, ["turn://1700%3Abob:a%2B%2F%3D@t.example:3478?transport=tcp"]);
    }
}
