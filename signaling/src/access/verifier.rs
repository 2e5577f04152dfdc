//! Checks tokens: whose key signed them, whether they are good now, and what they allow.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{TokenData, decode, decode_header};
use rovercast_protocol::signaling::{ErrorCode, MAX_TOKEN_BYTES};
use serde::Deserialize;

use super::{Grant, Key, crypto};

/// The longest `sub`, in bytes: it stands in logs.
const MAX_SUBJECT_BYTES: usize = 128;

/// How far the clock of whoever mints tokens may be ahead of the broker's. Nothing of the kind
/// is given at the end: when a token is over, it is over, for connections that are open, too.
const LEEWAY_S: u64 = 30;

/// Checks tokens with the keys that the broker trusts.
#[derive(Debug, Clone)]
pub struct Verifier {
    keys: Vec<Key>,
}

/// Why a token is not taken. It says nothing of the token that its bearer does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is none.
    #[error(
        "a token is needed: programs send `Authorization: Bearer TOKEN`, browsers open a link that \
         ends in #token=TOKEN"
    )]
    Missing,
    /// There are two.
    #[error("there is more than one token: send one, in one header")]
    Ambiguous,
    /// It is too long to be looked at.
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes: ask for one with fewer scopes")]
    TooLong,
    /// It is no token, or of an algorithm that is never taken.
    #[error("the token is none: a JWT is wanted, signed with HS256, EdDSA or ES256; copy it whole")]
    Malformed,
    /// None of the keys is the one that it names, or is for its algorithm.
    #[error(
        "no key of this broker fits the token: ask the broker's operator for a new one, or for the \
         key and its algorithm to be configured ([access] keys)"
    )]
    UnknownKey,
    /// The signature is not that of the key.
    #[error(
        "the token's signature is wrong: it was signed with another key than the broker's, or \
         changed; ask for a new one"
    )]
    Forged,
    /// A claim is missing or will not do.
    #[error(
        "the token's claims will not do: `exp` (a time), `sub` (1 to {MAX_SUBJECT_BYTES} bytes of \
         plain text) and `scope` (words) are wanted, and no `aud`"
    )]
    Claims,
    /// It must be understood in a way that is not known here.
    #[error("the token has critical extensions (`crit`), none of which is known here")]
    Critical,
    /// It is not good yet.
    #[error("the token is not valid yet (`nbf`): wait, or set the clocks right")]
    NotYet,
    /// It was good once.
    #[error("the token has expired: ask for a new one")]
    Expired,
}

impl Denied {
    /// What to call it on the wire.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Expired => ErrorCode::TokenExpired,
            _ => ErrorCode::Unauthorized,
        }
    }
}

impl Verifier {
    /// Trusts these keys. Their ids should differ ([`super::AccessSettings::check`]).
    pub fn new(keys: Vec<Key>) -> Self {
        crypto::install();
        Self { keys }
    }

    /// What the token allows, at this second of the Unix clock.
    ///
    /// Which algorithm it is checked by is the key's business, not the token's. A token that names
    /// a key (`kid`) is checked with that one alone; else any key of its algorithm will do.
    pub fn verify(&self, token: &str, now_unix_s: u64) -> Result<Grant, Denied> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Denied::TooLong);
        }
        let header = decode_header(token).map_err(|_| Denied::Malformed)?;
        if header.crit.is_some() {
            return Err(Denied::Critical);
        }
        let named = |key: &Key| header.kid.as_ref().is_none_or(|named| *named == key.id);
        let mut denied = Denied::UnknownKey;
        for key in self.keys.iter().filter(|key| named(key)) {
            if key.algorithm.of_jwt() != header.alg {
                continue;
            }
            match claims(token, key) {
                Err(Denied::Forged) => denied = Denied::Forged,
                Err(other) => return Err(other),
                Ok(claims) => return claims.grant(now_unix_s),
            }
        }
        Err(denied)
    }
}

/// Claims of a token whose signature is right.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// Seconds of the Unix clock. Fractions are allowed (RFC 7519, section 2).
    exp: f64,
    nbf: Option<f64>,
    #[serde(default)]
    scope: String,
}

fn claims(token: &str, key: &Key) -> Result<Claims, Denied> {
    let checked = decode(token, &key.material, &key.validation);
    checked.map(|TokenData { claims, .. }| claims).map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature => Denied::Forged,
        ErrorKind::Json(_)
        | ErrorKind::MissingRequiredClaim(_)
        | ErrorKind::InvalidClaimFormat(_)
        | ErrorKind::InvalidAudience => Denied::Claims,
        _ => Denied::Malformed,
    })
}

impl Claims {
    fn grant(self, now_unix_s: u64) -> Result<Grant, Denied> {
        let Self { sub, exp, nbf, scope } = self;
        let is_plain = !sub.chars().any(char::is_control);
        if !(1..=MAX_SUBJECT_BYTES).contains(&sub.len()) || !is_plain || exp < 0.0 {
            return Err(Denied::Claims);
        }
        // What is beyond the numbers becomes the last of them: `as` saturates.
        let expires_at = exp as u64;
        if now_unix_s >= expires_at {
            return Err(Denied::Expired);
        }
        if nbf.is_some_and(|from| from as u64 > now_unix_s.saturating_add(LEEWAY_S)) {
            return Err(Denied::NotYet);
        }
        Ok(Grant::new(sub, expires_at, &scope))
    }
}
