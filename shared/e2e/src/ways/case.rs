//! What is sent: pictures of a size, of so many cameras at once. Pure.

use std::str::FromStr;

use anyhow::Context;

/// What encoders may spend on each camera, in units of 1,000 bits per second: where `webrtcsink`
/// begins, too.
pub const BITRATE_KBPS: u32 = 2000;

/// What is in the pictures, besides the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// GStreamer's test pattern `smpte`.
    Smpte,
    /// [`crate::grid`], so that each picture can be checked.
    Grid,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Frames per second.
    pub fps: u32,
    /// Cameras.
    pub cameras: usize,
    /// What is in the pictures.
    pub content: Content,
}

impl Case {
    /// Size and frame rate, as `1280x720@30`.
    pub fn format(&self) -> String {
        let Self { width, height, fps, .. } = self;
        format!("{width}x{height}@{fps}")
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let content = match self.content {
            Content::Smpte => "smpte",
            Content::Grid => "grid",
        };
        write!(f, "{}*{}:{content}", self.format(), self.cameras)
    }
}

impl FromStr for Case {
    type Err = anyhow::Error;

    /// Reads what [`Display`](std::fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = || -> Option<_> {
            let (format, rest) = text.split_once('*')?;
            let (cameras, content) = rest.split_once(':')?;
            let (size, fps) = format.split_once('@')?;
            let (width, height) = size.split_once('x')?;
            let content = match content {
                "smpte" => Content::Smpte,
                "grid" => Content::Grid,
                _ => return None,
            };
            Some(Self {
                width: width.parse().ok()?,
                height: height.parse().ok()?,
                fps: fps.parse().ok()?,
                cameras: cameras.parse().ok()?,
                content,
            })
        };
        parts().with_context(|| format!("{text} is not like 1280x720@30*1:smpte"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for content in [Content::Smpte, Content::Grid] {
            let case = Case { width: 1280, height: 720, fps: 60, cameras: 3, content };
            assert_eq!(case.to_string().parse::<Case>().unwrap(), case);
        }
        assert!("1280x720@30".parse::<Case>().is_err());
    }
}
