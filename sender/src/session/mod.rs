//! A session: one viewer, every camera that it asked for, and its data channels.

pub mod desk;
mod making;
pub mod media;
pub mod placing;
pub mod policy;
pub mod signal;
pub mod task;
pub mod times;
