//! Reads the files that keys and secrets are in: once, at start. What they mean is decided in
//! [`crate::access`].

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::access::{AccessSettings, BadKey, Key, KeyFile, KeySettings, Verifier};

/// The largest file that a key is looked for in, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// What checks tokens with the keys of these settings; None where there are none, and everybody may
/// do everything. Fails where a key cannot be read or used.
pub fn verifier(settings: &AccessSettings) -> Result<Option<Verifier>, BadKey> {
    settings.check()?;
    if settings.keys.is_empty() {
        return Ok(None);
    }
    let keys = settings.keys.iter().map(key).collect::<Result<_, _>>()?;
    Ok(Some(Verifier::new(keys)))
}

/// The key that tokens are checked with.
pub fn key(settings: &KeySettings) -> Result<Key, BadKey> {
    let KeySettings { id, algorithm, .. } = settings;
    let (path, read) = match settings.file()? {
        KeyFile::Secret(path) => (path, secret(path)),
        KeyFile::Public(path) => (path, public(path)),
    };
    let unreadable =
        |error| BadKey::Unreadable { id: id.clone(), file: path.display().to_string(), error };
    Key::new(id, *algorithm, &read.map_err(unreadable)?)
}

/// What is in the file of a secret. Warns if everybody on this computer can read it.
pub fn secret(path: &Path) -> io::Result<Vec<u8>> {
    let (bytes, mode) = bytes(path)?;
    if is_open(mode) {
        let path = path.display();
        tracing::warn!("everybody on this computer can read the secret in {path}: chmod o= {path}");
    }
    Ok(bytes)
}

/// What is in a file that everybody may read.
pub fn public(path: &Path) -> io::Result<Vec<u8>> {
    bytes(path).map(|(bytes, _)| bytes)
}

/// Whether a file with this mode can be read by others than its owner and its group.
fn is_open(mode: u32) -> bool {
    mode & 0o004 != 0
}

/// What is in a file, and its mode.
fn bytes(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let said = format!("longer than {MAX_FILE_BYTES} bytes, which no key is");
        return Err(io::Error::new(io::ErrorKind::InvalidData, said));
    }
    Ok((bytes, mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_modes_are_known() {
        assert!(is_open(0o100644) && is_open(0o100604));
        assert!(!is_open(0o100600) && !is_open(0o100640));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let settings = |file: &str| KeySettings {
            id: "ops".into(),
            algorithm: crate::access::Algorithm::Hs256,
            secret_file: Some(file.into()),
            public_key_file: None,
        };
        let said = key(&settings("/nowhere/secret")).unwrap_err().to_string();
        assert!(said.contains("\"ops\"") && said.contains("/nowhere/secret"), "{said}");
        // Without an end.
        let said = key(&settings("/dev/zero")).unwrap_err().to_string();
        assert!(said.contains("65536 bytes"), "{said}");
    }
}
