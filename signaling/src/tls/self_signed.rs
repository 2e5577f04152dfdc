//! A certificate that the broker signs itself, for networks without names. It is made once and kept, so
//! that its fingerprint, which clients pin, stays the same.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::ifaddrs::getifaddrs;
use nix::unistd::gethostname;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use super::BadTls;
use super::files::Files;

/// Makes a certificate with these names and its key, unless both files are there.
pub(super) fn make_unless_there(files: &Files, names: &[String]) -> Result<(), BadTls> {
    let Files { certificate, key } = files;
    let orphan = |there: &Path, missing: &Path| BadTls::Orphan {
        there: there.to_owned(),
        missing: missing.to_owned(),
    };
    match (certificate.exists(), key.exists()) {
        (true, true) => return Ok(()),
        (true, false) => return Err(orphan(certificate, key)),
        (false, true) => return Err(orphan(key, certificate)),
        (false, false) => {}
    }
    let names = if names.is_empty() { own_names() } else { names.to_vec() };
    let pair = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.clone())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Rovercast broker");
    let signed = params.self_signed(&pair)?;
    write(key, 0o600, &pair.serialize_pem())?;
    write(certificate, 0o644, &signed.pem())?;
    tracing::info!(names = names.join(", "), file = %certificate.display(), "made a certificate");
    Ok(())
}

fn write(file: &Path, mode: u32, text: &str) -> Result<(), BadTls> {
    let written = || -> io::Result<()> {
        let mut open = OpenOptions::new();
        let mut file = open.write(true).create_new(true).mode(mode).open(file)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    written().map_err(|error| BadTls::Unwritable { file: file.to_owned(), error })
}

/// What this computer is called: its name, and its addresses.
fn own_names() -> Vec<String> {
    let mut names = vec!["localhost".to_owned()];
    let host = gethostname().ok().and_then(|name| name.into_string().ok());
    // A certificate has names of ASCII alone; a computer's may be anything.
    names.extend(host.filter(|name| !name.is_empty() && name.is_ascii()));
    match getifaddrs() {
        Ok(interfaces) => {
            let addresses = interfaces.filter_map(|interface| {
                let address = interface.address?;
                let v4 = address.as_sockaddr_in().map(|v4| v4.ip().to_string());
                // Addresses of one link are of no use without the link's name.
                let v6 = address.as_sockaddr_in6().map(|v6| v6.ip());
                let v6 = v6.filter(|ip| !ip.is_unicast_link_local()).map(|ip| ip.to_string());
                v4.or(v6)
            });
            names.extend(addresses);
        }
        Err(error) => {
            tracing::warn!(%error, "the certificate lacks this computer's addresses: see [tls] names");
            names.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
        }
    }
    names.sort();
    names.dedup();
    names
}
