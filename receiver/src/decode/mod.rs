//! Decoders: which there are and how each is driven.

pub mod plan;
