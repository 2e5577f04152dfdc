//! What stands between a camera's frames and its encoder: crop, rotate, flip, scale and convert,
//! in hardware where that keeps the picture's shape. The lens comes before it. Pure.
//!
//! Pictures are never stretched: borders fill what is left. `nvvidconv` and `v4l2convert` know no
//! borders, so they do only what is known to keep the shape; the rest is done by the processor.

use crate::camera::encoder::{Converter, Encoder, Memory, raw_caps};
use crate::config::{Crop, Flip, PictureConfig, Rotation};

/// The frames that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input {
    /// Where their pixels lie.
    pub memory: Memory,
    /// Width and height of their square pixels, where that is certain beforehand.
    pub size: Option<(u32, u32)>,
}

/// What is installed here.
pub trait Installed {
    /// Whether there is an element of this factory name.
    fn has_element(&self, factory: &str) -> bool;
    /// Whether that element has a property of this name.
    fn has_property(&self, factory: &str, property: &str) -> bool;
}

/// The elements that make frames for the encoder of `row` out of those that come. A filter with
/// the row's [`Encoder::input_caps`] of this size must stand behind them.
pub fn transform(
    picture: &PictureConfig,
    row: &Encoder,
    (width, height): (u32, u32),
    input: Input,
    installed: &impl Installed,
) -> String {
    let work = Work { crop: picture.crop, turn: Turn::of(picture.rotate, picture.flip), input };
    let foreign = input.memory != Memory::System && row.memory() != Memory::System;
    let engine = match (row.memory(), input.memory) {
        (other, memory) if foreign && other != memory => None,
        (Memory::System, Memory::System) => {
            (row.converter == Converter::V4l2).then_some(Converter::V4l2)
        }
        (Memory::Nvmm, _) | (_, Memory::Nvmm) => Some(Converter::Nvvidconv),
        (Memory::Cuda, _) | (_, Memory::Cuda) => Some(Converter::Cuda),
        (Memory::Va, _) | (_, Memory::Va) => Some(Converter::Va),
    };
    let hardware = match engine {
        Some(Converter::Nvvidconv) => work.nvvidconv(width, height),
        Some(Converter::V4l2) => work.v4l2convert(width, height, installed),
        Some(Converter::Cuda) => work.cuda(row, installed),
        Some(Converter::Va) => work.va(installed),
        Some(Converter::Software) | None => None,
    };
    let elements = hardware.unwrap_or_else(|| work.software(row, width, height));
    elements.join(" ! ")
}

/// What brings pictures into plain memory; nothing where they are there.
pub fn download(memory: Memory) -> &'static [&'static str] {
    match memory {
        Memory::System => &[],
        Memory::Nvmm => &["nvvidconv", "video/x-raw,format=I420"],
        Memory::Cuda => &["cudadownload"],
        Memory::Va => &["vapostproc", "video/x-raw,format=NV12"],
    }
}

/// One of the eight ways in which a picture can lie, after rotation and flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    None,
    Clockwise,
    Half,
    CounterClockwise,
    Horizontal,
    Vertical,
    /// Mirrored at the diagonal from the upper left.
    UpperLeft,
    /// Mirrored at the diagonal from the upper right.
    UpperRight,
}

impl Turn {
    /// First rotated, then flipped.
    fn of(rotate: Rotation, flip: Flip) -> Self {
        match (rotate, flip) {
            (Rotation::None, Flip::None) => Self::None,
            (Rotation::Quarter, Flip::None) => Self::Clockwise,
            (Rotation::Half, Flip::None) => Self::Half,
            (Rotation::ThreeQuarters, Flip::None) => Self::CounterClockwise,
            (Rotation::None, Flip::Horizontal) | (Rotation::Half, Flip::Vertical) => {
                Self::Horizontal
            }
            (Rotation::None, Flip::Vertical) | (Rotation::Half, Flip::Horizontal) => Self::Vertical,
            (Rotation::Quarter, Flip::Horizontal) | (Rotation::ThreeQuarters, Flip::Vertical) => {
                Self::UpperLeft
            }
            (Rotation::Quarter, Flip::Vertical) | (Rotation::ThreeQuarters, Flip::Horizontal) => {
                Self::UpperRight
            }
        }
    }

    fn swaps_sides(self) -> bool {
        matches!(
            self,
            Self::Clockwise | Self::CounterClockwise | Self::UpperLeft | Self::UpperRight
        )
    }

    /// As GStreamer's `video-direction` calls it.
    fn direction(self) -> &'static str {
        match self {
            Self::None => "identity",
            Self::Clockwise => "90r",
            Self::Half => "180",
            Self::CounterClockwise => "90l",
            Self::Horizontal => "horiz",
            Self::Vertical => "vert",
            Self::UpperLeft => "ul-lr",
            Self::UpperRight => "ur-ll",
        }
    }

    /// As `nvvidconv` calls it: its numbers are not those of `videoflip`.
    fn nvvidconv(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Clockwise => "clockwise",
            Self::Half => "rotate-180",
            Self::CounterClockwise => "counterclockwise",
            Self::Horizontal => "horizontal-flip",
            Self::Vertical => "vertical-flip",
            Self::UpperLeft => "upper-left-diagonal",
            Self::UpperRight => "upper-right-diagonal",
        }
    }
}

struct Work {
    crop: Crop,
    turn: Turn,
    input: Input,
}

impl Work {
    fn crops(&self) -> bool {
        self.crop != Crop::default()
    }

    fn is_plain_memory(&self) -> bool {
        self.input.memory == Memory::System
    }

    /// The size after crop and turn, where it is certain.
    fn turned_size(&self) -> Option<(u32, u32)> {
        let Crop { left, right, top, bottom } = self.crop;
        let (width, height) = self.input.size?;
        let width = width.checked_sub(left + right).filter(|&width| width > 0)?;
        let height = height.checked_sub(top + bottom).filter(|&height| height > 0)?;
        Some(if self.turn.swaps_sides() { (height, width) } else { (width, height) })
    }

    /// Whether scaling to this size is certain to keep the shape without borders.
    fn keeps_shape(&self, width: u32, height: u32) -> bool {
        self.turned_size().is_some_and(|(from_width, from_height)| {
            u64::from(from_width) * u64::from(height) == u64::from(from_height) * u64::from(width)
        })
    }

    /// All by `nvvidconv`, into a Jetson's memory or out of it.
    fn nvvidconv(&self, width: u32, height: u32) -> Option<Vec<String>> {
        if !self.keeps_shape(width, height) {
            return None;
        }
        let (from_width, from_height) = self.input.size?;
        let mut convert = "nvvidconv interpolation-method=Bilinear".to_owned();
        if self.crops() {
            // The edges of what stays, in pixels from the upper left corner.
            let Crop { left, right, top, bottom } = self.crop;
            let (right, bottom) = (from_width - right, from_height - bottom);
            convert += &format!(" left={left} right={right} top={top} bottom={bottom}");
        }
        if self.turn != Turn::None {
            convert += &format!(" flip-method={}", self.turn.nvvidconv());
        }
        // It takes few plain formats.
        let front = self.is_plain_memory().then(|| "videoconvert".to_owned());
        Some(front.into_iter().chain([convert]).collect())
    }

    /// Scaling alone, where there is any: the processor converts and turns as fast.
    fn v4l2convert(
        &self,
        width: u32,
        height: u32,
        installed: &impl Installed,
    ) -> Option<Vec<String>> {
        let plain = !self.crops() && self.turn == Turn::None;
        let scales = self.input.size.is_some_and(|size| size != (width, height));
        if !plain || !scales || !self.keeps_shape(width, height) {
            return None;
        }
        if !installed.has_element("v4l2convert") {
            return None;
        }
        // It may refuse to change the colorimetry.
        Some(vec![
            "v4l2convert".to_owned(),
            raw_caps(Memory::System, "I420", width, height),
            "videoconvert".to_owned(),
        ])
    }

    /// In an NVIDIA GPU, into it or out of it. It puts borders where they are needed.
    fn cuda(&self, row: &Encoder, installed: &impl Installed) -> Option<Vec<String>> {
        const CONVERT: &str = "cudaconvertscale";
        let turns = self.turn != Turn::None;
        let gpu_turns = turns && installed.has_property(CONVERT, "video-direction");
        if !installed.has_element(CONVERT) || !self.processor_can(turns && !gpu_turns) {
            return None;
        }
        let mut elements = self.processor_first(turns && !gpu_turns);
        if self.is_plain_memory() {
            // It takes few plain formats before 1.22.
            elements.extend(["videoconvert".to_owned(), "cudaupload".to_owned()]);
        }
        elements.push(format!("{CONVERT} add-borders=true{}", self.direction(gpu_turns)));
        if row.memory() == Memory::System {
            elements.push("cudadownload".to_owned());
        }
        Some(elements)
    }

    /// By an Intel or AMD GPU, into its memory or out of it. It puts borders where they are needed.
    fn va(&self, installed: &impl Installed) -> Option<Vec<String>> {
        const CONVERT: &str = "vapostproc";
        let turns = self.turn != Turn::None;
        let gpu_turns = turns && installed.has_property(CONVERT, "video-direction");
        if !self.processor_can(turns && !gpu_turns) {
            return None;
        }
        let mut elements = self.processor_first(turns && !gpu_turns);
        if self.is_plain_memory() {
            elements.push("videoconvert".to_owned());
        }
        elements.push(format!("{CONVERT} add-borders=true{}", self.direction(gpu_turns)));
        Some(elements)
    }

    /// Whether what the GPU cannot do can be done before the frames get there.
    fn processor_can(&self, turns: bool) -> bool {
        self.is_plain_memory() || !(turns || self.crops())
    }

    /// What is done in plain memory before.
    fn processor_first(&self, turns: bool) -> Vec<String> {
        let crop = self.crops().then(|| self.videocrop());
        let turn = turns.then(|| self.videoflip());
        crop.into_iter().chain(turn).collect()
    }

    fn direction(&self, turns: bool) -> String {
        if turns { format!(" video-direction={}", self.turn.direction()) } else { String::new() }
    }

    fn videocrop(&self) -> String {
        let Crop { left, right, top, bottom } = self.crop;
        format!("videocrop left={left} right={right} top={top} bottom={bottom}")
    }

    fn videoflip(&self) -> String {
        format!("videoflip video-direction={}", self.turn.direction())
    }

    /// All in plain memory, whatever comes and whatever is wanted.
    fn software(&self, row: &Encoder, width: u32, height: u32) -> Vec<String> {
        let download = download(self.input.memory).iter();
        let mut elements: Vec<String> = download.map(|&element| element.to_owned()).collect();
        elements.extend(self.processor_first(self.turn != Turn::None));
        elements.extend(["videoscale add-borders=true".to_owned(), "videoconvert".to_owned()]);
        let upload = match row.memory() {
            Memory::System => return elements,
            Memory::Nvmm => "nvvidconv",
            Memory::Cuda => "cudaupload",
            Memory::Va => "vapostproc",
        };
        elements.push(raw_caps(Memory::System, row.format, width, height));
        elements.push(upload.to_owned());
        elements
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::encoder::ENCODERS;

    /// All but these elements, and these properties.
    struct Without(&'static [&'static str]);

    impl Installed for Without {
        fn has_element(&self, factory: &str) -> bool {
            !self.0.contains(&factory)
        }
        fn has_property(&self, factory: &str, property: &str) -> bool {
            !self.0.contains(&factory) && !self.0.contains(&property)
        }
    }

    const ALL: Without = Without(&[]);
    const PLAIN: PictureConfig = PictureConfig {
        crop: Crop { left: 0, right: 0, top: 0, bottom: 0 },
        rotate: Rotation::None,
        flip: Flip::None,
        lens: None,
    };
    const TURNED: PictureConfig = PictureConfig {
        crop: Crop { left: 10, right: 20, top: 0, bottom: 6 },
        rotate: Rotation::Quarter,
        ..PLAIN
    };

    fn to(
        factory: &str,
        picture: PictureConfig,
        size: (u32, u32),
        (memory, from): (Memory, Option<(u32, u32)>),
        installed: Without,
    ) -> String {
        let row = ENCODERS.iter().find(|row| row.factory == factory).unwrap();
        transform(&picture, row, size, Input { memory, size: from }, &installed)
    }

    const VGA: (u32, u32) = (640, 480);
    const UNKNOWN: (Memory, Option<(u32, u32)>) = (Memory::System, None);

    #[test]
    fn nothing_is_done_that_is_not_wanted() {
        assert_eq!(
            to("x264enc", PLAIN, VGA, UNKNOWN, ALL),
            "videoscale add-borders=true ! videoconvert"
        );
        assert_eq!(
            to("x264enc", TURNED, VGA, UNKNOWN, ALL),
            "videocrop left=10 right=20 top=0 bottom=6 ! videoflip video-direction=90r \
             ! videoscale add-borders=true ! videoconvert"
        );
    }

    #[test]
    fn a_jetson_does_all_where_the_shape_stays() {
        let argus = (Memory::Nvmm, Some((1280, 960)));
        assert_eq!(
            to("nvv4l2h264enc", PLAIN, VGA, argus, ALL),
            "nvvidconv interpolation-method=Bilinear"
        );
        // 1250x954 after the crop, on its side.
        assert_eq!(
            to("nvv4l2h264enc", TURNED, (954, 1250), argus, ALL),
            "nvvidconv interpolation-method=Bilinear left=10 right=1260 top=0 bottom=954 \
             flip-method=clockwise"
        );
        // An Orin Nano has no encoder, but the converter brings the frames out.
        assert_eq!(
            to("x264enc", PLAIN, VGA, argus, ALL),
            "nvvidconv interpolation-method=Bilinear"
        );
    }

    #[test]
    fn pictures_that_would_be_stretched_go_by_the_processor() {
        let wide = (Memory::Nvmm, Some((1280, 720)));
        let software = "nvvidconv ! video/x-raw,format=I420 ! videoscale add-borders=true \
                        ! videoconvert ! video/x-raw,format=NV12,width=640,height=480,\
                        pixel-aspect-ratio=1/1 ! nvvidconv";
        assert_eq!(to("nvv4l2h264enc", PLAIN, VGA, wide, ALL), software);
        assert_eq!(to("nvv4l2h264enc", PLAIN, VGA, (Memory::Nvmm, None), ALL), software);
        let on_its_side = PictureConfig { rotate: Rotation::Quarter, ..PLAIN };
        let plan = to("nvv4l2h264enc", on_its_side, VGA, (Memory::Nvmm, Some(VGA)), ALL);
        assert!(plan.contains("videoflip video-direction=90r"), "{plan}");
    }

    #[test]
    fn a_pi_scales_by_hardware_and_does_nothing_else_by_it() {
        let hd = (Memory::System, Some((1280, 960)));
        let plan = to("v4l2h264enc", PLAIN, VGA, hd, ALL);
        assert!(plan.starts_with("v4l2convert ! video/x-raw,format=I420,width=640"), "{plan}");
        let software = "videoscale add-borders=true ! videoconvert";
        for (from, installed) in [
            (hd, Without(&["v4l2convert"])),
            ((Memory::System, Some(VGA)), ALL),
            ((Memory::System, Some((1280, 720))), ALL),
            (UNKNOWN, ALL),
        ] {
            assert_eq!(to("v4l2h264enc", PLAIN, VGA, from, installed), software);
        }
    }

    #[test]
    fn gpus_turn_where_they_can() {
        assert_eq!(
            to("nvh264enc", TURNED, VGA, UNKNOWN, ALL),
            "videocrop left=10 right=20 top=0 bottom=6 ! videoconvert ! cudaupload \
             ! cudaconvertscale add-borders=true video-direction=90r"
        );
        assert_eq!(
            to("vah264enc", TURNED, VGA, UNKNOWN, Without(&["video-direction"])),
            "videocrop left=10 right=20 top=0 bottom=6 ! videoflip video-direction=90r \
             ! videoconvert ! vapostproc add-borders=true"
        );
        assert_eq!(
            to("nvh264enc", PLAIN, VGA, UNKNOWN, Without(&["cudaconvertscale"])),
            "videoscale add-borders=true ! videoconvert ! video/x-raw,format=NV12,width=640,\
             height=480,pixel-aspect-ratio=1/1 ! cudaupload"
        );
        let decoded = (Memory::Va, None);
        assert_eq!(to("vah264enc", PLAIN, VGA, decoded, ALL), "vapostproc add-borders=true");
        assert_eq!(to("x264enc", PLAIN, VGA, decoded, ALL), "vapostproc add-borders=true");
        let plan = to("vah264enc", TURNED, VGA, decoded, ALL);
        assert!(plan.starts_with("vapostproc ! video/x-raw,format=NV12 ! videocrop"), "{plan}");
    }

    #[test]
    fn frames_of_another_gpu_go_through_plain_memory() {
        let plan = to("nvh264enc", PLAIN, VGA, (Memory::Va, None), ALL);
        assert!(plan.starts_with("vapostproc ! video/x-raw,format=NV12 ! videoscale"), "{plan}");
        assert!(plan.ends_with("! cudaupload"), "{plan}");
    }

    #[test]
    fn rotation_comes_before_the_flip() {
        let turn = |rotate, flip| Turn::of(rotate, flip).direction();
        assert_eq!(turn(Rotation::Quarter, Flip::Horizontal), "ul-lr");
        assert_eq!(turn(Rotation::Quarter, Flip::Vertical), "ur-ll");
        assert_eq!(turn(Rotation::Half, Flip::Horizontal), "vert");
        assert_eq!(turn(Rotation::ThreeQuarters, Flip::None), "90l");
    }
}
