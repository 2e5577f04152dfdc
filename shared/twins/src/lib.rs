//! Twins of hardware elements for tests: a GStreamer plugin of elements that look like those of a
//! Jetson, a Raspberry Pi, an NVIDIA card or a VA driver and work in software. They show whether a
//! pipeline names things rightly and negotiates; not how fast or how good the hardware is. Never
//! part of a program that is shipped.
//!
//! `ROVERCAST_TWINS` says which exist: a list by comma of `jetson`, `orin-nano` (no encoder
//! behind the factory), `pi4`, `pi5`, `nvidia`, `va`, `vaapi` and `qsv`; none without it.
//! `ROVERCAST_TWINS_HANG=FACTORY` makes that encoder or decoder block for ever at its first frame,
//! and `ROVERCAST_TWINS_BROKEN=FACTORY` fail at it; `FACTORY:N` makes a decoder do so at its Nth.
//! `ROVERCAST_TWINS_HANG_OPENING=FACTORY` makes a decoder block for ever when it is opened, and
//! `ROVERCAST_TWINS_SWALLOW=FACTORY` give no pictures. Each takes a list by comma.
//! [`place::environment`] makes the platforms for a process that a test starts.
//!
//! Memory features are labels: below them is system memory. A twin refuses what its hardware is
//! known to refuse, and where that is not known (whether parameter sets repeat, say) does what is
//! harder on a pipeline. Not modelled: speed, latency, I frames that are no IDR, the size limits
//! of decoders, and most properties that only tune quality.

mod behaviour {
    pub(crate) mod controls;
    pub(crate) mod decoder;
    pub(crate) mod encoder;
    pub(crate) mod nal;
    pub(crate) mod picture;
    pub(crate) mod v4l2;
}
mod caps;
mod ends;
pub mod fixture;
mod label;
pub mod place;
mod plugin;
mod properties;
mod slot;
mod twin;

/// The variable that names the platforms.
pub const PLATFORMS: &str = "ROVERCAST_TWINS";
/// The variable that names the encoder or decoder that hangs at its first frame.
pub const HANG: &str = "ROVERCAST_TWINS_HANG";
/// The variable that names the encoder or decoder that fails at its first frame.
pub const BROKEN: &str = "ROVERCAST_TWINS_BROKEN";
/// The variable that names the decoder that hangs when it is opened.
pub const HANG_OPENING: &str = "ROVERCAST_TWINS_HANG_OPENING";
/// The variable that names the decoder that gives no pictures.
pub const SWALLOW: &str = "ROVERCAST_TWINS_SWALLOW";

/// Whether the variable names this word.
fn named(variable: &str, word: &str) -> bool {
    std::env::var(variable).is_ok_and(|list| list.split(',').any(|item| item.trim() == word))
}

/// At which frame, counted from 1, the variable has it happen to this decoder.
fn at(variable: &str, factory: &str) -> Option<u64> {
    let list = std::env::var(variable).ok()?;
    let items =
        list.split(',').map(|item| item.trim().split_once(':').unwrap_or((item.trim(), "1")));
    items.filter(|(name, _)| *name == factory).find_map(|(_, frame)| frame.parse().ok())
}
