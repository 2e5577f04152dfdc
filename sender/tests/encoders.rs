//! The software encoders of the table, as they are installed: what they make, and what they obey.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use gst::prelude::*;
use gst_app::{AppSink, AppSrc};
use rovercast_protocol::codec::Codec;
use rovercast_sender::camera::drive;
use rovercast_sender::camera::encoder::{ELEMENT, ENCODERS, Encoder, Parameters};
use rovercast_sender::camera::probe::access_unit::{Contents, contents};
use rovercast_sender::camera::probe::trial::{self, Trial, Verdict};

const PARAMETERS: Parameters =
    Parameters { width: 320, height: 240, fps: 30, bitrate_kbps: 2000, cores: 4 };

/// The ones that run on any computer.
const SOFTWARE: [&str; 4] = ["x264enc", "openh264enc", "x265enc", "vp8enc"];

fn row(factory: &str) -> &'static Encoder {
    ENCODERS.iter().find(|row| row.factory == factory).unwrap()
}

/// An encoder that is fed frame by frame.
struct Encoding {
    row: &'static Encoder,
    pipeline: gst::Pipeline,
    frames: AppSrc,
    units: AppSink,
    encoder: gst::Element,
    pushed: u64,
}

impl Encoding {
    fn start(factory: &str) -> Self {
        Self::with(factory, "")
    }

    /// With further elements behind the encoder.
    fn with(factory: &str, behind: &str) -> Self {
        gst::init().unwrap();
        let row = row(factory);
        let Parameters { width, height, fps, .. } = PARAMETERS;
        let launch = format!(
            "appsrc name=frames is-live=true format=time caps=\"{}\" ! {} {behind} \
             ! appsink name=units sync=false",
            row.frame_caps(width, height, fps),
            drive::launch(row, PARAMETERS).unwrap()
        );
        let pipeline = gst::parse::launch(&launch).unwrap().downcast::<gst::Pipeline>().unwrap();
        let named = |name: &str| pipeline.by_name(name).unwrap();
        let encoder = named(ELEMENT);
        drive::verify(row, &encoder, PARAMETERS).unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let frames = named("frames").downcast().unwrap();
        let units = named("units").downcast().unwrap();
        Self { row, frames, units, encoder, pipeline, pushed: 0 }
    }

    /// Noise: whatever is spent on it, more would help.
    fn push(&mut self) {
        let (width, height) = (PARAMETERS.width as usize, PARAMETERS.height as usize);
        let mut seed = self.pushed as u32 + 1;
        let mut samples = vec![128u8; width * height * 3 / 2];
        for sample in &mut samples[..width * height] {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *sample = 112 + (seed >> 27) as u8;
        }
        let mut buffer = gst::Buffer::from_mut_slice(samples);
        let interval = gst::ClockTime::SECOND / u64::from(PARAMETERS.fps);
        buffer.get_mut().unwrap().set_pts(interval * self.pushed);
        buffer.get_mut().unwrap().set_duration(interval);
        self.frames.push_buffer(buffer).unwrap();
        self.pushed += 1;
    }

    fn pull(&self) -> Vec<u8> {
        let sample = self.units.try_pull_sample(gst::ClockTime::from_seconds(20));
        let buffer = sample.expect("an access unit").buffer_owned().unwrap();
        buffer.map_readable().unwrap().to_vec()
    }

    /// A frame in, and the access unit of that frame out: nothing waits for the next.
    fn encode(&mut self) -> Vec<u8> {
        self.push();
        self.pull()
    }

    fn look(&mut self) -> Contents {
        contents(self.row.codec, &self.encode())
    }

    /// Bytes of so many frames.
    fn bytes(&mut self, frames: usize) -> usize {
        (0..frames).map(|_| self.encode().len()).sum()
    }
}

impl Drop for Encoding {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

#[test]
fn every_stream_starts_with_a_whole_key_frame_and_waits_for_nothing() {
    for factory in SOFTWARE {
        let mut encoding = Encoding::start(factory);
        let first = encoding.look();
        assert!(first.key_frame && first.parameter_sets, "{factory}: {first:?}");
        for _ in 0..20 {
            let next = encoding.look();
            assert!(!next.key_frame && (1..=4).contains(&next.slices), "{factory}: {next:?}");
        }
    }
}

#[test]
fn pictures_can_be_decoded() {
    for (factory, decoder) in [
        ("x264enc", "h264parse ! avdec_h264"),
        ("openh264enc", "h264parse ! avdec_h264"),
        ("x265enc", "h265parse ! avdec_h265"),
        ("vp8enc", "vp8dec"),
    ] {
        let behind = format!("! {decoder} ! videoconvert ! video/x-raw,format=I420");
        let mut encoding = Encoding::with(factory, &behind);
        (0..20).for_each(|_| encoding.push());
        encoding.frames.end_of_stream().unwrap();
        for number in 0..20 {
            assert_eq!(encoding.pull().len(), 320 * 240 * 3 / 2, "{factory}, picture {number}");
        }
    }
}

#[test]
fn a_key_frame_comes_on_request_with_its_parameter_sets() {
    for factory in SOFTWARE {
        let mut encoding = Encoding::start(factory);
        (0..6).for_each(|_| drop(encoding.encode()));
        drive::request_key_frame(encoding.row, &encoding.encoder);
        let next = encoding.look();
        assert!(next.key_frame && next.parameter_sets, "{factory}: {next:?}");
        assert!(!encoding.look().key_frame, "{factory}: one request, one key frame");
    }
}

#[test]
fn the_bitrate_changes_while_it_runs() {
    for factory in SOFTWARE {
        let mut encoding = Encoding::start(factory);
        encoding.bytes(30);
        let before = encoding.bytes(30);
        let lower = Parameters { bitrate_kbps: 400, ..PARAMETERS };
        drive::set_bitrate(encoding.row, &encoding.encoder, lower).unwrap();
        encoding.bytes(30);
        let after = encoding.bytes(30);
        assert!(after * 2 < before, "{factory}: {before} bytes a second, then {after}");
    }
}

#[test]
fn a_value_that_did_not_take_is_named() {
    gst::init().unwrap();
    let element = gst::ElementFactory::make("x264enc").build().unwrap();
    let row = row("x264enc");
    // More than the element's 2,048,000: it only logs that.
    let parameters = Parameters { bitrate_kbps: 3_000_000, ..PARAMETERS };
    let error = drive::set_bitrate(row, &element, parameters).unwrap_err();
    assert!(error.contains("x264enc did not take bitrate=3000000 (it is 2048)"), "{error}");
    let error = drive::verify(row, &element, PARAMETERS).unwrap_err();
    assert!(error.contains("key-int-max=1800 (it is 0)"), "{error}");
}

#[test]
fn trials_tell_what_works() {
    gst::init().unwrap();
    let trial = |factory: &str| Trial {
        factory: factory.to_owned(),
        width: 320,
        height: 240,
        fps: 60,
        bitrate_kbps: 500,
    };
    for factory in SOFTWARE {
        assert_eq!(trial::run(&trial(factory)), Verdict::Works { delay_frames: 0 }, "{factory}");
    }
    assert!(matches!(trial::run(&trial("nvv4l2h264enc")),
        Verdict::Fails(reason) if reason.contains("install nvidia-l4t-gstreamer")));
    let large = Trial { width: 4096, ..trial("openh264enc") };
    assert!(matches!(trial::run(&large), Verdict::Fails(reason) if reason.contains("3840x2160")));
}

#[test]
fn a_parser_behind_the_encoder_holds_nothing_back() {
    let parser = "! h264parse config-interval=-1 \
                  ! video/x-h264,stream-format=byte-stream,alignment=au";
    let mut encoding = Encoding::with("x264enc", parser);
    assert_eq!(encoding.row.codec, Codec::H264);
    for _ in 0..30 {
        assert!(encoding.look().slices > 0);
    }
}
