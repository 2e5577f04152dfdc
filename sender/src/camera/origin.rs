//! Where pictures come from, as the beginning of a launch line: the sources that give raw video.
//! Pure.

use std::collections::BTreeMap;

use crate::camera::convert::{Installed, download};
use crate::camera::encoder::{Converter, Memory, raw_caps};
use crate::camera::plan::{ENTRANCE, STEREO_TAPS, quoted};
use crate::camera::v4l2::{Capture, Chosen};
use crate::config::{Control, Source};

/// Access units that may wait for a decoder, once it has caught up with what it began with; of more
/// the oldest go, and what it shows is torn until the next key frame.
pub const WAITING_UNITS: u64 = 30;

/// The beginning of a launch line, and where its pictures lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The launch line.
    pub launch: String,
    /// What it ends in.
    pub memory: Memory,
    /// The size of its pictures, where that is certain.
    pub size: Option<(u32, u32)>,
}

/// What a source is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames per second.
    pub fps: u32,
    /// What its pictures are going to be converted by.
    pub converter: Converter,
    /// The device's controls.
    pub controls: &'a BTreeMap<String, Control>,
}

/// The origin of a source that gives raw video. `capture` tells what a V4L2 device is to be asked
/// for. None for sources that give encoded video.
pub fn raw(
    source: &Source,
    wanted: Wanted<'_>,
    capture: impl Fn(&std::path::Path) -> Chosen + Copy,
    installed: &impl Installed,
) -> Option<Origin> {
    let Wanted { width, height, fps, .. } = wanted;
    let exact = Some((width, height));
    let system = |launch: String, size| Some(Origin { launch, memory: Memory::System, size });
    match source {
        Source::Test { pattern } => system(
            format!(
                "videotestsrc is-live=true pattern={} \
             ! video/x-raw,format=I420,width={width},height={height},framerate={fps}/1",
                quoted(pattern)
            ),
            exact,
        ),
        // Only the video of the file is decoded; it is paced by its own clock from wherever the
        // host's clock stands.
        Source::File { path } => system(
            format!(
                "filesrc location={} ! decodebin expose-all-streams=false caps=\"video/x-raw(ANY)\"{} \
                 ! clocksync sync-to-first=true",
                quoted(&path.to_string_lossy()),
                behind_decoder(installed),
            ),
            None,
        ),
        Source::V4l2 { device, .. } => v4l2(device, capture(device), wanted, installed),
        Source::Libcamera { camera } => {
            let name = camera.iter().map(|camera| format!(" camera-name={}", quoted(camera)));
            let launch = format!("libcamerasrc{}", name.collect::<String>());
            let launch = launch + &properties(wanted.controls);
            // What the Pi's encoder asks of colours and scan is said here: libcamera leaves it open.
            let caps = format!(
                "video/x-raw,format=NV12,width={width},height={height},framerate={fps}/1,\
                 interlace-mode=progressive,colorimetry=bt709"
            );
            system(format!("{launch} ! {caps}"), exact)
        }
        Source::Argus { sensor } => Some(Origin {
            launch: format!(
                "nvarguscamerasrc sensor-id={sensor}{} ! {},framerate={fps}/1",
                properties(wanted.controls),
                raw_caps(Memory::Nvmm, "NV12", width, height)
                    .replace(",pixel-aspect-ratio=1/1", "")
            ),
            memory: Memory::Nvmm,
            size: exact,
        }),
        Source::Screen { display } => {
            let display = display.iter().map(|name| format!(" display-name={}", quoted(name)));
            let display = display.collect::<String>();
            system(
                format!("ximagesrc use-damage=false{display} ! video/x-raw,framerate={fps}/1"),
                None,
            )
        }
        Source::Stereo { left, right } => {
            let eyes = [left, right]
                .map(|eye| raw(eye, Wanted { width: width / 2, ..wanted }, capture, installed));
            let [Some(left), Some(right)] = eyes else { return None };
            system(stereo([left, right], wanted), exact)
        }
        Source::Launch { launch } => {
            system(launch.trim().trim_end_matches('!').trim_end().to_owned(), None)
        }
        Source::Rtsp { .. } | Source::Http { .. } | Source::Srt { .. } | Source::Rtmp { .. } => {
            None
        }
    }
}

/// Pictures of an encoded stream, decoded by the best decoder that there is.
pub fn decoder(installed: &impl Installed) -> Origin {
    let launch = format!(
        "appsrc name={ENTRANCE} is-live=true format=time leaky-type=downstream max-bytes=0 \
         max-buffers={WAITING_UNITS} ! decodebin caps=\"video/x-raw(ANY)\"{}",
        behind_decoder(installed)
    );
    Origin { launch, memory: Memory::System, size: None }
}

/// What stands behind `decodebin`: a Jetson's decoders leave pictures in its own memory, those of
/// others where they are wanted.
fn behind_decoder(installed: &impl Installed) -> &'static str {
    if installed.has_element("nvvidconv") { " ! nvvidconv ! video/x-raw,format=I420" } else { "" }
}

fn v4l2(
    device: &std::path::Path,
    chosen: Chosen,
    wanted: Wanted<'_>,
    installed: &impl Installed,
) -> Option<Origin> {
    let Chosen { capture, size } = chosen;
    let fps = wanted.fps;
    let (width, height) = size.unwrap_or((wanted.width, wanted.height));
    let from = format!("v4l2src {}", v4l2_properties(device, wanted.controls));
    // The nearest that the device has, in this order.
    let caps = |media: &str| {
        let sized = format!("{media},width={width},height={height}");
        let any = if size.is_none() { format!(";{media}") } else { String::new() };
        quoted(&format!("{sized},framerate={fps}/1;{sized}{any}"))
    };
    match capture {
        Capture::Raw => Some(Origin {
            launch: format!("{from} ! capsfilter caps={}", caps("video/x-raw")),
            memory: Memory::System,
            size,
        }),
        Capture::Mjpeg => {
            let (decoder, memory) = jpeg_decoder(wanted.converter, installed);
            let launch = format!("{from} ! capsfilter caps={} ! {decoder}", caps("image/jpeg"));
            Some(Origin { launch, memory, size })
        }
        Capture::H264 => None,
    }
}

/// The decoder that leaves pictures where the encoder's converter takes them, or else the
/// processor's.
fn jpeg_decoder(converter: Converter, installed: &impl Installed) -> (&'static str, Memory) {
    let has = |element: &str| installed.has_element(element);
    match converter {
        // On a Jetson Thor it is there, but decodes no JPEG.
        Converter::Nvvidconv if installed.has_property("nvv4l2decoder", "mjpeg") => {
            ("nvv4l2decoder mjpeg=true", Memory::Nvmm)
        }
        Converter::V4l2 if has("v4l2jpegdec") => ("v4l2jpegdec", Memory::System),
        Converter::Va if has("vajpegdec") => ("vajpegdec", Memory::Va),
        _ => ("jpegdec", Memory::System),
    }
}

/// Both eyes in one picture. Each is stamped on its own, so that pictures of one moment meet.
fn stereo(eyes: [Origin; 2], wanted: Wanted<'_>) -> String {
    let Wanted { width, height, fps, .. } = wanted;
    let half = width / 2;
    let branches = eyes.iter().zip(STEREO_TAPS).enumerate().map(|(index, (eye, tap))| {
        let plain: String =
            download(eye.memory).iter().map(|element| format!(" ! {element}")).collect();
        format!(
            "{}{plain} ! identity name={tap} silent=true ! videoconvert ! videoscale add-borders=true \
             ! video/x-raw,format=I420,width={half},height={height},pixel-aspect-ratio=1/1 \
             ! queue leaky=downstream max-size-buffers=2 max-size-bytes=0 max-size-time=0 \
             ! rovercast-stereo.sink_{index}  ",
            eye.launch
        )
    });
    branches.collect::<String>()
        + &format!(
            "compositor name=rovercast-stereo background=black start-time-selection=first \
             sink_1::xpos={half} \
             ! video/x-raw,format=I420,width={width},height={height},framerate={fps}/1"
        )
}

/// What every `v4l2src` is told.
pub fn v4l2_properties(device: &std::path::Path, controls: &BTreeMap<String, Control>) -> String {
    let controls = match extra_controls(controls) {
        controls if controls.is_empty() => String::new(),
        controls => format!(" extra-controls={}", quoted(&format!("c{controls}"))),
    };
    format!("device={} do-timestamp=true{controls}", quoted(&device.to_string_lossy()))
}

/// Controls as V4L2 elements take them in one structure: whole numbers, switches and words.
fn extra_controls(controls: &BTreeMap<String, Control>) -> String {
    controls
        .iter()
        .map(|(name, value)| match value {
            Control::Switch(on) => format!(",{name}=(int){}", i32::from(*on)),
            Control::Whole(number) => format!(",{name}=(int){number}"),
            Control::Fraction(number) => format!(",{name}=(int){}", number.round()),
            Control::Text(text) => format!(",{name}=(string){}", quoted(text)),
        })
        .collect()
}

/// Controls that are properties of the source's element.
fn properties(controls: &BTreeMap<String, Control>) -> String {
    controls
        .iter()
        .map(|(name, value)| match value {
            Control::Switch(on) => format!(" {name}={on}"),
            Control::Whole(number) => format!(" {name}={number}"),
            Control::Fraction(number) => format!(" {name}={number}"),
            Control::Text(text) => format!(" {name}={}", quoted(text)),
        })
        .collect()
}
