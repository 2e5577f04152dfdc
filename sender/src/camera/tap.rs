//! The tap at the end of a source: every frame is stamped, looked at, and dropped where nobody
//! wants it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gst::prelude::*;
use gst_video::VideoFrameExt;
use rovercast_peer::start::now;

use crate::camera::burn::burn_clock;
use crate::camera::counters::{Counters, Demand};
use crate::camera::frames::{RateLimit, capture_time};
use crate::camera::health::{Health, Layout, Samples};
use crate::camera::source::SourceEvent;
use crate::config::{CameraConfig, Source};

/// How long a fault must last to count; none where nobody looks. To look costs little, but on small
/// boards nothing is given away.
pub fn health_after(camera: &CameraConfig) -> Option<Duration> {
    let large = || std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 4);
    let looks = camera.health.check.unwrap_or_else(large);
    looks.then(|| Duration::from_secs(camera.health.after_s.into()))
}

/// Some samples of a frame; none where it lies in a memory or format that cannot be looked at.
fn samples(buffer: &gst::BufferRef, video: &gst_video::VideoInfo) -> Option<Samples> {
    let layout = Layout::of(video.format().to_str().as_str())?;
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, video).ok()?;
    let stride = usize::try_from(*frame.plane_stride().first()?).ok()?;
    let (width, height) = (video.width() as usize, video.height() as usize);
    Some(Samples::of(layout, frame.plane_data(0).ok()?, stride, width, height))
}

/// Stamps frames with the shared clock, drops those that nobody wants, burns the clock into test
/// pictures, and turns the end of a file into an event instead of the end of everything.
pub fn tap_frames(
    tap: &gst::Pad,
    source: &Source,
    health: Option<Duration>,
    counters: Arc<Counters>,
    demand: Arc<Demand>,
    on_event: Arc<dyn Fn(SourceEvent) + Send + Sync>,
) {
    let burns_clock = matches!(source, Source::Test { .. });
    let loops = matches!(source, Source::File { .. });
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    let mut limit = RateLimit::new(demand.fps());
    let mut video = None;
    let mut health = health.map(Health::new);
    let mut fault = None;
    let kinds = gst::PadProbeType::BUFFER
        | gst::PadProbeType::EVENT_DOWNSTREAM
        | gst::PadProbeType::EVENT_FLUSH;
    let state = Mutex::new(move |info: &mut gst::PadProbeInfo<'_>| {
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                counters.seen.fetch_add(1, Ordering::Relaxed);
                let now = now();
                let stamped = buffer.pts().and_then(|pts| segment.to_running_time(pts));
                let at = capture_time(stamped.map(Into::into), now.into());
                if let (Some(health), Some(video)) = (&mut health, &video)
                    && health.is_due(at)
                    && let Some(samples) = samples(buffer, video)
                {
                    let now_wrong = health.look(samples, at);
                    if now_wrong != fault {
                        fault = now_wrong;
                        on_event(SourceEvent::Fault(fault));
                    }
                }
                limit.set_fps(demand.fps());
                if !limit.passes(at) || !demand.is_wanted() {
                    return gst::PadProbeReturn::Drop;
                }
                let buffer = buffer.make_mut();
                buffer.set_pts(gst::ClockTime::from_nseconds(at.as_nanos() as u64));
                buffer.set_dts(None);
                if let Some(video) = video.as_ref().filter(|_| burns_clock) {
                    burn_clock(buffer, video, now);
                }
            }
            Some(gst::PadProbeData::Event(event)) => match event.view() {
                gst::EventView::Caps(caps) => {
                    video = gst_video::VideoInfo::from_caps(caps.caps()).ok();
                }
                gst::EventView::Segment(new) => {
                    if let Some(time) = new.segment().downcast_ref::<gst::ClockTime>() {
                        segment = time.clone();
                    }
                    let seqnum = event.seqnum();
                    // From here on a buffer's time is the shared clock's.
                    let plain = gst::FormattedSegment::<gst::ClockTime>::new();
                    *event = gst::event::Segment::builder(&plain).seqnum(seqnum).build();
                }
                // Handled, not dropped: what the bindings drop GStreamer 1.22 drops once more, and
                // complains.
                gst::EventView::Eos(_) if loops => {
                    on_event(SourceEvent::FileEnded);
                    return gst::PadProbeReturn::Handled;
                }
                // The seek to a file's start concerns the source alone.
                gst::EventView::FlushStart(_) | gst::EventView::FlushStop(_) if loops => {
                    return gst::PadProbeReturn::Handled;
                }
                _ => {}
            },
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
    tap.add_probe(kinds, move |_, info| match state.lock() {
        Ok(mut on_data) => on_data(info),
        Err(_) => gst::PadProbeReturn::Drop,
    });
}
