//! The table of encoders, one row of data each, the best of each codec first. Pure.

use rovercast_protocol::codec::Codec;

use super::{Converter, Encoder, KeyFrame, Limits, ParameterSets, Property, Value, When};

const fn set(name: &'static str, text: &'static str) -> Property {
    Property { name, value: Value::Fixed(text), when: When::Always }
}

const fn make(name: &'static str, value: Value) -> Property {
    Property { name, value, when: When::Always }
}

const fn only(when: When, name: &'static str, text: &'static str) -> Property {
    Property { name, value: Value::Fixed(text), when }
}

/// Every H.264 stream leaves as whole access units that any decoder takes.
const H264: &str =
    "video/x-h264,profile=constrained-baseline,stream-format=byte-stream,alignment=au";

const H265: &str = "video/x-h265,profile=main,stream-format=byte-stream,alignment=au";

/// Joins in a burst share a key frame; a join after it gets one at once.
const SHARE_KEY_FRAMES: Property = set("min-force-key-unit-interval", "100000000");

/// Where the element or its driver alone knows.
const ANY: Limits = Limits { min: (16, 16), max: (8192, 8192), macroblocks_per_s: u32::MAX };

/// Where no property of the element has a limit of its own.
const KEY_FRAME_INTERVAL: Value = Value::KeyFrameInterval(u32::MAX);

const NVV4L2: &[Property] = &[
    set("maxperf-enable", "true"),
    set("preset-level", "UltraFastPreset"),
    set("control-rate", "constant_bitrate"),
    set("insert-vui", "true"),
    set("num-B-Frames", "0"),
    // Decoders need not wait for pictures out of order.
    set("poc-type", "2"),
    make("iframeinterval", KEY_FRAME_INTERVAL),
    make("idrinterval", KEY_FRAME_INTERVAL),
    make("vbv-size", Value::BufferBits),
    make("bitrate", Value::BitrateBps),
    SHARE_KEY_FRAMES,
];

/// All generations of NVENC's elements: what one calls otherwise stands there under both names.
const NVENC: &[Property] = &[
    only(When::With("tune"), "preset", "p2"),
    only(When::Without("tune"), "preset", "low-latency-hp"),
    set("tune", "ultra-low-latency"),
    set("rc-mode", "cbr"),
    set("rate-control", "cbr"),
    set("bframes", "0"),
    set("b-frames", "0"),
    set("zerolatency", "true"),
    set("zero-reorder-delay", "true"),
    set("rc-lookahead", "0"),
    make("gop-size", KEY_FRAME_INTERVAL),
    make("vbv-buffer-size", Value::BufferKbit),
    make("bitrate", Value::BitrateKbps),
    SHARE_KEY_FRAMES,
];

const VA: &[Property] = &[
    set("rate-control", "cbr"),
    set("target-usage", "6"),
    set("b-frames", "0"),
    set("ref-frames", "1"),
    make("key-int-max", Value::KeyFrameInterval(1024)),
    make("cpb-size", Value::BufferKbit),
    make("bitrate", Value::BitrateKbps),
    SHARE_KEY_FRAMES,
];

/// What the rows start from.
const ROW: Encoder = Encoder {
    factory: "",
    codec: Codec::H264,
    converter: Converter::Software,
    format: "I420",
    properties: &[],
    key_frame: KeyFrame::Event,
    parameter_sets: ParameterSets::Encoder,
    output: H264,
    needs_level: false,
    limits: ANY,
    package: "gstreamer1.0-plugins-bad",
};

const JETSON: Encoder = Encoder {
    converter: Converter::Nvvidconv,
    format: "NV12",
    properties: NVV4L2,
    // Jetson Thor has the property; its predecessors obey the event.
    key_frame: KeyFrame::Property("force-idr"),
    parameter_sets: ParameterSets::Property("insert-sps-pps"),
    package: "nvidia-l4t-gstreamer",
    ..ROW
};

const NVIDIA_H264: Encoder = Encoder {
    converter: Converter::Cuda,
    format: "NV12",
    properties: NVENC,
    parameter_sets: ParameterSets::Property("repeat-sequence-header"),
    limits: Limits { min: (160, 64), max: (4096, 4096), ..ANY },
    ..ROW
};

const NVIDIA_H265: Encoder = Encoder {
    codec: Codec::H265,
    output: H265,
    limits: Limits { min: (160, 144), ..ANY },
    ..NVIDIA_H264
};

const VA_H264: Encoder = Encoder {
    converter: Converter::Va,
    format: "NV12",
    properties: VA,
    parameter_sets: ParameterSets::Parser,
    ..ROW
};

/// The table.
pub const ENCODERS: &[Encoder] = &[
    Encoder { factory: "nvv4l2h264enc", ..JETSON },
    Encoder {
        factory: "v4l2h264enc",
        converter: Converter::V4l2,
        properties: &[make("extra-controls", Value::V4l2Controls), SHARE_KEY_FRAMES],
        key_frame: KeyFrame::Control { name: "force_key_frame", until: (1, 22, 4) },
        needs_level: true,
        limits: Limits {
            min: (32, 32),
            max: (1920, 1920),
            // What the hardware is rated for: 1920x1080 at 30.
            macroblocks_per_s: 120 * 68 * 30,
        },
        package: "gstreamer1.0-plugins-good",
        ..ROW
    },
    Encoder { factory: "nvh264enc", ..NVIDIA_H264 },
    Encoder { factory: "nvcudah264enc", ..NVIDIA_H264 },
    Encoder { factory: "nvautogpuh264enc", ..NVIDIA_H264 },
    Encoder { factory: "vah264enc", ..VA_H264 },
    Encoder { factory: "vah264lpenc", ..VA_H264 },
    // These two take plain memory and bring it to the GPU themselves: their own kinds of GPU memory
    // would need the same display on both sides of the seam between camera and encoder.
    Encoder {
        factory: "vaapih264enc",
        properties: &[
            set("rate-control", "cbr"),
            set("quality-level", "7"),
            set("max-bframes", "0"),
            set("refs", "1"),
            make("keyframe-period", KEY_FRAME_INTERVAL),
            make("cpb-length", Value::BufferMs),
            make("bitrate", Value::BitrateKbps),
            SHARE_KEY_FRAMES,
        ],
        parameter_sets: ParameterSets::Parser,
        package: "gstreamer1.0-vaapi",
        ..ROW
    },
    Encoder {
        factory: "qsvh264enc",
        format: "NV12",
        properties: &[
            set("low-latency", "true"),
            set("rate-control", "cbr"),
            set("target-usage", "7"),
            set("b-frames", "0"),
            set("ref-frames", "1"),
            set("idr-interval", "0"),
            make("gop-size", KEY_FRAME_INTERVAL),
            make("bitrate", Value::BitrateKbps),
            SHARE_KEY_FRAMES,
        ],
        parameter_sets: ParameterSets::Parser,
        ..ROW
    },
    Encoder {
        factory: "x264enc",
        properties: &[
            set("tune", "zerolatency"),
            set("speed-preset", "ultrafast"),
            // That preset leaves it out. It gives 1.4 to 1.8 dB at low bitrates for next to no time;
            // what slower presets give beyond that costs 0.3 times more and up (docs/latency.md).
            set("option-string", "deblock=0,0"),
            set("bframes", "0"),
            set("rc-lookahead", "0"),
            set("sync-lookahead", "0"),
            set("sliced-threads", "true"),
            make("threads", Value::Threads),
            make("key-int-max", KEY_FRAME_INTERVAL),
            make("vbv-buf-capacity", Value::BufferMs),
            make("bitrate", Value::BitrateKbps),
            SHARE_KEY_FRAMES,
        ],
        package: "gstreamer1.0-plugins-ugly",
        ..ROW
    },
    Encoder {
        factory: "openh264enc",
        properties: &[
            set("usage-type", "camera"),
            set("complexity", "low"),
            set("rate-control", "bitrate"),
            set("slice-mode", "n-slices"),
            make("num-slices", Value::Threads),
            set("scene-change-detection", "false"),
            make("gop-size", KEY_FRAME_INTERVAL),
            make("bitrate", Value::BitrateBps),
            SHARE_KEY_FRAMES,
        ],
        limits: Limits { max: (3840, 2160), ..ANY },
        ..ROW
    },
    Encoder { factory: "nvv4l2h265enc", codec: Codec::H265, output: H265, ..JETSON },
    Encoder { factory: "nvh265enc", ..NVIDIA_H265 },
    Encoder { factory: "nvcudah265enc", ..NVIDIA_H265 },
    Encoder { factory: "vah265enc", codec: Codec::H265, output: H265, ..VA_H264 },
    Encoder {
        factory: "x265enc",
        codec: Codec::H265,
        properties: &[
            set("tune", "zerolatency"),
            set("speed-preset", "ultrafast"),
            // Without these a key frame that is asked for is one that no viewer can join at.
            set("option-string", "min-keyint=1:open-gop=0:repeat-headers=1"),
            make("key-int-max", KEY_FRAME_INTERVAL),
            make("bitrate", Value::BitrateKbps),
            SHARE_KEY_FRAMES,
        ],
        output: H265,
        ..ROW
    },
    Encoder {
        factory: "vp8enc",
        codec: Codec::Vp8,
        // A buffer of two frames costs up to 1 dB and makes no frame smaller: it keeps its own.
        properties: &[
            set("deadline", "1"),
            set("cpu-used", "-8"),
            set("lag-in-frames", "0"),
            set("end-usage", "cbr"),
            set("error-resilient", "default"),
            make("threads", Value::Threads),
            make("keyframe-max-dist", KEY_FRAME_INTERVAL),
            make("target-bitrate", Value::BitrateBps),
            SHARE_KEY_FRAMES,
        ],
        output: "video/x-vp8",
        package: "gstreamer1.0-plugins-good",
        ..ROW
    },
];
