//! The files of a certificate and its key: what is in them, and whether they changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring as provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::BadTls;
use crate::key_files;

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// Tells whether files are what they were: device, number, length and time of change of each; None for
/// one that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp([Option<[i128; 4]>; 2]);

impl Files {
    /// As they are now.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp([&self.certificate, &self.key].map(|path| {
            let about = fs::metadata(path).ok()?;
            let nanoseconds = i128::from(about.mtime()) * 1_000_000_000;
            Some([
                about.dev().into(),
                about.ino().into(),
                about.len().into(),
                nanoseconds + i128::from(about.mtime_nsec()),
            ])
        }))
    }

    /// The certificate with its key, if they belong together.
    pub(super) fn load(&self) -> Result<Arc<CertifiedKey>, BadTls> {
        let Self { certificate: certificate_file, key: key_file } = self;
        let text = key_files::public(certificate_file)
            .map_err(|error| unreadable(certificate_file, error))?;
        let unusable = |file: &Path, wanted, error: String| BadTls::Unusable {
            file: file.to_owned(),
            wanted,
            error,
        };
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(|error| unusable(certificate_file, "certificate", error.to_string()))?;
        if certificates.is_empty() {
            return Err(unusable(certificate_file, "certificate", "there is none".to_owned()));
        }
        let text = key_files::secret(key_file).map_err(|error| unreadable(key_file, error))?;
        let key = PrivateKeyDer::from_pem_slice(&text)
            .map_err(|error| unusable(key_file, "private key", error.to_string()))?;
        CertifiedKey::from_der(certificates, key, &provider::default_provider())
            .map(Arc::new)
            .map_err(|error| BadTls::Mismatch {
                certificate: certificate_file.clone(),
                key: key_file.clone(),
                error: error.to_string(),
            })
    }
}

fn unreadable(file: &Path, error: std::io::Error) -> BadTls {
    BadTls::Unreadable { file: file.to_owned(), error }
}
