//! A broker that runs as a program with a certificate in files, and connections to it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rcgen::{CertifiedKey, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const PROGRAM: &str = env!("CARGO_BIN_EXE_rovercast-signaling");

/// Longer than anything takes; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type Encrypted = TlsStream<TcpStream>;

/// Dropping it kills it.
pub(crate) struct Broker {
    program: Child,
    folder: PathBuf,
    log: mpsc::UnboundedReceiver<String>,
    pub(crate) address: SocketAddr,
}

impl Broker {
    /// Starts one with this certificate and these settings besides.
    pub(crate) fn start(made: &CertifiedKey<KeyPair>, settings: &str) -> Self {
        Self::run(Command::new(PROGRAM), made, settings)
    }

    /// Starts one with this certificate that can read only what its user may read, root's or not.
    pub(crate) fn start_unprivileged(made: &CertifiedKey<KeyPair>) -> Self {
        let closed = std::env::temp_dir().join(format!("rovercast-tls-{}", std::process::id()));
        fs::write(&closed, "").unwrap();
        fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
        let is_privileged = File::open(&closed).is_ok();
        fs::remove_file(&closed).unwrap();
        if !is_privileged {
            return Self::start(made, "");
        }
        let mut command = Command::new("setpriv");
        let less = "-dac_override,-dac_read_search";
        command.args(["--inh-caps", less, "--bounding-set", less, PROGRAM]);
        Self::run(command, made, "")
    }

    fn run(mut command: Command, made: &CertifiedKey<KeyPair>, settings: &str) -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{number}"));
        fs::create_dir_all(&folder).unwrap();
        let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| folder.join(name));
        let text = format!(
            "listen = \"127.0.0.1:0\"\ntls.certificate = {certificate:?}\ntls.key = {key:?}\n\
             {settings}",
        );
        let config = folder.join("signaling.toml");
        fs::write(&config, text).unwrap();
        put(&folder, made);
        let mut program = command
            .args(["--config", config.to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let errors = program.stderr.take().unwrap();
        let (lines, log) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let lines_of = BufReader::new(errors).lines().map_while(Result::ok);
            lines_of.for_each(|line| drop(lines.send(line)));
        });
        let mut line = String::new();
        BufReader::new(program.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on https://");
        let address = address.unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        Self { program, folder, log, address }
    }

    /// Replaces certificate and key.
    pub(crate) fn put(&self, made: &CertifiedKey<KeyPair>) {
        put(&self.folder, made);
    }

    /// Replaces them, the key by one that nobody may read.
    pub(crate) fn put_closed(&self, made: &CertifiedKey<KeyPair>) {
        let file = self.folder.join("key.pem");
        fs::remove_file(&file).unwrap();
        let mut open = OpenOptions::new();
        let mut key = open.write(true).create_new(true).mode(0o000).open(file).unwrap();
        key.write_all(made.signing_key.serialize_pem().as_bytes()).unwrap();
        self.put_certificate_of(made);
    }

    /// Lets the broker read the key.
    pub(crate) fn open(&self) {
        let key = self.folder.join("key.pem");
        fs::set_permissions(key, Permissions::from_mode(0o600)).unwrap();
    }

    /// Replaces the certificate alone.
    pub(crate) fn put_certificate_of(&self, made: &CertifiedKey<KeyPair>) {
        self.put_text(&made.cert.pem());
    }

    /// Replaces the certificate by this.
    pub(crate) fn put_text(&self, text: &str) {
        fs::write(self.folder.join("certificate.pem"), text).unwrap();
    }

    /// The next line of the log that says so.
    pub(crate) async fn says(&mut self, part: &str) -> String {
        let said = async {
            loop {
                let line = self.log.recv().await.unwrap();
                if line.contains(part) {
                    return line;
                }
            }
        };
        timeout(PATIENCE, said).await.unwrap()
    }

    /// A connection of somebody who trusts these certificates, and the one that was shown.
    pub(crate) async fn connect(
        &self,
        trusted: &[&CertifiedKey<KeyPair>],
    ) -> std::io::Result<(Encrypted, CertificateDer<'static>)> {
        let mut roots = RootCertStore::empty();
        for made in trusted {
            roots.add(made.cert.der().clone()).unwrap();
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = timeout(PATIENCE, connector.connect(name, stream)).await.unwrap()?;
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        Ok((stream, shown))
    }

    /// Asks it to stop, and waits for that.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        let id = self.program.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        tokio::task::spawn_blocking(move || self.program.wait().unwrap()).await.unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn put(folder: &std::path::Path, made: &CertifiedKey<KeyPair>) {
    fs::write(folder.join("certificate.pem"), made.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
}
