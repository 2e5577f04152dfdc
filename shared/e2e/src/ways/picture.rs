//! Pictures as they are seen at the end of a way.

use anyhow::Context;
use gst::prelude::*;
use gst_video::VideoFrameExt;
use rovercast_peer::start::now_us;
use rovercast_protocol::pixelclock::{Luma, Reading};

use super::{Case, Content};
use crate::grid;
use crate::shown::Seen;

/// The pipeline of a launch line.
pub(super) fn pipeline(launch: &str) -> anyhow::Result<gst::Pipeline> {
    let parsed = gst::parse::launch(launch)?.downcast();
    parsed.ok().context("no pipeline")
}

/// Plays a pipeline until it fails.
pub(super) fn play(pipeline: &gst::Pipeline) -> anyhow::Result<()> {
    pipeline.set_state(gst::State::Playing)?;
    let bus = pipeline.bus().context("no bus")?;
    for message in bus.iter_timed(gst::ClockTime::NONE) {
        if let gst::MessageView::Error(error) = message.view() {
            anyhow::bail!("{} ({:?})", error.error(), error.debug());
        }
    }
    Ok(())
}

/// Prints every picture that comes to this sink.
pub(super) fn look_at(sink: &gst_app::AppSink, case: Case, camera: usize) {
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        look(&sample, case, camera);
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
}

/// Prints what is seen in a decoded picture, as [`Seen`]. Its size may be another than it was.
pub(super) fn look(sample: &gst::Sample, case: Case, camera: usize) {
    if let Some(seen) = seen(sample, case, camera) {
        println!("{seen}");
    }
}

/// What is seen in a decoded picture; none where that is no picture.
pub(super) fn seen(sample: &gst::Sample, case: Case, camera: usize) -> Option<Seen> {
    let at_us = now_us();
    let info = gst_video::VideoInfo::from_caps(sample.caps()?).ok()?;
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(sample.buffer()?, &info).ok()?;
    let luma = Luma {
        samples: frame.plane_data(0).ok()?,
        stride: usize::try_from(frame.plane_stride()[0]).ok()?,
        width: info.width() as usize,
        height: info.height() as usize,
    };
    let clock = luma.read();
    let wrong = match (case.content, clock) {
        (Content::Grid, Reading::Whole(micros)) => grid::wrong_cells(&luma, micros),
        _ => 0,
    };
    Some(Seen { camera, at_us, clock, wrong })
}
