//! A camera's pipeline as a launch line. Pure.

use crate::camera::encoder::{Encoder, Parameters};
use crate::config::{CameraConfig, Source};

// Names that no launch fragment will have.

/// Where the source ends: frames are stamped, paced and counted here.
pub const TAP: &str = "rovercast-tap";
/// Between source and encoder: the newest frame wins.
pub const QUEUE: &str = "rovercast-raw";
/// The last element: encoded access units come out of it.
pub const OUTPUT: &str = "rovercast-output";
/// The sink behind it, which outlives the pipeline.
pub const SINK: &str = "rovercast-sink";

/// The launch line of a camera up to [`OUTPUT`]. `has` tells which properties the installed
/// encoder knows.
pub fn launch(
    camera: &CameraConfig,
    encoder: &Encoder,
    cores: usize,
    has: impl Fn(&str) -> bool,
) -> String {
    let CameraConfig { width, height, fps, bitrate_kbps, .. } = *camera;
    let parameters = Parameters { bitrate_kbps, fps, cores };
    [
        source(camera),
        format!("identity name={TAP} silent=true"),
        format!("queue name={QUEUE} leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0"),
        "videoconvert".to_owned(),
        "videoscale add-borders=true".to_owned(),
        format!("{},width={width},height={height},pixel-aspect-ratio=1/1", encoder.input),
        encoder.launch(parameters, has),
        format!("capsfilter name={OUTPUT} caps={}", quoted(encoder.output)),
    ]
    .join(" ! ")
}

fn source(camera: &CameraConfig) -> String {
    let CameraConfig { width, height, fps, .. } = camera;
    match &camera.source {
        Source::Test { pattern } => format!(
            "videotestsrc is-live=true pattern={} \
             ! video/x-raw,format=I420,width={width},height={height},framerate={fps}/1",
            quoted(pattern)
        ),
        // Only the video of the file is decoded; it is paced by its own clock from wherever the
        // host's clock stands.
        Source::File { path } => format!(
            "filesrc location={} ! decodebin expose-all-streams=false caps=\"video/x-raw(ANY)\" \
             ! clocksync sync-to-first=true",
            quoted(&path.to_string_lossy())
        ),
        Source::V4l2 { device, .. } => format!(
            "v4l2src device={} do-timestamp=true ! capsfilter caps={}",
            quoted(&device.to_string_lossy()),
            quoted(&format!(
                "video/x-raw,width={width},height={height},framerate={fps}/1;\
                 video/x-raw,width={width},height={height};video/x-raw"
            ))
        ),
        Source::Launch { launch } => launch.trim().trim_end_matches('!').to_owned(),
        other => format!("unsupported-{other:?}"),
    }
}

/// A text as the launch syntax takes it, whatever is in it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::encoder::ENCODERS;
    use crate::config::Config;

    fn plan(source: &str) -> String {
        let text = format!("[robot]\nid = \"r\"\n[[camera]]\nid = \"c\"\nsource = {source}\n");
        let config = Config::parse("t", &text).unwrap();
        launch(&config.camera[0], &ENCODERS[0], 2, |_| true)
    }

    #[test]
    fn a_test_camera_delivers_its_size_by_itself() {
        let plan = plan("{ type = \"test\", pattern = \"ball\" }");
        let start = "videotestsrc is-live=true pattern=\"ball\" ! \
                     video/x-raw,format=I420,width=640,height=480,framerate=30/1 ! identity name=rovercast-tap";
        assert!(plan.starts_with(start), "{plan}");
    }

    #[test]
    fn names_of_files_cannot_break_out() {
        let plan = plan(r#"{ type = "file", path = 'a" ! fakesink \ b.mp4' }"#);
        assert!(plan.starts_with(r#"filesrc location="a\" ! fakesink \\ b.mp4" ! "#), "{plan}");
    }

    #[test]
    fn raw_frames_may_be_dropped_and_encoded_ones_never() {
        let plan = plan("{ type = \"launch\", launch = \"videotestsrc ! \" }");
        let (raw, encoded) = plan.split_once("x264enc").unwrap();
        assert!(raw.starts_with("videotestsrc  ! identity"), "{raw}");
        assert!(raw.contains("leaky=downstream") && !encoded.contains("queue"));
    }
}
