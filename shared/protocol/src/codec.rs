//! The video codecs that a track can carry.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A video codec.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// H.264: what every browser decodes, nearly always in hardware.
    #[default]
    H264,
    /// H.265: half the bitrate, for receivers that decode it.
    H265,
    /// VP8: for browsers without H.264.
    Vp8,
}

impl Codec {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::H264, Self::H265, Self::Vp8];

    /// Its name in the config and in a robot's `meta`.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::H265 => "h265",
            Self::Vp8 => "vp8",
        }
    }

    /// Its name in SDP (`a=rtpmap`).
    pub fn encoding_name(self) -> &'static str {
        match self {
            Self::H264 => "H264",
            Self::H265 => "H265",
            Self::Vp8 => "VP8",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = ();

    /// From its name in SDP, in any case.
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.encoding_name().eq_ignore_ascii_case(text))
            .ok_or(())
    }
}
