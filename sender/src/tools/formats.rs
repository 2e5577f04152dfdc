//! The formats of a camera, told shortly.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// One format at one size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Format {
    /// `YUY2`, `NV12`, …; `MJPEG` or `H264`.
    pub format: String,
    /// Width in pixels: the largest, where there is a range.
    pub width: u32,
    /// Height in pixels: the largest, where there is a range.
    pub height: u32,
    /// Whether smaller ones exist, too.
    pub range: bool,
    /// The most frames per second.
    pub fps: f64,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, width, height, range, fps } = self;
        let up_to = if *range { "up to " } else { "" };
        write!(f, "{format} {up_to}{width}x{height} at {}", (fps * 10.0).round() / 10.0)
    }
}

/// The formats in a device's caps, the largest of each kind first, each size once with its
/// highest rate.
pub fn of_caps(caps: &gst::CapsRef) -> Vec<Format> {
    let mut best: BTreeMap<(String, u32, u32), Format> = BTreeMap::new();
    for structure in caps.iter() {
        for name in names(structure) {
            let (Some((width, wide)), Some((height, high))) =
                (largest(structure, "width"), largest(structure, "height"))
            else {
                continue;
            };
            let fps = structure.value("framerate").map_or(0.0, highest);
            let format = Format { format: name.clone(), width, height, range: wide || high, fps };
            let known = best.entry((name, width, height)).or_insert_with(|| format.clone());
            if format.fps > known.fps {
                *known = format;
            }
        }
    }
    let mut formats: Vec<_> = best.into_values().collect();
    formats.sort_by_key(|format| (format.format.clone(), std::cmp::Reverse(format.width)));
    formats
}

/// What people call it.
fn names(structure: &gst::StructureRef) -> Vec<String> {
    match structure.name().as_str() {
        "image/jpeg" => vec!["MJPEG".to_owned()],
        "video/x-h264" => vec!["H264".to_owned()],
        "video/x-raw" => match structure.value("format") {
            Ok(value) => match value.get::<gst::List>() {
                Ok(list) => list.iter().filter_map(|name| name.get().ok()).collect(),
                Err(_) => value.get().into_iter().collect(),
            },
            Err(_) => Vec::new(),
        },
        other => vec![other.to_owned()],
    }
}

/// The largest value of a field of whole numbers, and whether there are others.
fn largest(structure: &gst::StructureRef, field: &str) -> Option<(u32, bool)> {
    let value = structure.value(field).ok()?;
    if let Ok(number) = value.get::<i32>() {
        return Some((u32::try_from(number).ok()?, false));
    }
    if let Ok(range) = value.get::<gst::IntRange<i32>>() {
        return Some((u32::try_from(range.max()).ok()?, true));
    }
    let list = value.get::<gst::List>().ok()?;
    let most = list.iter().filter_map(|number| number.get::<i32>().ok()).max()?;
    Some((u32::try_from(most).ok()?, true))
}

/// The highest rate of a fraction, a range or a list of them.
fn highest(value: &gst::glib::SendValue) -> f64 {
    let rate = |rate: gst::Fraction| f64::from(rate.numer()) / f64::from(rate.denom().max(1));
    if let Ok(fraction) = value.get::<gst::Fraction>() {
        return rate(fraction);
    }
    if let Ok(range) = value.get::<gst::FractionRange>() {
        return rate(range.max());
    }
    let Ok(list) = value.get::<gst::List>() else { return 0.0 };
    let rates = list.iter().filter_map(|value| value.get::<gst::Fraction>().ok());
    rates.map(rate).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    fn told(caps: &str) -> Vec<String> {
        gst::init().unwrap();
        let formats = of_caps(&gst::Caps::from_str(caps).unwrap());
        formats.iter().map(Format::to_string).collect()
    }

    #[test]
    fn a_usb_cameras_formats_are_told_shortly() {
        let usb = "video/x-raw,format=YUY2,width=640,height=480,framerate={15/1,30/1};\
                   video/x-raw,format=YUY2,width=1280,height=720,framerate=10/1;\
                   image/jpeg,width=1280,height=720,framerate={30/1,15/2};\
                   video/x-raw,format=YUY2,width=640,height=480,framerate=5/1";
        assert_eq!(
            told(usb),
            ["MJPEG 1280x720 at 30", "YUY2 1280x720 at 10", "YUY2 640x480 at 30"]
        );
    }

    #[test]
    fn ranges_and_lists_are_told_by_their_ends() {
        let ranges = "video/x-raw,format={NV12,I420},width=[16,4056],height=[16,3040],\
                      framerate=[0/1,120/1];video/x-bayer,format=rggb,width=64,height=48;\
                      image/jpeg";
        assert_eq!(
            told(ranges),
            [
                "I420 up to 4056x3040 at 120",
                "NV12 up to 4056x3040 at 120",
                "video/x-bayer 64x48 at 0"
            ]
        );
    }
}
