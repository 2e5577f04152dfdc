//! The section `[tls]` of the broker's settings.

use std::path::PathBuf;

use serde::Deserialize;

use super::BadTls;
use super::files::Files;

/// Where a self-signed certificate is kept when nothing is said: in the folder in which the broker
/// runs.
const OWN_FILES: [&str; 2] = ["rovercast-certificate.pem", "rovercast-key.pem"];

/// How the broker proves who it is. Nothing set: it speaks no TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// The file with the certificate and those that it is signed by, in PEM.
    pub certificate: Option<PathBuf>,
    /// The file with its private key, in PEM.
    pub key: Option<PathBuf>,
    /// Whether the broker makes and signs a certificate itself, unless both files are there.
    pub self_signed: bool,
    /// Names and IP addresses in that certificate; none: this computer's.
    pub names: Vec<String>,
}

impl TlsSettings {
    /// Whether the broker speaks TLS.
    pub fn is_on(&self) -> bool {
        self.self_signed || self.certificate.is_some() || self.key.is_some()
    }

    pub(super) fn files(&self) -> Result<Option<Files>, BadTls> {
        if !self.self_signed && !self.names.is_empty() {
            return Err(BadTls::Names);
        }
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                Ok(Some(Files { certificate: certificate.clone(), key: key.clone() }))
            }
            (None, None) if self.self_signed => {
                let [certificate, key] = OWN_FILES.map(PathBuf::from);
                Ok(Some(Files { certificate, key }))
            }
            (None, None) => Ok(None),
            _ => Err(BadTls::Half),
        }
    }
}
