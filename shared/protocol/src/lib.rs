//! What Rovercast's programs say to each other, and the rules both ends share.
//!
//! Everything here is pure: no socket, no GStreamer, no clock read, no randomness. Time and
//! random numbers come in as arguments.

pub mod backoff;
pub mod clock;
pub mod codec;
pub mod control;
pub mod frame_times;
pub mod ids;
pub mod keyframes;
pub mod pixelclock;
pub mod settings;
pub mod signaling;
pub mod telemetry;
