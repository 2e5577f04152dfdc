//! Where a broker is, how it proves who it is, and the token that opens it: settings, and the files
//! that they name.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rovercast_protocol::signaling::MAX_TOKEN_BYTES;
use serde::Deserialize;
use tokio_tungstenite::tungstenite::http::Uri;

/// So much of a token's file is read, in bytes: the longest token, and white space around it.
const MAX_FILE_BYTES: u64 = 2 * MAX_TOKEN_BYTES as u64;

/// An address that cannot be a broker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no broker's address: write ws://HOST:PORT or wss://HOST:PORT")]
pub struct InvalidUrl(String);

/// Checks the address of a broker: `ws://` or, encrypted, `wss://`.
pub fn check_url(text: &str) -> Result<String, InvalidUrl> {
    let uri = text.parse::<Uri>().ok();
    let fits = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("ws" | "wss"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    if fits { Ok(text.to_owned()) } else { Err(InvalidUrl(text.to_owned())) }
}

/// The broker to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its WebSocket: `ws://HOST:PORT` or `wss://HOST:PORT`.
    pub url: String,
    /// The file with the token; none is sent when left out. Read at every attempt, so that a
    /// renewed token is used.
    pub token_file: Option<PathBuf>,
    /// A file of certificates in PEM, which sign the broker's in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// The one certificate that is the broker's, whoever signed it and whatever names are in it.
    pub tls_fingerprint: Option<Fingerprint>,
}

impl From<String> for Target {
    /// A broker that asks for no token, and is known to the system when it is encrypted.
    fn from(url: String) -> Self {
        Self { url, token_file: None, ca_file: None, tls_fingerprint: None }
    }
}

impl Target {
    /// What cannot be among the settings: the key, and what would be right.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if let Err(error) = check_url(&self.url) {
            problems.push(("url", error.to_string()));
        }
        if self.ca_file.is_some() && self.tls_fingerprint.is_some() {
            let remedy = "a pinned certificate needs no ca_file: leave one of them out";
            problems.push(("tls_fingerprint", remedy.to_owned()));
        }
        problems
    }

    /// Whether it is to prove who it is, and cannot. Not among the problems of settings: a flag may
    /// name another address.
    pub(super) fn shows_no_certificate(&self) -> bool {
        self.tls_fingerprint.is_some() && !self.url.starts_with("wss://")
    }

    /// Whether whoever listens on the way could read the token.
    pub(super) fn gives_token_away(&self) -> bool {
        let uri = self.url.parse::<Uri>().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
        let host = host.trim_matches(['[', ']']);
        let address = host.parse::<std::net::IpAddr>();
        let here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        self.token_file.is_some() && !here && self.url.starts_with("ws://")
    }

    /// The token of the file. The error names the file and the remedy, never what is in it.
    pub(super) fn token(&self) -> Result<Option<Token>, String> {
        self.token_file.as_deref().map(read_token).transpose()
    }
}

/// A token, and whether others on this computer may read its file.
pub(super) struct Token {
    /// What goes behind `Bearer`.
    pub(super) text: String,
    /// Whether everybody may read or write the file.
    pub(super) exposed: bool,
}

fn read_token(path: &Path) -> Result<Token, String> {
    let name = path.display();
    let cannot = |error| format!("cannot read the token in {name}: {error}");
    // Not opened before it is known to be a file: a pipe would be waited for.
    let about = std::fs::metadata(path).map_err(cannot)?;
    if !about.is_file() {
        return Err(format!("{name} is no file: put the token in a file"));
    }
    let mut text = String::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(cannot)?;
    let text = text.trim();
    if text.len() > MAX_TOKEN_BYTES {
        return Err(format!("the token in {name} is longer than {MAX_TOKEN_BYTES} bytes"));
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{name} holds no token: put one there, alone, as the broker's issued"));
    }
    Ok(Token { text: text.to_owned(), exposed: about.permissions().mode() & 0o007 != 0 })
}

/// SHA-256 over a certificate, written `sha256:AB:CD:…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// That of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

/// A text that is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no fingerprint of a certificate: write sha256: and 64 hexadecimal digits, as the broker says"
)]
pub struct InvalidFingerprint;

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;
    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let digits = text.strip_prefix("sha256:").ok_or(InvalidFingerprint)?.replace(':', "");
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidFingerprint);
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let pair = digits.get(2 * index..2 * index + 2).ok_or(InvalidFingerprint)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| InvalidFingerprint)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = InvalidFingerprint;
    fn try_from(text: String) -> Result<Self, InvalidFingerprint> {
        text.parse()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256")?;
        self.0.iter().try_for_each(|byte| write!(f, ":{byte:02X}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        for good in ["ws://127.0.0.1:8765", "ws://[::1]:8765/ws", "ws://robot.local", "wss://x"] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:8765", "http://x", "ws://", "ws://a b", "wss://", "ws://a:b@c"] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fingerprints_are_read_as_they_are_written() {
        let fingerprint = Fingerprint::of(b"certificate");
        let text = fingerprint.to_string();
        assert_eq!(text.len(), "sha256".len() + 32 * 3);
        for written in
            [text.clone(), text.to_lowercase(), text.replace(':', "").replace("sha256", "sha256:")]
        {
            assert_eq!(written.parse(), Ok(fingerprint), "{written}");
        }
        let signed = format!("sha256:{}", "+1".repeat(32));
        for bad in
            ["", "sha256:", &text[..text.len() - 1], &text.replace("sha256", "sha1"), &signed]
        {
            assert_eq!(bad.parse::<Fingerprint>(), Err(InvalidFingerprint), "{bad}");
        }
    }

    #[test]
    fn a_token_in_clear_text_is_noticed() {
        for (url, away) in [
            ("ws://robot.local", true),
            ("wss://robot.local", false),
            ("ws://localhost:1", false),
            ("ws://127.0.0.2:1", false),
            ("ws://[::1]:1/ws", false),
            ("ws://[::2]:1", true),
        ] {
            let token_file = Some(PathBuf::from("token"));
            let target = Target { token_file, ..Target::from(url.to_owned()) };
            assert_eq!(target.gives_token_away(), away, "{url}");
            assert!(!Target::from(url.to_owned()).gives_token_away());
        }
    }

    #[test]
    fn a_token_that_everybody_may_read_is_noticed() {
        let path = std::env::temp_dir().join(format!("rovercast-token-{}", std::process::id()));
        std::fs::write(&path, " a.b.c\n").unwrap();
        let target = Target { token_file: Some(path.clone()), ..Target::from("ws://a".to_owned()) };
        for (mode, exposed) in [(0o600, false), (0o640, false), (0o644, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let token = target.token().unwrap().unwrap();
            assert_eq!((token.text.as_str(), token.exposed), ("a.b.c", exposed), "{mode:o}");
        }
        for (bytes, taken) in [(MAX_TOKEN_BYTES, true), (MAX_TOKEN_BYTES + 1, false)] {
            std::fs::write(&path, "x".repeat(bytes) + "\n").unwrap();
            assert_eq!(target.token().is_ok(), taken, "{bytes} bytes");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(target.token().is_err_and(|error| error.contains("rovercast-token")));
        let folder = Target { token_file: Some(std::env::temp_dir()), ..target };
        assert!(folder.token().is_err_and(|error| error.contains("is no file")));
    }

    #[test]
    fn settings_that_contradict_each_other_are_named() {
        let plain = Target::from("ws://a".to_owned());
        let pin = Some(Fingerprint::of(b""));
        assert_eq!(plain.problems(), []);
        let pinned = Target { tls_fingerprint: pin, ..plain.clone() };
        assert!(pinned.shows_no_certificate() && !plain.shows_no_certificate());
        let secure = Target { url: "wss://a".to_owned(), ..pinned };
        assert!(secure.problems().is_empty() && !secure.shows_no_certificate());
        let both = Target { ca_file: Some("ca.pem".into()), ..secure };
        assert_eq!(both.problems()[0].0, "tls_fingerprint");
    }
}
