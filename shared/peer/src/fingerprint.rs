//! Whether the peer at the other end of the DTLS connection is the one that the SDP promised
//! (RFC 8122, RFC 8827 section 6.5). webrtcbin does not check that before GStreamer 1.28.5.

use gst::glib;

/// The hash functions that are accepted, strongest last; weaker ones promise nothing.
const HASHES: &[(&str, glib::ChecksumType)] = &[
    ("sha-256", glib::ChecksumType::Sha256),
    ("sha-384", glib::ChecksumType::Sha384),
    ("sha-512", glib::ChecksumType::Sha512),
];

/// Why a peer is not the promised one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Its certificate hashes to something else.
    #[error(
        "the DTLS certificate of the other peer ({actual}) is not the one in its SDP \
         ({promised}): somebody may be in between; the session ends"
    )]
    Certificate {
        /// The hash that the SDP gave.
        promised: String,
        /// The hash of the certificate.
        actual: String,
    },
    /// There is nothing to compare.
    #[error("the DTLS certificate of the other peer cannot be read; the session ends")]
    NoCertificate,
}

/// One `a=fingerprint` of an SDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    hash: &'static str,
    /// Upper-case hex, with colons.
    value: String,
}

impl Fingerprint {
    /// Parses the attribute's value: `sha-256 AB:CD:…`. None when hash function or value are not
    /// acceptable.
    pub fn parse(attribute: &str) -> Option<Self> {
        let (hash, value) = attribute.split_once(' ')?;
        let (hash, _) = HASHES.iter().find(|(name, _)| name.eq_ignore_ascii_case(hash.trim()))?;
        let value = value.trim().to_ascii_uppercase();
        let hex = value
            .split(':')
            .all(|byte| byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit()));
        hex.then_some(Self { hash, value })
    }

    fn of(pem: &str, hash: &'static str) -> Option<Self> {
        let (_, checksum) = HASHES.iter().find(|(name, _)| *name == hash)?;
        let body = pem
            .split_once("-----BEGIN CERTIFICATE-----")?
            .1
            .split_once("-----END CERTIFICATE-----")?
            .0;
        let der = glib::base64_decode(body);
        let hex = glib::compute_checksum_for_data(*checksum, &der)?.to_ascii_uppercase();
        let bytes: Vec<&str> =
            (0..hex.len() / 2).filter_map(|i| hex.get(2 * i..2 * i + 2)).collect();
        Some(Self { hash, value: bytes.join(":") })
    }
}

/// Checks a peer's certificate against what its SDP promised: one list for each media section,
/// of which at least one must match.
pub fn check(promised: &[Vec<Fingerprint>], certificate_pem: &str) -> Result<(), Mismatch> {
    if promised.is_empty() {
        return Err(Mismatch::NoCertificate);
    }
    for section in promised {
        let mut actual = None;
        let matches = section.iter().any(|fingerprint| {
            actual = Fingerprint::of(certificate_pem, fingerprint.hash);
            actual.as_ref() == Some(fingerprint)
        });
        if matches {
            continue;
        }
        let (Some(promised), Some(actual)) = (section.last(), actual) else {
            return Err(Mismatch::NoCertificate);
        };
        return Err(Mismatch::Certificate {
            promised: promised.value.clone(),
            actual: actual.value,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any bytes will do for a certificate here: "hello" in base64.
    const PEM: &str = "-----BEGIN CERTIFICATE-----\naGVs\nbG8=\n-----END CERTIFICATE-----\n";
    const HELLO: &str = "sha-256 2C:F2:4D:BA:5F:B0:A3:0E:26:E8:3B:2A:C5:B9:E2:9E:\
                         1B:16:1E:5C:1F:A7:42:5E:73:04:33:62:93:8B:98:24";

    fn promise(attribute: &str) -> Vec<Vec<Fingerprint>> {
        vec![vec![Fingerprint::parse(attribute).unwrap()]]
    }

    #[test]
    fn the_promised_certificate_passes_in_any_case() {
        assert_eq!(check(&promise(HELLO), PEM), Ok(()));
        assert_eq!(check(&promise(&HELLO.to_lowercase()), PEM), Ok(()));
    }

    #[test]
    fn another_certificate_does_not() {
        let other = HELLO.replace("2C:F2", "2C:F3");
        assert!(matches!(check(&promise(&other), PEM), Err(Mismatch::Certificate { .. })));
        let mut sections = promise(HELLO);
        sections.extend(promise(&other));
        assert!(check(&sections, PEM).is_err(), "every section must match");
    }

    #[test]
    fn nothing_to_compare_is_a_mismatch() {
        assert_eq!(check(&[], PEM), Err(Mismatch::NoCertificate));
        assert_eq!(check(&[vec![]], PEM), Err(Mismatch::NoCertificate));
        assert_eq!(check(&promise(HELLO), "rubbish"), Err(Mismatch::NoCertificate));
    }

    #[test]
    fn weak_and_broken_promises_are_not_taken() {
        for bad in ["sha-1 AB:CD", "md5 AB", "sha-256", "sha-256 XY:Z", "sha-256 ABCD", ""] {
            assert_eq!(Fingerprint::parse(bad), None, "{bad}");
        }
    }
}
