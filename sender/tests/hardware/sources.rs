//! A V4L2 device's pictures on their way to each platform's encoder: decoded, scaled and converted
//! by the hardware that there is. In place of the device stands a test pattern in its format.

use gst::prelude::*;
use gst_app::AppSink;
use rovercast_sender::camera::encoder::{ENCODERS, Encoder};
use rovercast_sender::camera::plan;
use rovercast_sender::camera::registry::Registry;
use rovercast_sender::camera::v4l2::{Capture, Chosen};
use rovercast_sender::config::{CameraConfig, Config};

use crate::with_twins;

fn row(factory: &str) -> &'static Encoder {
    ENCODERS.iter().find(|row| row.factory == factory).unwrap()
}

/// A camera of 320x240 pixels.
fn camera(picture: &str) -> CameraConfig {
    let text = format!(
        "[robot]\nid = \"r\"\n[[camera]]\nid = \"c\"\nwidth = 320\nheight = 240\n\
         source = {{ type = \"v4l2\", device = \"/dev/video0\" }}\n{picture}\n"
    );
    Config::parse("test", &text).unwrap().camera.remove(0)
}

/// The line from a device that gives such pictures to this encoder, and the caps of what comes out
/// of it when it runs.
fn run(camera: &CameraConfig, factory: &str, chosen: Chosen) -> (String, gst::Caps) {
    let row = row(factory);
    let origin = plan::origin(camera, row, |_| chosen, &Registry).unwrap();
    let line = plan::source(camera, row, &origin, &Registry);
    let (width, height) = chosen.size.unwrap_or((400, 240));
    let (format, device) = match chosen.capture {
        Capture::Mjpeg => ("I420", "jpegenc"),
        Capture::Raw | Capture::H264 => ("YUY2", "identity"),
    };
    let device = format!(
        "videotestsrc num-buffers=5 ! video/x-raw,format={format},width={width},\
         height={height},framerate=30/1 ! {device}"
    );
    let v4l2 = "v4l2src device=\"/dev/video0\" do-timestamp=true";
    assert!(line.contains(v4l2), "{line}");
    let caps = first_frame(&line.replace(v4l2, &device));
    (line, caps)
}

/// The caps of the first frame of a source's line.
fn first_frame(line: &str) -> gst::Caps {
    let pipeline = gst::parse::launch(line).unwrap().downcast::<gst::Pipeline>().unwrap();
    let frames = pipeline.by_name(plan::FRAMES).unwrap().downcast::<AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let frame = frames.try_pull_sample(gst::ClockTime::from_seconds(20));
    let said = pipeline.bus().unwrap().pop_filtered(&[gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null).unwrap();
    let frame = frame.unwrap_or_else(|| panic!("no frame by {line}: {said:?}"));
    frame.caps_owned().unwrap()
}

fn is_right(caps: &gst::Caps, factory: &str) {
    let wanted: gst::Caps = row(factory).input_caps(320, 240).parse().unwrap();
    assert!(caps.is_subset(&wanted), "{factory}: {caps} for {wanted}");
}

/// Platform, encoder, and what decodes JPEG there.
const PLATFORMS: [(&str, &str, &str); 6] = [
    ("jetson", "nvv4l2h264enc", "nvv4l2decoder mjpeg=true"),
    ("pi4", "v4l2h264enc", "v4l2jpegdec"),
    ("va", "vah264enc", "vajpegdec"),
    ("nvidia", "nvh264enc", "jpegdec"),
    ("orin-nano", "x264enc", "jpegdec"),
    ("pi5", "x264enc", "jpegdec"),
];

fn jpeg_is_decoded(platform: &str) {
    let (_, factory, decoder) = PLATFORMS.iter().find(|row| row.0 == platform).unwrap();
    for size in [Some((320, 240)), Some((640, 480)), None] {
        let chosen = Chosen { capture: Capture::Mjpeg, size };
        for picture in ["", "picture.rotate = 180", "picture.crop = { left = 16, bottom = 16 }"] {
            let (line, caps) = run(&camera(picture), factory, chosen);
            assert!(line.contains(&format!(" ! {decoder} ! ")), "{line}");
            is_right(&caps, factory);
        }
    }
}

#[test]
fn jpeg_is_decoded_by_a_jetson() {
    with_twins("sources::jpeg_is_decoded_by_a_jetson", "jetson", || jpeg_is_decoded("jetson"));
}

#[test]
fn jpeg_is_decoded_by_a_pi_4() {
    with_twins("sources::jpeg_is_decoded_by_a_pi_4", "pi4", || jpeg_is_decoded("pi4"));
}

#[test]
fn jpeg_is_decoded_by_intel_and_amd_gpus() {
    with_twins("sources::jpeg_is_decoded_by_intel_and_amd_gpus", "va", || jpeg_is_decoded("va"));
}

#[test]
fn jpeg_is_decoded_by_the_processor_elsewhere() {
    let test = "sources::jpeg_is_decoded_by_the_processor_elsewhere";
    with_twins(test, "nvidia", || jpeg_is_decoded("nvidia"));
    with_twins(test, "orin-nano", || jpeg_is_decoded("orin-nano"));
    with_twins(test, "pi5", || jpeg_is_decoded("pi5"));
}

#[test]
fn raw_pictures_are_scaled_in_hardware_where_that_keeps_their_shape() {
    let test = "sources::raw_pictures_are_scaled_in_hardware_where_that_keeps_their_shape";
    for platform in PLATFORMS {
        with_twins(test, platform.0, || {
            let platform = std::env::var(rovercast_twins::PLATFORMS).unwrap();
            let (_, factory, _) = PLATFORMS.iter().find(|row| row.0 == platform).unwrap();
            let hardware = match platform.as_str() {
                "jetson" => "nvvidconv interpolation-method",
                "pi4" => "v4l2convert",
                "va" => "vapostproc add-borders",
                "nvidia" => "cudaconvertscale add-borders",
                _ => "videoscale add-borders",
            };
            let larger = Chosen { capture: Capture::Raw, size: Some((640, 480)) };
            let (line, caps) = run(&camera(""), factory, larger);
            assert!(line.contains(&format!(" ! {hardware}")), "{line}");
            is_right(&caps, factory);
            let (_, caps) = run(&camera(""), factory, Chosen { size: None, ..larger });
            is_right(&caps, factory);
        });
    }
}

/// Eyes that lie in the hardware's memory are brought together in plain memory.
#[test]
fn two_cameras_of_a_jetson_make_one_picture() {
    with_twins("sources::two_cameras_of_a_jetson_make_one_picture", "jetson", || {
        let source = "type = \"stereo\"\nleft = { type = \"argus\", sensor = 0 }\n\
                      right = { type = \"argus\", sensor = 1 }";
        is_right(&first_frame(&line_of(source, "nvv4l2h264enc")), "nvv4l2h264enc");
    });
}

/// The best decoder for a file's stream may leave pictures in the hardware's memory.
#[test]
fn files_are_decoded_whatever_decodes_them() {
    let test = "sources::files_are_decoded_whatever_decodes_them";
    for (platform, ..) in PLATFORMS {
        with_twins(test, platform, || {
            let name = format!("rovercast-file-{}.mkv", std::process::id());
            let file = std::env::temp_dir().join(name);
            let write = gst::parse::launch(&format!(
                "videotestsrc num-buffers=5 ! video/x-raw,width=320,height=240 ! x264enc \
                 ! h264parse ! matroskamux ! filesink location={}",
                file.display()
            ))
            .unwrap();
            write.set_state(gst::State::Playing).unwrap();
            let ends = [gst::MessageType::Eos, gst::MessageType::Error];
            let bus = write.bus().unwrap();
            bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &ends).unwrap();
            write.set_state(gst::State::Null).unwrap();
            let platform = std::env::var(rovercast_twins::PLATFORMS).unwrap();
            let (_, factory, _) = PLATFORMS.iter().find(|row| row.0 == platform).unwrap();
            let source = format!("type = \"file\"\npath = '{}'", file.display());
            let caps = first_frame(&line_of(&source, factory));
            std::fs::remove_file(file).unwrap();
            is_right(&caps, factory);
        });
    }
}

/// The line from a source to this encoder, for a camera of 320x240 pixels.
fn line_of(source: &str, factory: &str) -> String {
    let text = format!(
        "[robot]\nid = \"r\"\n[[camera]]\nid = \"c\"\nwidth = 320\nheight = 240\n\
         [camera.source]\n{source}\n"
    );
    let camera = Config::parse("test", &text).unwrap().camera.remove(0);
    let any = Chosen { capture: Capture::Raw, size: None };
    let origin = plan::origin(&camera, row(factory), |_| any, &Registry).unwrap();
    plan::source(&camera, row(factory), &origin, &Registry)
}
