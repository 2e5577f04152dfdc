//! The cameras of the kernel's `vivid` driver, which fail when told to. They are there only in the
//! lab of `make lab-v4l2`. They give raw video alone, neither MJPEG nor H.264.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::lab::PATIENCE;

/// The name of the first camera that stays the same whatever its number is. The cameras are all
/// inputs of one device, so that a second one would claim it, too.
pub const BY_PATH: &str = "/dev/v4l/by-path/platform-vivid.0-video-index0";

const DRIVER: &str = "/sys/bus/platform/drivers/vivid";
const DEVICE: &str = "vivid.0";

/// What goes wrong once, as soon as it is injected or when a program next asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Every call fails as if the plug had been pulled, until the last program has closed the device.
    Disconnect,
    /// The stream ends for good; it can be started again.
    Streaming,
    /// The next frame is marked as broken.
    Frame,
    /// The next request for buffers fails.
    Reqbufs,
    /// The next buffer that is handed over is refused.
    Qbuf,
    /// The next start of the stream fails.
    Streamon,
}

impl Fault {
    fn control(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::Streaming => "inject_fatal_streaming_error",
            Self::Frame => "inject_v4l2_buf_flag_error",
            Self::Reqbufs => "inject_vidioc_reqbufs_error",
            Self::Qbuf => "inject_vidioc_qbuf_error",
            Self::Streamon => "inject_vidioc_streamon_error",
        }
    }
}

/// One of the cameras.
#[derive(Debug, Clone)]
pub struct Camera {
    /// Its device file, `/dev/videoNUMBER`.
    pub device: PathBuf,
}

impl Camera {
    /// Makes something go wrong.
    pub fn inject(&self, fault: Fault) -> anyhow::Result<()> {
        self.set(fault.control(), 1)
    }

    /// From now on it loses this share of its frames, 0 to 100 percent.
    pub fn lose_frames(&self, percent: u32) -> anyhow::Result<()> {
        self.set("percentage_of_dropped_buffers", percent)
    }

    /// Tells programs of it once more, as if it had just been plugged in.
    pub fn announce(&self) -> anyhow::Result<()> {
        run("udevadm", &["trigger", "--settle", "--action=add", &self.path()]).map(drop)
    }

    /// What the program that uses it has set, in the words of `v4l2-ctl`.
    pub fn settings(&self) -> anyhow::Result<String> {
        run("v4l2-ctl", &["-d", &self.path(), "--get-fmt-video", "--get-parm"])
    }

    /// Its device file as a text.
    pub fn path(&self) -> String {
        self.device.display().to_string()
    }

    fn set(&self, control: &str, value: u32) -> anyhow::Result<()> {
        run("v4l2-ctl", &["-d", &self.path(), "-c", &format!("{control}={value}")]).map(drop)
    }
}

/// Plugs cameras in, as `/dev/videoNUMBER`, in place of those that are plugged in. Returns when their
/// names are there, too.
pub fn plug(numbers: &[u32]) -> anyhow::Result<Vec<Camera>> {
    unplug()?;
    // Of each camera: one node, for capture, with one input, a webcam.
    let each = |value: &str| vec![value; numbers.len()].join(",");
    let joined = numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    run(
        "modprobe",
        &[
            "vivid",
            &format!("n_devs={}", numbers.len()),
            &format!("vid_cap_nr={joined}"),
            &format!("node_types={}", each("0x1")),
            &format!("num_inputs={}", each("1")),
            &format!("input_types={}", each("0")),
        ],
    )?;
    run("udevadm", &["settle"])?;
    let cameras = numbers.iter().map(|number| {
        let device = PathBuf::from(format!("/dev/video{number}"));
        ensure!(device.exists(), "no {} after plugging in", device.display());
        Ok(Camera { device })
    });
    cameras.collect()
}

/// Unplugs all cameras, whoever uses them. Returns when their users have let go of them.
pub fn unplug() -> anyhow::Result<()> {
    if Path::new(DRIVER).join(DEVICE).exists() {
        std::fs::write(Path::new(DRIVER).join("unbind"), DEVICE).context("unbinding vivid")?;
    }
    let deadline = Instant::now() + PATIENCE;
    while Path::new("/sys/module/vivid").exists() {
        if run("rmmod", &["vivid"]).is_err() {
            ensure!(Instant::now() < deadline, "somebody keeps the unplugged cameras open");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    run("udevadm", &["settle"]).map(drop)
}

/// Runs a program. Returns what it printed.
fn run(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("{program}: is this the lab of `make lab-v4l2`?"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}", arguments.join(" "), said.trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}
