//! The encoders: what one row of the table says, and the launch line that comes of it. Pure.

mod level;
mod table;
#[cfg(test)]
mod tests;

use rovercast_protocol::codec::Codec;

pub use table::ENCODERS;

/// The name in the config that leaves the choice to us.
pub const AUTO: &str = "auto";

/// The name of the encoder's element in its pipeline.
pub const ELEMENT: &str = "rovercast-encoder";

/// One encoder and how to drive it at low latency.
#[derive(Debug, PartialEq)]
pub struct Encoder {
    /// Its factory name.
    pub factory: &'static str,
    /// What it makes.
    pub codec: Codec,
    /// What stands in front of it, and with that the memory that its frames lie in.
    pub converter: Converter,
    /// The pixel format of its frames.
    pub format: &'static str,
    /// Its properties; those that the installed version lacks are left out.
    pub properties: &'static [Property],
    /// How it is asked for a key frame.
    pub key_frame: KeyFrame,
    /// Whether parameter sets come with every key frame.
    pub parameter_sets: ParameterSets,
    /// The caps that it must produce, without the level.
    pub output: &'static str,
    /// Whether the caps must name the level: it would take the lowest otherwise.
    pub needs_level: bool,
    /// The pictures that it takes.
    pub limits: Limits,
    /// Debian's package with it.
    pub package: &'static str,
}

/// What converts pictures into what an encoder takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Converter {
    /// The processor: `videoscale` and `videoconvert`.
    Software,
    /// The image processor of a Raspberry Pi: `v4l2convert`.
    V4l2,
    /// That of a Jetson: `nvvidconv`.
    Nvvidconv,
    /// An NVIDIA GPU: `cudaupload` and `cudaconvertscale`.
    Cuda,
    /// An Intel or AMD GPU: `vapostproc`.
    Va,
}

/// Where the pixels of a frame lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// In plain memory.
    System,
    /// In a Jetson's `NvBufSurface`.
    Nvmm,
    /// In an NVIDIA GPU.
    Cuda,
    /// In an Intel or AMD GPU.
    Va,
}

/// A property and when it is set. It is always left out where the element lacks it.
#[derive(Debug, PartialEq)]
pub struct Property {
    /// Its name.
    pub name: &'static str,
    /// What it is set to.
    pub value: Value,
    /// The generation of the element that it is for.
    pub when: When,
}

/// Generations of an element differ in their properties.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    /// For all of them.
    Always,
    /// For those that have this property, too.
    With(&'static str),
    /// For those that lack this one.
    Without(&'static str),
}

/// What a property is set to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// Always the same.
    Fixed(&'static str),
    /// The bitrate, in bits per second.
    BitrateBps,
    /// The bitrate, in 1,000 bits per second.
    BitrateKbps,
    /// The most frames between two key frames, but no more than this: long, since viewers ask for
    /// theirs.
    KeyFrameInterval(u32),
    /// Slices encoded side by side.
    Threads,
    /// The rate control's buffer, in milliseconds: two frames.
    BufferMs,
    /// The same, in 1,000 bits.
    BufferKbit,
    /// The same, in bits.
    BufferBits,
    /// The controls of a V4L2 encoder, which has no properties for them.
    V4l2Controls,
}

/// How an encoder is asked for a key frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFrame {
    /// By GStreamer's upstream event.
    Event,
    /// By setting this property to true where the element has it, else by the event.
    Property(&'static str),
    /// By this control before this version of GStreamer, which ignores the event; then by the event.
    Control {
        /// The V4L2 control.
        name: &'static str,
        /// The first version that obeys the event.
        until: (u32, u32, u32),
    },
}

/// Who repeats the parameter sets at each key frame: viewers join there. Never the payloader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterSets {
    /// The encoder, by itself or by one of its fixed properties; or there are none.
    Encoder,
    /// The encoder where it has this property, which is set to true, else a parser behind it.
    Property(&'static str),
    /// A parser behind it.
    Parser,
}

/// The pictures that an encoder takes, as far as that is known beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The smallest width and height.
    pub min: (u32, u32),
    /// The largest.
    pub max: (u32, u32),
    /// Macroblocks of 16x16 pixels in each second.
    pub macroblocks_per_s: u32,
}

/// What the values are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames per second, above 0.
    pub fps: u32,
    /// Bits per second, in units of 1,000.
    pub bitrate_kbps: u32,
    /// Cores of the host.
    pub cores: usize,
}

/// A key frame comes by itself once a minute; the others are asked for.
const KEY_FRAME_INTERVAL_S: u32 = 60;

/// Browsers dislike pictures of more slices than this.
const MAX_SLICES: usize = 4;

/// Frames that the rate control may borrow from.
const BUFFER_FRAMES: u32 = 2;

/// The rows for a codec, the best first: all of them for [`AUTO`], else the one with this factory
/// name.
pub fn candidates(codec: Codec, wanted: &str) -> impl Iterator<Item = &'static Encoder> + use<'_> {
    ENCODERS
        .iter()
        .filter(move |row| row.codec == codec && (wanted == AUTO || row.factory == wanted))
}

/// Whether an encoder may stand in the config beside a codec. The error is the remedy.
pub fn check(codec: Codec, wanted: &str) -> Result<(), String> {
    if wanted == AUTO || candidates(codec, wanted).next().is_some() {
        return Ok(());
    }
    let names: Vec<_> = candidates(codec, AUTO).map(|row| row.factory).collect();
    let names = format!("{AUTO}, {}", names.join(", "));
    Err(match ENCODERS.iter().find(|row| row.factory == wanted) {
        Some(other) => format!(
            "{wanted:?} makes {}, not {codec}: use {names}, or set codec = \"{}\"",
            other.codec, other.codec
        ),
        None => format!("{wanted:?} is not known: use {names}"),
    })
}

impl Encoder {
    /// Where the pixels of its frames lie.
    pub fn memory(&self) -> Memory {
        match self.converter {
            Converter::Software | Converter::V4l2 => Memory::System,
            Converter::Nvvidconv => Memory::Nvmm,
            Converter::Cuda => Memory::Cuda,
            Converter::Va => Memory::Va,
        }
    }

    /// The caps of its frames, for a filter behind a converter: no rate, since that of a camera
    /// may vary, and the colorimetry that the camera has.
    pub fn input_caps(&self, width: u32, height: u32) -> String {
        raw_caps(self.memory(), self.format, width, height)
    }

    /// The caps of its frames as it gets them, without colorimetry. Every encoder here wants a
    /// rate: rate control counts in frames, and V4L2 refuses caps without. It is the highest.
    pub fn frame_caps(&self, width: u32, height: u32, fps: u32) -> String {
        let caps = self.input_caps(width, height);
        format!("{caps},framerate={fps}/1,interlace-mode=progressive")
    }

    /// The elements that turn a picture of plain I420, of the right size, into a frame for it.
    pub fn upload(&self) -> &'static str {
        match self.converter {
            Converter::Software | Converter::V4l2 => "videoconvert",
            Converter::Nvvidconv => "nvvidconv",
            Converter::Cuda => "videoconvert ! video/x-raw,format=NV12 ! cudaupload",
            Converter::Va => "vapostproc",
        }
    }

    /// Its part of the launch line, from raw frames to access units with parameter sets. `has`
    /// tells which properties the installed element has.
    pub fn launch(&self, parameters: Parameters, has: impl Fn(&str) -> bool) -> String {
        let mut launch = format!("{} name={ELEMENT}", self.factory);
        for (name, text) in self.settings(parameters, &has) {
            launch.push_str(&format!(" {name}=\"{text}\""));
        }
        let output = self.output_caps(parameters);
        launch.push_str(&format!(" ! {output}"));
        let parser = match self.parameter_sets {
            ParameterSets::Encoder => false,
            ParameterSets::Property(name) => !has(name),
            ParameterSets::Parser => true,
        };
        if parser {
            let codec = self.codec.name();
            launch.push_str(&format!(" ! {codec}parse config-interval=-1 ! {}", self.output));
        }
        launch
    }

    /// Its properties with their values as text, in the order in which they are set.
    pub fn settings(
        &self,
        parameters: Parameters,
        has: impl Fn(&str) -> bool,
    ) -> Vec<(&'static str, String)> {
        let applies = |property: &&Property| {
            let generation = match property.when {
                When::Always => true,
                When::With(other) => has(other),
                When::Without(other) => !has(other),
            };
            generation && has(property.name)
        };
        let mut settings: Vec<_> = self
            .properties
            .iter()
            .filter(applies)
            .map(|property| (property.name, property.value.text(parameters)))
            .collect();
        if let ParameterSets::Property(name) = self.parameter_sets
            && has(name)
        {
            settings.push((name, "true".to_owned()));
        }
        settings
    }

    /// Whether it takes such pictures. The error says what it takes.
    pub fn fits(&self, width: u32, height: u32, fps: u32) -> Result<(), String> {
        let Limits { min, max, macroblocks_per_s } = self.limits;
        if width < min.0 || height < min.1 {
            return Err(format!("it takes pictures from {}x{} pixels on", min.0, min.1));
        }
        if width > max.0 || height > max.1 {
            return Err(format!("it takes pictures up to {}x{} pixels", max.0, max.1));
        }
        let frame = level::macroblocks(width, height);
        if frame.saturating_mul(fps) > macroblocks_per_s {
            let most = macroblocks_per_s / frame;
            return Err(format!("it encodes at most {most} frames/s of {width}x{height} pixels"));
        }
        Ok(())
    }

    fn output_caps(&self, parameters: Parameters) -> String {
        if !self.needs_level {
            return self.output.to_owned();
        }
        format!("{},level=(string){}", self.output, level::h264(parameters))
    }
}

/// The caps of raw frames of square pixels.
pub fn raw_caps(memory: Memory, format: &str, width: u32, height: u32) -> String {
    let feature = match memory {
        Memory::System => "",
        Memory::Nvmm => "(memory:NVMM)",
        Memory::Cuda => "(memory:CUDAMemory)",
        Memory::Va => "(memory:VAMemory)",
    };
    format!(
        "video/x-raw{feature},format={format},width={width},height={height},pixel-aspect-ratio=1/1"
    )
}

impl Value {
    /// Whether it changes with the bitrate.
    pub fn follows_bitrate(self) -> bool {
        match self {
            Self::BitrateBps | Self::BitrateKbps | Self::BufferKbit | Self::BufferBits => true,
            Self::V4l2Controls => true,
            Self::Fixed(_) | Self::KeyFrameInterval(_) | Self::Threads | Self::BufferMs => false,
        }
    }

    fn text(self, parameters: Parameters) -> String {
        let Parameters { bitrate_kbps, fps, cores, .. } = parameters;
        let bitrate_bps = u64::from(bitrate_kbps) * 1000;
        let key_frame_interval = fps * KEY_FRAME_INTERVAL_S;
        let buffer_bits = (bitrate_bps * u64::from(BUFFER_FRAMES)).div_ceil(u64::from(fps));
        match self {
            Self::Fixed(text) => text.to_owned(),
            Self::BitrateBps => bitrate_bps.to_string(),
            Self::BitrateKbps => bitrate_kbps.to_string(),
            Self::KeyFrameInterval(most) => key_frame_interval.min(most).to_string(),
            Self::Threads => cores.clamp(1, MAX_SLICES).to_string(),
            Self::BufferMs => (1000 * BUFFER_FRAMES).div_ceil(fps).to_string(),
            Self::BufferKbit => buffer_bits.div_ceil(1000).to_string(),
            Self::BufferBits => buffer_bits.to_string(),
            Self::V4l2Controls => format!(
                "controls,video_bitrate={},h264_i_frame_period={key_frame_interval},\
                 repeat_sequence_header=1",
                v4l2_bitrate_bps(bitrate_bps)
            ),
        }
    }
}

/// The nearest bitrate below that the V4L2 encoder of a Raspberry Pi takes.
fn v4l2_bitrate_bps(bitrate_bps: u64) -> u64 {
    const STEP: u64 = 25_000;
    const MAX: u64 = 25_000_000;
    (bitrate_bps / STEP * STEP).clamp(STEP, MAX)
}
