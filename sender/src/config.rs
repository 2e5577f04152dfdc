//! The robot's settings: what may stand in `sender.toml`, its defaults and its limits.

use std::path::{Path, PathBuf};

use anyhow::Context;
use rovercast_peer::link::check_url;
use rovercast_protocol::ids::{CameraId, RobotId};
use rovercast_protocol::settings::{self, InvalidSettings, Problem};
use serde::Deserialize;

use crate::camera::encoder;

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
    /// Its WebSocket: `ws://host:port`.
    pub url: String,
}

impl Default for SignalingConfig {
    fn default() -> Self {
        Self { url: "ws://127.0.0.1:8765".to_owned() }
    }
}

/// What viewers may take.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionsConfig {
    /// Sessions at the same time: 1 to 1000.
    pub max: usize,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self { max: 32 }
    }
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
    /// An encoder by its factory name, or `auto` for the best there is.
    #[serde(default = "default_encoder")]
    pub encoder: String,
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
fn default_encoder() -> String {
    encoder::AUTO.to_owned()
}

impl CameraConfig {
    /// Its name for people.
    pub fn label(&self) -> &str {
        self.label.as_deref().unwrap_or(self.id.as_str())
    }
}

/// Where a camera's pictures come from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "RawSource")]
pub enum Source {
    /// A moving pattern with the time burnt in.
    Test {
        /// A pattern of `videotestsrc`, by its nick.
        pattern: String,
    },
    /// A video file, over and over.
    File {
        /// The file.
        path: PathBuf,
    },
    /// A V4L2 device.
    V4l2 {
        /// Its node, for example `/dev/video0`.
        device: PathBuf,
    },
    /// A GStreamer launch fragment that ends in raw video.
    Launch {
        /// The fragment.
        launch: String,
    },
}

/// As it stands in the file: every field flat, so that a wrong one is found at its line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    r#type: SourceType,
    pattern: Option<String>,
    path: Option<PathBuf>,
    device: Option<PathBuf>,
    launch: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SourceType {
    Test,
    File,
    V4l2,
    Launch,
}

impl TryFrom<RawSource> for Source {
    type Error = String;

    fn try_from(raw: RawSource) -> Result<Self, String> {
        let RawSource { r#type, pattern, path, device, launch } = raw;
        let (name, own_key) = match r#type {
            SourceType::Test => ("test", "pattern"),
            SourceType::File => ("file", "path"),
            SourceType::V4l2 => ("v4l2", "device"),
            SourceType::Launch => ("launch", "launch"),
        };
        let given = [
            ("pattern", pattern.is_some()),
            ("path", path.is_some()),
            ("device", device.is_some()),
            ("launch", launch.is_some()),
        ];
        if let Some((key, _)) = given.iter().find(|(key, given)| *given && *key != own_key) {
            return Err(format!("a source of type \"{name}\" takes `{own_key}`, not `{key}`"));
        }
        let needed = || format!("a source of type \"{name}\" needs `{own_key}`");
        Ok(match r#type {
            SourceType::Test => Self::Test { pattern: pattern.unwrap_or("smpte".to_owned()) },
            SourceType::File => Self::File { path: path.ok_or_else(needed)? },
            SourceType::V4l2 => Self::V4l2 { device: device.ok_or_else(needed)? },
            SourceType::Launch => Self::Launch { launch: launch.ok_or_else(needed)? },
        })
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
        if let Err(error) = check_url(&self.signaling.url) {
            check(false, "signaling.url", &error.to_string());
        }
        check((1..=1000).contains(&self.sessions.max), "sessions.max", "must be 1 to 1000");
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
            let names = encoder::names();
            let known = names.contains(&camera.encoder.as_str());
            let remedy = format!("{:?} is not known: use {}", camera.encoder, names.join(", "));
            check(known, &key("encoder"), &remedy);
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

    #[test]
    fn the_reference_config_equals_the_defaults() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/sender.toml");
        let config = Config::load(&path).unwrap();
        assert_eq!(config.signaling, SignalingConfig::default());
        assert_eq!(config.sessions, SessionsConfig::default());
        let camera = &config.camera[0];
        assert_eq!((camera.width, camera.height), (default_width(), default_height()));
        assert_eq!((camera.fps, camera.bitrate_kbps), (default_fps(), default_bitrate_kbps()));
        assert_eq!(camera.encoder, default_encoder());
    }

    #[test]
    fn every_wrong_value_is_named_with_its_remedy() {
        let text = SMALLEST.replace(
            "[[camera]]",
            "[sessions]\nmax = 0\n[signaling]\nurl = \"http://x\"\n[[camera]]",
        ) + "width = 641\nheight = 8\nfps = 0\nbitrate_kbps = 1\nencoder = \"h264\"\n"
            + "[[camera]]\nid = \"front\"\nsource = { type = \"test\" }\n";
        let said = problems(&text);
        for key in [
            "signaling.url",
            "sessions.max",
            "camera[front].width",
            "camera[front].height",
            "camera[front].fps",
            "camera[front].bitrate_kbps",
            "camera[front].encoder",
            "camera[front].id",
        ] {
            assert!(said.contains(&format!("s.toml: {key}: ")), "{key} in\n{said}");
        }
        assert!(said.contains("auto, x264enc, openh264enc"), "{said}");
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
    fn a_key_of_another_source_is_refused() {
        let said = problems(&SMALLEST.replace("type = \"test\"", "type = \"test\", path = \"x\""));
        assert!(said.contains("takes `pattern`, not `path`"), "{said}");
    }

    #[test]
    fn a_robot_without_cameras_is_refused() {
        assert!(problems("[robot]\nid = \"r\"\n").contains("camera: 1 to 64"));
    }
}
