//! Pictures that encoders are measured with, kept in memory so that making them costs nothing
//! meanwhile.

use anyhow::{Context, ensure};
use gst::prelude::*;

use crate::lab::footage;

/// Raw pictures (I420), one after the other.
#[derive(Debug)]
pub struct Pictures {
    /// The pictures, in their order.
    pub buffers: Vec<gst::Buffer>,
    /// What they look like.
    pub info: gst_video::VideoInfo,
}

impl Pictures {
    /// The first `count` pictures of a clip, stretched to this size in pixels; of a test pattern
    /// with noise in it where there is no such clip.
    pub fn load(clip: &str, (width, height): (u32, u32), count: usize) -> anyhow::Result<Self> {
        let origin = match footage(clip) {
            Some(path) => format!(
                "filesrc location=\"{}\" ! decodebin expose-all-streams=false \
                 caps=\"video/x-raw(ANY)\"",
                path.display()
            ),
            None => {
                eprintln!("no {clip} (ROVERCAST_FOOTAGE): a test pattern takes its place");
                format!("videotestsrc num-buffers={count} pattern=smpte")
            }
        };
        let pipeline = gst::parse::launch(&format!(
            "{origin} ! videoconvert ! videoscale add-borders=false \
             ! video/x-raw,format=I420,width={width},height={height},pixel-aspect-ratio=1/1 \
             ! appsink name=out sync=false max-buffers=4"
        ))?;
        let pipeline = pipeline.downcast::<gst::Pipeline>().ok().context("no pipeline")?;
        let out = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().context("no sink")?;
        pipeline.set_state(gst::State::Playing)?;
        let mut buffers = Vec::new();
        while buffers.len() < count
            && let Ok(sample) = out.pull_sample()
        {
            buffers.push(sample.buffer().context("an empty sample")?.copy_deep()?);
        }
        pipeline.set_state(gst::State::Null)?;
        ensure!(buffers.len() > 1, "{clip} has no pictures");
        let info =
            gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, width, height).build()?;
        Ok(Self { buffers, info })
    }

    /// The index of the picture that is shown as number `number`: forwards, then backwards, so that
    /// nothing jumps.
    pub fn index(&self, number: usize) -> usize {
        let last = self.buffers.len() - 1;
        let at = number % (2 * last);
        at.min(2 * last - at)
    }
}
