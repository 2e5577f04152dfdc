//! Keys: for checking tokens, and for signing them. Each is for one algorithm, whatever a token
//! says.

use std::{fmt, io};

use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde::{Deserialize, Serialize};

use super::crypto;

/// The shortest secret, in bytes: as long as what HS256 makes of it (RFC 7518, section 3.2).
const MIN_SECRET_BYTES: usize = 32;

/// The longest id of a key, in bytes: it is in every token that names it.
const MAX_ID_BYTES: usize = 64;

/// What stands before the 32 bytes of an Ed25519 public key (RFC 8410).
const ED25519_PREFIX: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// What stands before the 65 bytes of an uncompressed public key on P-256 (RFC 5480).
const P256_PREFIX: [u8; 26] =
    *b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

/// How tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// With a secret that the broker shares with whoever mints tokens.
    #[serde(rename = "HS256")]
    Hs256,
    /// With an Ed25519 key; the broker has the public half.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// With an ECDSA key on P-256; the broker has the public half.
    #[serde(rename = "ES256")]
    Es256,
}

impl Algorithm {
    pub(super) fn of_jwt(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        })
    }
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadKey {
    /// Its id is empty or too long.
    #[error("access.keys: the id {id:?} will not do: use 1 to {MAX_ID_BYTES} bytes")]
    Id {
        /// The id.
        id: String,
    },
    /// Two keys have one id.
    #[error("access.keys: two keys have the id {id:?}: give each its own")]
    Twice {
        /// The id.
        id: String,
    },
    /// It names no file, or one that does not belong to its algorithm.
    #[error(
        "key {id:?}: {algorithm} wants {} and nothing else",
        if *algorithm == Algorithm::Hs256 { "secret_file" } else { "public_key_file" }
    )]
    Files {
        /// The key's id.
        id: String,
        /// Its algorithm.
        algorithm: Algorithm,
    },
    /// Its file cannot be read.
    #[error("key {id:?}: cannot read {file}: {error}")]
    Unreadable {
        /// The key's id.
        id: String,
        /// Its file.
        file: String,
        /// Why not.
        error: io::Error,
    },
    /// A secret that can be guessed.
    #[error(
        "key {id:?}: its secret has {bytes} bytes and needs {MIN_SECRET_BYTES}: make one with \
         `rovercast-signaling token new-secret`"
    )]
    Short {
        /// The key's id.
        id: String,
        /// How long it is.
        bytes: usize,
    },
    /// A key pair where a secret is wanted: whoever has its public half could sign tokens.
    #[error(
        "key {id:?}: its secret_file holds a PEM key or certificate, which is no secret for HS256: \
         make one with `rovercast-signaling token new-secret`"
    )]
    NoSecret {
        /// The key's id.
        id: String,
    },
    /// Not a public key of the algorithm.
    #[error(
        "key {id:?}: no public key for {algorithm} in PEM: make it of the private one with \
         `openssl pkey -in PRIVATE.pem -pubout`"
    )]
    NoPublicKey {
        /// The key's id.
        id: String,
        /// Its algorithm.
        algorithm: Algorithm,
    },
    /// Not a private key of the algorithm.
    #[error(
        "key {id:?}: no private key for {algorithm} in PEM (PKCS #8): make one with `openssl genpkey \
         -algorithm {}`",
        if *algorithm == Algorithm::EdDsa { "ed25519" } else { "EC -pkeyopt ec_paramgen_curve:P-256" }
    )]
    NoPrivateKey {
        /// The key's id.
        id: String,
        /// Its algorithm.
        algorithm: Algorithm,
    },
}

/// A key that tokens are checked with.
#[derive(Clone)]
pub struct Key {
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    pub(super) material: DecodingKey,
    pub(super) validation: Validation,
}

impl Key {
    /// A key of what its file holds: for HS256 the secret, white space at the end not counted, else
    /// the public key in PEM.
    pub fn new(id: &str, algorithm: Algorithm, file: &[u8]) -> Result<Self, BadKey> {
        check_id(id)?;
        let no_public_key = || BadKey::NoPublicKey { id: id.to_owned(), algorithm };
        let material = match algorithm {
            Algorithm::Hs256 => DecodingKey::from_secret(secret(id, file)?),
            Algorithm::EdDsa => {
                let key = public_key::<32>(file, &ED25519_PREFIX).ok_or_else(no_public_key)?;
                DecodingKey::from_ed_der(&key)
            }
            Algorithm::Es256 => {
                let key = public_key::<65>(file, &P256_PREFIX).ok_or_else(no_public_key)?;
                DecodingKey::from_ec_der(&key)
            }
        };
        // Times are checked by the verifier, which is told what time it is.
        let mut validation = Validation::new(algorithm.of_jwt());
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self { id: id.to_owned(), algorithm, material, validation })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, algorithm, .. } = self;
        f.debug_struct("Key").field("id", id).field("algorithm", algorithm).finish_non_exhaustive()
    }
}

/// A key that tokens are signed with.
pub struct SigningKey {
    id: String,
    algorithm: Algorithm,
    material: EncodingKey,
}

impl SigningKey {
    /// A key of what its file holds: for HS256 the secret, as for [`Key::new`], else the private
    /// key in PEM (PKCS #8).
    pub fn new(id: &str, algorithm: Algorithm, file: &[u8]) -> Result<Self, BadKey> {
        check_id(id)?;
        let no_private_key = || BadKey::NoPrivateKey { id: id.to_owned(), algorithm };
        let pkcs8 = || PrivatePkcs8KeyDer::from_pem_slice(file).map_err(|_| no_private_key());
        let material = match algorithm {
            Algorithm::Hs256 => EncodingKey::from_secret(secret(id, file)?),
            Algorithm::EdDsa => EncodingKey::from_ed_der(pkcs8()?.secret_pkcs8_der()),
            Algorithm::Es256 => EncodingKey::from_ec_der(pkcs8()?.secret_pkcs8_der()),
        };
        if !crypto::can_sign(algorithm.of_jwt(), &material) {
            return Err(no_private_key());
        }
        Ok(Self { id: id.to_owned(), algorithm, material })
    }

    /// A token of these claims, which names this key. ES256 takes randomness from the system for it.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, jsonwebtoken::errors::Error> {
        crypto::install();
        let header = Header { kid: Some(self.id.clone()), ..Header::new(self.algorithm.of_jwt()) };
        jsonwebtoken::encode(&header, claims, &self.material)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, algorithm, .. } = self;
        f.debug_struct("SigningKey")
            .field("id", id)
            .field("algorithm", algorithm)
            .finish_non_exhaustive()
    }
}

fn check_id(id: &str) -> Result<(), BadKey> {
    if (1..=MAX_ID_BYTES).contains(&id.len()) {
        return Ok(());
    }
    Err(BadKey::Id { id: id.chars().take(MAX_ID_BYTES).collect() })
}

fn secret<'a>(id: &str, file: &'a [u8]) -> Result<&'a [u8], BadKey> {
    let secret = file.trim_ascii_end();
    if secret.windows(11).any(|window| window == b"-----BEGIN ") {
        return Err(BadKey::NoSecret { id: id.to_owned() });
    }
    if secret.len() < MIN_SECRET_BYTES {
        return Err(BadKey::Short { id: id.to_owned(), bytes: secret.len() });
    }
    Ok(secret)
}

/// The last `N` bytes of a public key, which are the key, if all before them is `prefix`.
fn public_key<const N: usize>(file: &[u8], prefix: &[u8]) -> Option<[u8; N]> {
    let info = SubjectPublicKeyInfoDer::from_pem_slice(file).ok()?;
    info.as_ref().strip_prefix(prefix)?.try_into().ok()
}
