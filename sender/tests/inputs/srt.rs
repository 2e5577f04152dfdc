//! SRT with ffmpeg and GStreamer.

use std::net::SocketAddr;

use rovercast_feeders::{Feeder, Video, free_address};
use rovercast_sender::camera::inputs::h264::{Reason, Verdict};
use rovercast_sender::camera::inputs::streams::Origin;
use rovercast_sender::config::{Secret, Source};

use crate::support::{Attempt, runtime};

const PASSPHRASE: &str = "right-passphrase";

fn origin(listen: SocketAddr, passphrase: Option<&str>) -> Origin {
    let passphrase = passphrase.map(|text| Secret(text.to_owned()));
    Origin::new(Source::Srt { listen, passphrase, latency_ms: 50 })
}

fn send(b_frames: u32, to: SocketAddr, options: &str) -> Feeder {
    let video = Video { b_frames, ..Video::of_width(320) };
    Feeder::ffmpeg(video, &["-f", "mpegts", &format!("srt://{to}?{options}")]).unwrap()
}

#[test]
fn without_b_frames_it_passes_and_the_next_sender_is_taken() {
    let (runtime, address) = (runtime(), free_address().unwrap());
    let origin = origin(address, None);
    let attempt = Attempt::start(&origin, &runtime);
    let first = send(0, address, "mode=caller");
    assert!(matches!(attempt.verdict(), Verdict::PassThrough(_)));
    attempt.pictures(30);
    drop(first);
    assert_eq!(attempt.end(), "ended");
    drop(attempt);

    let attempt = Attempt::start(&origin, &runtime);
    let rest = format!("mpegtsmux alignment=7 ! srtsink uri=srt://{address}");
    let _second = Feeder::gst_launch(320, &rest).unwrap();
    assert!(matches!(attempt.verdict(), Verdict::PassThrough(_)));
    attempt.pictures(30);
}

#[test]
fn b_frames_are_transcoded() {
    let (runtime, address) = (runtime(), free_address().unwrap());
    let attempt = Attempt::start(&origin(address, None), &runtime);
    let _sender = send(2, address, "mode=caller");
    assert_eq!(attempt.verdict(), Verdict::Transcode(Reason::Reordered));
    attempt.pictures(30);
}

#[test]
fn only_the_right_passphrase_sends() {
    let (runtime, address) = (runtime(), free_address().unwrap());
    let attempt = Attempt::start(&origin(address, Some(PASSPHRASE)), &runtime);
    for options in ["mode=caller", "mode=caller&passphrase=wrong-passphrase"] {
        assert!(!send(0, address, options).wait().unwrap(), "{options} was taken");
    }
    assert!(attempt.nothing_told());
    let _sender = send(0, address, &format!("mode=caller&passphrase={PASSPHRASE}"));
    assert!(matches!(attempt.verdict(), Verdict::PassThrough(_)));
}
