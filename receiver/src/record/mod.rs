//! What comes from a robot, written to files as it came: the video is never decoded nor encoded
//! again. Recording never holds up what is shown: streaming threads hand over to a bounded queue,
//! one thread writes, and a disk that is full, slow or away costs the recording alone.
//!
//! All times are on one clock, that of the recording: microseconds since its epoch. A picture's
//! time is that of its capture where that is known, else that of its arrival.

mod annexb;
mod bundle;
mod disk;
mod foxglove;
mod journal;
mod lane;
mod mcap_file;
mod names;
mod queue;
mod recorder;
mod settings;
mod timeline;
mod video_file;
mod writer;

#[cfg(test)]
mod tests;

pub use recorder::{Recorder, RecorderHandle, State};
pub use settings::{Format, Settings};
