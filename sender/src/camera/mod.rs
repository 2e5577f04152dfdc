//! A camera: from its device to encoded access units, whatever happens to the device.

pub mod encoder;
pub mod frames;
pub mod pipeline;
pub mod plan;
pub mod task;
