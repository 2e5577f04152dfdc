//! A camera's pipelines as launch lines. Pure.

use crate::camera::convert::{self, Input, Installed};
use crate::camera::encoder::{Encoder, Memory, Parameters};
use crate::camera::origin::{self, Origin, Wanted};
use crate::camera::rectify::Rectification;
use crate::camera::v4l2::Capture;
use crate::config::{CameraConfig, Rotation};

// Names that no launch fragment will have.

/// Where the source ends: frames are stamped, paced and counted here.
pub const TAP: &str = "rovercast-tap";
/// The same for each eye of a stereo source.
pub const STEREO_TAPS: [&str; 2] = ["rovercast-left", "rovercast-right"];
/// The entrance of a decoder.
pub const ENTRANCE: &str = "rovercast-coded";
/// The exit of a source, and the entrance of an encoder.
pub const FRAMES: &str = "rovercast-frames";
/// The exit of an encoder.
pub const UNITS: &str = "rovercast-units";

/// The origin of a camera's pictures, before anything is done to them; none where they come
/// encoded.
pub fn origin(
    camera: &CameraConfig,
    row: &Encoder,
    capture: impl Fn(&std::path::Path) -> Capture + Copy,
    installed: &impl Installed,
) -> Option<Origin> {
    let CameraConfig { width, height, fps, .. } = *camera;
    let turned = matches!(camera.picture.rotate, Rotation::Quarter | Rotation::ThreeQuarters);
    let (width, height) = if turned { (height, width) } else { (width, height) };
    let controls = &camera.controls;
    let wanted = Wanted { width, height, fps, converter: row.converter, controls };
    origin::raw(&camera.source, wanted, capture, |element| installed.has_element(element))
}

/// The launch line of a camera's source, from its origin to frames that this encoder takes.
pub fn source(
    camera: &CameraConfig,
    row: &Encoder,
    origin: &Origin,
    installed: &impl Installed,
) -> String {
    let size = (camera.width, camera.height);
    let mut input = Input { memory: origin.memory, size: origin.size };
    let mut elements = vec![origin.launch.clone(), format!("identity name={TAP} silent=true")];
    if let Some(lens) = &camera.picture.lens {
        elements.extend(download(origin.memory).map(str::to_owned));
        elements.push(Rectification::new(lens).launch());
        input.memory = Memory::System;
    }
    elements.extend([
        convert::transform(&camera.picture, row, size, input, installed),
        row.input_caps(size.0, size.1),
        format!("appsink name={FRAMES} sync=false async=false"),
    ]);
    elements.join(" ! ")
}

/// What brings pictures into plain memory.
fn download(memory: Memory) -> Option<&'static str> {
    match memory {
        Memory::System => None,
        Memory::Nvmm => Some("nvvidconv ! video/x-raw,format=I420"),
        Memory::Cuda => Some("cudadownload"),
        Memory::Va => Some("vapostproc ! video/x-raw,format=NV12"),
    }
}

/// The launch line of a camera's encoder. `has` tells which properties the installed one knows.
pub fn encoding(row: &Encoder, parameters: Parameters, has: impl Fn(&str) -> bool) -> String {
    let Parameters { width, height, fps, .. } = parameters;
    [
        // The newest frame wins: what waited longer would only be older.
        format!(
            "appsrc name={FRAMES} is-live=true format=time leaky-type=downstream max-bytes=0 \
             max-buffers=1 caps={}",
            quoted(&row.frame_caps(width, height, fps))
        ),
        row.launch(parameters, has),
        format!("appsink name={UNITS} sync=false async=false"),
    ]
    .join(" ! ")
}

/// The launch line that turns a picture in plain memory (I420) into a frame that this encoder
/// takes.
pub fn upload(camera: &CameraConfig, row: &Encoder) -> String {
    let CameraConfig { width, height, .. } = *camera;
    [
        format!(
            "appsrc name={FRAMES} format=time \
             caps=\"video/x-raw,format=I420,width={width},height={height},framerate=0/1\""
        ),
        row.upload().to_owned(),
        row.input_caps(width, height),
        format!("appsink name={UNITS} sync=false"),
    ]
    .join(" ! ")
}

/// A text as the launch syntax takes it, whatever is in it.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
