//! One attempt at a source that comes encoded. What every viewer can decode is passed through; the
//! rest goes to a decoder, and from there the way of all pictures.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;
use gst_app::{AppSink, AppSinkCallbacks, AppSrc};
use rovercast_peer::start::{now, share_clock};
use rovercast_protocol::codec::Codec;
use tokio::runtime::Handle;

use crate::camera::counters::Counters;
use crate::camera::inputs::h264::{Inspector, Verdict};
use crate::camera::inputs::network::{Media, Wanted};
use crate::camera::inputs::streams::{Input, Origin};
use crate::camera::launch::{self, Contexts};
use crate::camera::output::{Feed, Output};
use crate::camera::source::SourceEvent;
use crate::config::CameraConfig;

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
    way: Mutex<Way>,
}

enum Way {
    /// H.264 that is passed through, as far as is known.
    Through(Box<Inspector>),
    /// To a decoder, once there is one.
    Decoder(Option<AppSrc>),
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("camera", &self.plan.camera.id).finish_non_exhaustive()
    }
}

impl CodedSource {
    /// Opens it. Blocks while it does. The error is for people.
    pub fn start(plan: CodedPlan) -> Result<Self, String> {
        let pipeline = gst::Pipeline::with_name(plan.camera.id.as_str());
        share_clock(&pipeline);
        let on_end = plan.on_event.clone();
        launch::watch(&pipeline, &Contexts::default(), move |reason| {
            on_end(SourceEvent::Failed(reason))
        });
        let CameraConfig { width, height, fps, .. } = plan.camera;
        let (origin, runtime) = (plan.origin.clone(), plan.runtime.clone());
        let way = Mutex::new(Way::Through(Box::default()));
        let router = Arc::new(Router { plan, way });
        let (into, routed) = (pipeline.downgrade(), router.clone());
        let input = origin.open(Wanted { width, height, fps }, &runtime, move |pad, media| {
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

    /// From now on access units go to a decoder's entrance.
    pub fn decode_by(&self, entrance: AppSrc) {
        *self.router.lock() = Way::Decoder(Some(entrance));
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
            self.transcode(&mut self.lock(), what.to_owned());
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
        let mut way = self.lock();
        if let Way::Through(inspector) = &mut *way {
            match inspect(inspector, &sample) {
                Verdict::Undecided | Verdict::PassThrough(_) => {
                    drop(way);
                    self.plan.output.push(self.plan.feed, &stamped(&sample));
                    return;
                }
                Verdict::Transcode(reason) => self.transcode(&mut way, reason.to_string()),
            }
        }
        if let Way::Decoder(Some(entrance)) = &*way {
            // Refused only while it stops.
            let _ = entrance.push_sample(&sample);
        }
    }

    fn transcode(&self, way: &mut Way, reason: String) {
        *way = Way::Decoder(None);
        (self.plan.on_event)(SourceEvent::NeedsDecoder(reason));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn inspect(inspector: &mut Inspector, sample: &gst::Sample) -> Verdict {
    let Some(buffer) = sample.buffer() else { return Verdict::Undecided };
    let Ok(unit) = buffer.map_readable() else { return Verdict::Undecided };
    inspector.look(&unit, buffer.pts().map(Into::into), now().into())
}

/// The same with the time of now: its own is that of another computer.
fn stamped(sample: &gst::Sample) -> gst::Sample {
    let Some(mut buffer) = sample.buffer_owned() else { return sample.clone() };
    {
        let buffer = buffer.make_mut();
        buffer.set_pts(now());
        buffer.set_dts(None);
    }
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    let stamped = gst::Sample::builder().buffer(&buffer).segment(&segment);
    match sample.caps_owned() {
        Some(caps) => stamped.caps(&caps).build(),
        None => stamped.build(),
    }
}
