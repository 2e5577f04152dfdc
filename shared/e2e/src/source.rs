//! Cameras that are processes of their own: to be killed, stopped and exchanged as devices are
//! pulled out, hang and are exchanged.

use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::lab::Program;

/// A camera of a robot's config that takes its pictures from a source process. The process may be
/// there or not.
#[derive(Debug)]
pub struct Socket {
    /// Where the process listens: an address of the test's own, so that nobody else can take its
    /// port while the process is away.
    host: String,
    port: u16,
}

/// What the pictures of a source look like.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Frames per second.
    pub fps: u32,
    /// The pixel format, as GStreamer calls it.
    pub format: &'static str,
    /// The test pattern, as GStreamer calls it.
    pub pattern: &'static str,
}

impl Default for Socket {
    fn default() -> Self {
        static COUNT: AtomicU16 = AtomicU16::new(0);
        let [_, a, b, c] = std::process::id().to_be_bytes();
        let host = format!("127.{}.{b}.{c}", a.wrapping_add(1) & 0x7f);
        Self { host, port: 7000 + COUNT.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Socket {
    /// Where it is, as `HOST:PORT`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The camera in a robot's config.
    pub fn config(&self, id: &str, (width, height): (u32, u32), fps: u32) -> String {
        let Self { host, port } = self;
        format!(
            "[[camera]]\nid = \"{id}\"\nwidth = {width}\nheight = {height}\nfps = {fps}\n\
             bitrate_kbps = 1000\n\
             source = {{ type = \"launch\", \
             launch = \"tcpclientsrc host={host} port={port} ! gdpdepay\" }}\n"
        )
    }

    /// Starts a source. Pictures come once it listens and the camera has found it.
    pub fn start(&self, look: Look) -> anyhow::Result<Program> {
        let Self { host, port } = self;
        let Look { size: (width, height), fps, format, pattern } = look;
        let line = format!(
            "videotestsrc is-live=true pattern={pattern} \
             ! video/x-raw,format={format},width={width},height={height},framerate={fps}/1 \
             ! gdppay ! tcpserversink host={host} port={port}"
        );
        let mut command = Command::new("gst-launch-1.0");
        command.arg("--quiet").args(line.split_whitespace());
        Program::spawn("a source", command)
    }
}
