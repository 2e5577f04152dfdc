//! A camera: from its device to encoded access units, whatever happens to the device.

pub mod burn;
pub mod card;
pub mod convert;
pub mod counters;
pub mod drive;
pub mod encoder;
pub mod encoding;
pub mod frames;
pub mod launch;
pub mod output;
pub mod plan;
pub mod probe;
pub mod seam;
pub mod slate;
pub mod source;
pub mod supervisor;
pub mod task;
