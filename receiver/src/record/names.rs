//! How the files of a recording are called, and how times are written.

use std::path::PathBuf;

use gst::glib;
use rovercast_protocol::ids::{CameraId, RobotId};

/// `ROBOT_UTC-TIME`: what begins the name of every file of a recording.
pub(super) fn recording(robot: &RobotId, epoch_utc_us: i64) -> String {
    format!("{robot}_{}", formatted(epoch_utc_us, "%Y%m%dT%H%M%SZ"))
}

/// One file of a camera, or of all when none is given: they sort by their number.
pub(super) fn segment(
    robot: &RobotId,
    camera: Option<&CameraId>,
    epoch_utc_us: i64,
    number: u32,
    extension: &str,
) -> String {
    let time = formatted(epoch_utc_us, "%Y%m%dT%H%M%SZ");
    let camera = camera.map(|camera| format!("{camera}_")).unwrap_or_default();
    format!("{robot}_{camera}{time}_{number:04}.{extension}")
}

/// The path with the next number that no file has yet.
pub(super) fn unused(number: &mut u32, path: impl Fn(u32) -> PathBuf) -> PathBuf {
    loop {
        *number += 1;
        let path = path(*number);
        if !path.exists() {
            return path;
        }
    }
}

/// A time as ISO 8601 has it, to the microsecond.
pub(super) fn iso(utc_us: i64) -> String {
    let date = formatted(utc_us, "%Y-%m-%dT%H:%M:%S");
    format!("{date}.{:06}Z", utc_us.rem_euclid(1_000_000))
}

fn formatted(utc_us: i64, format: &str) -> String {
    let seconds = utc_us.div_euclid(1_000_000);
    let date = glib::DateTime::from_unix_utc(seconds).and_then(|date| date.format(format));
    // Years that no calendar has.
    date.map_or_else(|_| seconds.to_string(), |text| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_and_tell_what_is_in_the_file() {
        let (robot, camera) = ("rover-1".parse().unwrap(), "front".parse().unwrap());
        let at_us = 1_700_000_000_250_000;
        assert_eq!(recording(&robot, at_us), "rover-1_20231114T221320Z");
        let name = segment(&robot, Some(&camera), at_us, 12, "mp4");
        assert_eq!(name, "rover-1_front_20231114T221320Z_0012.mp4");
        assert_eq!(segment(&robot, None, at_us, 1, "mcap"), "rover-1_20231114T221320Z_0001.mcap");
        assert_eq!(iso(at_us), "2023-11-14T22:13:20.250000Z");
        assert_eq!(iso(i64::MAX), "9223372036854.775807Z");
    }
}
