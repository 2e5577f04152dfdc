//! Encoders that look well and are not: no encoder behind the factory, one that hangs, one that
//! fails at its first frame. Decoders that fail then or later, hang, or give no pictures.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use gst::prelude::*;
use rovercast_twins::fixture::{Role, elements};

use crate::common::{child, is_child, run, with_twins};

const LINE: &str = "videotestsrc num-buffers=5 ! video/x-raw,width=320,height=240 ! nvh264enc";

#[test]
fn an_orin_nano_has_factories_and_no_encoder() {
    with_twins("failures::an_orin_nano_has_factories_and_no_encoder", "orin-nano", || {
        for factory in ["nvv4l2h264enc", "nvv4l2h265enc"] {
            let encoder = gst::ElementFactory::make(factory).build().unwrap();
            let bus = gst::Bus::new();
            encoder.set_bus(Some(&bus));
            assert!(encoder.set_state(gst::State::Ready).is_err(), "{factory}");
            let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
            let gst::MessageView::Error(error) = message.view() else { unreachable!() };
            assert!(error.error().matches(gst::ResourceError::NotFound), "{}", error.error());
            assert!(error.error().message().contains("/dev/nvhost-msenc"), "{}", error.error());
        }
        // The rest of the board works.
        let jpeg = "videotestsrc num-buffers=2 ! jpegenc ! nvjpegdec ! video/x-raw,format=I420";
        assert_eq!(run(jpeg).unwrap().buffers.len(), 2);
    });
}

#[test]
fn a_broken_encoder_fails_at_its_first_frame() {
    let test = "failures::a_broken_encoder_fails_at_its_first_frame";
    if is_child() {
        gst::init().unwrap();
        let error = run(LINE).unwrap_err();
        assert!(error.contains("the encoder is broken"), "{error}");
        // Another one is well.
        assert!(run(&LINE.replace("nvh264enc", "nvcudah264enc")).is_ok());
        return;
    }
    let output = child(test, "nvidia").env(rovercast_twins::BROKEN, "nvh264enc").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_hanging_encoder_takes_a_frame_and_gives_nothing() {
    let test = "failures::a_hanging_encoder_takes_a_frame_and_gives_nothing";
    if is_child() {
        gst::init().unwrap();
        let pipeline = gst::parse::launch(&format!("{LINE} name=enc ! fakesink name=end")).unwrap();
        let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
        let (came, coming) = std::sync::mpsc::channel();
        let tell = |element: &str, pad: &str, word: &'static str| {
            let pad = pipeline.by_name(element).unwrap().static_pad(pad).unwrap();
            let came = came.clone();
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                println!("\n{word}");
                came.send(()).unwrap();
                gst::PadProbeReturn::Ok
            });
        };
        tell("enc", "sink", "IN");
        tell("end", "sink", "OUT");
        let _ = pipeline.set_state(gst::State::Playing);
        coming.recv_timeout(Duration::from_secs(60)).unwrap();
        let types = [gst::MessageType::Eos, gst::MessageType::Error];
        pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_mseconds(500), &types);
        println!("\nSTILL");
        // Stopping it hangs as well, so the process ends as it is.
        std::process::exit(0);
    }
    let mut hanging = child(test, "nvidia")
        .env(rovercast_twins::HANG, "nvh264enc")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(hanging.stdout.take().unwrap()).lines().map_while(Result::ok);
    let words = ["IN", "OUT", "STILL"];
    let told: Vec<_> = lines.filter(|line| words.contains(&line.as_str())).collect();
    assert!(hanging.wait().unwrap().success());
    assert_eq!(told, ["IN", "STILL"]);
}

#[test]
fn decoders_fail_when_they_are_told_to() {
    let test = "failures::decoders_fail_when_they_are_told_to";
    let decoded = |decoder: &str| {
        let line = LINE.replace("nvh264enc", "x264enc tune=zerolatency ! h264parse");
        run(&format!("{line} ! {decoder}"))
    };
    if is_child() {
        gst::init().unwrap();
        for broken in ["nvh264dec", "vah264dec"] {
            let error = decoded(broken).unwrap_err();
            assert!(error.contains("the decoder is broken"), "{broken}: {error}");
        }
        assert!(decoded("vaapih264dec").unwrap().buffers.is_empty());
        assert_eq!(decoded("qsvh264dec").unwrap().buffers.len(), 5);
        return;
    }
    let output = child(test, "nvidia,va,vaapi,qsv")
        .env(rovercast_twins::BROKEN, "nvh264dec, vah264dec:3,qsvh264dec:6")
        .env(rovercast_twins::SWALLOW, "vaapih264dec")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_decoder_hangs_when_it_is_opened() {
    let test = "failures::a_decoder_hangs_when_it_is_opened";
    if is_child() {
        gst::init().unwrap();
        let (done_tx, done) = std::sync::mpsc::channel();
        let decoder = gst::ElementFactory::make("nvh264dec").build().unwrap();
        std::thread::spawn(move || done_tx.send(decoder.set_state(gst::State::Ready)));
        assert!(done.recv_timeout(Duration::from_millis(500)).is_err());
        std::process::exit(0);
    }
    let hanging = child(test, "nvidia").env(rovercast_twins::HANG_OPENING, "nvh264dec").output();
    assert!(hanging.unwrap().status.success());
}

/// A camera that comes back starts its encoder again, also one that had no picture yet.
#[test]
fn encoders_stop_and_start_again() {
    let platforms = "jetson,pi4,nvidia,va,vaapi,qsv";
    with_twins("failures::encoders_stop_and_start_again", platforms, || {
        for element in elements().filter(|element| element.role() == Role::Encoder) {
            let encoder = gst::ElementFactory::make(&element.factory).build().unwrap();
            for _ in 0..2 {
                encoder.set_state(gst::State::Playing).unwrap();
                encoder.set_state(gst::State::Null).unwrap();
            }
            let inside = encoder.downcast::<gst::Bin>().unwrap().children();
            let stopped = inside.iter().all(|child| child.current_state() == gst::State::Null);
            assert!(stopped && inside.len() > 2, "{}", element.factory);
        }
        let line = "videotestsrc num-buffers=5 ! video/x-raw,width=320,height=240 ! \
                    vah264enc ! h264parse ! avdec_h264 ! fakesink name=end sync=false";
        let pipeline = gst::parse::launch(line).unwrap().downcast::<gst::Pipeline>().unwrap();
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        let end = pipeline.by_name("end").unwrap().static_pad("sink").unwrap();
        end.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            counted.fetch_add(1, Relaxed);
            gst::PadProbeReturn::Ok
        });
        for round in 1..=2 {
            pipeline.set_state(gst::State::Playing).unwrap();
            let types = [gst::MessageType::Eos, gst::MessageType::Error];
            let patience = gst::ClockTime::from_seconds(60);
            let message = pipeline.bus().unwrap().timed_pop_filtered(patience, &types).unwrap();
            assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
            pipeline.set_state(gst::State::Null).unwrap();
            assert_eq!(count.load(Relaxed), 5 * round);
        }
    });
}
