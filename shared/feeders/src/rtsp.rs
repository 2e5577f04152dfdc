//! The RTSP server of the GStreamer project.

use std::thread::JoinHandle;

use anyhow::Context;
use gst_rtsp_server::prelude::*;
use gst_rtsp_server::{RTSPMediaFactory, RTSPServer};

/// H.264 for [`Server::start`], with so many B-frames.
pub fn x264(b_frames: u32) -> String {
    // By itself the encoder settles on a profile that knows no B-frames.
    format!(
        "x264enc speed-preset=ultrafast key-int-max=15 b-adapt=false bframes={b_frames} \
         ! video/x-h264,profile=main ! rtph264pay name=pay1"
    )
}

/// Serves `/camera`, pictures of 320x240 with sound, until it is dropped.
#[derive(Debug)]
pub struct Server {
    main_loop: gst::glib::MainLoop,
    thread: Option<JoinHandle<()>>,
    url: String,
}

impl Server {
    /// Starts it on a free port. `video` encodes raw pictures, and ends in a payloader `pay1`.
    pub fn start(video: &str) -> anyhow::Result<Self> {
        gst::init()?;
        let context = gst::glib::MainContext::new();
        let main_loop = gst::glib::MainLoop::new(Some(&context), false);
        let server = RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service("0");
        let factory = RTSPMediaFactory::new();
        factory.set_launch(&format!(
            "( audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 \
             videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 \
             ! {video} )"
        ));
        factory.set_shared(true);
        server.mount_points().context("no mount points")?.add_factory("/camera", factory);
        server.attach(Some(&context))?;
        let (running, port) = (main_loop.clone(), server.bound_port());
        let thread = Some(std::thread::spawn(move || running.run()));
        Ok(Self { main_loop, thread, url: format!("rtsp://127.0.0.1:{port}/camera") })
    }

    /// Where the pictures are.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves for ever.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.main_loop.quit();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
