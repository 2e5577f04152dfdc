//! What in a config is legal but doubtful. Pure: what must be known of the computer comes in.

use std::path::{Path, PathBuf};

use rovercast_peer::link::{Doubt, Target};

use crate::camera::encoder;
use crate::config::{CameraConfig, Config, Source};
use crate::tools::finding::Finding;
use crate::tools::secrets;

/// What must be known of this computer.
pub trait Place {
    /// Whether this encoder is installed.
    fn has(&self, factory: &str) -> bool;
    /// The file or device behind all links; none where there is none.
    fn real(&self, path: &Path) -> Option<PathBuf>;
    /// The permissions of a file or folder; none where there is none.
    fn mode(&self, path: &Path) -> Option<u32>;
    /// The best stable name of a device.
    fn stable_name(&self, device: &Path) -> Option<PathBuf>;
    /// What is doubtful in how a broker is reached, as far as files and the clock show it.
    fn broker(&self, broker: &Target) -> Vec<Doubt>;
}

/// All cameras together may send this much to each viewer before it is mentioned: many a radio link
/// carries less.
const MANY_KBPS: u32 = 20_000;

/// Fewer bits than this for each pixel show as blocks.
const FEW_BITS: f64 = 0.02;

/// Everything that is doubtful in a config, which came from `file`.
pub fn doubts(config: &Config, file: &Path, place: &impl Place) -> Vec<Finding> {
    let mut doubts = Vec::new();
    let of_broker = place.broker(&config.signaling.target()).into_iter();
    doubts.extend(of_broker.map(|doubt| Finding::warn(doubt.about, doubt.text, doubt.remedy)));
    doubts.extend(shared(config, place));
    let enabled = || config.camera.iter().filter(|camera| camera.enabled);
    let sum_kbps: u32 = enabled().map(|camera| camera.bitrate_kbps).sum();
    if sum_kbps > MANY_KBPS {
        doubts.push(Finding::warn(
            "bitrate",
            format!("all cameras together send {sum_kbps} kbit/s to each viewer"),
            "make sure that the robot's link carries that, or lower bitrate_kbps",
        ));
    }
    if enabled().next().is_none() {
        let remedy = "set enabled = true for one, or let viewers switch them on";
        doubts.push(Finding::warn("enabled", "no camera is enabled", remedy));
    }
    for camera in &config.camera {
        let of_camera = [encoders(camera, place), bits(camera), controls(camera)];
        doubts.extend(of_camera.into_iter().flatten().map(|doubt| doubt.of(&camera.id)));
        for source in eyes(&camera.source) {
            doubts.extend(of_source(source, place).map(|doubt| doubt.of(&camera.id)));
        }
    }
    doubts.extend(config.control.socket.as_deref().and_then(|path| socket(path, place)));
    let any_secret = config.camera.iter().any(|camera| secrets::has_any(&camera.source));
    if any_secret && place.mode(file).is_some_and(|mode| mode & 0o004 != 0) {
        let text = format!("{} holds secrets, and every user may read it", file.display());
        doubts.push(Finding::warn("secrets", text, format!("`chmod 640 {}`", file.display())));
    }
    doubts
}

/// The sources that a source is made of.
pub fn eyes(source: &Source) -> Vec<&Source> {
    match source {
        Source::Stereo { left, right } => vec![left, right],
        source => vec![source],
    }
}

/// Two cameras that want the same thing.
fn shared(config: &Config, place: &impl Place) -> Vec<Finding> {
    let mut taken: Vec<(String, &CameraConfig)> = Vec::new();
    let mut doubts = Vec::new();
    for camera in &config.camera {
        for source in eyes(&camera.source) {
            let Some(thing) = thing(source, place) else { continue };
            if let Some((_, other)) = taken.iter().find(|(name, _)| *name == thing) {
                let text = format!("camera {} has {thing}, too", other.id);
                let remedy = "one device or address feeds one camera: keep one of the two";
                doubts.push(Finding::warn("shared", text, remedy).of(&camera.id));
            }
            taken.push((thing, camera));
        }
    }
    doubts
}

/// What nobody else can have at the same time.
fn thing(source: &Source, place: &impl Place) -> Option<String> {
    match source {
        Source::V4l2 { device, .. } => {
            let device = place.real(device).unwrap_or_else(|| device.clone());
            Some(format!("the device {}", device.display()))
        }
        Source::Libcamera { camera: Some(name) } => Some(format!("the camera {name}")),
        Source::Libcamera { camera: None } => Some("libcamera's first camera".to_owned()),
        Source::Argus { sensor } => Some(format!("the sensor {sensor}")),
        Source::Srt { listen, .. } => Some(format!("the UDP address {listen}")),
        Source::Rtmp { listen, .. } => Some(format!("the TCP address {listen}")),
        _ => None,
    }
}

/// Whether any encoder may work.
fn encoders(camera: &CameraConfig, place: &impl Place) -> Option<Finding> {
    let rows: Vec<_> = encoder::candidates(camera.codec, &camera.encoder).collect();
    let &CameraConfig { width, height, fps, .. } = camera;
    let installed: Vec<_> = rows.iter().filter(|row| place.has(row.factory)).collect();
    if installed.is_empty() {
        let last = rows.last()?;
        let text = format!("no encoder for it is installed: encoder = {:?}", camera.encoder);
        let remedy = format!("install {} for {}, or choose another", last.package, last.factory);
        return Some(Finding::warn("encoder", text, remedy));
    }
    let refusals: Vec<_> = installed
        .iter()
        .filter_map(|row| Some(format!("{}: {}", row.factory, row.fits(width, height, fps).err()?)))
        .collect();
    (refusals.len() == installed.len()).then(|| {
        let text = format!("no encoder takes {width}x{height} at {fps}: {}", refusals.join("; "));
        Finding::warn("encoder", text, "choose other pictures or another encoder")
    })
}

fn bits(camera: &CameraConfig) -> Option<Finding> {
    let &CameraConfig { width, height, fps, bitrate_kbps, .. } = camera;
    let pixels = f64::from(width) * f64::from(height) * f64::from(fps);
    let wanted_kbps = (pixels * FEW_BITS / 1000.0).ceil();
    (f64::from(bitrate_kbps) < wanted_kbps).then(|| {
        let text = format!("{bitrate_kbps} kbit/s are few for {width}x{height} at {fps}");
        let remedy = format!("set bitrate_kbps = {wanted_kbps} or more, or take smaller pictures");
        Finding::warn("bitrate", text, remedy)
    })
}

fn controls(camera: &CameraConfig) -> Option<Finding> {
    let device = |source: &&Source| {
        matches!(source, Source::V4l2 { .. } | Source::Libcamera { .. } | Source::Argus { .. })
    };
    let unused = !camera.controls.is_empty() && !eyes(&camera.source).iter().any(device);
    unused.then(|| {
        let text = "its source has no controls: those of the config are not used";
        Finding::warn("controls", text, "take them out")
    })
}

fn of_source(source: &Source, place: &impl Place) -> Option<Finding> {
    match source {
        Source::File { path } if place.real(path).is_none() => Some(Finding::warn(
            "file",
            format!("the file {} is not there", path.display()),
            "it is tried again for ever; correct the path",
        )),
        Source::V4l2 { device, .. } if place.real(device).is_none() => Some(Finding::warn(
            "device",
            format!("the device {} is not there now", device.display()),
            "plug it in, or look for it with `rovercast-sender devices`",
        )),
        Source::V4l2 { device, .. } => unstable(device, place),
        Source::Srt { listen, passphrase: None, .. } if !listen.ip().is_loopback() => {
            Some(Finding::warn(
                "open",
                format!("whoever reaches {listen} can send pictures: it has no passphrase"),
                "set passphrase",
            ))
        }
        _ => None,
    }
}

/// A name that another camera may have after the next start.
fn unstable(device: &Path, place: &impl Place) -> Option<Finding> {
    let numbered = device.to_str().is_some_and(|name| name.starts_with("/dev/video"));
    let stable = place.stable_name(device).filter(|_| numbered)?;
    let text = format!("{} may be another camera after the next start", device.display());
    let remedy = format!("write device = {:?}", stable.display().to_string());
    Some(Finding::warn("name", text, remedy))
}

/// Whoever can write to the folder can take the socket's place.
fn socket(path: &Path, place: &impl Place) -> Option<Finding> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    match place.mode(folder) {
        None => Some(Finding::fail(
            "socket",
            format!("control.socket: the folder {} is not there", folder.display()),
            "make it (for a service: RuntimeDirectory=)",
        )),
        Some(mode) if mode & 0o002 != 0 => Some(Finding::warn(
            "socket",
            format!("control.socket: every user may write to the folder {}", folder.display()),
            "put it into a folder of its own, such as /run/rovercast",
        )),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::finding::Severity;

    /// A computer with two names for one device, and x264enc alone.
    struct Robot;

    impl Place for Robot {
        fn has(&self, factory: &str) -> bool {
            factory == "x264enc" || factory == "v4l2h264enc"
        }
        fn real(&self, path: &Path) -> Option<PathBuf> {
            let path = path.to_str()?;
            match path {
                "/dev/video0" | "/dev/v4l/by-id/front" => Some("/dev/video0".into()),
                "/there.mp4" => Some(path.into()),
                _ => None,
            }
        }
        fn mode(&self, path: &Path) -> Option<u32> {
            match path.to_str()? {
                "/tmp" => Some(0o41777),
                "/run/rovercast" => Some(0o40755),
                "s.toml" => Some(0o100_644),
                _ => None,
            }
        }
        fn stable_name(&self, device: &Path) -> Option<PathBuf> {
            (device == Path::new("/dev/video0")).then(|| "/dev/v4l/by-id/front".into())
        }
        fn broker(&self, broker: &Target) -> Vec<Doubt> {
            let doubt = |file: &PathBuf| Doubt {
                about: "token",
                text: format!("{} is old", file.display()),
                remedy: "put a new one there".to_owned(),
            };
            broker.token_file.iter().map(doubt).collect()
        }
    }

    fn found(text: &str) -> Vec<(&'static str, Severity, String)> {
        let config = Config::parse("s.toml", &format!("[robot]\nid = \"r\"\n{text}")).unwrap();
        let doubts = doubts(&config, Path::new("s.toml"), &Robot);
        doubts.iter().map(|doubt| (doubt.check, doubt.severity, doubt.to_string())).collect()
    }

    fn camera(id: &str, rest: &str) -> String {
        format!("[[camera]]\nid = \"{id}\"\n{rest}\n")
    }

    fn checks(text: &str) -> Vec<&'static str> {
        found(text).into_iter().map(|(check, ..)| check).collect()
    }

    const TEST: &str = "source = { type = \"test\" }\n";

    #[test]
    fn a_sound_config_raises_no_doubt() {
        let v4l2 = "source = { type = \"v4l2\", device = \"/dev/v4l/by-id/front\" }";
        let file = "source = { type = \"file\", path = \"/there.mp4\" }";
        let text = "[control]\nsocket = \"/run/rovercast/s\"\n".to_owned()
            + &camera("a", v4l2)
            + &camera("b", file)
            + &camera("c", TEST);
        assert_eq!(found(&text), []);
    }

    #[test]
    fn devices_are_doubted() {
        let v4l2 = |device: &str| format!("{{ type = \"v4l2\", device = \"{device}\" }}");
        let one = camera("a", &format!("source = {}", v4l2("/dev/v4l/by-id/front")));
        let both = format!(
            "source = {{ type = \"stereo\", left = {}, right = {} }}",
            v4l2("/dev/video0"),
            v4l2("/dev/video7")
        );
        let found = found(&(one + &camera("b", &both)));
        let [shared, unstable, missing] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((shared.0, unstable.0, missing.0), ("shared", "name", "device"));
        assert!(shared.2.contains("[b]: camera a has the device /dev/video0, too"), "{shared:?}");
        assert!(unstable.2.contains("write device = \"/dev/v4l/by-id/front\""), "{unstable:?}");
    }

    #[test]
    fn encoders_and_bitrates_are_doubted() {
        let vp8 = format!("{TEST}codec = \"vp8\"");
        assert_eq!(checks(&camera("a", &vp8)), ["encoder"]);
        let large = format!("{TEST}encoder = \"v4l2h264enc\"\nwidth = 2560\nbitrate_kbps = 5000");
        let refused = &found(&camera("a", &large))[0];
        assert!(refused.2.contains("up to 1920x1920"), "{refused:?}");
        let auto = large.replace("v4l2h264enc", "auto");
        assert_eq!(checks(&camera("a", &auto)), [""; 0], "x264enc takes it");
        let few = format!("{TEST}width = 1920\nheight = 1080");
        let few = &found(&camera("a", &few))[0];
        assert!(few.2.contains("set bitrate_kbps = 1245 or more"), "{few:?}");
        let much = format!("{TEST}bitrate_kbps = 12000\n");
        let both = camera("a", &much) + &camera("b", &much);
        assert_eq!(checks(&both), ["bitrate"]);
        assert_eq!(checks(&(both + "enabled = false\n")), [""; 0], "it sends nothing");
    }

    #[test]
    fn secrets_and_open_doors_are_doubted() {
        let srt = "source = { type = \"srt\", listen = \"0.0.0.0:7001\" }";
        let rtsp = "source = { type = \"rtsp\", url = \"rtsp://me:pw@cam/\" }";
        let text = camera("a", srt) + &camera("b", rtsp);
        let found = found(&text);
        assert_eq!(found.iter().map(|doubt| doubt.0).collect::<Vec<_>>(), ["open", "secrets"]);
        assert!(found.iter().all(|doubt| !doubt.2.contains("pw@")), "{found:?}");
        let test = camera("a", TEST);
        assert_eq!(checks(&format!("[control]\nsocket = \"/tmp/s\"\n{test}")), ["socket"]);
    }

    #[test]
    fn what_is_doubtful_of_the_broker_is_told() {
        let text = format!("[signaling]\ntoken_file = \"/t\"\n{}", camera("a", TEST));
        let found = found(&text);
        let told = "WARN  token: /t is old\n      -> put a new one there".to_owned();
        assert_eq!(found, [("token", Severity::Warn, told)]);
    }

    #[test]
    fn a_socket_that_cannot_be_made_is_a_failure() {
        let text = format!("[control]\nsocket = \"/nowhere/s\"\n{}", camera("a", TEST));
        assert_eq!(found(&text)[0].1, Severity::Fail);
    }

    #[test]
    fn what_has_no_effect_is_doubted() {
        let text = camera("a", &format!("{TEST}enabled = false\n[camera.controls]\ngain = 1"));
        assert_eq!(checks(&text), ["enabled", "controls"]);
    }
}
