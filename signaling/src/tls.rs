//! The broker's certificate: from files that are read again when they change, or signed by itself.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use ring::digest::{SHA256, digest};
use rustls::ServerConfig;
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use tokio_rustls::TlsAcceptor;

/// How often it is looked whether the files have changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Settings of TLS, the section `[tls]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// The file with the certificate and those that signed it, in PEM; no TLS without.
    pub certificate: Option<PathBuf>,
    /// The file with its private key, in PEM.
    pub key: Option<PathBuf>,
    /// Makes both files where they do not exist.
    pub self_signed: bool,
    /// What a certificate that is made is for: names and addresses, beside `localhost`.
    pub names: Vec<String>,
}

impl TlsSettings {
    /// What is wrong with them, for people; nothing is read.
    pub fn problem(&self) -> Option<(&'static str, &'static str)> {
        match (&self.certificate, &self.key) {
            (Some(_), None) => Some(("tls.key", "name the file of the certificate's private key")),
            (None, Some(_)) => Some(("tls.certificate", "name the file of the key's certificate")),
            (None, None) if self.self_signed => Some((
                "tls.self_signed",
                "name the files to keep the certificate in: tls.certificate and tls.key",
            )),
            _ => None,
        }
    }
}

/// A certificate that cannot be used. Says which file, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", .file.display())]
pub struct BadCertificate {
    file: PathBuf,
    reason: String,
}

/// What encrypts connections.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    certificate: Arc<Current>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.certificate.files.certificate).finish()
    }
}

/// The certificate that connections get from now on.
#[derive(Debug)]
struct Current {
    files: Files,
    key: RwLock<Arc<CertifiedKey>>,
}

#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Tls {
    /// What these settings ask for; None when they ask for none.
    pub(crate) fn new(settings: &TlsSettings) -> Result<Option<Self>, BadCertificate> {
        let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key) else {
            return Ok(None);
        };
        let files = Files { certificate: certificate.clone(), key: key.clone() };
        if settings.self_signed && !(files.certificate.exists() && files.key.exists()) {
            files.make(&settings.names)?;
        }
        let certified = files.load()?;
        let current = Arc::new(Current { files, key: RwLock::new(Arc::new(certified)) });
        let versions = ServerConfig::builder_with_provider(default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(&current.files.certificate, error))?;
        let mut config = versions.with_no_client_auth().with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Some(Self { acceptor, certificate: current }))
    }

    /// The certificate's SHA-256, as clients take it to know a certificate that nobody signed.
    pub(crate) fn fingerprint(&self) -> String {
        let key = self.certificate.key.read().unwrap_or_else(PoisonError::into_inner);
        let Ok(certificate) = key.end_entity_cert() else { return String::new() };
        let bytes = digest(&SHA256, certificate);
        let hex: Vec<String> = bytes.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        format!("sha256:{}", hex.join(":"))
    }

    /// Reads the files again whenever they change; never ends. One that cannot be used is told once,
    /// and the last good one stays.
    pub(crate) async fn follow(self) {
        let files = self.certificate.files.clone();
        let mut known = files.changed();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let changed = files.changed();
            if changed == known {
                continue;
            }
            known = changed;
            match files.load() {
                Ok(certified) => {
                    let mut key =
                        self.certificate.key.write().unwrap_or_else(PoisonError::into_inner);
                    *key = Arc::new(certified);
                    drop(key);
                    tracing::info!("another certificate is in use: {}", self.fingerprint());
                }
                Err(error) => tracing::error!("the certificate in use stays: {error}"),
            }
        }
    }
}

impl Files {
    fn load(&self) -> Result<CertifiedKey, BadCertificate> {
        let Self { certificate, key } = self;
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| bad(certificate, error))?;
        if chain.is_empty() {
            return Err(bad(certificate, "there is no certificate in it, in PEM"));
        }
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, error))?;
        let private = any_supported_type(&private).map_err(|error| bad(key, error))?;
        let certified = CertifiedKey::new(chain, private);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                Ok(certified)
            }
            Err(_) => Err(bad(key, format!("not the key of {}", certificate.display()))),
        }
    }

    /// When the files were written last.
    fn changed(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key]
            .map(|file| file.metadata().and_then(|file| file.modified()).ok())
    }

    /// Makes a certificate for these names, and keeps it.
    fn make(&self, names: &[String]) -> Result<(), BadCertificate> {
        let mut names = names.to_vec();
        names.push("localhost".to_owned());
        names.extend(["127.0.0.1", "::1"].map(str::to_owned));
        let made = rcgen::generate_simple_self_signed(names);
        let made = made.map_err(|error| bad(&self.certificate, error))?;
        write(&self.key, &made.signing_key.serialize_pem(), 0o600)?;
        write(&self.certificate, &made.cert.pem(), 0o644)
    }
}

fn write(file: &Path, text: &str, mode: u32) -> Result<(), BadCertificate> {
    let failed = |error| bad(file, error);
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut options = OpenOptions::new();
    let mut open =
        options.write(true).create(true).truncate(true).mode(mode).open(file).map_err(failed)?;
    open.write_all(text.as_bytes()).map_err(failed)
}

fn bad(file: &Path, reason: impl ToString) -> BadCertificate {
    BadCertificate { file: file.to_owned(), reason: reason.to_string() }
}
