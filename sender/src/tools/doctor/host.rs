//! The computer itself: GStreamer, the processor, the clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sysinfo::System;
use tokio::process::Command;
use tokio::time::timeout;

use crate::tools::finding::Finding;

/// The wall clock may gain or lose this much on the other one while the doctor looks.
const STEP: Duration = Duration::from_millis(50);

/// No wall clock that is right is before 2024.
const EARLIEST: Duration = Duration::from_secs(1_704_067_200);

/// `timedatectl` may wait for a service that does not start.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which GStreamer this is.
pub fn gstreamer() -> Finding {
    let (major, minor, micro, _) = gst::version();
    Finding::ok("gstreamer", format!("GStreamer {major}.{minor}.{micro}"))
}

/// The processor and what it does already.
pub fn cpu() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    load(cores, System::load_average().map_or(0.0, |load| load.one))
}

fn load(cores: usize, load: f64) -> Finding {
    let text = format!("{cores} cores, load {load:.1}");
    if load > cores as f64 {
        let remedy = "look what runs (`top`); software encoders come too late then";
        return Finding::warn("cpu", text, remedy);
    }
    Finding::ok("cpu", text)
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    steady: Instant,
    wall: SystemTime,
}

impl Clocks {
    /// Now.
    pub fn now() -> Self {
        Self { steady: Instant::now(), wall: SystemTime::now() }
    }

    /// Whether the wall clock ran as the steady one did since then.
    pub fn compare(self) -> Finding {
        let now = Self::now();
        let since_epoch = now.wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = now.wall.duration_since(self.wall).unwrap_or_default();
        ran(now.steady - self.steady, wall, since_epoch)
    }
}

fn ran(steady: Duration, wall: Duration, since_epoch: Duration) -> Finding {
    let remedy =
        "let a time service set it (`timedatectl set-ntp true`), and find out who else does";
    if since_epoch < EARLIEST {
        return Finding::warn("clock", "the wall clock is wrong: it is before 2024", remedy);
    }
    let step = steady.abs_diff(wall);
    if step > STEP {
        let text = format!("the wall clock was set while this ran: it is {step:?} off the other");
        return Finding::warn("clock", text, remedy);
    }
    Finding::ok("clock", "wall clock and monotonic clock run alike")
}

/// Whether some service keeps the clock right. The kernel knows, whichever service it is, and
/// `timedatectl` asks it; the file of systemd's own service tells less.
pub async fn synchronised() -> Finding {
    let asked = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let told = match timeout(PATIENCE, asked).await {
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => String::new(),
    };
    let file = std::path::Path::new("/run/systemd/timesync/synchronized").exists();
    clock(&told, file)
}

fn clock(told: &str, file: bool) -> Finding {
    match (told, file) {
        ("yes", _) | ("", true) => Finding::ok("time-service", "the clock is synchronised"),
        ("no", _) => Finding::warn(
            "time-service",
            "the clock is not synchronised: times in logs cannot be compared with other computers'",
            "`sudo timedatectl set-ntp true`, or install chrony",
        ),
        _ => Finding::ok("time-service", "whether the clock is synchronised cannot be told here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::finding::Severity;

    #[test]
    fn load_counts_by_cores() {
        assert_eq!(load(4, 3.9).severity, Severity::Ok);
        assert_eq!(load(2, 3.9).severity, Severity::Warn);
    }

    #[test]
    fn a_clock_that_jumps_or_is_unset_is_told() {
        let (second, now) = (Duration::from_secs(1), EARLIEST + Duration::from_secs(9));
        assert_eq!(ran(second, second + STEP, now).severity, Severity::Ok);
        assert_eq!(ran(second, Duration::ZERO, now).severity, Severity::Warn);
        assert_eq!(ran(second, 2 * second, now).severity, Severity::Warn);
        assert!(ran(second, second, second).text.contains("before 2024"));
    }

    #[test]
    fn only_a_clear_no_is_doubtful() {
        let severity = |told, file| clock(told, file).severity;
        assert_eq!(severity("no", true), Severity::Warn);
        for (told, file) in [("yes", false), ("", true), ("", false)] {
            assert_eq!(severity(told, file), Severity::Ok);
        }
    }
}
