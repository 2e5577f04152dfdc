//! The section `[access]` of the broker's settings.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Algorithm, BadKey};

/// Whom the broker trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessSettings {
    /// The keys whose tokens the broker takes. Without any, everybody may do everything.
    pub keys: Vec<KeySettings>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// Its name, which tokens may say as `kid`: 1 to 64 bytes, no two alike.
    pub id: String,
    /// The one algorithm that it is for, whatever a token says.
    pub algorithm: Algorithm,
    /// For HS256: the file with the secret, at least 32 bytes; white space at its end is not part
    /// of it.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// For EdDSA and ES256: the file with the public key, in PEM.
    #[serde(default)]
    pub public_key_file: Option<PathBuf>,
}

/// The file that a key is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFile<'a> {
    /// Only the broker may read it.
    Secret(&'a Path),
    /// Anybody may read it.
    Public(&'a Path),
}

impl AccessSettings {
    /// Whether the keys can be told apart.
    pub fn check(&self) -> Result<(), BadKey> {
        for (index, key) in self.keys.iter().enumerate() {
            if self.keys[..index].iter().any(|other| other.id == key.id) {
                return Err(BadKey::Twice { id: key.id.clone() });
            }
        }
        Ok(())
    }
}

impl KeySettings {
    /// The file that this key is read from: the one that belongs to its algorithm, and no other.
    pub fn file(&self) -> Result<KeyFile<'_>, BadKey> {
        match (self.algorithm, &self.secret_file, &self.public_key_file) {
            (Algorithm::Hs256, Some(path), None) => Ok(KeyFile::Secret(path)),
            (Algorithm::EdDsa | Algorithm::Es256, None, Some(path)) => Ok(KeyFile::Public(path)),
            (algorithm, ..) => Err(BadKey::Files { id: self.id.clone(), algorithm }),
        }
    }
}
