//! The table of decoders: one row of data each, the best of each codec first. Pure.

use rovercast_protocol::codec::Codec;

/// One decoder and how to drive it without delay.
#[derive(Debug)]
pub struct Row {
    /// Its factory name.
    pub factory: &'static str,
    /// A driver is behind it: it may hang, take access units for nothing, or fail for reasons that
    /// are not in the stream.
    pub hardware: bool,
    /// It wants to be told profile and size, which RTP does not tell: the codec's parser stands
    /// before it.
    pub parsed: bool,
    /// Its properties; those that the installed version lacks are left out.
    pub properties: &'static [(&'static str, &'static str)],
    /// What brings its pictures to system memory, as a part of a launch line; empty where they
    /// never are elsewhere.
    pub download: &'static str,
    /// Debian's package with it.
    pub package: &'static str,
}

/// How a codec's access units are put together from RTP, and what decodes them.
#[derive(Debug)]
pub struct Way {
    /// The depayloader's factory name.
    pub depayloader: &'static str,
    /// What the depayloader is to make: whole access units, so that no parser has to wait for the
    /// next one to know where this one ends.
    pub access_units: &'static str,
    /// The parser's factory name. It gets whole access units, and passes each on at once.
    pub parser: &'static str,
    /// The decoders, the best first.
    pub rows: &'static [Row],
}

/// The way of a codec.
pub fn way(codec: Codec) -> &'static Way {
    match codec {
        Codec::H264 => &H264,
        Codec::H265 => &H265,
        Codec::Vp8 => &VP8,
    }
}

/// Every row of every codec.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    Codec::ALL.into_iter().flat_map(|codec| way(codec).rows)
}

/// A damaged picture is not shown, but asked for anew.
const WHOLE: (&str, &str) = ("output-corrupt", "false");
/// Nobody drops pictures but the view.
const ALL: (&str, &str) = ("qos", "false");
/// What cannot be decoded leads to a request for a key frame.
const REQUESTS: (&str, &str) = ("automatic-request-sync-points", "true");
/// Frame threads would hold one frame back for each thread.
const AT_ONCE: (&str, &str) = ("thread-type", "slice");

/// Of a decoder that could give memory of its device, too.
const SYSTEM_MEMORY: &str = "capsfilter caps=video/x-raw";

/// What the rows of hardware start from.
const HARDWARE: Row = Row {
    factory: "",
    hardware: true,
    parsed: true,
    properties: &[ALL, REQUESTS],
    download: SYSTEM_MEMORY,
    package: "gstreamer1.0-plugins-bad",
};

/// What the rows of software start from.
const SOFTWARE: Row = Row { hardware: false, parsed: false, download: "", ..HARDWARE };

/// One element for all codecs. The sender makes no pictures out of order, so none need be held.
const JETSON: Row = Row {
    factory: "nvv4l2decoder",
    properties: &[
        ("disable-dpb", "true"),
        ("enable-max-performance", "true"),
        // Thor's name for it.
        ("low-latency-mode", "true"),
        ALL,
        REQUESTS,
    ],
    download: "nvvidconv ! capsfilter caps=\"video/x-raw,format={NV12,I420}\"",
    package: "nvidia-l4t-gstreamer",
    ..HARDWARE
};

const NVIDIA: Row = Row { properties: &[("max-display-delay", "0"), ALL, REQUESTS], ..HARDWARE };

const VAAPI: Row = Row {
    parsed: false,
    properties: &[("low-latency", "true"), ALL, REQUESTS],
    package: "gstreamer1.0-vaapi",
    ..HARDWARE
};

const V4L2: Row = Row { package: "gstreamer1.0-plugins-good", ..HARDWARE };

const LIBAV: Row =
    Row { properties: &[AT_ONCE, WHOLE, ALL, REQUESTS], package: "gstreamer1.0-libav", ..SOFTWARE };

static H264: Way = Way {
    depayloader: "rtph264depay",
    access_units: "video/x-h264,stream-format=byte-stream,alignment=au",
    parser: "h264parse",
    rows: &[
        JETSON,
        Row { factory: "nvh264dec", ..NVIDIA },
        Row { factory: "vah264dec", ..HARDWARE },
        Row { factory: "vaapih264dec", ..VAAPI },
        Row { factory: "v4l2h264dec", ..V4L2 },
        Row { factory: "qsvh264dec", ..HARDWARE },
        Row { factory: "avdec_h264", ..LIBAV },
        Row { factory: "openh264dec", ..SOFTWARE },
    ],
};

static H265: Way = Way {
    depayloader: "rtph265depay",
    access_units: "video/x-h265,stream-format=byte-stream,alignment=au",
    parser: "h265parse",
    rows: &[
        JETSON,
        Row { factory: "nvh265dec", ..NVIDIA },
        Row { factory: "vah265dec", ..HARDWARE },
        Row { factory: "vaapih265dec", ..VAAPI },
        Row { factory: "v4l2h265dec", ..V4L2 },
        Row { factory: "qsvh265dec", ..HARDWARE },
        Row { factory: "avdec_h265", ..LIBAV },
        Row { factory: "libde265dec", ..SOFTWARE },
    ],
};

// Its depayloader tells the size, so that no row needs a parser; GStreamer 1.22 has none.
static VP8: Way = Way {
    depayloader: "rtpvp8depay",
    access_units: "video/x-vp8",
    parser: "",
    rows: &[
        Row { parsed: false, ..JETSON },
        Row { factory: "nvvp8dec", parsed: false, ..NVIDIA },
        Row { factory: "vavp8dec", parsed: false, ..HARDWARE },
        Row { factory: "vaapivp8dec", ..VAAPI },
        Row { factory: "v4l2vp8dec", parsed: false, ..V4L2 },
        Row { factory: "vp8dec", package: "gstreamer1.0-plugins-good", ..SOFTWARE },
        Row { factory: "avdec_vp8", ..LIBAV },
    ],
};

impl Row {
    /// Its part of a launch line: from access units to pictures in system memory, with the
    /// properties that it `has`.
    pub fn launch(&self, way: &Way, has: impl Fn(&str) -> bool) -> String {
        let parser = if self.parsed { format!("{} ! ", way.parser) } else { String::new() };
        let properties = self.properties.iter().filter(|(name, _)| has(name));
        let decoder = properties.fold(self.factory.to_owned(), |launch, (name, value)| {
            format!("{launch} {name}={value}")
        });
        let download = match self.download {
            "" => String::new(),
            download => format!(" ! {download}"),
        };
        format!("{parser}{decoder}{download}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(codec: Codec, factory: &str) -> &'static Row {
        way(codec).rows.iter().find(|row| row.factory == factory).unwrap()
    }

    #[test]
    fn hardware_comes_first_and_software_is_always_there() {
        for codec in Codec::ALL {
            let hardware: Vec<bool> = way(codec).rows.iter().map(|row| row.hardware).collect();
            assert!(hardware.is_sorted_by(|before, after| before >= after), "{codec}");
            assert_eq!(hardware.iter().filter(|hardware| !**hardware).count(), 2, "{codec}");
        }
    }

    #[test]
    fn no_row_of_a_codec_is_there_twice() {
        for codec in Codec::ALL {
            let mut factories: Vec<_> = way(codec).rows.iter().map(|row| row.factory).collect();
            factories.sort_unstable();
            assert!(factories.windows(2).all(|pair| pair[0] != pair[1]), "{factories:?}");
        }
    }

    #[test]
    fn a_parser_stands_only_where_there_is_one() {
        assert!(way(Codec::Vp8).rows.iter().all(|row| !row.parsed));
    }

    #[test]
    fn launch_lines() {
        let line = |codec, factory: &str| row(codec, factory).launch(way(codec), |_| true);
        assert_eq!(
            line(Codec::H265, "nvv4l2decoder"),
            "h265parse ! nvv4l2decoder disable-dpb=true enable-max-performance=true \
             low-latency-mode=true qos=false automatic-request-sync-points=true \
             ! nvvidconv ! capsfilter caps=\"video/x-raw,format={NV12,I420}\""
        );
        assert_eq!(
            line(Codec::H264, "vaapih264dec"),
            "vaapih264dec low-latency=true qos=false automatic-request-sync-points=true \
             ! capsfilter caps=video/x-raw"
        );
        assert_eq!(
            line(Codec::Vp8, "vp8dec"),
            "vp8dec qos=false automatic-request-sync-points=true"
        );
    }

    #[test]
    fn properties_that_the_element_lacks_are_left_out() {
        let row = row(Codec::H264, "nvh264dec");
        let launch = row.launch(way(Codec::H264), |name| name == "qos");
        assert_eq!(launch, "h264parse ! nvh264dec qos=false ! capsfilter caps=video/x-raw");
    }
}
