//! The encoders, one row of data each, the best first. Pure.

/// The name in the config that leaves the choice to us.
pub const AUTO: &str = "auto";

/// One encoder and how to drive it at low latency.
#[derive(Debug)]
pub struct Encoder {
    /// Its factory name.
    pub factory: &'static str,
    /// The caps that it wants in front of it, without size.
    pub input: &'static str,
    /// Its properties; those that the installed version lacks are left out.
    pub properties: &'static [(&'static str, Value)],
    /// The caps that it must produce.
    pub output: &'static str,
    /// Debian's package with it.
    pub package: &'static str,
}

/// What a property is set to.
#[derive(Debug, Clone, Copy)]
pub enum Value {
    /// Always the same.
    Fixed(&'static str),
    /// The bitrate, in bits per second.
    BitrateBps,
    /// The bitrate, in 1,000 bits per second.
    BitrateKbps,
    /// The most frames between two key frames: long, since viewers ask for theirs.
    KeyFrameInterval,
    /// Slices encoded side by side.
    Threads,
    /// The rate control's buffer, in milliseconds: two frames.
    BufferMs,
}

/// What the values are made of.
#[derive(Debug, Clone, Copy)]
pub struct Parameters {
    /// Bits per second, in units of 1,000.
    pub bitrate_kbps: u32,
    /// Frames per second.
    pub fps: u32,
    /// Cores of the host.
    pub cores: usize,
}

/// A key frame comes by itself once a minute; the others are asked for.
const KEY_FRAME_INTERVAL_S: u32 = 60;

/// Browsers dislike pictures of more slices than this.
const MAX_SLICES: usize = 4;

/// Frames that the rate control may borrow from.
const BUFFER_FRAMES: u32 = 2;

/// Every H.264 stream leaves as whole access units that any decoder takes.
const H264: &str =
    "video/x-h264,profile=constrained-baseline,stream-format=byte-stream,alignment=au";

/// Joins in a burst share a key frame; a join after it gets one at once.
const SHARE_KEY_FRAMES: (&str, Value) = ("min-force-key-unit-interval", Value::Fixed("100000000"));

/// The table.
pub const ENCODERS: &[Encoder] = &[
    Encoder {
        factory: "x264enc",
        input: "video/x-raw,format=I420",
        properties: &[
            ("tune", Value::Fixed("zerolatency")),
            ("speed-preset", Value::Fixed("ultrafast")),
            ("bframes", Value::Fixed("0")),
            ("rc-lookahead", Value::Fixed("0")),
            ("sync-lookahead", Value::Fixed("0")),
            ("sliced-threads", Value::Fixed("true")),
            ("threads", Value::Threads),
            ("key-int-max", Value::KeyFrameInterval),
            ("bitrate", Value::BitrateKbps),
            ("vbv-buf-capacity", Value::BufferMs),
            SHARE_KEY_FRAMES,
        ],
        output: H264,
        package: "gstreamer1.0-plugins-ugly",
    },
    Encoder {
        factory: "openh264enc",
        input: "video/x-raw,format=I420",
        properties: &[
            ("usage-type", Value::Fixed("camera")),
            ("complexity", Value::Fixed("low")),
            ("rate-control", Value::Fixed("bitrate")),
            ("slice-mode", Value::Fixed("n-slices")),
            ("num-slices", Value::Threads),
            ("scene-change-detection", Value::Fixed("false")),
            ("gop-size", Value::KeyFrameInterval),
            ("bitrate", Value::BitrateBps),
            SHARE_KEY_FRAMES,
        ],
        output: H264,
        package: "gstreamer1.0-plugins-bad",
    },
];

/// What may stand for `encoder` in the config.
pub fn names() -> Vec<&'static str> {
    std::iter::once(AUTO).chain(ENCODERS.iter().map(|row| row.factory)).collect()
}

/// The row to use: the wanted one, or the best that is `installed`. The error says what to do.
pub fn choose(wanted: &str, installed: impl Fn(&str) -> bool) -> Result<&'static Encoder, String> {
    let candidates = || ENCODERS.iter().filter(|row| wanted == AUTO || row.factory == wanted);
    candidates().find(|row| installed(row.factory)).ok_or_else(|| {
        let missing: Vec<_> =
            candidates().map(|row| format!("{} ({})", row.factory, row.package)).collect();
        format!("no encoder: install {}", missing.join(" or "))
    })
}

impl Parameters {
    /// shim
    pub fn of(camera: &crate::config::CameraConfig) -> Self {
        Self {
            bitrate_kbps: camera.bitrate_kbps,
            fps: camera.fps,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

impl Encoder {
    /// shim
    pub fn upload(&self) -> &'static str {
        "videoconvert"
    }
    /// shim
    pub fn input_caps(&self, width: u32, height: u32) -> String {
        format!("{},width={width},height={height},pixel-aspect-ratio=1/1", self.input)
    }
    /// Its part of the launch line, with the properties that it `has`.
    pub fn launch(&self, parameters: Parameters, has: impl Fn(&str) -> bool) -> String {
        let mut launch = format!("{} name=rovercast-encoder", self.factory);
        for (name, value) in self.properties.iter().filter(|(name, _)| has(name)) {
            launch.push_str(&format!(" {name}={}", value.text(parameters)));
        }
        launch + " ! " + self.output
    }
}

impl Value {
    fn text(self, parameters: Parameters) -> String {
        let Parameters { bitrate_kbps, fps, cores } = parameters;
        match self {
            Self::Fixed(text) => text.to_owned(),
            Self::BitrateBps => (u64::from(bitrate_kbps) * 1000).to_string(),
            Self::BitrateKbps => bitrate_kbps.to_string(),
            Self::KeyFrameInterval => (fps * KEY_FRAME_INTERVAL_S).to_string(),
            Self::Threads => cores.clamp(1, MAX_SLICES).to_string(),
            Self::BufferMs => (1000 * BUFFER_FRAMES).div_ceil(fps).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMETERS: Parameters = Parameters { bitrate_kbps: 2000, fps: 30, cores: 8 };

    #[test]
    fn auto_takes_the_best_that_is_installed() {
        assert_eq!(choose(AUTO, |_| true).unwrap().factory, "x264enc");
        assert_eq!(choose(AUTO, |name| name == "openh264enc").unwrap().factory, "openh264enc");
        assert_eq!(choose("openh264enc", |_| true).unwrap().factory, "openh264enc");
        let error = choose(AUTO, |_| false).unwrap_err();
        assert!(error.contains("gstreamer1.0-plugins-ugly"), "{error}");
    }

    #[test]
    fn units_are_those_of_the_element() {
        let x264 = ENCODERS[0].launch(PARAMETERS, |_| true);
        for part in [" bitrate=2000 ", " threads=4 ", " vbv-buf-capacity=67 ", " key-int-max=1800 "]
        {
            assert!(x264.contains(part), "{part} in {x264}");
        }
        let openh264 = ENCODERS[1].launch(PARAMETERS, |_| true);
        assert!(openh264.contains(" bitrate=2000000"), "{openh264}");
    }

    #[test]
    fn properties_that_the_element_lacks_are_left_out() {
        let launch = ENCODERS[0].launch(PARAMETERS, |name| name != "sync-lookahead");
        assert!(!launch.contains("sync-lookahead") && launch.contains("tune=zerolatency"));
    }
}
