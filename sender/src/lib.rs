//! The robot's end of Rovercast: every camera encoded once, fanned out to each viewer over WebRTC,
//! with telemetry beside it.

pub mod app;
pub mod camera;
pub mod config;
pub mod control;
pub mod fleet;
pub mod metrics;
pub mod session;
pub mod telemetry;
pub mod tools;
