//! RTSP with the server of the GStreamer project.

use gst_rtsp_server::prelude::*;
use gst_rtsp_server::{RTSPMediaFactory, RTSPServer};
use rovercast_sender::camera::inputs::h264::{Reason, Verdict};
use rovercast_sender::camera::inputs::network::Media;
use rovercast_sender::camera::inputs::streams::Origin;
use rovercast_sender::config::{RtspTransport, Secret, Source};

use crate::support::{Attempt, Told, runtime};

/// Serves `/camera`, with sound, until it is dropped.
struct Server {
    main_loop: gst::glib::MainLoop,
    thread: Option<std::thread::JoinHandle<()>>,
    port: i32,
}

impl Server {
    fn start(video: &str) -> Self {
        gst::init().unwrap();
        let context = gst::glib::MainContext::new();
        let main_loop = gst::glib::MainLoop::new(Some(&context), false);
        let server = RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service("0");
        let factory = RTSPMediaFactory::new();
        factory.set_launch(&format!(
            "( audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 \
             videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! {video} )"
        ));
        factory.set_shared(true);
        server.mount_points().unwrap().add_factory("/camera", factory);
        server.attach(Some(&context)).unwrap();
        let (running, port) = (main_loop.clone(), server.bound_port());
        let thread = std::thread::spawn(move || running.run());
        Self { main_loop, thread: Some(thread), port }
    }

    fn origin(&self, transport: RtspTransport) -> Origin {
        let url = Secret(format!("rtsp://127.0.0.1:{}/camera", self.port));
        Origin::new(Source::Rtsp { url, transport, latency_ms: 50 })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.main_loop.quit();
        let _ = self.thread.take().unwrap().join();
    }
}

fn x264(b_frames: u32) -> String {
    // By itself the encoder settles on a profile that knows no B-frames.
    format!(
        "x264enc speed-preset=ultrafast key-int-max=15 b-adapt=false bframes={b_frames} \
         ! video/x-h264,profile=main ! rtph264pay name=pay1"
    )
}

#[test]
fn without_b_frames_it_passes_over_tcp_and_udp() {
    let (runtime, server) = (runtime(), Server::start(&x264(0)));
    for transport in [RtspTransport::Tcp, RtspTransport::Udp] {
        let attempt = Attempt::start(&server.origin(transport), &runtime);
        assert_eq!(attempt.wait(|told| Some(told.clone())), Told::Arrived(Media::H264));
        assert!(matches!(attempt.verdict(), Verdict::PassThrough(_)), "{transport:?}");
        attempt.pictures(30);
    }
}

#[test]
fn b_frames_are_transcoded() {
    let (runtime, server) = (runtime(), Server::start(&x264(2)));
    let attempt = Attempt::start(&server.origin(RtspTransport::Tcp), &runtime);
    assert_eq!(attempt.verdict(), Verdict::Transcode(Reason::Reordered));
    attempt.pictures(15);
}

#[test]
fn other_codecs_are_for_a_decoder() {
    let (runtime, server) = (runtime(), Server::start("jpegenc ! rtpjpegpay name=pay1"));
    let attempt = Attempt::start(&server.origin(RtspTransport::Tcp), &runtime);
    assert_eq!(attempt.wait(|told| Some(told.clone())), Told::Arrived(Media::Encoded));
    attempt.pictures(15);
}

#[test]
fn a_server_that_is_not_there_is_told_without_the_password() {
    let runtime = runtime();
    let address = crate::support::free_address();
    let url = Secret(format!("rtsp://user:hush@{address}/camera"));
    let transport = RtspTransport::Tcp;
    let origin = Origin::new(Source::Rtsp { url, transport, latency_ms: 50 });
    let reason = Attempt::start(&origin, &runtime).end();
    assert!(!reason.contains("hush") && reason != "ended", "{reason}");
}
