//! A view's output: from decoded pictures to a window, a launch fragment or a program. It stays
//! while decoders come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use gst::prelude::*;
use rovercast_peer::start::{now_us, share_clock};
use rovercast_protocol::ids::CameraId;
use tokio::sync::mpsc;

use super::ViewFailed;
use crate::meter::Meter;
use crate::output::Output;
use crate::presented::watch_sinks;

/// An output. Ends by [`Stage::stop`].
#[derive(Debug)]
pub(super) struct Stage {
    pipeline: gst::Pipeline,
    entry: gst::Pad,
    /// Since when it has been taking a picture, in microseconds of the shared clock; 0 when it is
    /// taking none.
    taking_since_us: Arc<AtomicI64>,
    failed: Arc<AtomicBool>,
}

impl Stage {
    /// Builds an output, which does not run yet. Should it fail later, `failures` hears of it.
    pub(super) fn build(
        camera: &CameraId,
        output: &Output,
        failures: mpsc::Sender<ViewFailed>,
    ) -> Result<Self, String> {
        let launch = format!("identity name=rovercast-out silent=true ! {}", output.launch(camera));
        let pipeline = gst::parse::launch(&launch)
            .map_err(|error| format!("the output cannot be built: {}", error.message()))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| "the output's launch fragment makes no pipeline".to_owned())?;
        share_clock(&pipeline);
        if output.shows_at_once() {
            do_not_wait_for_the_clock(&pipeline);
        }
        if let Some(on_picture) = output.on_picture()
            && let Some(sink) = pipeline.by_name("rovercast-pictures")
            && let Ok(sink) = sink.downcast::<gst_app::AppSink>()
        {
            let camera = camera.clone();
            let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                on_picture(&camera, &sample);
                Ok(gst::FlowSuccess::Ok)
            });
            sink.set_callbacks(callbacks.build());
        }
        let taking_since_us = Arc::new(AtomicI64::new(0));
        let entry = entry(&pipeline, &taking_since_us)?;
        let failed = Arc::new(AtomicBool::new(false));
        watch_bus(&pipeline, camera.clone(), &failed, failures);
        Ok(Self { pipeline, entry, taking_since_us, failed })
    }

    /// Where pictures go in.
    pub(super) fn entry(&self) -> &gst::Pad {
        &self.entry
    }

    /// Where the pictures that go to the sink can be seen.
    pub(super) fn pictures(&self) -> Option<gst::Pad> {
        self.pipeline.by_name("rovercast-out")?.static_pad("src")
    }

    /// Has the meter told when pictures are presented.
    pub(super) fn tell_presented(&self, meter: &Arc<Meter>) {
        watch_sinks(&self.pipeline, meter);
    }

    /// Lets it run.
    pub(super) fn play(&self) -> Result<(), String> {
        let playing = self.pipeline.set_state(gst::State::Playing);
        playing.map(|_| ()).map_err(|_| "the output does not start".to_owned())
    }

    /// Whether it cannot go on.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// For how long it has been taking one picture.
    pub(super) fn busy(&self) -> Duration {
        match self.taking_since_us.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_micros(now_us().saturating_sub(since).unsigned_abs()),
        }
    }

    /// Frees it. Blocks until it is free.
    pub(super) fn stop(&self) {
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
            bus.set_flushing(true);
        }
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// The pipeline's own pad: decoders, which are in pipelines of their own, are linked to it.
fn entry(pipeline: &gst::Pipeline, taking_since_us: &Arc<AtomicI64>) -> Result<gst::Pad, String> {
    let first = pipeline.by_name("rovercast-out").and_then(|first| first.static_pad("sink"));
    let first = first.ok_or("the output takes no pictures")?;
    let taking_since_us = taking_since_us.clone();
    let entry = gst::GhostPad::builder_with_target(&first)
        .map_err(|error| error.to_string())?
        .name("pictures")
        .chain_function(move |pad, parent, buffer| {
            taking_since_us.store(now_us(), Ordering::Relaxed);
            let taken = gst::ProxyPad::chain_default(pad, parent, buffer);
            taking_since_us.store(0, Ordering::Relaxed);
            taken
        })
        .build();
    pipeline.add_pad(&entry).map_err(|error| error.to_string())?;
    Ok(entry.upcast())
}

/// Sinks may be made later, by `autovideosink` for one.
fn do_not_wait_for_the_clock(pipeline: &gst::Pipeline) {
    fn apply(element: &gst::Element) {
        let sinks = element.element_flags().contains(gst::ElementFlags::SINK);
        if sinks && element.find_property("sync").is_some() {
            element.set_property("sync", false);
        }
    }
    pipeline.iterate_recurse().into_iter().flatten().for_each(|element| apply(&element));
    pipeline.connect_deep_element_added(|_, _, element| apply(element));
}

fn watch_bus(
    pipeline: &gst::Pipeline,
    camera: CameraId,
    failed: &Arc<AtomicBool>,
    failures: mpsc::Sender<ViewFailed>,
) {
    let Some(bus) = pipeline.bus() else { return };
    let failed = failed.clone();
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(error) = message.view()
            && !failed.swap(true, Ordering::Relaxed)
        {
            let reason = error.error().to_string();
            let _ = failures.try_send(ViewFailed { camera: camera.clone(), reason });
        }
        gst::BusSyncReply::Drop
    });
}
