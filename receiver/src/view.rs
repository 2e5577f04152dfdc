//! One camera's way from access units to pictures. It outlives sessions: a window, or whatever
//! reads from a launch fragment, stays while robots and brokers come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gst::prelude::*;
use gst_app::AppSrc;
use rovercast_peer::start::{now_us, share_clock};
use rovercast_protocol::ids::CameraId;
use rovercast_protocol::keyframes::KeyFrameGate;
use tokio::sync::mpsc;

use crate::decode::plan;
use crate::meter::Meter;
use crate::output::Output;

/// Access units that may wait for the decoder. Beyond, they are dropped up to the next key frame.
const BACKLOG: u64 = 15;

/// A view that cannot go on.
#[derive(Debug)]
pub struct ViewFailed {
    /// Which camera.
    pub camera: CameraId,
    /// Why.
    pub reason: String,
}

/// A camera's decoder and output. Ends by [`View::stop`].
#[derive(Debug)]
pub struct View {
    pipeline: gst::Pipeline,
    appsrc: AppSrc,
    meter: Arc<Meter>,
    reported: (u64, u64),
}

/// The entrance of a [`View`], for one session.
#[derive(Debug)]
pub struct Entrance {
    appsrc: AppSrc,
    meter: Arc<Meter>,
    gate: KeyFrameGate,
    gap: bool,
}

impl View {
    /// Starts to wait for access units. The error is for people.
    pub fn start(
        camera: &CameraId,
        output: &Output,
        failures: mpsc::Sender<ViewFailed>,
    ) -> Result<Self, String> {
        let installed = |name: &str| gst::ElementFactory::find(name).is_some();
        let decoder = plan::choose(installed)?;
        let properties = gst::ElementFactory::make(decoder.factory)
            .build()
            .map_err(|error| format!("{}: {error}", decoder.factory))?;
        let launch = format!(
            "appsrc name=in is-live=true format=time ! {} ! identity name=out silent=true ! {}",
            decoder.launch(|name| properties.find_property(name).is_some()),
            output.launch(camera),
        );
        let pipeline = gst::parse::launch(&launch)
            .map_err(|error| format!("the output cannot be built: {}", error.message()))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| "the output's launch fragment makes no pipeline".to_owned())?;
        share_clock(&pipeline);
        if output.shows_at_once() {
            do_not_wait_for_the_clock(&pipeline);
        }
        let element = |name: &str| pipeline.by_name(name).ok_or(format!("no element {name}"));
        let appsrc = element("in")?.downcast::<AppSrc>().map_err(|_| "no appsrc".to_owned())?;
        appsrc.set_caps(Some(&access_units()));
        let meter = Arc::new(Meter::default());
        if let Some(pad) = element("out")?.static_pad("src") {
            measure(&pad, &meter);
        }
        if let Output::Pictures(on_picture) = output
            && let Ok(sink) = element("pictures")?.downcast::<gst_app::AppSink>()
        {
            let (camera, on_picture) = (camera.clone(), on_picture.clone());
            let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                on_picture(&camera, &sample);
                Ok(gst::FlowSuccess::Ok)
            });
            sink.set_callbacks(callbacks.build());
        }
        watch_bus(&pipeline, camera.clone(), failures);
        let view = Self { pipeline, appsrc, meter, reported: (0, 0) };
        match view.pipeline.set_state(gst::State::Playing) {
            Ok(_) => Ok(view),
            Err(_) => {
                view.stop();
                Err("the output does not start".to_owned())
            }
        }
    }

    /// Its figures.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// How much more pictures were decoded and bytes received than at the last call.
    pub fn since_last_report(&mut self, decoded: u64, bytes: u64) -> (u64, u64) {
        let (frames_before, bytes_before) = std::mem::replace(&mut self.reported, (decoded, bytes));
        (decoded - frames_before, bytes - bytes_before)
    }

    /// A way in, for a session that starts.
    pub fn entrance(&self) -> Entrance {
        self.meter.forget_times();
        let (appsrc, meter) = (self.appsrc.clone(), self.meter.clone());
        Entrance { appsrc, meter, gate: KeyFrameGate::default(), gap: true }
    }

    /// Frees decoder and output. Blocks until they are free.
    pub fn stop(self) {
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
            bus.set_flushing(true);
        }
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

impl Entrance {
    /// Takes an access unit. False when a key frame is needed before anything can pass again.
    pub fn push(&mut self, sample: &gst::Sample) -> bool {
        let Some(buffer) = sample.buffer() else { return true };
        self.meter.received.fetch_add(1, Ordering::Relaxed);
        self.meter.bytes.fetch_add(buffer.size() as u64, Ordering::Relaxed);
        let full = self.appsrc.current_level_buffers() >= BACKLOG;
        let key_frame = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let passes = self.gate.passes(self.gap, key_frame) && !full;
        self.gap = full;
        if passes {
            // It fails only while the view stops.
            let _ = self.appsrc.push_sample(sample);
        } else {
            self.meter.dropped.fetch_add(1, Ordering::Relaxed);
        }
        passes
    }
}

/// What arrives from the depayloader: whole access units, so that no parser has to wait for the
/// next one to know where this one ends.
pub fn access_units() -> gst::Caps {
    gst::Caps::builder("video/x-h264")
        .field("stream-format", "byte-stream")
        .field("alignment", "au")
        .build()
}

fn measure(pad: &gst::Pad, meter: &Arc<Meter>) {
    let meter = meter.clone();
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |_, info| {
        match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let pts = buffer.pts().unwrap_or(gst::ClockTime::ZERO);
                meter.shown(pts.nseconds(), now_us());
            }
            Some(gst::PadProbeData::Event(event)) => {
                if let gst::EventView::Caps(caps) = event.view()
                    && let Ok(video) = gst_video::VideoInfo::from_caps(caps.caps())
                {
                    meter.width.store(video.width(), Ordering::Relaxed);
                    meter.height.store(video.height(), Ordering::Relaxed);
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
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

fn watch_bus(pipeline: &gst::Pipeline, camera: CameraId, failures: mpsc::Sender<ViewFailed>) {
    let Some(bus) = pipeline.bus() else { return };
    let failed = AtomicBool::new(false);
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
