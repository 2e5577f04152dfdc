//! Real programs and servers that send to a robot as cameras on a network do: ffmpeg, GStreamer and
//! its RTSP server. For tests alone; no part of a program that is shipped.

pub mod rtsp;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

/// The height of all pictures.
pub const HEIGHT: u32 = 240;

/// What ffmpeg sends: moving pictures as H.264, 30 of them per second, and a tone.
#[derive(Debug, Clone, Copy)]
pub struct Video {
    /// Pixels in a row.
    pub width: u32,
    /// B-frames between two others.
    pub b_frames: u32,
    /// Pictures from a key frame to the next.
    pub key_frame_every: u32,
}

impl Video {
    /// Pictures of this width, in order, with a key frame every second.
    pub fn of_width(width: u32) -> Self {
        Self { width, b_frames: 0, key_frame_every: 30 }
    }
}

/// A program that runs until it is dropped.
#[derive(Debug)]
pub struct Feeder(Child);

impl Feeder {
    /// ffmpeg with this video, into what the arguments name.
    pub fn ffmpeg(video: Video, output: &[&str]) -> anyhow::Result<Self> {
        let picture = format!("testsrc=size={}x{HEIGHT}:rate=30", video.width);
        let (b_frames, key_frame_every) =
            (video.b_frames.to_string(), video.key_frame_every.to_string());
        let mut ffmpeg = ffmpeg();
        ffmpeg
            .args(["-re", "-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", "sine"])
            .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"])
            .args(["-sc_threshold", "0", "-g", &key_frame_every, "-bf", &b_frames, "-c:a", "aac"])
            .args(output);
        Self::spawn(ffmpeg)
    }

    /// `gst-launch-1.0` with moving pictures of this width as H.264, into the rest of the line.
    pub fn gst_launch(width: u32, rest: &str) -> anyhow::Result<Self> {
        let launch = format!(
            "videotestsrc is-live=true pattern=ball \
             ! video/x-raw,format=I420,width={width},height={HEIGHT},framerate=30/1 \
             ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 \
             ! h264parse config-interval=-1 ! {rest}"
        );
        let mut command = Command::new("gst-launch-1.0");
        command.arg("-q").args(launch.split_whitespace());
        Self::spawn(command)
    }

    /// Any program.
    pub fn spawn(mut command: Command) -> anyhow::Result<Self> {
        let started = command.stdin(Stdio::null()).spawn();
        Ok(Self(started.with_context(|| format!("{:?}: is it installed?", command.get_program()))?))
    }

    /// How it ended by itself: whether well.
    pub fn wait(mut self) -> anyhow::Result<bool> {
        Ok(self.0.wait()?.success())
    }

    /// It holds still, with its connections open.
    pub fn freeze(&self) -> anyhow::Result<()> {
        signal(self.0.id(), "STOP")
    }
}

impl Drop for Feeder {
    /// As if it lost its power.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a signal to a process: `STOP`, `CONT` or another, by its name.
pub fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status()?;
    ensure!(sent.success(), "process {pid} takes no {name}");
    Ok(())
}

/// ffmpeg that speaks of nothing but its end.
pub fn ffmpeg() -> Command {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-hide_banner", "-loglevel", "fatal"]);
    ffmpeg
}

/// A port of this host that is free for TCP and UDP at this moment.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0")?;
        let address = udp.local_addr()?;
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
}
