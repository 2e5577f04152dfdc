//! One attempt at a source that comes encoded. What every viewer can decode, and join soon enough, is
//! passed through; the rest goes to a decoder, and from there the way of all pictures.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gst::prelude::*;
use gst_app::{AppSink, AppSinkCallbacks, AppSrc};
use rovercast_peer::start::{now, share_clock};
use rovercast_protocol::codec::Codec;
use tokio::runtime::Handle;

use crate::camera::counters::Counters;
use crate::camera::frames::capture_time;
use crate::camera::inputs::group::Group;
use crate::camera::inputs::h264::{Inspector, Verdict};
use crate::camera::inputs::network::{Media, Wanted};
use crate::camera::inputs::streams::{Input, Origin};
use crate::camera::launch::{self, Contexts};
use crate::camera::output::{Feed, Output};
use crate::camera::source::{self, SourceEvent};
use crate::camera::v4l2;
use crate::config::{CameraConfig, Source};

/// Why a stream whose key frames are rare is not passed through. Nobody can ask for one, so that
/// a viewer who joins would wait, and a picture that was damaged on its way stay so.
const RARE_KEY_FRAMES: &str = "its key frames are more than 4 s apart, and viewers would wait for \
                               them: set its key frame interval to 1 or 2 s";

/// What an encoded source needs of its camera.
pub struct CodedPlan {
    /// The camera's config.
    pub camera: CameraConfig,
    /// The source, and what of it outlives an attempt.
    pub origin: Arc<Origin>,
    /// Where servers listen.
    pub runtime: Handle,
    /// Where access units go that are passed through.
    pub output: Arc<Output>,
    /// As what.
    pub feed: Feed,
    /// What flows is counted here.
    pub counters: Arc<Counters>,
    /// Takes a report, on any thread; does not block.
    pub on_event: Arc<dyn Fn(SourceEvent) + Send + Sync>,
}

/// An encoded source that runs. Ends by [`CodedSource::stop`].
#[derive(Debug)]
pub struct CodedSource {
    pipeline: gst::Pipeline,
    _input: Input,
    router: Arc<Router>,
}

/// Sends access units where they belong, on the thread that brings them.
struct Router {
    plan: CodedPlan,
    state: Mutex<State>,
}

struct State {
    way: Way,
    /// From the last key frame on, for a decoder to begin with.
    group: Group<gst::Sample>,
}

enum Way {
    /// H.264 that is passed through, as far as is known.
    Through(Box<Inspector>),
    /// To a decoder, once there is one. What viewers can show they get until it is encoded anew.
    Decoder { entrance: Option<AppSrc>, shown: bool },
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("camera", &self.plan.camera.id).finish_non_exhaustive()
    }
}

impl CodedSource {
    /// Opens it. Blocks while it does. The error is for people.
    pub fn start(plan: CodedPlan) -> Result<Self, String> {
        let CameraConfig { width, height, fps, ref controls, .. } = plan.camera;
        source::check(&plan.camera.source)?;
        if let Source::V4l2 { device, format } = &plan.camera.source {
            let offered = v4l2::offered(device)?;
            v4l2::choose(*format, &offered, (width, height, fps))?;
        }
        let pipeline = gst::Pipeline::with_name(plan.camera.id.as_str());
        share_clock(&pipeline);
        let on_end = plan.on_event.clone();
        launch::watch(&pipeline, &Contexts::default(), move |reason| {
            on_end(SourceEvent::Failed(reason))
        });
        let (origin, runtime, controls) =
            (plan.origin.clone(), plan.runtime.clone(), controls.clone());
        let way = Way::Through(Box::default());
        let state = Mutex::new(State { way, group: Group::default() });
        let router = Arc::new(Router { plan, state });
        let (into, routed) = (pipeline.downgrade(), router.clone());
        let wanted = Wanted { width, height, fps, controls: &controls };
        let input = origin.open(wanted, &runtime, move |pad, media| {
            if let Some(pipeline) = into.upgrade()
                && let Err(error) = routed.clone().take(&pipeline, pad, media)
            {
                (routed.plan.on_event)(SourceEvent::Failed(error.to_string()));
            }
        })?;
        let this = Self { pipeline, _input: input, router };
        let started = this.pipeline.add(&this._input.bin).map_err(|error| error.to_string());
        match started.and_then(|()| launch::play(&this.pipeline)) {
            Ok(()) => Ok(this),
            Err(reason) => {
                this.stop();
                Err(reason)
            }
        }
    }

    /// From the last key frame on, access units go to a decoder's entrance.
    pub fn decode_by(&self, entrance: AppSrc) {
        let mut state = self.router.lock();
        let group = state.group.take();
        // All of them are in there before any is decoded.
        entrance.set_max_buffers(entrance.max_buffers() + group.len() as u64);
        for unit in group {
            let _ = entrance.push_sample(&unit);
        }
        if let Way::Decoder { entrance: slot, .. } = &mut state.way {
            *slot = Some(entrance);
        }
    }

    /// Frees the source. Blocks until it is free.
    pub fn stop(self) {
        launch::stop(&self.pipeline);
    }
}

impl Router {
    fn take(
        self: Arc<Self>,
        pipeline: &gst::Pipeline,
        pad: &gst::Pad,
        media: Media,
    ) -> Result<(), gst::glib::BoolError> {
        if media != Media::H264 || self.plan.camera.codec != Codec::H264 {
            let what = if media == Media::H264 { "another codec is wanted" } else { "not H.264" };
            self.transcode(&mut self.lock(), false, what.to_owned());
        }
        let routed = self.clone();
        let sink = AppSink::builder()
            .sync(false)
            .async_(false)
            .callbacks(
                AppSinkCallbacks::builder()
                    .new_sample(move |sink| {
                        routed.route(sink.pull_sample().map_err(|_| gst::FlowError::Eos)?);
                        Ok(gst::FlowSuccess::Ok)
                    })
                    .build(),
            )
            .build();
        pipeline.add(&sink)?;
        sink.sync_state_with_parent()?;
        let entrance =
            sink.static_pad("sink").ok_or(gst::glib::bool_error!("a sink without pad"))?;
        pad.link(&entrance).map_err(|error| gst::glib::bool_error!("{error}"))?;
        Ok(())
    }

    fn route(&self, sample: gst::Sample) {
        self.plan.counters.seen.fetch_add(1, Ordering::Relaxed);
        let Some(buffer) = sample.buffer() else { return };
        let (now, key_frame) =
            (now().into(), !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT));
        let mut state = self.lock();
        let decoded = matches!(state.way, Way::Decoder { entrance: Some(_), .. });
        if !decoded {
            state.group.push(sample.clone(), buffer.size(), key_frame, now);
        }
        if let Way::Through(inspector) = &mut state.way {
            match inspect(inspector, buffer, now) {
                Verdict::Transcode(reason) => {
                    self.transcode(&mut state, false, reason.to_string());
                }
                _ if state.group.is_long(now) => {
                    self.transcode(&mut state, true, RARE_KEY_FRAMES.to_owned());
                }
                Verdict::Undecided | Verdict::PassThrough(_) => {}
            }
        }
        if let Way::Decoder { entrance: Some(entrance), .. } = &state.way {
            // Refused only while it stops.
            let _ = entrance.push_sample(&sample);
        }
        let shown = matches!(state.way, Way::Through(_) | Way::Decoder { shown: true, .. });
        drop(state);
        if shown {
            self.plan.output.push(self.plan.feed, &self.stamped(&sample));
        }
    }

    fn transcode(&self, state: &mut State, shown: bool, reason: String) {
        state.way = Way::Decoder { entrance: None, shown };
        (self.plan.on_event)(SourceEvent::NeedsDecoder(reason));
    }

    /// The same with its time of capture.
    fn stamped(&self, sample: &gst::Sample) -> gst::Sample {
        let Some(mut buffer) = sample.buffer_owned() else { return sample.clone() };
        {
            let buffer = buffer.make_mut();
            buffer.set_pts(self.captured(buffer.pts(), sample.segment()));
            buffer.set_dts(None);
        }
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        let stamped = gst::Sample::builder().buffer(&buffer).segment(&segment);
        match sample.caps_owned() {
            Some(caps) => stamped.caps(&caps).build(),
            None => stamped.build(),
        }
    }

    /// Devices of this host stamp by its clock, what comes from others by theirs.
    fn captured(
        &self,
        pts: Option<gst::ClockTime>,
        segment: Option<&gst::Segment>,
    ) -> gst::ClockTime {
        let own = match self.plan.camera.source {
            Source::V4l2 { .. } => segment
                .and_then(|segment| segment.downcast_ref::<gst::ClockTime>())
                .and_then(|segment| segment.to_running_time(pts)),
            _ => None,
        };
        let at = capture_time(own.map(Into::into), now().into());
        gst::ClockTime::from_nseconds(at.as_nanos() as u64)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn inspect(inspector: &mut Inspector, buffer: &gst::BufferRef, now: Duration) -> Verdict {
    let Ok(unit) = buffer.map_readable() else { return Verdict::Undecided };
    inspector.look(&unit, buffer.pts().map(Into::into), now)
}
