//! Why a camera gives no pictures, as people understand it: what GStreamer says, put so that it names
//! the thing and the remedy. Pure.

/// What is said of a device whose node or stable name is not there, or no longer.
pub fn not_there(device: &str) -> String {
    format!("{device} is not there: is it plugged in?")
}

/// The reason in an error's `text`. `device` is the V4L2 device of the element that complains; only
/// then is `debug` looked into, since that of others may hold passwords. `is_element` tells of what
/// kinds there are elements.
pub fn of(
    device: Option<&str>,
    text: &str,
    debug: &str,
    is_element: impl Fn(&str) -> bool,
) -> String {
    match device {
        Some(device) => of_v4l2(device, text, debug),
        None => without_numbers(text, is_element),
    }
}

/// A V4L2 device's reason: mostly the system's word for it stands in the debug text alone.
fn of_v4l2(device: &str, text: &str, debug: &str) -> String {
    let says = |word: &str| text.contains(word) || debug.contains(word);
    let any = |words: &[&str]| words.iter().copied().any(says);
    if any(&["No such file or directory", "No such device"]) {
        not_there(device)
    } else if says("busy") {
        format!("{device} is in use by another program: `rovercast-sender doctor` tells by which")
    } else if says("Permission denied") {
        format!("{device} may not be opened by this user: see `rovercast-sender doctor`")
    } else if says("Inappropriate ioctl") {
        format!("{device} is no camera: `rovercast-sender devices` lists them")
    } else if any(&["pool activation failed", "STREAMON", "No space left"]) {
        format!(
            "{device} does not start: its USB bus is full (see `rovercast-sender doctor`), or its \
             driver failed"
        )
    } else if says("not-negotiated") {
        format!("{device} does not give what it is asked for: see `rovercast-sender doctor`")
    // The number beside it is not the device's.
    } else if any(&["poll error", "Could not read from resource"]) {
        format!("{device} broke off: it was unplugged, or its driver failed")
    } else {
        format!("{device}: {}", text.trim_end_matches('.'))
    }
}

/// Elements are numbered over all attempts: without their numbers the same reason is the same text.
pub fn without_numbers(text: &str, is_element: impl Fn(&str) -> bool) -> String {
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/');
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word = &rest[..rest.find(|c| !in_name(c)).unwrap_or(rest.len())];
        let kind = word.trim_end_matches(|c: char| c.is_ascii_digit());
        // Of kinds that end in a digit a hyphen precedes the number.
        let kind = kind.strip_suffix('-').unwrap_or(kind);
        plain.push_str(if is_element(kind) { kind } else { word });
        rest = &rest[word.len()..];
        let between = rest.find(in_name).unwrap_or(rest.len());
        plain.push_str(&rest[..between]);
        rest = &rest[between..];
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: &str = "/dev/v4l/by-id/usb-Camera_1-video-index0";

    fn of_device(text: &str, debug: &str) -> String {
        of(Some(DEVICE), text, debug, |_| false)
    }

    /// As GStreamer 1.22 says it.
    #[test]
    fn what_a_device_complains_of_is_told_with_the_remedy() {
        let poll = "../sys/v4l2/gstv4l2bufferpool.c(1198): gst_v4l2_buffer_pool_poll (): \
                    /GstPipeline:pipeline3/GstV4l2Src:v4l2src4:\npoll error 1: Invalid argument (22)";
        let pool = "../sys/v4l2/gstv4l2src.c(976): gst_v4l2src_decide_allocation (): \
                    /GstPipeline:pipeline3/GstV4l2Src:v4l2src4:\nBuffer pool activation failed";
        let cases = [
            ("Cannot identify device '/dev/v'.", "system error: No such file or directory", "plug"),
            ("Could not read from resource.", "No such device (19)", "plugged in?"),
            ("Device '/dev/v' is busy", "Call to S_FMT failed: Device or resource busy", "in use"),
            ("Could not open device.", "system error: Permission denied", "this user"),
            (
                "Error getting capabilities",
                "system error: Inappropriate ioctl for device",
                "no cam",
            ),
            ("Failed to allocate required memory.", pool, "USB bus"),
            ("Internal data stream error.", "streaming stopped, reason not-negotiated (-4)", "ask"),
            ("Could not read from resource.", poll, "unplugged"),
        ];
        for (text, debug, wanted) in cases {
            let reason = of_device(text, debug);
            assert!(reason.starts_with(DEVICE) && reason.contains(wanted), "{text}: {reason}");
            assert!(!reason.contains("v4l2src"), "{reason}");
        }
        assert_eq!(of_device("Odd.", "and more"), format!("{DEVICE}: Odd"));
    }

    #[test]
    fn what_others_say_for_developers_is_told_to_nobody() {
        let debug = "rtsp://user:secret@192.168.0.20/stream: No such device";
        assert_eq!(of(None, "Not found", debug, |_| true), "Not found");
    }

    #[test]
    fn reasons_of_two_attempts_are_the_same() {
        let kinds = ["v4l2src", "avdec_h264", "capsfilter", "h264parse"];
        let is_element = |kind: &str| kinds.contains(&kind);
        let plain = |text: &str| without_numbers(text, is_element);
        let four = "could not link v4l2src4 to capsfilter12, (avdec_h264-3) and h264parse0";
        let none = "could not link v4l2src to capsfilter, (avdec_h264) and h264parse";
        assert_eq!(plain(four), none);
        let kept =
            "/dev/video0 at 640x480: Größe 17 of /dev/v4l2src4, avdec_h264 – v4l2src_4 \u{1f4f7}";
        assert_eq!(plain(kept), kept);
        assert_eq!(plain(""), "");
    }
}
