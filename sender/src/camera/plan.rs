//! A camera's pipelines as launch lines. Pure.

use crate::camera::convert::{self, Input, Installed};
use crate::camera::encoder::{Encoder, Memory, Parameters};
use crate::camera::origin::{self, Origin, Wanted};
use crate::camera::rectify::Rectification;
use crate::camera::v4l2::Chosen;
use crate::config::{CameraConfig, Crop, Rotation};

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

/// The size that a source is asked for: what is left of it after crop and rotation is what viewers
/// get, and nothing is scaled.
pub fn captured_size(camera: &CameraConfig) -> (u32, u32) {
    let CameraConfig { width, height, .. } = *camera;
    let turned = matches!(camera.picture.rotate, Rotation::Quarter | Rotation::ThreeQuarters);
    let (width, height) = if turned { (height, width) } else { (width, height) };
    let Crop { left, right, top, bottom } = camera.picture.crop;
    (width + left + right, height + top + bottom)
}

/// The origin of a camera's pictures, before anything is done to them; none where they come
/// encoded.
pub fn origin(
    camera: &CameraConfig,
    row: &Encoder,
    capture: impl Fn(&std::path::Path) -> Chosen + Copy,
    installed: &impl Installed,
) -> Option<Origin> {
    let ((width, height), fps) = (captured_size(camera), camera.fps);
    let controls = &camera.controls;
    let wanted = Wanted { width, height, fps, converter: row.converter, controls };
    origin::raw(&camera.source, wanted, capture, installed)
}

/// The launch line of a camera's source, from its origin to frames that this encoder takes.
pub fn source(
    camera: &CameraConfig,
    row: &Encoder,
    origin: &Origin,
    installed: &impl Installed,
) -> String {
    let frames = frames(camera, row, origin, installed);
    format!("{frames} ! appsink name={FRAMES} sync=false async=false")
}

/// A camera from its origin to access units in one launch line, to try it without the sender: a
/// queue stands where frames pass from the source's pipeline to the encoder's. `encoder` is the
/// encoder's part.
pub fn whole(
    camera: &CameraConfig,
    row: &Encoder,
    origin: &Origin,
    encoder: &str,
    installed: &impl Installed,
) -> String {
    let frames = frames(camera, row, origin, installed);
    format!(
        "{frames} ! queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0 \
         ! {encoder} ! fakesink sync=false"
    )
}

fn frames(
    camera: &CameraConfig,
    row: &Encoder,
    origin: &Origin,
    installed: &impl Installed,
) -> String {
    let size = (camera.width, camera.height);
    let mut input = Input { memory: origin.memory, size: origin.size };
    let mut elements = vec![origin.launch.clone(), format!("identity name={TAP} silent=true")];
    if let Some(lens) = &camera.picture.lens {
        let download = convert::download(origin.memory).iter();
        elements.extend(download.map(|&element| element.to_owned()));
        elements.push(Rectification::new(lens).launch());
        input.memory = Memory::System;
    }
    elements.extend([
        convert::transform(&camera.picture, row, size, input, installed),
        row.input_caps(size.0, size.1),
    ]);
    elements.join(" ! ")
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
