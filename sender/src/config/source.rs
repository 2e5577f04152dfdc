//! Where a camera's pictures come from: the kinds of source and what each takes.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// A text that appears in no log and no error.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What a V4L2 device is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum V4l2Format {
    /// Raw pictures where the device gives them at the wanted size and rate, else MJPEG.
    #[default]
    Auto,
    /// Raw pictures.
    Raw,
    /// JPEG pictures, decoded here.
    Mjpeg,
    /// H.264 of the device's own encoder, passed through.
    H264,
}

/// How RTP comes from an RTSP server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RtspTransport {
    /// UDP: lost packets are lost.
    Udp,
    /// Within the TCP connection: nothing is lost, all may be late.
    #[default]
    Tcp,
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
        /// Its node, or a stable name of `/dev/v4l/by-id` or `/dev/v4l/by-path`.
        device: PathBuf,
        /// What it is asked for.
        format: V4l2Format,
    },
    /// A camera of libcamera (Raspberry Pi).
    Libcamera {
        /// Its name, as `rovercast-sender devices` lists it; the first camera where left out.
        camera: Option<String>,
    },
    /// A CSI camera of a Jetson, through its image signal processor.
    Argus {
        /// The sensor, counted from 0.
        sensor: u32,
    },
    /// A camera on the network.
    Rtsp {
        /// `rtsp://` or `rtsps://`, with user and password where needed.
        url: Secret,
        /// How the packets come.
        transport: RtspTransport,
        /// The longest that a missing packet is waited for, in milliseconds.
        latency_ms: u32,
    },
    /// A stream from a web server: MJPEG, or anything that GStreamer can take apart.
    Http {
        /// `http://` or `https://`.
        url: Secret,
    },
    /// Whoever sends here by SRT: OBS, ffmpeg, a camera.
    Srt {
        /// Where to listen.
        listen: SocketAddr,
        /// What the sender must know, 10 to 79 bytes; nobody needs to know anything where left out.
        passphrase: Option<Secret>,
        /// The longest that a missing packet is waited for, in milliseconds.
        latency_ms: u32,
    },
    /// Whoever sends here by RTMP: OBS, ffmpeg.
    Rtmp {
        /// Where to listen.
        listen: SocketAddr,
        /// The stream key that the sender must give.
        key: Secret,
    },
    /// What an X11 display shows.
    Screen {
        /// The display, as in `DISPLAY`; that of the environment where left out.
        display: Option<String>,
    },
    /// Two sources side by side in one picture.
    Stereo {
        /// What the left eye sees.
        left: Box<Source>,
        /// What the right eye sees.
        right: Box<Source>,
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
    format: Option<V4l2Format>,
    camera: Option<String>,
    sensor: Option<u32>,
    url: Option<Secret>,
    transport: Option<RtspTransport>,
    latency_ms: Option<u32>,
    listen: Option<SocketAddr>,
    passphrase: Option<Secret>,
    key: Option<Secret>,
    display: Option<String>,
    left: Option<Box<Source>>,
    right: Option<Box<Source>>,
    launch: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SourceType {
    Test,
    File,
    V4l2,
    Libcamera,
    Argus,
    Rtsp,
    Http,
    Srt,
    Rtmp,
    Screen,
    Stereo,
    Launch,
}

/// All of them.
#[cfg(test)]
pub(super) const KINDS: [SourceType; 12] = [
    SourceType::Test,
    SourceType::File,
    SourceType::V4l2,
    SourceType::Libcamera,
    SourceType::Argus,
    SourceType::Rtsp,
    SourceType::Http,
    SourceType::Srt,
    SourceType::Rtmp,
    SourceType::Screen,
    SourceType::Stereo,
    SourceType::Launch,
];

impl SourceType {
    /// Its name, and the keys that it takes.
    pub(super) fn keys(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Test => ("test", &["pattern"]),
            Self::File => ("file", &["path"]),
            Self::V4l2 => ("v4l2", &["device", "format"]),
            Self::Libcamera => ("libcamera", &["camera"]),
            Self::Argus => ("argus", &["sensor"]),
            Self::Rtsp => ("rtsp", &["url", "transport", "latency_ms"]),
            Self::Http => ("http", &["url"]),
            Self::Srt => ("srt", &["listen", "passphrase", "latency_ms"]),
            Self::Rtmp => ("rtmp", &["listen", "key"]),
            Self::Screen => ("screen", &["display"]),
            Self::Stereo => ("stereo", &["left", "right"]),
            Self::Launch => ("launch", &["launch"]),
        }
    }
}

/// The longest that a missing packet of a network camera is waited for, where nothing is said.
const LATENCY_MS: u32 = 100;

impl TryFrom<RawSource> for Source {
    type Error = String;

    fn try_from(raw: RawSource) -> Result<Self, String> {
        let (name, takes) = raw.r#type.keys();
        let given = [
            ("pattern", raw.pattern.is_some()),
            ("path", raw.path.is_some()),
            ("device", raw.device.is_some()),
            ("format", raw.format.is_some()),
            ("camera", raw.camera.is_some()),
            ("sensor", raw.sensor.is_some()),
            ("url", raw.url.is_some()),
            ("transport", raw.transport.is_some()),
            ("latency_ms", raw.latency_ms.is_some()),
            ("listen", raw.listen.is_some()),
            ("passphrase", raw.passphrase.is_some()),
            ("key", raw.key.is_some()),
            ("display", raw.display.is_some()),
            ("left", raw.left.is_some()),
            ("right", raw.right.is_some()),
            ("launch", raw.launch.is_some()),
        ];
        if let Some((key, _)) = given.iter().find(|(key, given)| *given && !takes.contains(key)) {
            let takes = takes.join("`, `");
            return Err(format!("a source of type \"{name}\" takes `{takes}`, not `{key}`"));
        }
        let needs = |key: &str| format!("a source of type \"{name}\" needs `{key}`");
        let latency_ms = raw.latency_ms.unwrap_or(LATENCY_MS);
        Ok(match raw.r#type {
            SourceType::Test => Self::Test { pattern: raw.pattern.unwrap_or("smpte".to_owned()) },
            SourceType::File => Self::File { path: raw.path.ok_or_else(|| needs("path"))? },
            SourceType::V4l2 => Self::V4l2 {
                device: raw.device.ok_or_else(|| needs("device"))?,
                format: raw.format.unwrap_or_default(),
            },
            SourceType::Libcamera => Self::Libcamera { camera: raw.camera },
            SourceType::Argus => Self::Argus { sensor: raw.sensor.unwrap_or(0) },
            SourceType::Rtsp => Self::Rtsp {
                url: address(raw.url.ok_or_else(|| needs("url"))?, &["rtsp", "rtsps"])?,
                transport: raw.transport.unwrap_or_default(),
                latency_ms,
            },
            SourceType::Http => Self::Http {
                url: address(raw.url.ok_or_else(|| needs("url"))?, &["http", "https"])?,
            },
            SourceType::Srt => Self::Srt {
                listen: raw.listen.ok_or_else(|| needs("listen"))?,
                passphrase: raw.passphrase.map(passphrase).transpose()?,
                latency_ms,
            },
            SourceType::Rtmp => Self::Rtmp {
                listen: raw.listen.ok_or_else(|| needs("listen"))?,
                key: raw.key.ok_or_else(|| needs("key"))?,
            },
            SourceType::Screen => Self::Screen { display: raw.display },
            SourceType::Stereo => Self::Stereo {
                left: eye(raw.left.ok_or_else(|| needs("left"))?)?,
                right: eye(raw.right.ok_or_else(|| needs("right"))?)?,
            },
            SourceType::Launch => {
                Self::Launch { launch: raw.launch.ok_or_else(|| needs("launch"))? }
            }
        })
    }
}

/// Checks the scheme alone: GStreamer says the rest, and says it without the password.
fn address(url: Secret, schemes: &[&str]) -> Result<Secret, String> {
    let known = url
        .0
        .split_once("://")
        .is_some_and(|(scheme, rest)| schemes.contains(&scheme) && !rest.is_empty());
    if known {
        Ok(url)
    } else {
        Err(format!("`url` must begin with {}://", schemes.join(":// or ")))
    }
}

fn passphrase(text: Secret) -> Result<Secret, String> {
    let fits = (10..=79).contains(&text.0.len());
    if fits { Ok(text) } else { Err("`passphrase` must be 10 to 79 bytes long".to_owned()) }
}

fn eye(source: Box<Source>) -> Result<Box<Source>, String> {
    match *source {
        Source::Test { .. }
        | Source::V4l2 { format: V4l2Format::Auto | V4l2Format::Raw | V4l2Format::Mjpeg, .. }
        | Source::Libcamera { .. }
        | Source::Argus { .. }
        | Source::Screen { .. }
        | Source::Launch { .. } => Ok(source),
        _ => Err(
            "an eye of a stereo source must give raw pictures of its own: test, v4l2, libcamera, \
             argus, screen or launch"
                .to_owned(),
        ),
    }
}
