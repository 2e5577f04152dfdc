//! How encoded sources are opened, and how what comes from them is taken apart. Pure.
//!
//! A source is opened by a launch fragment; secrets are set as properties afterwards, so that the
//! fragment may be logged. From its end on every step follows from the caps that come:
//! [`step`] tells the next element, until there is video to [`Step::Deliver`].

use std::collections::BTreeMap;

use crate::camera::origin::v4l2_properties;
use crate::config::{Control, RtspTransport, Source, V4l2Format};

/// The element that the secrets are for.
pub const ORIGIN: &str = "rovercast-origin";
/// The last element, where it is another one.
pub const END: &str = "rovercast-end";

/// A server that does not answer is not waited for any longer, in microseconds.
const CONNECT_US: u32 = 3_000_000;
/// A web server that falls silent is left after this, in seconds.
const SILENCE_S: u32 = 3;

/// An SRT source that is to be closed sees it after this, in milliseconds.
const POLL_MS: u32 = 100;

/// How a source is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The launch fragment. Its pads are at [`END`], or else at [`ORIGIN`].
    pub launch: String,
    /// The properties of [`ORIGIN`] that no log may show.
    pub secrets: Vec<(&'static str, String)>,
}

/// The picture that is wanted of a device.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames per second.
    pub fps: u32,
    /// The device's controls.
    pub controls: &'a BTreeMap<String, Control>,
}

/// What kind of video a source ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// H.264 as a byte stream, an access unit in each buffer, its parameter sets before every key
    /// frame.
    H264,
    /// Another codec: for a decoder.
    Encoded,
    /// Raw pictures.
    Raw,
}

/// The caps of a pad, as far as they matter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caps<'a> {
    /// The media type.
    pub name: &'a str,
    /// `media` of RTP.
    pub media: Option<&'a str>,
    /// `encoding-name` of RTP.
    pub encoding: Option<&'a str>,
    /// What they come from.
    pub from: From,
}

/// What a pad belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum From {
    /// Anything that need not be told from others.
    #[default]
    Other,
    /// The demuxer of transport streams.
    TransportStream,
    /// A parser of any stream: there is nothing left to take apart.
    Parser,
}

impl From {
    /// By the element's factory.
    pub fn factory(name: &str) -> Self {
        match name {
            TRANSPORT_STREAM => Self::TransportStream,
            ANY => Self::Parser,
            _ => Self::Other,
        }
    }
}

/// What becomes of a pad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It stays as it is, linked to nothing: demuxers do not mind as long as one pad is linked.
    Leave,
    /// This element takes it apart.
    Apart(&'static str),
    /// It is video, once it went through these elements.
    Deliver(&'static str, Media),
}

/// Takes apart what we know nothing about.
const ANY: &str = "parsebin";
const TRANSPORT_STREAM: &str = "tsdemux";

/// The parser: it repeats the parameter sets, and passes whole access units on at once.
macro_rules! h264 {
    ($before:literal) => {
        concat!(
            $before,
            "h264parse config-interval=-1 \
             ! capsfilter caps=\"video/x-h264,stream-format=byte-stream,alignment=au\""
        )
    };
}

/// Whether the source's video comes encoded.
pub fn comes_encoded(source: &Source) -> bool {
    match source {
        Source::V4l2 { format, .. } => *format == V4l2Format::H264,
        Source::Rtsp { .. } | Source::Http { .. } | Source::Srt { .. } | Source::Rtmp { .. } => {
            true
        }
        _ => false,
    }
}

/// Whether the source waits for somebody to come. Then no picture is no failure.
pub fn waits(source: &Source) -> bool {
    matches!(source, Source::Srt { .. } | Source::Rtmp { .. })
}

/// How it is opened, if it is one that comes encoded.
pub fn opening(source: &Source, wanted: Wanted<'_>) -> Option<Opening> {
    let Wanted { width, height, fps, controls } = wanted;
    Some(match source {
        Source::Rtsp { url, transport, latency_ms } => {
            let protocols = match transport {
                RtspTransport::Udp => "udp",
                RtspTransport::Tcp => "tcp",
            };
            Opening {
                launch: format!(
                    "rtspsrc name={ORIGIN} latency={latency_ms} protocols={protocols} \
                     drop-on-latency=true timeout={CONNECT_US} tcp-timeout={CONNECT_US}"
                ),
                secrets: vec![("location", url.0.clone())],
            }
        }
        Source::Http { url } => Opening {
            launch: format!(
                "souphttpsrc name={ORIGIN} is-live=true do-timestamp=true timeout={SILENCE_S} \
                 retries=0 ! typefind name={END}"
            ),
            secrets: vec![("location", url.0.clone())],
        },
        Source::Srt { listen, passphrase, latency_ms } => Opening {
            // By itself it would be closed no sooner than the sender is known to be dead, and the
            // demuxer would claim 700 ms.
            launch: format!(
                "srtsrc name={ORIGIN} uri=\"srt://{listen}?mode=listener\" latency={latency_ms} \
                 poll-timeout={POLL_MS} ! tsdemux name={END} latency=0"
            ),
            secrets: passphrase.iter().map(|text| ("passphrase", text.0.clone())).collect(),
        },
        Source::Rtmp { .. } => Opening {
            launch: format!("appsrc name={ORIGIN} is-live=true format=time"),
            secrets: Vec::new(),
        },
        Source::V4l2 { device, format: V4l2Format::H264 } => {
            let properties = v4l2_properties(device, controls);
            Opening {
                launch: format!(
                    "v4l2src name={ORIGIN} {properties} \
                     ! capsfilter name={END} caps=\"\
                     video/x-h264,width={width},height={height},framerate={fps}/1;\
                     video/x-h264,width={width},height={height};video/x-h264\""
                ),
                secrets: Vec::new(),
            }
        }
        _ => return None,
    })
}

/// What becomes of a pad with these caps.
pub fn step(caps: Caps<'_>) -> Step {
    let Caps { name, media, encoding, from } = caps;
    match name {
        "application/x-rtp" => match (media, encoding) {
            // Packets carry a mark at the end of an access unit: nothing waits for the next.
            (Some("video"), Some("H264")) => Step::Deliver(h264!("rtph264depay ! "), Media::H264),
            (Some("video"), _) => Step::Apart(ANY),
            _ => Step::Leave,
        },
        "video/mpegts" => Step::Apart("tsdemux latency=0"),
        "multipart/x-mixed-replace" => Step::Apart("multipartdemux single-stream=true"),
        // A transport stream carries an access unit in each of its packets (PES), though the
        // demuxer does not promise it. Without that the parser would wait for the next one.
        "video/x-h264" if from == From::TransportStream => {
            Step::Deliver(h264!("capssetter caps=\"video/x-h264,alignment=au\" ! "), Media::H264)
        }
        "video/x-h264" => Step::Deliver(h264!(""), Media::H264),
        "video/x-raw" => Step::Deliver("identity silent=true", Media::Raw),
        "image/jpeg" => Step::Deliver("identity silent=true", Media::Encoded),
        _ if name.starts_with("audio/") || name.starts_with("text/") => Step::Leave,
        _ if from != From::Parser => Step::Apart(ANY),
        _ if name.starts_with("video/") || name.starts_with("image/") => {
            Step::Deliver("identity silent=true", Media::Encoded)
        }
        _ => Step::Leave,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn opened(source: &str) -> Opening {
        let text = format!(
            "[robot]\nid = \"r\"\n[[camera]]\nid = \"c\"\nsource = {source}\n\
             controls = {{ video_bitrate = 2000000 }}\n"
        );
        let config = Config::parse("t", &text).unwrap();
        let camera = &config.camera[0];
        let wanted = Wanted { width: 640, height: 480, fps: 30, controls: &camera.controls };
        opening(&camera.source, wanted).unwrap()
    }

    #[test]
    fn secrets_stay_out_of_the_launch_text() {
        for source in [
            r#"{ type = "rtsp", url = "rtsp://u:hush-hush-hush@h/a" }"#,
            r#"{ type = "http", url = "http://u:hush-hush-hush@h/a" }"#,
            r#"{ type = "srt", listen = "0.0.0.0:9000", passphrase = "hush-hush-hush" }"#,
        ] {
            let opening = opened(source);
            assert!(!opening.launch.contains("hush"), "{}", opening.launch);
            assert!(opening.secrets[0].1.contains("hush-hush-hush"));
        }
    }

    #[test]
    fn the_configured_wait_is_the_only_one() {
        let srt = opened(r#"{ type = "srt", listen = "[::]:9000", latency_ms = 40 }"#).launch;
        assert!(srt.contains("srt://[::]:9000?mode=listener\" latency=40 "), "{srt}");
        assert!(srt.ends_with("latency=0") && !srt.contains("passphrase"), "{srt}");
        let rtsp = opened(r#"{ type = "rtsp", url = "rtsp://h", transport = "udp" }"#).launch;
        assert!(rtsp.contains(" latency=100 protocols=udp "), "{rtsp}");
    }

    #[test]
    fn devices_are_asked_for_the_wanted_picture_first() {
        let v4l2 = opened(r#"{ type = "v4l2", device = '/dev/a" b', format = "h264" }"#).launch;
        assert!(v4l2.contains(r#"device="/dev/a\" b""#), "{v4l2}");
        assert!(v4l2.contains(r#" extra-controls="c,video_bitrate=(int)2000000""#), "{v4l2}");
        assert!(
            v4l2.contains("caps=\"video/x-h264,width=640,height=480,framerate=30/1;"),
            "{v4l2}"
        );
    }

    #[test]
    fn only_video_is_taken() {
        let caps = |name| Caps { name, ..Caps::default() };
        let rtp = |media, encoding| Caps {
            media: Some(media),
            encoding: Some(encoding),
            ..caps("application/x-rtp")
        };
        assert_eq!(step(rtp("audio", "PCMU")), Step::Leave);
        assert_eq!(step(rtp("application", "VND.ONVIF.METADATA")), Step::Leave);
        assert_eq!(step(rtp("video", "H265")), Step::Apart("parsebin"));
        assert_eq!(step(caps("audio/mpeg")), Step::Leave);
        assert_eq!(step(caps("video/x-flv")), Step::Apart("parsebin"));
        let parsed = |name| Caps { from: From::Parser, ..caps(name) };
        assert_eq!(
            step(parsed("video/x-h265")),
            Step::Deliver("identity silent=true", Media::Encoded)
        );
        assert_eq!(step(parsed("subpicture/x-dvd")), Step::Leave);
    }

    #[test]
    fn only_a_transport_stream_is_taken_at_its_word() {
        let through = |factory| {
            let from = From::factory(factory);
            match step(Caps { name: "video/x-h264", from, ..Caps::default() }) {
                Step::Deliver(through, Media::H264) => through,
                other => panic!("{other:?}"),
            }
        };
        assert!(through("tsdemux").starts_with("capssetter"));
        assert!(through("appsrc").starts_with("h264parse"));
        assert!(through("parsebin").starts_with("h264parse"));
    }
}
