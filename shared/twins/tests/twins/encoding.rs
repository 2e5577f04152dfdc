//! What the encoders write: rates in the units of each, key frames on request, parameter sets.

use gst::prelude::*;

use crate::common::{Reached, idr_pictures, nal_types, run, run_with, with_twins};

const ALL: &str = "jetson,pi4,nvidia,va,vaapi,qsv";

/// An encoder named `enc`, with what comes before and after it.
struct Line {
    factory: &'static str,
    before: &'static str,
    after: &'static str,
    /// Its properties for constant rate.
    constant: &'static str,
    /// How it is told a rate, as the property and its words around the number.
    rate: (&'static str, &'static str),
    /// Bits per second of the number.
    unit: u32,
}

const BYTES: &str = "video/x-h264,stream-format=byte-stream";

const LINES: [Line; 8] = [
    Line {
        factory: "nvv4l2h264enc",
        before: "nvvidconv ! video/x-raw(memory:NVMM),format=NV12",
        after: BYTES,
        constant: "idrinterval=1000",
        rate: ("bitrate", ""),
        unit: 1,
    },
    Line {
        factory: "v4l2h264enc",
        before: "videoconvert",
        after: "video/x-h264,level=(string)4",
        constant: "",
        rate: ("extra-controls", "c,h264_i_frame_period=1000,video_bitrate="),
        unit: 1,
    },
    Line {
        factory: "nvh264enc",
        before: "cudaupload",
        after: BYTES,
        constant: "rc-mode=cbr gop-size=-1",
        rate: ("bitrate", ""),
        unit: 1000,
    },
    Line {
        factory: "nvcudah264enc",
        before: "cudaupload",
        after: BYTES,
        constant: "rate-control=cbr gop-size=-1",
        rate: ("bitrate", ""),
        unit: 1000,
    },
    Line {
        factory: "vah264enc",
        before: "vapostproc",
        after: BYTES,
        constant: "rate-control=cbr key-int-max=1000",
        rate: ("bitrate", ""),
        unit: 1000,
    },
    Line {
        factory: "vah264lpenc",
        before: "vapostproc",
        after: BYTES,
        constant: "rate-control=cbr key-int-max=1000",
        rate: ("bitrate", ""),
        unit: 1000,
    },
    Line {
        factory: "vaapih264enc",
        before: "videoconvert",
        after: BYTES,
        constant: "rate-control=cbr keyframe-period=1000",
        rate: ("bitrate", ""),
        unit: 1000,
    },
    Line {
        factory: "qsvh264enc",
        before: "videoconvert",
        after: BYTES,
        constant: "rate-control=cbr gop-size=1000",
        rate: ("bitrate", ""),
        unit: 1000,
    },
];

impl Line {
    /// `extra` replaces the properties for constant rate where there is some.
    fn launch(&self, frames: u32, bps: u32, extra: &str) -> String {
        let Self { factory, before, after, constant, .. } = self;
        let constant = if extra.is_empty() { constant } else { extra };
        format!(
            "videotestsrc pattern=snow num-buffers={frames} ! \
             video/x-raw,width=320,height=240,framerate=30/1 ! {before} ! \
             {factory} name=enc {constant} {} ! {after}",
            self.rate_text(bps)
        )
    }

    fn rate_text(&self, bps: u32) -> String {
        let (property, words) = self.rate;
        format!("{property}={words}{}", bps / self.unit)
    }

    /// Sets the rate of a running encoder.
    fn set_rate(&self, encoder: &gst::Element, bps: u32) {
        let (property, words) = self.rate;
        encoder.set_property_from_str(property, &format!("{words}{}", bps / self.unit));
    }
}

/// Bits per second at 30 frames per second.
fn bps(buffers: &[gst::Buffer]) -> usize {
    let bytes: usize = buffers.iter().map(|buffer| buffer.size()).sum();
    bytes * 8 * 30 / buffers.len()
}

fn idr_by(
    line: &Line,
    extra: &str,
    ask: impl Fn(&gst::Element) + Send + Sync + 'static,
) -> Reached {
    run_with(&line.launch(30, 1_000_000, extra), move |pipeline, count| {
        if count == 10 {
            ask(&pipeline.by_name("enc").unwrap());
        }
    })
    .unwrap()
}

fn request(encoder: &gst::Element) {
    let request = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
    encoder.static_pad("src").unwrap().send_event(request);
}

#[test]
fn rates_are_in_the_units_of_each_and_change_while_running() {
    let test = "encoding::rates_are_in_the_units_of_each_and_change_while_running";
    with_twins(test, ALL, || {
        for line in &LINES {
            let reached = run_with(&line.launch(150, 2_500_000, ""), move |pipeline, count| {
                if count == 60 {
                    line.set_rate(&pipeline.by_name("enc").unwrap(), 1_250_000);
                }
            })
            .unwrap();
            // The rate control needs some frames to get there.
            let (before, after) = (bps(&reached.buffers[20..60]), bps(&reached.buffers[90..]));
            for (found, expected) in [(before, 2_500_000), (after, 1_250_000)] {
                let range = expected * 7 / 10..expected * 13 / 10;
                assert!(range.contains(&found), "{}: {found} for {expected}", line.factory);
            }
        }
    });
}

/// The default rate control of `vaapih264enc` is a constant quantiser.
#[test]
fn a_constant_quantiser_ignores_the_rate() {
    with_twins("encoding::a_constant_quantiser_ignores_the_rate", "vaapi", || {
        let size = |rate: u32| {
            let source = "videotestsrc num-buffers=10 ! video/x-raw,width=320,height=240";
            bps(&run(&format!("{source} ! vaapih264enc bitrate={rate}")).unwrap().buffers)
        };
        assert_eq!(size(100), size(5000));
    });
}

#[test]
fn key_frames_come_on_request() {
    with_twins("encoding::key_frames_come_on_request", ALL, || {
        for line in &LINES {
            let asked = idr_by(line, "", request);
            // The V4L2 encoder of GStreamer 1.22.0 knows no such event.
            let expected: &[usize] = if line.factory == "v4l2h264enc" { &[0] } else { &[0, 10] };
            assert_eq!(idr_pictures(&asked.buffers), expected, "{}", line.factory);
        }
        let by_signal = |encoder: &gst::Element| encoder.emit_by_name::<()>("force-IDR", &[]);
        assert_eq!(idr_pictures(&idr_by(&LINES[0], "", by_signal).buffers), [0, 10]);
        let by_control = |encoder: &gst::Element| {
            encoder.set_property_from_str("extra-controls", "c,force_key_frame=1");
        };
        assert_eq!(idr_pictures(&idr_by(&LINES[1], "", by_control).buffers), [0, 10]);
    });
}

#[test]
fn parameter_sets_repeat_only_where_the_encoder_is_told_to() {
    let test = "encoding::parameter_sets_repeat_only_where_the_encoder_is_told_to";
    with_twins(test, ALL, || {
        let sets = |reached: &Reached| {
            let has = |buffer: &gst::Buffer| nal_types(buffer).contains(&7);
            [has(&reached.buffers[0]), has(&reached.buffers[10])]
        };
        for line in LINES.iter().filter(|line| line.factory != "v4l2h264enc") {
            assert_eq!(sets(&idr_by(line, "", request)), [true, false], "{}", line.factory);
        }
        let repeat = "insert-sps-pps=true";
        assert_eq!(sets(&idr_by(&LINES[0], repeat, request)), [true, true]);
        let repeat = "repeat-sequence-header=true";
        assert_eq!(sets(&idr_by(&LINES[3], repeat, request)), [true, true]);
        let v4l2 = |more: &str| {
            let wanted = format!("h264_i_frame_period=10{more}");
            let launch = LINES[1].launch(30, 1_000_000, "");
            sets(&run(&launch.replace("h264_i_frame_period=1000", &wanted)).unwrap())
        };
        assert_eq!(v4l2(""), [true, false]);
        assert_eq!(v4l2(",repeat_sequence_header=1"), [true, true]);
    });
}

/// What is only read when the stream is set up does nothing later.
#[test]
fn what_is_not_live_waits_for_the_next_start() {
    with_twins("encoding::what_is_not_live_waits_for_the_next_start", "jetson", || {
        let line = &LINES[0];
        let at = |frame: usize| {
            run_with(&line.launch(40, 1_000_000, "idrinterval=20"), move |pipeline, count| {
                if count == frame {
                    let encoder = pipeline.by_name("enc").unwrap();
                    encoder.set_property("idrinterval", 5_u32);
                    encoder.set_property("insert-sps-pps", true);
                }
            })
        };
        let late = at(3).unwrap();
        assert_eq!(idr_pictures(&late.buffers), [0, 20]);
        assert!(!nal_types(&late.buffers[20]).contains(&7));
    });
}

/// Profile and level are said where downstream asks; a Raspberry Pi always says them.
#[test]
fn profile_and_level_are_said_as_the_hardware_says_them() {
    let test = "encoding::profile_and_level_are_said_as_the_hardware_says_them";
    with_twins(test, "jetson,pi4", || {
        let said = |line: &Line, after: &str| {
            let reached = run(&format!("{}{after}", line.launch(3, 1_000_000, ""))).unwrap();
            let caps = reached.caps.unwrap();
            let field = |name| caps.structure(0).unwrap().get::<String>(name).ok();
            // Profile and level of the stream itself, behind its start code and header.
            let map = reached.buffers[0].map_readable().unwrap();
            let set = map.windows(4).position(|b| b[..3] == [0, 0, 1] && b[3] & 0x1f == 7);
            let set = set.unwrap() + 4;
            (field("profile"), field("level"), map[set], map[set + 2])
        };
        let (profile, level, number, _) = said(&LINES[0], "");
        assert_eq!((profile, level, number), (None, None, 66));
        let (profile, _, number, _) = said(&LINES[0], ",profile=high");
        assert_eq!((profile.as_deref(), number), (Some("high"), 100));
        let found = said(&LINES[1], ",profile=main");
        assert_eq!(found, (Some("main".into()), Some("4".into()), 77, 40));
        let found = said(&LINES[1], "");
        assert_eq!(found, (Some("baseline".into()), Some("4".into()), 66, 40));
    });
}

/// A change of the picture's size starts another stream, with parameter sets of its own.
#[test]
fn another_size_brings_its_parameter_sets() {
    with_twins("encoding::another_size_brings_its_parameter_sets", "va", || {
        let line = "videotestsrc num-buffers=20 ! capsfilter name=size \
                    caps=video/x-raw,width=320,height=240,framerate=30/1 ! \
                    vah264enc key-int-max=1000";
        let reached = run_with(line, |pipeline, count| {
            if count == 10 {
                let size = pipeline.by_name("size").unwrap();
                size.set_property_from_str(
                    "caps",
                    "video/x-raw,width=160,height=120,framerate=30/1",
                );
            }
        })
        .unwrap();
        let idr = idr_pictures(&reached.buffers);
        assert_eq!((idr.len(), idr[0]), (2, 0), "{idr:?}");
        assert!(nal_types(&reached.buffers[idr[1]]).contains(&7));
        let caps = reached.caps.unwrap();
        assert_eq!(caps.structure(0).unwrap().get("width"), Ok(160));
    });
}
