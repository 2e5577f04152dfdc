//! A session: one viewer, every camera that it asked for, and its data channels.

pub mod desk;
pub mod media;
pub mod policy;
pub mod signal;
pub mod task;
pub mod times;
