//! The decoders, one row of data each, the best first. Pure.

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

/// H.264, in whole access units.
pub const H264: &[Decoder] = &[
    Decoder {
        factory: "avdec_h264",
        // Frame threads would hold one frame back for each thread. A damaged picture is not shown.
        properties: &[
            ("thread-type", "slice"),
            ("output-corrupt", "false"),
            ("qos", "false"),
            ("automatic-request-sync-points", "true"),
        ],
        package: "gstreamer1.0-libav",
    },
    Decoder {
        factory: "openh264dec",
        properties: &[("qos", "false"), ("automatic-request-sync-points", "true")],
        package: "gstreamer1.0-plugins-bad",
    },
];

/// The best decoder that is `installed`. The error says what to do.
pub fn choose(installed: impl Fn(&str) -> bool) -> Result<&'static Decoder, String> {
    H264.iter().find(|row| installed(row.factory)).ok_or_else(|| {
        let missing: Vec<_> =
            H264.iter().map(|row| format!("{} ({})", row.factory, row.package)).collect();
        format!("no H.264 decoder: install {}", missing.join(" or "))
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
        assert_eq!(choose(|_| true).unwrap().factory, "avdec_h264");
        assert_eq!(choose(|name| name == "openh264dec").unwrap().factory, "openh264dec");
        assert!(choose(|_| false).unwrap_err().contains("gstreamer1.0-libav"));
    }

    #[test]
    fn properties_that_the_element_lacks_are_left_out() {
        let launch = H264[0].launch(|name| name != "qos");
        assert!(
            launch.starts_with("avdec_h264 name=rovercast-decoder thread-type=slice"),
            "{launch}"
        );
        assert!(!launch.contains("qos"), "{launch}");
    }
}
