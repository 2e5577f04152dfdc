//! TLS for the broker: a certificate from files, which are read again when they change, or one that the
//! broker signs itself. Not where it is spoken: that is [`crate::connection`].

mod files;
mod self_signed;
mod settings;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ring::digest;
use rustls::ServerConfig;
use rustls::crypto::ring as provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;

use files::{Files, Stamp};
pub use settings::TlsSettings;

/// How often it is looked whether the files are others.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// TLS cannot be spoken with what is configured.
#[derive(Debug, thiserror::Error)]
pub enum BadTls {
    /// One file without the other.
    #[error("[tls] wants both `certificate` and `key`, or neither")]
    Half,
    /// Names that nobody asked for.
    #[error(
        "[tls] `names` are those of a certificate that the broker makes: set self_signed = true"
    )]
    Names,
    /// A file that cannot be read.
    #[error("{file} cannot be read: {error}; see `certificate` and `key` in [tls]")]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file that holds something else.
    #[error(
        "{file} holds no {wanted} that can be used: {error}; name a PEM file that does in [tls]"
    )]
    Unusable {
        /// Which file.
        file: PathBuf,
        /// What should be in it.
        wanted: &'static str,
        /// Why it is not taken.
        error: String,
    },
    /// Certificate and key of different pairs, or a key that cannot be used.
    #[error("the key in {key} cannot be used with the certificate in {certificate}: {error}")]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// Half of a certificate that the broker made once.
    #[error(
        "{there} is there, but {missing} is not: put it back, or remove the former to have a new \
         certificate made, with another fingerprint"
    )]
    Orphan {
        /// The file that exists.
        there: PathBuf,
        /// The one that does not.
        missing: PathBuf,
    },
    /// A certificate that cannot be made.
    #[error("cannot make a certificate: {0}; see `names` in [tls]")]
    Unmade(#[from] rcgen::Error),
    /// A certificate that cannot be kept.
    #[error(
        "cannot write {file}: {error}; name files that can be written in [tls] (`certificate`, \
         `key`), so that the fingerprint stays the same"
    )]
    Unwritable {
        /// Which file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The library refuses.
    #[error("TLS cannot be used: {0}")]
    Library(#[from] rustls::Error),
}

/// The broker's end of TLS.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    files: Files,
    stamp: Stamp,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// What the settings say; None where they want no TLS. Reads files, and makes those of a
    /// self-signed certificate unless they are there.
    pub(crate) fn new(settings: &TlsSettings) -> Result<Option<Self>, BadTls> {
        let Some(files) = settings.files()? else { return Ok(None) };
        if settings.self_signed {
            self_signed::make_unless_there(&files, &settings.names)?;
        }
        let stamp = files.stamp();
        let current = Arc::new(Current(RwLock::new(files.load()?)));
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self { files, stamp, current, config: Arc::new(config) }))
    }

    /// What does handshakes. It takes the certificate that is the right one at that moment.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.clone())
    }

    /// SHA-256 over the certificate, as clients want it to pin it: `sha256:AB:CD:…`.
    pub(crate) fn fingerprint(&self) -> String {
        let key = self.current.get();
        let certificate = key.cert.first().map(|certificate| certificate.as_ref());
        let digest = digest::digest(&digest::SHA256, certificate.unwrap_or_default());
        let pairs: Vec<_> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        format!("sha256:{}", pairs.join(":"))
    }

    /// Reads the files again whenever they change, for ever. What cannot be used is told once, and the
    /// certificate stays as it is; what cannot be read is tried again, for that a file may be read shows
    /// nowhere. Connections that are there keep theirs.
    pub(crate) async fn watch(self) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut taken = self.stamp.clone();
        let mut before = taken.clone();
        // What was said of files that could not be read.
        let mut unread: Option<String> = None;
        loop {
            looks.tick().await;
            let files = self.files.clone();
            let Ok(now) = tokio::task::spawn_blocking(move || files.stamp()).await else { return };
            // Whoever renews writes one file after the other: not before both stay as they are.
            let is_settled = now == std::mem::replace(&mut before, now.clone());
            if (now == taken && unread.is_none()) || !is_settled {
                continue;
            }
            taken = now;
            let files = self.files.clone();
            match tokio::task::spawn_blocking(move || files.load()).await {
                Ok(Ok(key)) => {
                    unread = None;
                    self.current.set(key);
                    tracing::info!(fingerprint = self.fingerprint(), "a new certificate is used");
                }
                Ok(Err(error)) => {
                    let said = error.to_string();
                    if unread.as_ref() != Some(&said) {
                        tracing::error!(%error, "the new certificate is not used, the old one stays");
                    }
                    unread = matches!(error, BadTls::Unreadable { .. }).then_some(said);
                }
                Err(_) => return,
            }
        }
    }
}

/// The certificate that handshakes are done with.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    fn get(&self) -> Arc<CertifiedKey> {
        // Whoever holds the lock does nothing that can panic.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, key: Arc<CertifiedKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = key;
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}
