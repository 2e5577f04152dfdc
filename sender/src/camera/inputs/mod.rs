//! Cameras that come as encoded streams: from the network, or out of a device's own encoder.

pub mod flv;
pub mod group;
pub mod h264;
pub mod network;
pub mod rtmp;
pub mod streams;
