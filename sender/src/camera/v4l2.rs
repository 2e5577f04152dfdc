//! What a V4L2 device offers, and which of it is taken.

use std::path::Path;

use gst::prelude::*;

use crate::camera::launch::complaint;
use crate::config::V4l2Format;

/// What a device is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// Raw pictures.
    Raw,
    /// JPEG pictures.
    Mjpeg,
    /// H.264 of its own encoder.
    H264,
}

/// What is taken of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen {
    /// In which form its pictures come.
    pub capture: Capture,
    /// Their size, where it is certain.
    pub size: Option<(u32, u32)>,
}

/// Asks a device what it offers. Blocks while it opens. The error is for people.
pub fn offered(device: &Path) -> Result<gst::Caps, String> {
    let source = gst::ElementFactory::make("v4l2src")
        .property("device", device.to_string_lossy().as_ref())
        .build()
        .map_err(|_| "v4l2src is not installed: install gstreamer1.0-plugins-good")?;
    let bus = gst::Bus::new();
    source.set_bus(Some(&bus));
    let opened = source.set_state(gst::State::Ready);
    let caps = source.static_pad("src").map(|pad| pad.query_caps(None));
    let _ = source.set_state(gst::State::Null);
    let said = bus.pop_filtered(&[gst::MessageType::Error]);
    match (opened, caps) {
        (Ok(_), Some(caps)) => Ok(caps),
        _ => Err(said.as_ref().and_then(reason).unwrap_or_else(|| "it does not open".to_owned())),
    }
}

fn reason(message: &gst::Message) -> Option<String> {
    match message.view() {
        gst::MessageView::Error(error) => Some(complaint(error)),
        _ => None,
    }
}

/// Which of the offered formats to take for such pictures. Raw ones are worth most where the
/// device gives enough of them: many a USB camera does so at small sizes alone.
pub fn choose(
    wanted: V4l2Format,
    offered: &gst::CapsRef,
    (width, height, fps): (u32, u32, u32),
) -> Result<Capture, String> {
    let exact = |media: &str| {
        gst::Caps::builder(media)
            .field("width", width as i32)
            .field("height", height as i32)
            .field(
                "framerate",
                gst::FractionRange::new(
                    gst::Fraction::new(fps as i32, 1),
                    gst::Fraction::new(i32::MAX, 1),
                ),
            )
            .build()
    };
    let sized = |media: &str| {
        gst::Caps::builder(media)
            .field("width", width as i32)
            .field("height", height as i32)
            .build()
    };
    let any = |media: &str| gst::Caps::new_empty_simple(media);
    let has = |caps: gst::Caps| offered.can_intersect(&caps);
    let (raw, jpeg, h264) = ("video/x-raw", "image/jpeg", "video/x-h264");
    let missing = |what: &str| Err(format!("the device gives no {what}: use format = \"auto\""));
    match wanted {
        V4l2Format::Raw if has(any(raw)) => Ok(Capture::Raw),
        V4l2Format::Raw => missing("raw pictures"),
        V4l2Format::Mjpeg if has(any(jpeg)) => Ok(Capture::Mjpeg),
        V4l2Format::Mjpeg => missing("MJPEG"),
        V4l2Format::H264 if has(any(h264)) => Ok(Capture::H264),
        V4l2Format::H264 => missing("H.264"),
        V4l2Format::Auto => [
            (exact(raw), Capture::Raw),
            (exact(jpeg), Capture::Mjpeg),
            (sized(raw), Capture::Raw),
            (sized(jpeg), Capture::Mjpeg),
            (any(raw), Capture::Raw),
            (any(jpeg), Capture::Mjpeg),
        ]
        .into_iter()
        .find_map(|(caps, capture)| has(caps).then_some(capture))
        .ok_or_else(|| {
            let hint = if has(any(h264)) { "set format = \"h264\"" } else { "is it a camera?" };
            format!("the device gives no raw pictures and no MJPEG: {hint}")
        }),
    }
}

/// The size that a device is asked for, of those that it offers in this form: the wanted one, or
/// the next larger one of the same shape, which can be scaled in hardware; none where neither is.
pub fn size(
    capture: Capture,
    offered: &gst::CapsRef,
    (width, height): (u32, u32),
) -> Option<(u32, u32)> {
    let media = match capture {
        Capture::Raw => "video/x-raw",
        Capture::Mjpeg => "image/jpeg",
        Capture::H264 => return None,
    };
    let wanted = gst::Caps::builder(media)
        .field("width", width as i32)
        .field("height", height as i32)
        .build();
    if offered.can_intersect(&wanted) {
        return Some((width, height));
    }
    let side = |structure: &gst::StructureRef, name| {
        structure.get::<i32>(name).ok().and_then(|pixels| u32::try_from(pixels).ok())
    };
    let same_shape = |(w, h): (u32, u32)| {
        w > width && u64::from(w) * u64::from(height) == u64::from(h) * u64::from(width)
    };
    offered
        .iter()
        .filter(|structure| structure.name() == media)
        .filter_map(|structure| Some((side(structure, "width")?, side(structure, "height")?)))
        .filter(|&size| same_shape(size))
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    fn chosen(wanted: V4l2Format, offered: &str) -> Result<Capture, String> {
        gst::init().unwrap();
        choose(wanted, &gst::Caps::from_str(offered).unwrap(), (1280, 720, 30))
    }

    /// As a USB 2 camera says it: raw pictures of this size come too slowly.
    const USB: &str = "video/x-raw,format=YUY2,width=640,height=480,framerate={30/1,15/1};\
                       video/x-raw,format=YUY2,width=1280,height=720,framerate=10/1;\
                       image/jpeg,width=1280,height=720,framerate={30/1,15/1};\
                       video/x-h264,width=1280,height=720,framerate=30/1";

    #[test]
    fn the_format_is_taken_that_is_fast_enough() {
        assert_eq!(chosen(V4l2Format::Auto, USB), Ok(Capture::Mjpeg));
        let fast = "video/x-raw,width=1280,height=720,framerate=[1/1,60/1];image/jpeg";
        assert_eq!(chosen(V4l2Format::Auto, fast), Ok(Capture::Raw));
        let small = "video/x-raw,width=320,height=240,framerate=30/1";
        assert_eq!(chosen(V4l2Format::Auto, small), Ok(Capture::Raw), "scaled");
        assert!(chosen(V4l2Format::Auto, "video/x-h264").unwrap_err().contains("h264"));
        assert!(chosen(V4l2Format::Auto, "audio/x-raw").unwrap_err().contains("is it a camera"));
    }

    #[test]
    fn the_size_is_the_wanted_one_or_can_be_scaled_to_it() {
        gst::init().unwrap();
        let offered = gst::Caps::from_str(USB).unwrap();
        let of = |capture, wanted| size(capture, &offered, wanted);
        assert_eq!(of(Capture::Raw, (640, 480)), Some((640, 480)));
        assert_eq!(of(Capture::Raw, (320, 240)), Some((640, 480)));
        assert_eq!(of(Capture::Mjpeg, (640, 360)), Some((1280, 720)));
        assert_eq!(of(Capture::Mjpeg, (640, 480)), None, "of another shape");
        assert_eq!(of(Capture::Raw, (1920, 1080)), None, "larger than any");
        let any = gst::Caps::from_str("video/x-raw,width=[16,1920],height=[16,1080]").unwrap();
        assert_eq!(size(Capture::Raw, &any, (321, 240)), Some((321, 240)));
    }

    #[test]
    fn a_wish_is_granted_or_refused() {
        assert_eq!(chosen(V4l2Format::Raw, USB), Ok(Capture::Raw));
        assert_eq!(chosen(V4l2Format::H264, USB), Ok(Capture::H264));
        let error = chosen(V4l2Format::Mjpeg, "video/x-raw").unwrap_err();
        assert!(error.contains("auto"), "{error}");
    }
}
