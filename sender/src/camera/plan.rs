//! A camera's pipelines as launch lines. Pure.

use crate::camera::convert;
use crate::camera::encoder::{Encoder, Parameters};
use crate::config::{CameraConfig, Source};

// Names that no launch fragment will have.

/// Where the source ends: frames are stamped, paced and counted here.
pub const TAP: &str = "rovercast-tap";
/// The exit of a source, and the entrance of an encoder.
pub const FRAMES: &str = "rovercast-frames";
/// The encoder itself.
pub const ENCODER: &str = "rovercast-encoder";
/// The exit of an encoder.
pub const UNITS: &str = "rovercast-units";

/// The launch line of a camera's source, to frames that this encoder takes.
pub fn source(camera: &CameraConfig, row: &Encoder) -> String {
    let CameraConfig { width, height, fps, .. } = *camera;
    [
        origin(&camera.source, width, height, fps),
        format!("identity name={TAP} silent=true"),
        convert::transform(camera, row),
        row.input_caps(width, height),
        format!("appsink name={FRAMES} sync=false async=false"),
    ]
    .join(" ! ")
}

/// The launch line of a camera's encoder. `has` tells which properties the installed one knows.
pub fn encoding(
    camera: &CameraConfig,
    row: &Encoder,
    parameters: Parameters,
    has: impl Fn(&str) -> bool,
) -> String {
    [
        format!(
            "appsrc name={FRAMES} caps={}",
            quoted(&row.input_caps(camera.width, camera.height))
        ),
        row.launch(parameters, has),
        format!("appsink name={UNITS} sync=false async=false"),
    ]
    .join(" ! ")
}

/// The launch line that turns a picture in plain memory (I420) into a frame that this encoder takes.
pub fn upload(camera: &CameraConfig, row: &Encoder) -> String {
    let CameraConfig { width, height, .. } = *camera;
    [
        format!(
            "appsrc name={FRAMES} format=time caps=\"video/x-raw,format=I420,width={width},height={height},framerate=0/1\""
        ),
        row.upload().to_owned(),
        row.input_caps(width, height),
        format!("appsink name={UNITS} sync=false"),
    ]
    .join(" ! ")
}

fn origin(source: &Source, width: u32, height: u32, fps: u32) -> String {
    match source {
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
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
