//! Which elements a robot needs, and the Debian packages with those that are missing. Pure: what is
//! installed comes in.

use std::collections::BTreeMap;

use rovercast_peer::start::NEEDED;

use crate::config::{Config, Source, V4l2Format};
use crate::tools::doubts::eyes;
use crate::tools::finding::Finding;

type Element = (&'static str, &'static str);

const CORE: &str = "libgstreamer1.0-0";
const BASE: &str = "gstreamer1.0-plugins-base";
const GOOD: &str = "gstreamer1.0-plugins-good";
const BAD: &str = "gstreamer1.0-plugins-bad";

/// What the pictures of every camera go through.
const ALL: &[Element] = &[
    ("identity", CORE),
    ("queue", CORE),
    ("appsrc", BASE),
    ("appsink", BASE),
    ("videoconvert", BASE),
    ("videoscale", BASE),
];

/// Says for sessions and for each camera whether all is there.
pub fn findings(config: &Config, has: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = missing(NEEDED.iter().chain(ALL).copied(), &has);
    for camera in &config.camera {
        let needed = eyes(&camera.source).into_iter().flat_map(of_source);
        let stereo = matches!(camera.source, Source::Stereo { .. });
        let needed = needed.chain(stereo.then_some(("compositor", BASE)));
        findings.extend(missing(needed, &has).into_iter().map(|finding| finding.of(&camera.id)));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("plugins", "GStreamer has all elements that are needed"));
    }
    findings
}

/// One finding for each package.
fn missing(needed: impl Iterator<Item = Element>, has: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut packages: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (element, package) in needed.filter(|(element, _)| !has(element)) {
        let elements = packages.entry(package).or_default();
        if !elements.contains(&element) {
            elements.push(element);
        }
    }
    let finding = |(package, elements): (&str, Vec<&str>)| {
        let text = format!("GStreamer has no {}", elements.join(", "));
        Finding::fail("plugins", text, format!("install {package}: `sudo apt install {package}`"))
    };
    packages.into_iter().map(finding).collect()
}

fn of_source(source: &Source) -> Vec<Element> {
    match source {
        Source::Test { .. } => vec![("videotestsrc", BASE)],
        Source::File { .. } => vec![("filesrc", CORE), ("decodebin", BASE), ("clocksync", CORE)],
        Source::V4l2 { format: V4l2Format::Auto | V4l2Format::Mjpeg, .. } => {
            vec![("v4l2src", GOOD), ("jpegdec", GOOD)]
        }
        Source::V4l2 { format: V4l2Format::H264, .. } => {
            vec![("v4l2src", GOOD), ("h264parse", BAD)]
        }
        Source::V4l2 { format: V4l2Format::Raw, .. } => vec![("v4l2src", GOOD)],
        Source::Libcamera { .. } => vec![("libcamerasrc", "gstreamer1.0-libcamera")],
        Source::Argus { .. } => {
            let package = "nvidia-l4t-gstreamer";
            vec![("nvarguscamerasrc", "nvidia-l4t-camera"), ("nvvidconv", package)]
        }
        Source::Rtsp { .. } => vec![("rtspsrc", GOOD), ("h264parse", BAD)],
        Source::Http { .. } => vec![("souphttpsrc", GOOD)],
        Source::Srt { .. } => vec![("srtsrc", BAD), ("tsdemux", BAD), ("h264parse", BAD)],
        Source::Rtmp { .. } => vec![("h264parse", BAD)],
        Source::Screen { .. } => vec![("ximagesrc", GOOD)],
        // Each eye says for itself; a fragment is parsed instead.
        Source::Stereo { .. } | Source::Launch { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::finding::Severity;

    #[test]
    fn missing_packages_are_named_by_camera() {
        let config = Config::parse(
            "t",
            "[robot]\nid = \"r\"\n[[camera]]\nid = \"a\"\nsource = { type = \"argus\" }\n\
             [[camera]]\nid = \"b\"\nsource = { type = \"v4l2\", device = \"/dev/video0\" }\n",
        )
        .unwrap();
        let has = |element: &str| !element.starts_with("nv") && element != "jpegdec";
        let found: Vec<_> = findings(&config, has).iter().map(Finding::to_string).collect();
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(found[0].contains("[a]: GStreamer has no nvarguscamerasrc"), "{found:#?}");
        assert!(found[1].contains("`sudo apt install nvidia-l4t-gstreamer`"), "{found:#?}");
        assert!(found[2].contains("[b]: GStreamer has no jpegdec"), "{found:#?}");
        let all = findings(&config, |_| true);
        assert_eq!((all.len(), all[0].severity), (1, Severity::Ok));
    }
}
