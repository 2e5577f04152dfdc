//! A slate as the encoder takes it: the camera's last picture, or an empty one, drawn over.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gst::prelude::*;
use gst_app::{AppSink, AppSrc};
use gst_video::{VideoFormat, VideoFrame, VideoInfo};
use rovercast_protocol::telemetry::CameraState;

use crate::camera::encoder::Encoder;
use crate::camera::slate::{self, Card, Picture};
use crate::camera::{launch, plan};
use crate::config::CameraConfig;

/// A converter that has not given the slate by then does not work.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(3);

/// What a slate is made of.
#[derive(Debug)]
pub struct Plan {
    /// Of which camera.
    pub camera: CameraConfig,
    /// Who is to encode it.
    pub row: &'static Encoder,
    /// How the camera is.
    pub state: CameraState,
    /// Why; may be empty.
    pub reason: String,
    /// For how long it has been so.
    pub age: Duration,
    /// The camera's last frame, as the encoder took it.
    pub last: Option<gst::Sample>,
}

impl Plan {
    /// Draws it. Blocks where hardware takes part. The error is for people.
    pub fn draw(mut self) -> Result<gst::Sample, String> {
        if let Some((buffer, info, caps)) = self.last.take().as_ref().and_then(copy) {
            return Ok(sample(&self.drawn(buffer, &info, true)?, &caps));
        }
        let (width, height) = (self.camera.width, self.camera.height);
        let info = VideoInfo::builder(VideoFormat::I420, width, height)
            .build()
            .map_err(|error| error.to_string())?;
        let buffer = gst::Buffer::from_mut_slice(vec![0u8; info.size()]);
        let caps = info.to_caps().map_err(|error| error.to_string())?;
        let drawn = sample(&self.drawn(buffer, &info, false)?, &caps);
        self.uploaded(&drawn)
    }

    fn drawn(
        &self,
        buffer: gst::Buffer,
        info: &VideoInfo,
        last: bool,
    ) -> Result<gst::Buffer, String> {
        let mut frame = VideoFrame::from_buffer_writable(buffer, info)
            .map_err(|_| "the picture cannot be drawn on")?;
        let (width, height) = (info.width() as usize, info.height() as usize);
        let strides =
            [0, 1, 2].map(|plane| info.stride().get(plane).map_or(0, |&s| s.max(0) as usize));
        let [first, second, third, _] = frame.planes_data_mut();
        let mut picture = if info.format() == VideoFormat::Nv12 {
            Picture::nv12([first, second], [strides[0], strides[1]], width, height)
        } else {
            Picture::i420([first, second, third], strides, width, height)
        };
        let since = time_of_day(self.age);
        let label = self.camera.label();
        let card = Card { label, state: self.state, reason: &self.reason, since: &since };
        slate::draw(&mut picture, last, &card);
        Ok(frame.into_buffer())
    }

    /// Brings a picture in plain memory to where the encoder takes it from.
    fn uploaded(&self, drawn: &gst::Sample) -> Result<gst::Sample, String> {
        let pipeline = launch::parse(&plan::upload(&self.camera, self.row))?;
        let from = launch::element(&pipeline, plan::FRAMES)?.downcast::<AppSrc>();
        let to = launch::element(&pipeline, plan::UNITS)?.downcast::<AppSink>();
        let (Ok(from), Ok(to)) = (from, to) else { return Err("no way to upload it".to_owned()) };
        launch::play(&pipeline)?;
        let pushed = from.push_sample(drawn).and_then(|_| from.end_of_stream());
        let sample = pushed.ok().and_then(|_| to.try_pull_sample(PATIENCE));
        launch::stop(&pipeline);
        sample.ok_or_else(|| format!("{} does not take it", self.row.factory))
    }
}

/// A copy of a frame, to draw slates over later: whoever holds the frame itself may hold a buffer of
/// the device, too.
pub fn keep(frame: &gst::Sample) -> Option<gst::Sample> {
    copy(frame).map(|(buffer, _, caps)| sample(&buffer, &caps))
}

/// A copy of a frame that can be drawn on; none where its format or memory does not let us.
fn copy(sample: &gst::Sample) -> Option<(gst::Buffer, VideoInfo, gst::Caps)> {
    let caps = sample.caps_owned()?;
    if caps
        .features(0)
        .is_some_and(|features| !features.is_equal(&gst::CAPS_FEATURES_MEMORY_SYSTEM_MEMORY))
    {
        return None;
    }
    let info = VideoInfo::from_caps(&caps).ok()?;
    if !matches!(info.format(), VideoFormat::I420 | VideoFormat::Nv12) {
        return None;
    }
    Some((sample.buffer()?.copy_deep().ok()?, info, caps))
}

fn sample(buffer: &gst::Buffer, caps: &gst::Caps) -> gst::Sample {
    gst::Sample::builder().buffer(buffer).caps(caps).build()
}

/// The time of day, of the world's clock, so long ago.
fn time_of_day(age: Duration) -> String {
    let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = today.saturating_sub(age).as_secs() % 86_400;
    format!("{:02}:{:02}:{:02} UTC", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
