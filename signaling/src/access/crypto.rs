//! Signatures for `jsonwebtoken`, by `ring`: TLS brings that along anyway, and it is by far leaner
//! than what `jsonwebtoken` would bring. Checking a signature reads no randomness; making one with
//! ES256 does.

use jsonwebtoken::crypto::{CryptoProvider, JwkUtils, JwtSigner, JwtVerifier};
use jsonwebtoken::errors::{ErrorKind, Result, new_error};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, UnparsedPublicKey,
};

/// Tells `jsonwebtoken`, which asks the process for it, whose arithmetic to use. Once is enough;
/// more often does nothing.
pub(super) fn install() {
    // Only this module installs one, so that one that is there already is this.
    let _ = PROVIDER.install_default();
}

/// Whether the key is one of this algorithm.
pub(super) fn can_sign(algorithm: Algorithm, key: &EncodingKey) -> bool {
    signer(&algorithm, key).is_ok()
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    // For keys in JSON (JWK), which nobody here reads.
    jwk_utils: JwkUtils::new_unimplemented(),
};

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if key.family() != algorithm.family() {
        return Err(new_error(ErrorKind::InvalidAlgorithm));
    }
    let bytes = key.as_bytes();
    let key = match algorithm {
        Algorithm::HS256 => Checks::Secret(hmac::Key::new(hmac::HMAC_SHA256, bytes)),
        Algorithm::EdDSA => Checks::Public(UnparsedPublicKey::new(&ED25519, bytes.to_vec())),
        Algorithm::ES256 => {
            Checks::Public(UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes.to_vec()))
        }
        _ => return Err(new_error(ErrorKind::InvalidAlgorithm)),
    };
    Ok(Box::new(With { algorithm: *algorithm, key }))
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    let bytes = key.inner();
    let key = match algorithm {
        Algorithm::HS256 => Signs::Secret(hmac::Key::new(hmac::HMAC_SHA256, bytes)),
        // "Maybe unchecked": as openssl writes it, without the public half to check it against.
        Algorithm::EdDSA => Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes)
            .map(Signs::Ed25519)
            .map_err(|_| new_error(ErrorKind::InvalidEddsaKey))?,
        Algorithm::ES256 => {
            let random = SystemRandom::new();
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes, &random)
                .map(|pair| Signs::P256(pair, random))
                .map_err(|_| new_error(ErrorKind::InvalidEcdsaKey))?
        }
        _ => return Err(new_error(ErrorKind::InvalidAlgorithm)),
    };
    Ok(Box::new(With { algorithm: *algorithm, key }))
}

/// A key, and the algorithm that it is for.
struct With<K> {
    algorithm: Algorithm,
    key: K,
}

enum Checks {
    Secret(hmac::Key),
    Public(UnparsedPublicKey<Vec<u8>>),
}

enum Signs {
    Secret(hmac::Key),
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair, SystemRandom),
}

impl Verifier<Vec<u8>> for With<Checks> {
    fn verify(
        &self,
        message: &[u8],
        signature: &Vec<u8>,
    ) -> std::result::Result<(), signature::Error> {
        let checked = match &self.key {
            Checks::Secret(key) => hmac::verify(key, message, signature),
            Checks::Public(key) => key.verify(message, signature),
        };
        checked.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for With<Checks> {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Signer<Vec<u8>> for With<Signs> {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, signature::Error> {
        match &self.key {
            Signs::Secret(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Signs::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Signs::P256(pair, random) => pair
                .sign(random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| signature::Error::new()),
        }
    }
}

impl JwtSigner for With<Signs> {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
