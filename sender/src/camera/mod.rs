//! A camera: from its device to encoded access units, whatever happens to the device.

pub mod burn;
pub mod card;
pub mod convert;
pub mod counters;
pub mod drive;
pub mod encoder;
pub mod encoding;
pub mod frames;
pub mod health;
pub mod hotplug;
pub mod launch;
pub mod origin;
pub mod output;
pub mod plan;
pub mod probe;
pub mod rectify;
pub mod registry;
pub mod seam;
pub mod slate;
pub mod snapshot;
pub mod source;
pub mod supervisor;
pub mod tap;
pub mod task;
pub mod v4l2;
