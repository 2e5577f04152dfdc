//! RTSP with the server of the GStreamer project.

use rovercast_feeders::free_address;
use rovercast_feeders::rtsp::{Server, x264};
use rovercast_sender::camera::inputs::h264::{Reason, Verdict};
use rovercast_sender::camera::inputs::network::Media;
use rovercast_sender::camera::inputs::streams::Origin;
use rovercast_sender::config::{RtspTransport, Secret, Source};

use crate::support::{Attempt, Told, runtime};

fn origin(server: &Server, transport: RtspTransport) -> Origin {
    Origin::new(Source::Rtsp { url: Secret(server.url().to_owned()), transport, latency_ms: 50 })
}

#[test]
fn without_b_frames_it_passes_over_tcp_and_udp() {
    let (runtime, server) = (runtime(), Server::start(&x264(0)).unwrap());
    for transport in [RtspTransport::Tcp, RtspTransport::Udp] {
        let attempt = Attempt::start(&origin(&server, transport), &runtime);
        assert_eq!(attempt.wait(|told| Some(told.clone())), Told::Arrived(Media::H264));
        assert!(matches!(attempt.verdict(), Verdict::PassThrough(_)), "{transport:?}");
        attempt.pictures(30);
    }
}

#[test]
fn b_frames_are_transcoded() {
    let (runtime, server) = (runtime(), Server::start(&x264(2)).unwrap());
    let attempt = Attempt::start(&origin(&server, RtspTransport::Tcp), &runtime);
    assert_eq!(attempt.verdict(), Verdict::Transcode(Reason::Reordered));
    attempt.pictures(15);
}

#[test]
fn other_codecs_are_for_a_decoder() {
    let (runtime, server) = (runtime(), Server::start("jpegenc ! rtpjpegpay name=pay1").unwrap());
    let attempt = Attempt::start(&origin(&server, RtspTransport::Tcp), &runtime);
    assert_eq!(attempt.wait(|told| Some(told.clone())), Told::Arrived(Media::Encoded));
    attempt.pictures(15);
}

#[test]
fn a_server_that_is_not_there_is_told_without_the_password() {
    let runtime = runtime();
    let address = free_address().unwrap();
    let url = Secret(format!("rtsp://user:hush@{address}/camera"));
    let transport = RtspTransport::Tcp;
    let origin = Origin::new(Source::Rtsp { url, transport, latency_ms: 50 });
    let reason = Attempt::start(&origin, &runtime).end();
    assert!(!reason.contains("hush") && reason != "ended", "{reason}");
}
