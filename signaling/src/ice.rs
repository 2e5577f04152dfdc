//! STUN and TURN servers for peers: those of the settings as they are, and TURN servers with
//! credentials that are good for a while and bear the peer's id, after the scheme that coturn calls
//! `use-auth-secret`. Reads no clock and no file: time and secret come in as arguments. Speaks to
//! no server.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use rovercast_protocol::ids::PeerId;
use rovercast_protocol::signaling::{IceServer, IceServers};
use serde::Deserialize;

use crate::access::Grant;

/// Shorter ones are gone before a session begins; longer ones are as good as permanent.
const TTL_S: std::ops::RangeInclusive<u32> = 10..=7 * 24 * 3600;

/// Whoever has one credential can try secrets at home: short ones would be found.
const SECRET_BYTES_AT_LEAST: usize = 16;

/// The section `[turn]` of the broker's settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TurnSettings {
    /// The file with the secret that broker and TURN server share, at least 16 bytes; white space
    /// at its end is not part of it.
    pub secret_file: Option<PathBuf>,
    /// The servers: `turn:HOST:PORT?transport=udp`, the same with `tcp`, `turns:HOST:PORT`,
    /// `stun:HOST:PORT`. None: peers are given no credentials.
    pub urls: Vec<String>,
    /// For how long a credential is good, in seconds: 10 to 604800, but never longer than the token
    /// of its peer. It is looked at when a path is made: those that are there go on.
    pub ttl_s: u32,
}

impl Default for TurnSettings {
    fn default() -> Self {
        Self { secret_file: None, urls: Vec::new(), ttl_s: 6 * 3600 }
    }
}

/// What is wrong with `[turn]`.
#[derive(Debug, thiserror::Error)]
pub enum BadTurn {
    /// Servers without a secret.
    #[error("`urls` want `secret_file`, the file with coturn's static-auth-secret")]
    NoSecret,
    /// A secret without servers.
    #[error(
        "`secret_file` wants `urls`, for example [\"turn:turn.example.org:3478?transport=udp\"]"
    )]
    NoUrls,
    /// An address that browsers would refuse, and the whole session with it.
    #[error(
        "{0:?} is no server: write \"turn:HOST:PORT?transport=udp\" (or tcp), \"turns:HOST:PORT\" \
         or \"stun:HOST:PORT\""
    )]
    Url(String),
    /// All of them are STUN, which needs no credentials.
    #[error("none of `urls` is a TURN server: servers for STUN alone belong into [[ice_servers]]")]
    NoTurn,
    /// Too short or too long.
    #[error("ttl_s is {0}: credentials are good for {min} to {max} seconds", min = TTL_S.start(), max = TTL_S.end())]
    Ttl(u32),
    /// The secret cannot be read.
    #[error("the TURN secret in {file} cannot be read: {error}; see turn.secret_file")]
    Unreadable {
        /// Its file.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// The secret can be guessed.
    #[error(
        "the TURN secret in {file} is shorter than {SECRET_BYTES_AT_LEAST} bytes: make one with \
         `openssl rand -hex 32`, and give the same to coturn"
    )]
    Short {
        /// Its file.
        file: String,
    },
}

impl TurnSettings {
    /// Whether they can be used, as far as that shows without the secret.
    pub fn check(&self) -> Result<(), BadTurn> {
        if let Some(url) = self.urls.iter().find(|url| scheme_of(url).is_none()) {
            return Err(BadTurn::Url(url.clone()));
        }
        if !TTL_S.contains(&self.ttl_s) {
            return Err(BadTurn::Ttl(self.ttl_s));
        }
        match (&self.secret_file, self.urls.is_empty()) {
            (None, false) => Err(BadTurn::NoSecret),
            (Some(_), true) => Err(BadTurn::NoUrls),
            (Some(_), false) if !self.urls.iter().any(|url| is_turn(url)) => Err(BadTurn::NoTurn),
            _ => Ok(()),
        }
    }
}

/// What peers are told of STUN and TURN servers.
#[derive(Debug, Clone)]
pub struct Servers {
    /// The same for everybody, for ever.
    fixed: Vec<IceServer>,
    turn: Option<Turn>,
}

/// TURN servers that know the secret.
#[derive(Debug, Clone)]
struct Turn {
    urls: Vec<String>,
    /// Its Debug tells nothing but the algorithm.
    key: hmac::Key,
    ttl_s: u32,
}

impl Servers {
    /// Names `fixed` to everybody, and what `turn` says with credentials. `read` gives what is in
    /// the file of a secret; it is called once, and only if there is a secret.
    pub fn new(
        mut fixed: Vec<IceServer>,
        turn: &TurnSettings,
        read: impl FnOnce(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<Self, BadTurn> {
        turn.check()?;
        let Some(path) = &turn.secret_file else {
            return Ok(Self { fixed, turn: None });
        };
        let file = path.display().to_string();
        let secret = match read(path) {
            Ok(secret) => secret,
            Err(error) => return Err(BadTurn::Unreadable { file, error }),
        };
        let secret = secret.trim_ascii_end();
        if secret.len() < SECRET_BYTES_AT_LEAST {
            return Err(BadTurn::Short { file });
        }
        // The scheme is that of the TURN servers there are: nothing newer is known to them. As an
        // HMAC, SHA-1 is still sound.
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
        let (urls, stun): (Vec<_>, Vec<_>) =
            turn.urls.iter().cloned().partition(|url| is_turn(url));
        if !stun.is_empty() {
            fixed.push(IceServer { urls: stun, username: None, credential: None });
        }
        Ok(Self { fixed, turn: Some(Turn { urls, key, ttl_s: turn.ttl_s }) })
    }

    /// The servers for this peer from this moment on, with credentials of its own, and for how long
    /// those are good: not beyond its token. One that can have no sessions gets no credentials.
    pub fn for_peer(&self, peer_id: &PeerId, grant: &Grant, now_unix_s: u64) -> IceServers {
        let mut ice_servers = self.fixed.clone();
        let turn = self.turn.as_ref().filter(|_| grant.may_have_sessions());
        let ice_servers_ttl_s = turn.map(|turn| {
            let left_s = grant.expires_at().map_or(u64::MAX, |end| end.saturating_sub(now_unix_s));
            let ttl_s = turn.ttl_s.min(u32::try_from(left_s).unwrap_or(u32::MAX));
            ice_servers.push(turn.server(peer_id, now_unix_s.saturating_add(ttl_s.into())));
            ttl_s
        });
        IceServers { ice_servers, ice_servers_ttl_s }
    }
}

impl Turn {
    fn server(&self, peer_id: &PeerId, expires_unix_s: u64) -> IceServer {
        let username = format!("{expires_unix_s}:{peer_id}");
        let credential = STANDARD.encode(hmac::sign(&self.key, username.as_bytes()));
        IceServer {
            urls: self.urls.clone(),
            username: Some(username),
            credential: Some(credential),
        }
    }
}

fn is_turn(url: &str) -> bool {
    scheme_of(url).is_some_and(|scheme| scheme.starts_with("turn"))
}

/// The scheme of a server's address (RFC 7064 and 7065); None if it is no such address. One that a
/// browser does not take would cost it the session, so that nothing odd is let pass.
fn scheme_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once(':')?;
    let (place, query) = rest.split_once('?').map_or((rest, None), |(p, q)| (p, Some(q)));
    let query_fits = match scheme {
        "stun" | "stuns" => query.is_none(),
        "turn" | "turns" => query.is_none_or(|q| ["transport=udp", "transport=tcp"].contains(&q)),
        _ => false,
    };
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match place.split_once(':') {
            Some((host, port)) => (name(host)?, Some(port)),
            None => (name(place)?, None),
        },
    };
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    (query_fits && port_fits && !host.is_empty()).then_some(scheme)
}

/// A host's name or IPv4 address.
fn name(host: &str) -> Option<&str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    host.bytes().all(fits).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"a secret of the lab, no other\n";

    fn settings(urls: &[&str]) -> TurnSettings {
        TurnSettings {
            secret_file: Some("/etc/rovercast/turn-secret".into()),
            urls: urls.iter().map(|&url| url.to_owned()).collect(),
            ttl_s: 600,
        }
    }

    fn servers(urls: &[&str]) -> Servers {
        Servers::new(Vec::new(), &settings(urls), |_| Ok(SECRET.to_vec())).unwrap()
    }

    fn peer(id: &str) -> PeerId {
        PeerId(id.into())
    }

    /// Against `printf %s 1700000600:p1 | openssl dgst -sha1 -hmac SECRET -binary | base64`.
    #[test]
    fn a_credential_is_what_coturn_computes() {
        let given = servers(&["turn:t:3478?transport=udp", "turn:t:3478?transport=tcp", "turns:t"])
            .for_peer(&peer("p1"), &Grant::open(), 1_700_000_000);
        assert_eq!(given.ice_servers_ttl_s, Some(600));
        let [server] = given.ice_servers.as_slice() else { panic!("{given:?}") };
        assert_eq!(server.urls.len(), 3);
        assert_eq!(server.username.as_deref(), Some("1700000600:p1"));
        assert_eq!(server.credential.as_deref(), Some("Smi8A9R2FTVOXZr2EuwQgpFmekU="));
    }

    #[test]
    fn each_peer_and_each_moment_has_its_own() {
        let servers = servers(&["turn:t"]);
        let credential = |id, now| {
            servers.for_peer(&peer(id), &Grant::open(), now).ice_servers[0].clone().credential
        };
        assert_eq!(credential("a", 1), credential("a", 1));
        assert_ne!(credential("a", 1), credential("b", 1));
        assert_ne!(credential("a", 1), credential("a", 2));
        // However far the clock is off.
        assert!(credential("a", u64::MAX).is_some());
    }

    #[test]
    fn stun_needs_no_credentials_and_fixed_servers_come_first() {
        let fixed = |url: &str| IceServer {
            urls: vec![url.into()],
            username: Some("rover".into()),
            credential: Some("fixed".into()),
        };
        let settings = settings(&["stun:s:3478", "turn:t:3478"]);
        let servers =
            Servers::new(vec![fixed("turn:f")], &settings, |_| Ok(SECRET.to_vec())).unwrap();
        let given = servers.for_peer(&peer("p"), &Grant::open(), 0).ice_servers;
        assert_eq!(given.len(), 3);
        assert_eq!(given[0], fixed("turn:f"));
        assert_eq!((given[1].urls[0].as_str(), &given[1].username), ("stun:s:3478", &None));
        assert_eq!(given[2].urls, ["turn:t:3478"]);
    }

    #[test]
    fn without_turn_nothing_expires_and_no_file_is_read() {
        let none = Servers::new(Vec::new(), &TurnSettings::default(), |_| panic!("no file"));
        let given = none.unwrap().for_peer(&peer("p"), &Grant::open(), 7);
        assert_eq!(given, IceServers::default());
    }

    #[test]
    fn credentials_end_with_the_token() {
        let servers = servers(&["turn:t"]);
        for (expires_at, ttl_s) in
            [(1_010, 10), (1_600, 600), (9_999, 600), (u64::MAX, 600), (1, 0)]
        {
            let grant = Grant::new("anna", expires_at, "view:r");
            let given = servers.for_peer(&peer("p"), &grant, 1_000);
            let user = given.ice_servers[0].username.clone().unwrap();
            assert_eq!(
                (user, given.ice_servers_ttl_s),
                (format!("{}:p", 1_000 + ttl_s), Some(ttl_s))
            );
        }
    }

    #[test]
    fn credentials_are_for_those_who_can_have_sessions() {
        let servers = servers(&["stun:s", "turn:t"]);
        for (scope, given) in [
            ("publish:r", true),
            ("metrics view:r/front", true),
            ("metrics", false),
            ("control:r metrics", false),
            ("", false),
        ] {
            let servers = servers.for_peer(&peer("p"), &Grant::new("a", 9_999, scope), 0);
            let urls: Vec<_> = servers.ice_servers.iter().map(|one| one.urls[0].as_str()).collect();
            let wanted = if given { &["stun:s", "turn:t"][..] } else { &["stun:s"] };
            assert_eq!(
                (urls.as_slice(), servers.ice_servers_ttl_s.is_some()),
                (wanted, given),
                "{scope}"
            );
        }
    }

    #[test]
    fn addresses_that_a_browser_would_refuse_are_refused() {
        for good in [
            "turn:turn.example.org",
            "turn:192.0.2.1:3478?transport=udp",
            "turn:[2001:db8::1]:3478?transport=tcp",
            "turn:[::1]",
            "turns:t:5349",
            "turns:t:443?transport=tcp",
            "stun:s:3478",
        ] {
            assert!(scheme_of(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "turn",
            "turn:",
            "turn:?transport=udp",
            "turn://t:3478",
            "turn:u:p@t:3478",
            "turn:t:0",
            "turn:t:65536",
            "turn:t:",
            "turn:t x",
            "turn:t?transport=sctp",
            "turn:t?x=1",
            "turn:[::1",
            "turn:[t]:3478",
            "turn:[::1]3478",
            "stun:s?transport=udp",
            "http://t",
        ] {
            let said = settings(&[bad]).check().unwrap_err().to_string();
            assert!(said.contains("turn:HOST:PORT?transport=udp"), "{bad}: {said}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_with_a_remedy_and_without_the_secret() {
        let said = |settings: &TurnSettings, secret: io::Result<Vec<u8>>| {
            Servers::new(Vec::new(), settings, |_| secret).unwrap_err().to_string()
        };
        let good = settings(&["turn:t"]);
        let with = |change: fn(&mut TurnSettings)| {
            let mut settings = good.clone();
            change(&mut settings);
            said(&settings, Ok(SECRET.to_vec()))
        };
        assert!(with(|s| s.secret_file = None).contains("want `secret_file`"));
        assert!(with(|s| s.urls.clear()).contains("wants `urls`"));
        assert!(with(|s| s.urls = vec!["stun:s".into()]).contains("[[ice_servers]]"));
        assert!(with(|s| s.ttl_s = 9).contains("10 to 604800"));
        assert!(with(|s| s.ttl_s = 604_801).contains("10 to 604800"));
        let missing = said(&good, Err(io::ErrorKind::NotFound.into()));
        assert!(
            missing.contains("/etc/rovercast/turn-secret") && missing.contains("turn.secret_file")
        );
        let short = said(&good, Ok(b"fifteen bytes..\n\n".to_vec()));
        assert!(short.contains("openssl rand -hex 32") && !short.contains("fifteen"), "{short}");
        assert!(!format!("{:?}", servers(&["turn:t"])).contains("lab"));
    }
}
