//! The cameras of this computer, as the system knows them.

use std::path::{Path, PathBuf};

use gst::prelude::*;
use serde::Serialize;

use crate::tools::formats::{self, Format};
use crate::tools::nodes;

/// A camera that is there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sensor {
    /// `v4l2`, `libcamera` or `argus`.
    pub kind: &'static str,
    /// What it calls itself.
    pub name: String,
    /// Its names, the best to have in a config first; libcamera's name, or the sensor's number.
    pub names: Vec<String>,
    /// What it offers, where it tells.
    pub formats: Vec<Format>,
    /// Why it cannot be used, and what helps.
    pub problem: Option<String>,
}

impl Sensor {
    /// What to write for it into the config.
    pub fn source(&self) -> String {
        let name = self.names.first().map_or("", String::as_str);
        match self.kind {
            "libcamera" => format!("{{ type = \"libcamera\", camera = {name:?} }}"),
            "argus" => format!("{{ type = \"argus\", sensor = {name} }}"),
            _ => format!("{{ type = \"v4l2\", device = {name:?} }}"),
        }
    }
}

/// All of them. Blocks while devices are asked what they offer; that takes nothing away from who
/// uses them.
pub fn all() -> Vec<Sensor> {
    let monitor = gst::DeviceMonitor::new();
    monitor.add_filter(Some("Video/Source"), None);
    let started = monitor.start().is_ok();
    let devices = if started { monitor.devices() } else { Default::default() };
    let mut sensors: Vec<_> = devices.iter().filter_map(sensor).collect();
    if started {
        monitor.stop();
    }
    let known: Vec<String> = sensors.iter().flat_map(|sensor| sensor.names.clone()).collect();
    sensors.extend(closed(&known));
    if gst::ElementFactory::find("nvarguscamerasrc").is_some() {
        sensors.extend(argus(Path::new("/sys/class/video4linux")));
    }
    sensors.sort_by(|a, b| (a.kind, &a.name, &a.names).cmp(&(b.kind, &b.name, &b.names)));
    sensors
}

fn sensor(device: &gst::Device) -> Option<Sensor> {
    let name = device.display_name().to_string();
    let formats = device.caps().map(|caps| formats::of_caps(&caps)).unwrap_or_default();
    let (kind, names) = match device.type_().name() {
        "GstV4l2Device" => {
            let properties = device.properties()?;
            let path = ["device.path", "api.v4l2.path"];
            let node: String = path.iter().find_map(|field| properties.get(*field).ok())?;
            ("v4l2", names(Path::new(&node)))
        }
        // By this name `libcamerasrc` finds it.
        "GstLibcameraDevice" => ("libcamera", vec![name.clone()]),
        _ => return None,
    };
    Some(Sensor { kind, name, names, formats, problem: None })
}

/// The names of a device, the stable ones first.
fn names(node: &Path) -> Vec<String> {
    let stable = nodes::stable_names(Path::new(nodes::NAMES), node);
    let names = stable.iter().map(PathBuf::as_path).chain([node]);
    names.map(|name| name.display().to_string()).collect()
}

/// V4L2 devices that GStreamer does not tell of because it may not open them.
fn closed(known: &[String]) -> Vec<Sensor> {
    video_devices(Path::new("/sys/class/video4linux"))
        .into_iter()
        .filter_map(|(node, name)| {
            let node = Path::new("/dev").join(node);
            if known.contains(&node.display().to_string()) || !node.exists() {
                return None;
            }
            let problem = nodes::permission(&node).err()?;
            let problem = Some(format!("may not be opened: {problem}"));
            Some(Sensor { kind: "v4l2", name, names: names(&node), formats: Vec::new(), problem })
        })
        .collect()
}

/// The CSI cameras of a Jetson: its driver gives each a V4L2 device, in the order in which Argus
/// counts them.
fn argus(folder: &Path) -> Vec<Sensor> {
    let csi = video_devices(folder)
        .into_iter()
        .filter_map(|(_, name)| name.strip_prefix("vi-output, ").map(str::to_owned));
    csi.enumerate()
        .map(|(number, name)| Sensor {
            kind: "argus",
            name,
            names: vec![number.to_string()],
            formats: Vec::new(),
            problem: None,
        })
        .collect()
}

/// The V4L2 devices by number: node and name of each.
fn video_devices(folder: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut devices: Vec<_> = entries
        .filter_map(|entry| {
            let node = entry.file_name().into_string().ok()?;
            let number: u32 = node.strip_prefix("video")?.parse().ok()?;
            let name = std::fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            Some((number, node, name.trim().to_owned()))
        })
        .collect();
    devices.sort();
    devices.into_iter().map(|(_, node, name)| (node, name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jetsons_sensors_are_counted_by_their_nodes() {
        let folder = std::env::temp_dir().join(format!("rovercast-sensors-{}", std::process::id()));
        for (node, name) in [
            ("video10", "vi-output, imx477 10-001a"),
            ("video2", "USB Camera"),
            ("video0", "vi-output, imx219 9-0010"),
            ("v4l-subdev0", "imx219 9-0010"),
        ] {
            std::fs::create_dir_all(folder.join(node)).unwrap();
            std::fs::write(folder.join(node).join("name"), format!("{name}\n")).unwrap();
        }
        let sources: Vec<_> = argus(&folder).iter().map(|s| (s.name.clone(), s.source())).collect();
        std::fs::remove_dir_all(&folder).unwrap();
        let expected = [
            ("imx219 9-0010", "{ type = \"argus\", sensor = 0 }"),
            ("imx477 10-001a", "{ type = \"argus\", sensor = 1 }"),
        ];
        assert_eq!(sources, expected.map(|(name, source)| (name.to_owned(), source.to_owned())));
    }

    #[test]
    fn the_first_name_is_the_one_to_write() {
        let names = ["/dev/v4l/by-id/usb-\"x\"-index0", "/dev/video0"].map(str::to_owned).to_vec();
        let sensor = Sensor {
            kind: "v4l2",
            name: "x".to_owned(),
            names,
            formats: Vec::new(),
            problem: None,
        };
        let source = r#"{ type = "v4l2", device = "/dev/v4l/by-id/usb-\"x\"-index0" }"#;
        assert_eq!(sensor.source(), source);
    }
}
