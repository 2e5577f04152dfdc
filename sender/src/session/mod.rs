//! A session: one viewer, every camera that it asked for, and a data channel.

pub mod media;
pub mod policy;
pub mod task;
