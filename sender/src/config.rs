//! The robot's settings: what may stand in `sender.toml`, its defaults and its limits.

pub mod picture;
pub mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rovercast_metrics::address::Address;
use rovercast_peer::ice::TransportPolicy;
use rovercast_peer::link::{Fingerprint, Target};
use rovercast_protocol::codec::Codec;
use rovercast_protocol::ids::{CameraId, RobotId};
use rovercast_protocol::settings::{self, InvalidSettings, Problem};
use serde::Deserialize;

use crate::camera::encoder;
pub use picture::{Crop, Flip, Lens, PictureConfig, Rotation};
pub use source::{RtspTransport, Secret, Source, V4l2Format};

/// Everything in the file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this robot is.
    pub robot: RobotConfig,
    /// Where its broker is.
    #[serde(default)]
    pub signaling: SignalingConfig,
    /// What viewers may take.
    #[serde(default)]
    pub sessions: SessionsConfig,
    /// How programs on the robot may change its cameras.
    #[serde(default)]
    pub control: ControlConfig,
    /// Its figures for Prometheus.
    #[serde(default)]
    pub metrics: MetricsConfig,
    /// Its cameras: 1 to 64.
    #[serde(default)]
    pub camera: Vec<CameraConfig>,
}

/// Who this robot is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RobotConfig {
    /// The id by which viewers find it.
    pub id: RobotId,
}

/// Where the broker is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignalingConfig {
    /// Its WebSocket: `ws://host:port` or `wss://host:port`.
    pub url: String,
    /// The file with the robot's token; none is sent where left out.
    pub token_file: Option<PathBuf>,
    /// Certificates in PEM that sign the broker's, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// The one certificate that is the broker's.
    pub tls_fingerprint: Option<Fingerprint>,
    /// Which paths pictures may take.
    pub ice_transport_policy: TransportPolicy,
}

impl SignalingConfig {
    /// The broker to connect to.
    pub fn target(&self) -> Target {
        Target {
            url: self.url.clone(),
            token_file: self.token_file.clone(),
            ca_file: self.ca_file.clone(),
            tls_fingerprint: self.tls_fingerprint,
        }
    }
}

impl Default for SignalingConfig {
    fn default() -> Self {
        Self {
            url: "ws://127.0.0.1:8765".to_owned(),
            token_file: None,
            ca_file: None,
            tls_fingerprint: None,
            ice_transport_policy: TransportPolicy::All,
        }
    }
}

/// What viewers may take.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionsConfig {
    /// Sessions at the same time: 1 to 1000.
    pub max: usize,
    /// Whether viewers may change cameras and take snapshots.
    pub control_cameras: bool,
    /// Whether browsers are asked to show pictures as they come, unless the page holds them back.
    pub playout_delay: bool,
    /// So many packets by which lost ones are restored leave behind a hundred, at least one behind each
    /// picture, to viewers that take them: 0 (none) to 100.
    pub fec_percent: u32,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self { max: 32, control_cameras: false, playout_delay: true, fec_percent: 0 }
    }
}

/// How programs on the robot may change its cameras.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlConfig {
    /// A Unix socket that answers HTTP, for whoever runs the sender alone; none where left out.
    pub socket: Option<PathBuf>,
}

/// Figures for Prometheus.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Where they can be had, as `/metrics`: a port for this computer alone, or an address with a
    /// port; nowhere where left out.
    pub address: Option<Address>,
}

/// One camera.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraConfig {
    /// The id by which viewers ask for it; unique on the robot.
    pub id: CameraId,
    /// Its name for people; the id where left out.
    #[serde(default)]
    pub label: Option<String>,
    /// Where the pictures come from.
    pub source: Source,
    /// Picture width in pixels: even, 16 to 8192.
    #[serde(default = "default_width")]
    pub width: u32,
    /// Picture height in pixels: even, 16 to 8192.
    #[serde(default = "default_height")]
    pub height: u32,
    /// Frames per second, at most: 1 to 240.
    #[serde(default = "default_fps")]
    pub fps: u32,
    /// What the encoder may spend, in units of 1,000 bits per second: 50 to 100,000.
    #[serde(default = "default_bitrate_kbps")]
    pub bitrate_kbps: u32,
    /// The codec of the track.
    #[serde(default)]
    pub codec: Codec,
    /// An encoder by its factory name, or `auto` for the best that works.
    #[serde(default = "default_encoder")]
    pub encoder: String,
    /// Whether it is on from the start.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether it is encoded only while someone watches.
    #[serde(default = "yes")]
    pub on_demand: bool,
    /// What is done to its pictures.
    #[serde(default)]
    pub picture: PictureConfig,
    /// Whether its pictures are looked at.
    #[serde(default)]
    pub health: HealthConfig,
    /// Controls of the device, by name: exposure, white balance and so on.
    #[serde(default)]
    pub controls: BTreeMap<String, Control>,
}

/// Whether pictures that are frozen, black or blinded are reported.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthConfig {
    /// Whether anyone looks; where left out, on computers with more than four cores.
    pub check: Option<bool>,
    /// How long they must be so, in seconds: 1 to 3600.
    pub after_s: u32,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self { check: None, after_s: 5 }
    }
}

/// What a device's control is set to.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Control {
    /// On or off.
    Switch(bool),
    /// A number in the device's own units, or an entry of a menu by its index.
    Whole(i64),
    /// The same, with a fraction.
    Fraction(f64),
    /// A word.
    Text(String),
}

fn default_width() -> u32 {
    640
}
fn default_height() -> u32 {
    480
}
fn default_fps() -> u32 {
    30
}
fn default_bitrate_kbps() -> u32 {
    1000
}
fn yes() -> bool {
    true
}
fn default_encoder() -> String {
    encoder::AUTO.to_owned()
}

impl CameraConfig {
    /// Its name for people.
    pub fn label(&self) -> &str {
        self.label.as_deref().unwrap_or(self.id.as_str())
    }
}

impl Config {
    /// Reads a file.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the config {file}"))?;
        Ok(Self::parse(&file, &text)?)
    }

    /// Parses and checks; `file` is for the messages alone.
    pub fn parse(file: &str, text: &str) -> Result<Self, InvalidSettings> {
        let config: Self = settings::parse(file, text)?;
        let problems = config.problems();
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(InvalidSettings { file: file.to_owned(), problems })
        }
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = |ok: bool, key: &str, remedy: &str| {
            if !ok {
                problems.push(Problem::value(key, remedy));
            }
        };
        for (key, remedy) in self.signaling.target().problems() {
            check(false, &format!("signaling.{key}"), &remedy);
        }
        check((1..=1000).contains(&self.sessions.max), "sessions.max", "must be 1 to 1000");
        check(self.sessions.fec_percent <= 100, "sessions.fec_percent", "must be 0 to 100");
        let count = self.camera.len();
        check((1..=64).contains(&count), "camera", "1 to 64 [[camera]] entries are needed");
        for (index, camera) in self.camera.iter().enumerate() {
            let key = |field: &str| format!("camera[{}].{field}", camera.id);
            let unique = self.camera[..index].iter().all(|other| other.id != camera.id);
            check(unique, &key("id"), "another camera has this id: choose a different one");
            let size = |pixels: u32| (16..=8192).contains(&pixels) && pixels.is_multiple_of(2);
            check(size(camera.width), &key("width"), "must be even, 16 to 8192");
            check(size(camera.height), &key("height"), "must be even, 16 to 8192");
            check((1..=240).contains(&camera.fps), &key("fps"), "must be 1 to 240");
            let bitrate = (50..=100_000).contains(&camera.bitrate_kbps);
            check(bitrate, &key("bitrate_kbps"), "must be 50 to 100000");
            check(camera.label().len() <= 128, &key("label"), "must be 128 bytes or shorter");
            check(
                (1..=3600).contains(&camera.health.after_s),
                &key("health.after_s"),
                "must be 1 to 3600",
            );
            let Crop { left, right, top, bottom } = camera.picture.crop;
            let edge = |pixels: u32| pixels <= 8192 && pixels.is_multiple_of(2);
            let edges = [left, right, top, bottom].into_iter().all(edge);
            check(edges, &key("picture.crop"), "pixels must be even, 0 to 8192");
            if let Some(lens) = camera.picture.lens {
                let focal = |length: f64| length.is_finite() && length > 0.0;
                let usable = lens.width > 0 && lens.height > 0 && focal(lens.fx) && focal(lens.fy);
                let centre = [lens.cx, lens.cy];
                let finite = centre.iter().chain(&lens.radial).chain(&lens.tangential);
                let usable = usable && finite.into_iter().all(|number| number.is_finite());
                check(
                    usable,
                    &key("picture.lens"),
                    "sizes and focal lengths must be above 0, and all numbers finite",
                );
            }
            let word = |name: &String| {
                name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            };
            check(
                camera.controls.keys().all(word),
                &key("controls"),
                "names are letters, digits, '-' and '_'",
            );
            if let Err(remedy) = encoder::check(camera.codec, &camera.encoder) {
                check(false, &key("encoder"), &remedy);
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str =
        "[robot]\nid = \"r\"\n[[camera]]\nid = \"front\"\nsource = { type = \"test\" }\n";

    fn problems(text: &str) -> String {
        Config::parse("s.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn the_smallest_config_gets_the_defaults() {
        let config = Config::parse("s.toml", SMALLEST).unwrap();
        let camera = &config.camera[0];
        assert_eq!(config.signaling.url, "ws://127.0.0.1:8765");
        assert_eq!((camera.width, camera.height, camera.fps), (640, 480, 30));
        assert_eq!((camera.bitrate_kbps, camera.encoder.as_str()), (1000, "auto"));
        assert_eq!(camera.label(), "front");
    }

    const REFERENCE: &str = include_str!("../../config/sender.toml");

    #[test]
    fn the_reference_config_equals_the_defaults() {
        let config = Config::parse("sender.toml", REFERENCE).unwrap();
        assert_eq!(config.signaling, SignalingConfig::default());
        assert_eq!(config.sessions, SessionsConfig::default());
        assert_eq!(config.control, ControlConfig::default());
        assert_eq!(config.metrics, MetricsConfig::default());
        let [camera] = &config.camera[..] else { panic!("{} cameras", config.camera.len()) };
        let CameraConfig { id, label, source, .. } = camera.clone();
        let smallest = Config::parse("s.toml", SMALLEST).unwrap().camera.remove(0);
        assert_eq!(*camera, CameraConfig { id, label, source, ..smallest });
    }

    #[test]
    fn the_reference_config_shows_everything() {
        // What it shows as examples is right, too.
        let examples = REFERENCE.replace("\n#: ", "\n");
        let Config { robot: RobotConfig { id: _ }, signaling, sessions, control, metrics, camera } =
            Config::parse("sender.toml", &examples).unwrap();
        let MetricsConfig { address } = metrics;
        assert!(address.is_some());
        let ControlConfig { socket } = control;
        let SignalingConfig {
            url: _,
            token_file,
            ca_file,
            tls_fingerprint,
            ice_transport_policy: _,
        } = signaling;
        assert!(token_file.is_some() && ca_file.is_some() && tls_fingerprint.is_none());
        assert!(REFERENCE.contains("tls_fingerprint = \"sha256:"), "in place of ca_file");
        let SessionsConfig { max: _, control_cameras: _, playout_delay: _, fec_percent: _ } =
            sessions;
        assert!(socket.is_some());
        let CameraConfig {
            id: _,
            label,
            source: _,
            width: _,
            height: _,
            fps: _,
            bitrate_kbps: _,
            codec: _,
            encoder: _,
            enabled: _,
            on_demand: _,
            picture: PictureConfig { crop: _, rotate: _, flip: _, lens },
            health: HealthConfig { check, after_s: _ },
            controls,
        } = camera[0].clone();
        assert!(label.is_some() && lens.is_some() && check.is_some() && controls.len() == 2);
        // What cannot be missing without notice above must stand there by its name.
        for key in [
            "url",
            "ice_transport_policy",
            "max",
            "control_cameras",
            "playout_delay",
            "fec_percent",
            "width",
            "height",
            "fps",
            "bitrate_kbps",
            "codec",
            "encoder",
            "enabled",
            "on_demand",
            "crop",
            "rotate",
            "flip",
            "after_s",
        ] {
            assert!(REFERENCE.contains(&format!("\n{key} = ")), "{key} is missing");
        }
        let kinds = camera.iter().skip(1).map(|camera| std::mem::discriminant(&camera.source));
        assert_eq!(kinds.collect::<std::collections::HashSet<_>>().len(), source::KINDS.len());
        for (name, keys) in source::KINDS.map(|kind| kind.keys()) {
            let of_kind = |line: &&str| line.contains(&format!("type = \"{name}\""));
            let example = examples.lines().rfind(of_kind).unwrap();
            let whole = keys.iter().all(|key| example.contains(&format!("{key} = ")));
            assert!(whole, "{keys:?} in {example}");
        }
    }

    #[test]
    fn every_wrong_value_is_named_with_its_remedy() {
        let text = SMALLEST.replace(
            "[[camera]]",
            "[sessions]\nmax = 0\nfec_percent = 101\n[signaling]\nurl = \"http://x\"\n[[camera]]",
        ) + "width = 641\nheight = 8\nfps = 0\nbitrate_kbps = 1\nencoder = \"h264\"\n"
            + "[[camera]]\nid = \"front\"\nsource = { type = \"test\" }\n";
        let said = problems(&text);
        for key in [
            "signaling.url",
            "sessions.max",
            "sessions.fec_percent",
            "camera[front].width",
            "camera[front].height",
            "camera[front].fps",
            "camera[front].bitrate_kbps",
            "camera[front].encoder",
            "camera[front].id",
        ] {
            assert!(said.contains(&format!("s.toml: {key}: ")), "{key} in\n{said}");
        }
        assert!(said.contains("x264enc, openh264enc"), "{said}");
    }

    #[test]
    fn every_wrong_line_is_named() {
        let text = "[robot]\nid = \"my robot\"\n[[camera]]\nid = \"a\"\nsource = { type = \"file\" }\nfsp = 3\n\
                    [[camera]]\nid = \"b\"\nsource = { type = \"telly\" }\nwidth = \"wide\"\n";
        let said = problems(text);
        for (line, what) in
            [(2, "letters, digits"), (5, "needs `path`"), (6, "fsp"), (9, "telly"), (10, "wide")]
        {
            let found = said
                .lines()
                .any(|l| l.starts_with(&format!("s.toml:{line}: ")) && l.contains(what));
            assert!(found, "line {line}, {what} in\n{said}");
        }
    }

    #[test]
    fn a_wrong_address_for_metrics_is_refused() {
        for address in ["\"here\"", "\"localhost:9464\"", "9464", "\"70000\""] {
            let text = SMALLEST
                .replace("[[camera]]", &format!("[metrics]\naddress = {address}\n[[camera]]"));
            let said = problems(&text);
            assert!(said.starts_with("s.toml:4: ") && said.contains("address"), "{said}");
        }
    }

    #[test]
    fn a_key_of_another_source_is_refused() {
        let said = problems(&SMALLEST.replace("type = \"test\"", "type = \"test\", path = \"x\""));
        assert!(said.contains("takes `pattern`, not `path`"), "{said}");
    }

    #[test]
    fn a_robot_without_cameras_is_refused() {
        assert!(problems("[robot]\nid = \"r\"\n").contains("camera: 1 to 64"));
    }
}
