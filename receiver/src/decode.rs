//! From access units to pictures: which decoders there are, and the one that a view has, with
//! another in its place when it fails. Where the pictures go is `view`'s matter.

mod chain;
pub mod choice;
mod decoding;
mod expendable;
mod silence;
pub mod table;

pub(crate) use chain::{Chain, Refusal, Unit};
pub use choice::{DecodeSettings, DecoderName};
pub use decoding::Decoders;
pub(crate) use decoding::Decoding;
pub(crate) use silence::Silence;
pub use table::way;
