//! One camera's file: a muxer of GStreamer's, into which the writer's thread pushes by a pad of no
//! element. So nothing waits in between, and what goes wrong is told to whoever pushes.

use std::path::{Path, PathBuf};

use gst::prelude::*;
use rovercast_protocol::codec::Codec;

use super::annexb;
use super::disk::{self, Failure};

/// A fragment (MP4), or a cluster (Matroska), is written at least so often: what a crash costs.
const FRAGMENT_MS: u32 = 1000;

/// The tick of times in MP4: that of RTP.
const TICKS_PER_SECOND: u32 = 90_000;

/// A disk has so long to take what is left of a file.
const FINISHING: gst::ClockTime = gst::ClockTime::from_seconds(10);

/// The kinds of files that have one camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Fragmented MP4.
    Mp4,
    /// Matroska.
    Matroska,
}

impl Kind {
    /// What names end with.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Matroska => "mkv",
        }
    }

    fn launch(self) -> String {
        match self {
            Self::Mp4 => format!(
                "mp4mux name=mux fragment-duration={FRAGMENT_MS} trak-timescale={TICKS_PER_SECOND}"
            ),
            Self::Matroska => {
                format!("matroskamux name=mux max-cluster-duration={FRAGMENT_MS}000000")
            }
        }
    }
}

/// See above.
#[derive(Debug)]
pub(super) struct VideoFile {
    path: PathBuf,
    pipeline: gst::Pipeline,
    inlet: gst::Pad,
    /// It takes nothing any more.
    broken: bool,
}

impl VideoFile {
    /// Begins a file for access units of this codec, which a key frame with these parameters
    /// follows.
    pub(super) fn open(
        path: &Path,
        kind: Kind,
        codec: Codec,
        parameters: &[Vec<u8>],
    ) -> Result<Self, Failure> {
        let failure = |reason: &dyn ToString| Failure::new(path, reason.to_string());
        let (parser, caps) = input(codec, parameters).ok_or_else(|| failure(&"no picture size"))?;
        let launch = format!(
            "{parser} ! {} ! filesink name=file buffer-mode=unbuffered sync=false async=false",
            kind.launch()
        );
        let pipeline = gst::parse::launch(&launch)
            .map_err(|error| failure(&error.message()))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| failure(&"no pipeline"))?;
        let location = path.to_str().ok_or_else(|| failure(&"its name is not UTF-8"))?;
        if let Some(file) = pipeline.by_name("file") {
            file.set_property("location", location);
        }
        let inlet = gst::Pad::builder(gst::PadDirection::Src).name("inlet").build();
        let entry = pipeline.by_name("entry").and_then(|entry| entry.static_pad("sink"));
        inlet.link(&entry.ok_or_else(|| failure(&"no entry"))?).map_err(|error| failure(&error))?;
        // Only a pad with a parent can refuse.
        let _ = inlet.set_active(true);
        let file = Self { path: path.to_owned(), pipeline, inlet, broken: false };
        if file.pipeline.set_state(gst::State::Playing).is_err() {
            let failure = file.complaint().unwrap_or_else(|| failure(&"it cannot be opened"));
            file.close();
            disk::discard_if_empty(path);
            return Err(failure);
        }
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        file.inlet.push_event(gst::event::StreamStart::new("video"));
        file.inlet.push_event(gst::event::Caps::new(&caps));
        file.inlet.push_event(gst::event::Segment::new(&segment));
        Ok(file)
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes an access unit, of `at_us` microseconds after the file's first.
    pub(super) fn write(
        &mut self,
        mut access_unit: gst::Buffer,
        at_us: i64,
    ) -> Result<(), Failure> {
        let at = gst::ClockTime::from_useconds(at_us.max(0).unsigned_abs());
        let buffer = access_unit.make_mut();
        // Nothing is reordered on the way to a viewer: decoded as it is shown.
        buffer.set_pts(at);
        buffer.set_dts(at);
        buffer.set_duration(gst::ClockTime::NONE);
        buffer.unset_flags(gst::BufferFlags::DISCONT);
        match self.inlet.push(access_unit) {
            Ok(_) => Ok(()),
            Err(error) => {
                self.broken = true;
                let of_stream = error == gst::FlowError::NotNegotiated;
                let reason = format!("the muxer stopped: {error}");
                let otherwise = Failure { of_stream, ..Failure::new(&self.path, reason) };
                Err(self.complaint().unwrap_or(otherwise))
            }
        }
    }

    /// Writes what is left, and closes it. What was written can be played, also when this fails, and
    /// after a failure before.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let path = self.path.clone();
        let outcome = if self.broken { Ok(()) } else { self.end() };
        self.close();
        disk::discard_if_empty(&path);
        outcome
    }

    fn end(&self) -> Result<(), Failure> {
        self.inlet.push_event(gst::event::Eos::new());
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = self.pipeline.bus().and_then(|bus| bus.timed_pop_filtered(FINISHING, &kinds));
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => Err((&*self.path, &error.error()).into()),
            Some(_) => Ok(()),
            None => Err(Failure::new(&self.path, "the disk does not take the end of it")),
        }
    }

    fn close(self) {
        let _ = self.pipeline.set_state(gst::State::Null);
        let _ = self.inlet.set_active(false);
    }

    /// What the pipeline complains of, if it does.
    fn complaint(&self) -> Option<Failure> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(error) => Some((&*self.path, &error.error()).into()),
            _ => None,
        }
    }
}

/// The way from access units to what muxers take, and what comes into it.
fn input(codec: Codec, parameters: &[Vec<u8>]) -> Option<(&'static str, gst::Caps)> {
    let stream = |name: &str| {
        gst::Caps::builder(name).field("stream-format", "byte-stream").field("alignment", "au")
    };
    Some(match codec {
        Codec::H264 => (
            "h264parse name=entry ! video/x-h264,stream-format=avc,alignment=au",
            stream("video/x-h264").build(),
        ),
        Codec::H265 => (
            "h265parse name=entry ! video/x-h265,stream-format=hvc1,alignment=au",
            stream("video/x-h265").build(),
        ),
        Codec::Vp8 => {
            let (width, height) = annexb::vp8_size(parameters)?;
            let size = gst::Caps::builder("video/x-vp8")
                .field("width", i32::from(width))
                .field("height", i32::from(height));
            ("identity name=entry silent=true", size.build())
        }
    })
}
