//! Whether USB carries what its cameras are asked for.

use std::path::Path;

use crate::camera::v4l2::Capture;
use crate::tools::finding::Finding;

/// Where a device is plugged in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// The number of the bus; what shares it shares its bandwidth.
    pub bus: u32,
    /// How fast the device talks, in units of 1,000,000 bits per second.
    pub speed_mbps: f64,
}

/// A camera on USB.
#[derive(Debug, Clone, PartialEq)]
pub struct Camera {
    /// Its id.
    pub id: String,
    /// Where it is plugged in.
    pub place: Place,
    /// What it is asked for.
    pub capture: Capture,
    /// Width and height in pixels, and frames per second.
    pub picture: (u32, u32, u32),
}

/// What a USB 2 camera gets at most: 3 packets of 1,024 bytes in each of 8,000 microframes a second.
const HIGH_SPEED_ONE_MBPS: f64 = 196.6;

/// The share of a bus that is open to streams.
const SHARE: f64 = 0.8;

/// Bits of a raw pixel as cameras send it (YUY2), and of one within a JPEG, about.
const RAW_BITS: f64 = 16.0;
const JPEG_BITS: f64 = 3.0;
const H264_BITS: f64 = 0.2;

/// The place of a device, by its name in `/sys/class/video4linux`; none where it is not on USB.
pub fn place(sys: &Path, device: &Path) -> Option<Place> {
    let node = device.canonicalize().ok()?;
    let mut folder = sys.join(node.file_name()?).join("device").canonicalize().ok()?;
    let number = |folder: &Path, name: &str| {
        std::fs::read_to_string(folder.join(name)).ok()?.trim().parse::<f64>().ok()
    };
    loop {
        if let (Some(speed_mbps), Some(bus)) = (number(&folder, "speed"), number(&folder, "busnum"))
        {
            return Some(Place { bus: bus as u32, speed_mbps });
        }
        if !folder.pop() {
            return None;
        }
    }
}

/// What is too much. Pure.
pub fn findings(cameras: &[Camera]) -> Vec<Finding> {
    let mut findings: Vec<_> = cameras.iter().map(of_one).collect();
    let mut buses: Vec<u32> = cameras.iter().map(|camera| camera.place.bus).collect();
    buses.sort_unstable();
    buses.dedup();
    for bus in buses {
        let on_bus = || cameras.iter().filter(|camera| camera.place.bus == bus);
        let speed_mbps = on_bus().map(|camera| camera.place.speed_mbps).fold(0.0, f64::max);
        let sum_mbps: f64 = on_bus().map(Camera::mbps).sum();
        if on_bus().count() > 1 && sum_mbps > speed_mbps * SHARE {
            let ids: Vec<_> = on_bus().map(|camera| camera.id.as_str()).collect();
            let text = format!(
                "{} share USB bus {bus}: about {sum_mbps:.0} Mbit/s of {speed_mbps:.0}",
                ids.join(", ")
            );
            let remedy = "plug them into ports of different buses (`lsusb -t`), or take \
                          format = \"mjpeg\", smaller pictures or fewer of them";
            findings.push(Finding::warn("usb", text, remedy));
        }
    }
    findings
}

fn of_one(camera: &Camera) -> Finding {
    let Camera { id, place, picture: (width, height, fps), .. } = camera;
    let Place { bus, speed_mbps } = place;
    let most_mbps = if *speed_mbps <= 480.0 {
        speed_mbps * HIGH_SPEED_ONE_MBPS / 480.0
    } else {
        speed_mbps * SHARE
    };
    let (mbps, what) = (camera.mbps(), camera.what());
    let text = format!(
        "{what} of {width}x{height} at {fps} are about {mbps:.0} Mbit/s; USB bus {bus} gives it \
         {most_mbps:.0}"
    );
    let finding = if mbps <= most_mbps {
        Finding::ok("usb", text)
    } else {
        let faster = if *speed_mbps <= 480.0 { ", or a USB 3 camera on a USB 3 port" } else { "" };
        let remedy = format!("take format = \"mjpeg\", smaller pictures or fewer of them{faster}");
        Finding::warn("usb", text, remedy)
    };
    finding.of(id)
}

impl Camera {
    fn mbps(&self) -> f64 {
        let (width, height, fps) = self.picture;
        let bits = match self.capture {
            Capture::Raw => RAW_BITS,
            Capture::Mjpeg => JPEG_BITS,
            Capture::H264 => H264_BITS,
        };
        f64::from(width) * f64::from(height) * f64::from(fps) * bits / 1e6
    }

    fn what(&self) -> &'static str {
        match self.capture {
            Capture::Raw => "raw pictures",
            Capture::Mjpeg => "JPEG pictures",
            Capture::H264 => "H.264 pictures",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::finding::Severity;

    fn camera(id: &str, bus: u32, capture: Capture, picture: (u32, u32, u32)) -> Camera {
        Camera { id: id.to_owned(), place: Place { bus, speed_mbps: 480.0 }, capture, picture }
    }

    #[test]
    fn raw_pictures_that_usb_2_cannot_carry_are_told() {
        let small = camera("a", 1, Capture::Raw, (640, 480, 30));
        let large = camera("b", 2, Capture::Raw, (1280, 720, 30));
        let jpeg = camera("c", 3, Capture::Mjpeg, (1280, 720, 30));
        let found = findings(&[small, large, jpeg]);
        let severities: Vec<_> = found.iter().map(|finding| finding.severity).collect();
        assert_eq!(severities, [Severity::Ok, Severity::Warn, Severity::Ok], "{found:#?}");
        assert!(found[1].text.contains("about 442 Mbit/s; USB bus 2 gives it 197"), "{found:#?}");
        let usb3 = Camera {
            place: Place { bus: 2, speed_mbps: 5000.0 },
            ..camera("b", 2, Capture::Raw, (1280, 720, 30))
        };
        assert_eq!(findings(&[usb3])[0].severity, Severity::Ok);
    }

    #[test]
    fn cameras_on_one_bus_are_added_up() {
        let on = |bus| ["a", "b", "c"].map(|id| camera(id, bus, Capture::Raw, (640, 480, 30)));
        let found = findings(&on(1));
        let last = found.last().unwrap();
        assert_eq!(last.severity, Severity::Warn);
        assert!(last.text.contains("a, b, c share USB bus 1: about 442 Mbit/s of 480"), "{last}");
        assert_eq!(findings(&on(1)[..2]).len(), 2, "two fit");
    }

    #[test]
    fn the_bus_is_found_above_the_interface() {
        let folder = std::env::temp_dir().join(format!("rovercast-usb-{}", std::process::id()));
        let device = folder.join("devices/usb1/1-2");
        std::fs::create_dir_all(device.join("1-2:1.0/video4linux/video0")).unwrap();
        std::fs::write(device.join("speed"), "480\n").unwrap();
        std::fs::write(device.join("busnum"), "1\n").unwrap();
        std::fs::create_dir_all(folder.join("class/video0")).unwrap();
        std::fs::write(folder.join("video0"), "").unwrap();
        std::os::unix::fs::symlink(device.join("1-2:1.0"), folder.join("class/video0/device"))
            .unwrap();
        let found = place(&folder.join("class"), &folder.join("video0"));
        let elsewhere = place(&folder.join("class"), &folder.join("video1"));
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, Some(Place { bus: 1, speed_mbps: 480.0 }));
        assert_eq!(elsewhere, None);
    }
}
