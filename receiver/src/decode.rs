//! From RTP to pictures, for each codec: one row of data for each decoder, the best first. Pure.

use rovercast_protocol::codec::Codec;

/// The decoder's name in a pipeline: one that no launch fragment will have.
pub const NAME: &str = "rovercast-decoder";

/// One decoder and how to drive it without delay.
#[derive(Debug)]
pub struct Decoder {
    /// Its factory name.
    pub factory: &'static str,
    /// Its properties; those that the installed version lacks are left out.
    pub properties: &'static [(&'static str, &'static str)],
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
    /// The decoders.
    pub decoders: &'static [Decoder],
}

/// What keeps a depayloader from giving out what cannot be decoded after a loss. Not all of them
/// know it in all versions.
pub const DEPAYLOADER_PROPERTIES: [&str; 2] = ["request-keyframe", "wait-for-keyframe"];

/// A damaged picture is not shown, but asked for anew.
const WHOLE: (&str, &str) = ("output-corrupt", "false");
/// Nobody drops pictures but the view.
const ALL: (&str, &str) = ("qos", "false");
/// What cannot be decoded leads to a request for a key frame.
const REQUESTS: (&str, &str) = ("automatic-request-sync-points", "true");
/// Frame threads would hold one frame back for each thread.
const AT_ONCE: (&str, &str) = ("thread-type", "slice");

static H264: Way = Way {
    depayloader: "rtph264depay",
    access_units: "video/x-h264,stream-format=byte-stream,alignment=au",
    decoders: &[
        Decoder {
            factory: "avdec_h264",
            properties: &[AT_ONCE, WHOLE, ALL, REQUESTS],
            package: "gstreamer1.0-libav",
        },
        Decoder {
            factory: "openh264dec",
            properties: &[ALL, REQUESTS],
            package: "gstreamer1.0-plugins-bad",
        },
    ],
};

static H265: Way = Way {
    depayloader: "rtph265depay",
    access_units: "video/x-h265,stream-format=byte-stream,alignment=au",
    decoders: &[
        Decoder {
            factory: "avdec_h265",
            properties: &[AT_ONCE, WHOLE, ALL, REQUESTS],
            package: "gstreamer1.0-libav",
        },
        Decoder {
            factory: "libde265dec",
            properties: &[ALL, REQUESTS],
            package: "gstreamer1.0-plugins-bad",
        },
    ],
};

static VP8: Way = Way {
    depayloader: "rtpvp8depay",
    access_units: "video/x-vp8",
    decoders: &[
        Decoder {
            factory: "vp8dec",
            properties: &[ALL, REQUESTS],
            package: "gstreamer1.0-plugins-good",
        },
        Decoder {
            factory: "avdec_vp8",
            properties: &[AT_ONCE, WHOLE, ALL, REQUESTS],
            package: "gstreamer1.0-libav",
        },
    ],
};

/// The way of a codec.
pub fn way(codec: Codec) -> &'static Way {
    match codec {
        Codec::H264 => &H264,
        Codec::H265 => &H265,
        Codec::Vp8 => &VP8,
    }
}

/// The best decoder that is `installed`. The error says what to do.
pub fn choose(codec: Codec, installed: impl Fn(&str) -> bool) -> Result<&'static Decoder, String> {
    let rows = way(codec).decoders;
    rows.iter().find(|row| installed(row.factory)).ok_or_else(|| {
        let missing: Vec<_> =
            rows.iter().map(|row| format!("{} ({})", row.factory, row.package)).collect();
        format!("no {} decoder: install {}", codec.encoding_name(), missing.join(" or "))
    })
}

impl Decoder {
    /// Its part of a launch line, under the name [`NAME`], with the properties that it `has`.
    pub fn launch(&self, has: impl Fn(&str) -> bool) -> String {
        let properties = self.properties.iter().filter(|(name, _)| has(name));
        properties.fold(format!("{} name={NAME}", self.factory), |launch, (name, value)| {
            format!("{launch} {name}={value}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_that_is_installed() {
        let rows = |codec| way(codec).decoders;
        for codec in Codec::ALL {
            assert_eq!(choose(codec, |_| true).unwrap().factory, rows(codec)[0].factory);
            let second = rows(codec)[1].factory;
            assert_eq!(choose(codec, |name| name == second).unwrap().factory, second);
            let error = choose(codec, |_| false).unwrap_err();
            assert!(error.contains("gstreamer1.0-libav") && error.contains(codec.encoding_name()));
        }
    }

    #[test]
    fn properties_that_the_element_lacks_are_left_out() {
        let launch = H264.decoders[0].launch(|name| name != "qos");
        assert!(
            launch.starts_with("avdec_h264 name=rovercast-decoder thread-type=slice"),
            "{launch}"
        );
        assert!(!launch.contains("qos"), "{launch}");
    }
}
