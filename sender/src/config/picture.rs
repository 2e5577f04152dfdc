//! What is done to a camera's pictures before they are encoded.

use serde::Deserialize;

/// What is done to the pictures, in this order: lens, crop, rotate, flip, scale.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PictureConfig {
    /// Pixels that are cut off at each edge of the camera's picture.
    pub crop: Crop,
    /// Turned clockwise.
    pub rotate: Rotation,
    /// Mirrored.
    pub flip: Flip,
    /// The lens, to have its distortion taken out.
    pub lens: Option<Lens>,
}

/// Pixels cut off: even, 0 to 8192. The camera is asked for pictures that are larger by them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Crop {
    /// From the left.
    pub left: u32,
    /// From the right.
    pub right: u32,
    /// From above.
    pub top: u32,
    /// From below.
    pub bottom: u32,
}

/// Degrees, clockwise: 0, 90, 180 or 270.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub enum Rotation {
    /// As it is.
    #[default]
    None,
    /// A quarter.
    Quarter,
    /// Upside down.
    Half,
    /// Three quarters.
    ThreeQuarters,
}

impl TryFrom<u32> for Rotation {
    type Error = String;

    fn try_from(degrees: u32) -> Result<Self, String> {
        match degrees {
            0 => Ok(Self::None),
            90 => Ok(Self::Quarter),
            180 => Ok(Self::Half),
            270 => Ok(Self::ThreeQuarters),
            _ => Err(format!("cannot rotate by {degrees}: use 0, 90, 180 or 270")),
        }
    }
}

/// How pictures are mirrored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flip {
    /// Not at all.
    #[default]
    None,
    /// Left and right change places.
    Horizontal,
    /// Top and bottom change places.
    Vertical,
}

/// A lens as calibration tells it: the Brown-Conrady model of OpenCV.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lens {
    /// The size of the pictures that were calibrated with, in pixels.
    pub width: u32,
    /// The same.
    pub height: u32,
    /// Focal length in pixels.
    pub fx: f64,
    /// The same, vertically.
    pub fy: f64,
    /// Where the optical axis meets the picture, in pixels.
    pub cx: f64,
    /// The same, from above.
    pub cy: f64,
    /// Radial distortion: k1, k2, k3.
    #[serde(default)]
    pub radial: [f64; 3],
    /// Tangential distortion: p1, p2.
    #[serde(default)]
    pub tangential: [f64; 2],
}
