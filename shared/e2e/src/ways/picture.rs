//! Pictures as they are made at one end and seen at the other, whatever the way between them.

use anyhow::Context;
use gst::prelude::*;
use gst_video::VideoFrameExt;
use rovercast_peer::start::{now, now_us};
use rovercast_protocol::pixelclock::{Luma, Reading};
use rovercast_sender::camera::burn::burn_clock;

use super::{Case, Content};
use crate::grid;
use crate::shown::Seen;

/// The part of a launch line that makes the pictures of one camera.
pub(super) fn line(case: Case, camera: usize) -> String {
    let Case { width, height, fps, content, .. } = case;
    let pattern = match content {
        Content::Smpte => "smpte",
        Content::Grid => "black",
    };
    format!(
        "videotestsrc name=in{camera} is-live=true pattern={pattern} \
         ! video/x-raw,format=I420,width={width},height={height},framerate={fps}/1"
    )
}

/// Parses a launch line that has [`line`] for each camera, and has the time of capture burnt in.
pub(super) fn source(case: Case, launch: &str) -> anyhow::Result<gst::Pipeline> {
    let pipeline = gst::parse::launch(launch)?.downcast::<gst::Pipeline>();
    let pipeline = pipeline.ok().context("no pipeline")?;
    let Case { width, height, content, .. } = case;
    let format = gst_video::VideoFormat::I420;
    let info = gst_video::VideoInfo::builder(format, width, height).build()?;
    for camera in 0..case.cameras {
        let source = pipeline.by_name(&format!("in{camera}")).context("no source")?;
        let pad = source.static_pad("src").context("no pad")?;
        let info = info.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
            if let Some(buffer) = probe.buffer_mut() {
                let (buffer, now) = (buffer.make_mut(), now());
                if content == Content::Grid {
                    draw_grid(buffer, &info, now.useconds());
                }
                burn_clock(buffer, &info, now);
            }
            gst::PadProbeReturn::Ok
        });
    }
    Ok(pipeline)
}

fn draw_grid(buffer: &mut gst::BufferRef, info: &gst_video::VideoInfo, micros: u64) {
    let frame = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info);
    let Ok(mut frame) = frame else { return };
    let stride = usize::try_from(frame.plane_stride()[0]).unwrap_or(0);
    let (width, height) = (info.width() as usize, info.height() as usize);
    if let Ok(samples) = frame.plane_data_mut(0) {
        grid::draw(&mut Luma { samples, stride, width, height }, micros);
    }
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

fn seen(sample: &gst::Sample, case: Case, camera: usize) -> Option<Seen> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::gstreamer;

    #[test]
    fn pictures_are_whole_after_an_encoder_that_may_spend_little() {
        gstreamer();
        let case = Case { width: 640, height: 480, fps: 30, cameras: 1, content: Content::Grid };
        let launch = format!(
            "{} ! x264enc tune=zerolatency speed-preset=ultrafast bitrate=400 \
             ! avdec_h264 ! appsink name=eye sync=false",
            line(case, 0)
        );
        let pipeline = source(case, &launch).unwrap();
        let eye = pipeline.by_name("eye").and_downcast::<gst_app::AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let seen_next = || seen(&eye.pull_sample().unwrap(), case, 3).unwrap();
        // The first picture is much for such a bitrate.
        let mut before = (0..20).map(|_| seen_next()).next_back().unwrap().captured_us();
        for _ in 0..20 {
            let seen = seen_next();
            let captured = seen.captured_us();
            assert!(captured.is_some() && captured > before, "{seen} after {before:?}");
            assert_eq!(seen.camera, 3);
            before = captured;
        }
        pipeline.set_state(gst::State::Null).unwrap();
    }
}
