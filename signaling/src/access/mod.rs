//! Who may do what: tokens (JWT) are checked against keys and become grants. Nothing is read here,
//! neither files nor clocks: keys come in as bytes and the time as an argument. What a grant
//! forbids is for others to refuse.

mod bearer;
mod crypto;
mod grant;
mod key;
mod scope;
mod settings;
#[cfg(test)]
mod tests;
mod verifier;

pub use bearer::{SUBPROTOCOL, TOKEN_SUBPROTOCOL, bearer};
pub use grant::Grant;
pub use key::{Algorithm, BadKey, Key, SigningKey};
pub use scope::BadScope;
pub use settings::{AccessSettings, KeyFile, KeySettings};
pub use verifier::{Denied, Verifier};
