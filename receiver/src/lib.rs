//! The operator's end of Rovercast: receives a robot's cameras and telemetry, decodes them and
//! hands the pictures to a window, a launch line or a program that embeds this crate.

pub mod app;
pub mod config;
pub mod decode;
pub mod errand;
pub mod frames;
pub mod jitter_buffer;
pub mod meter;
pub mod metrics;
pub mod output;
pub mod packets;
pub mod playout;
pub mod policy;
pub mod presented;
pub mod record;
pub mod recording;
pub mod report;
pub mod robots;
pub mod session;
pub mod sessions;
pub mod stages;
pub mod track_clock;
pub mod turns;
pub mod view;
pub mod views;
pub mod whole;
pub mod window;
