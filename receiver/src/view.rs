//! One camera's way from access units to pictures. It outlives sessions: a window, or whatever
//! reads from a launch fragment, stays while robots and brokers come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use gst::prelude::*;
use rovercast_peer::start::{now, now_us, share_clock};
use rovercast_protocol::codec::Codec;
use rovercast_protocol::ids::CameraId;
use rovercast_protocol::keyframes::KeyFrameGate;
use tokio::sync::mpsc;

use crate::decode;
use crate::meter::Meter;
use crate::output::Output;
use crate::turns::{Turn, Turns};

/// An access unit may be this much older than the jitter buffer explains. Decoding runs on the
/// thread that brings the packets, so that no hand-over costs time; where it does not keep up,
/// older access units are dropped, up to the next key frame.
const BACKLOG: Duration = Duration::from_millis(300);

/// A key frame is asked for again after this time, in microseconds.
const KEY_FRAME_REQUESTS_US: i64 = 500_000;

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
    codec: Codec,
    pipeline: gst::Pipeline,
    inlet: gst::Pad,
    turns: Arc<Turns>,
    /// The decoder cannot go on without a key frame.
    needs_key_frame: Arc<AtomicBool>,
    /// Since when a session has been pushing, in microseconds of the shared clock; 0 when none is.
    pushing_since_us: Arc<AtomicI64>,
    meter: Arc<Meter>,
    reported: (u64, u64),
}

/// The entrance of a [`View`], for one session.
#[derive(Debug)]
pub struct Entrance {
    inlet: gst::Pad,
    turns: Arc<Turns>,
    turn: Turn,
    needs_key_frame: Arc<AtomicBool>,
    pushing_since_us: Arc<AtomicI64>,
    meter: Arc<Meter>,
    oldest: Duration,
    caps: Option<gst::Caps>,
    gate: KeyFrameGate,
    gap: bool,
    key_frame_asked_us: i64,
}

impl View {
    /// Starts to wait for access units. The error is for people.
    pub fn start(
        camera: &CameraId,
        codec: Codec,
        output: &Output,
        failures: mpsc::Sender<ViewFailed>,
    ) -> Result<Self, String> {
        let installed = |name: &str| gst::ElementFactory::find(name).is_some();
        let decoder = decode::choose(codec, installed)?;
        let properties = gst::ElementFactory::make(decoder.factory)
            .build()
            .map_err(|error| format!("{}: {error}", decoder.factory))?;
        let launch = format!(
            "{} ! identity name=rovercast-out silent=true ! {}",
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
        let needs_key_frame = Arc::new(AtomicBool::new(false));
        let inlet = inlet(&needs_key_frame);
        let entry =
            element(decode::NAME)?.static_pad("sink").ok_or("the decoder has no sink pad")?;
        inlet.link(&entry).map_err(|error| error.to_string())?;
        let meter = Arc::new(Meter::default());
        if let Some(pad) = element("rovercast-out")?.static_pad("src") {
            measure(&pad, &meter);
        }
        if let Output::Pictures(on_picture) = output
            && let Ok(sink) = element("rovercast-pictures")?.downcast::<gst_app::AppSink>()
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
        let pushing_since_us = Arc::new(AtomicI64::new(0));
        let view = Self {
            codec,
            pipeline,
            inlet,
            turns: Arc::default(),
            needs_key_frame,
            pushing_since_us,
            meter,
            reported: (0, 0),
        };
        match view.pipeline.set_state(gst::State::Playing) {
            Ok(_) => Ok(view),
            Err(_) => {
                view.stop();
                Err("the output does not start".to_owned())
            }
        }
    }

    /// What it decodes.
    pub fn codec(&self) -> Codec {
        self.codec
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

    /// A way in, for the session whose turn this is and whose jitter buffer waits so long at most.
    pub fn entrance(&self, jitter_buffer: Duration, turn: Turn) -> Entrance {
        self.meter.forget_times();
        Entrance {
            inlet: self.inlet.clone(),
            turns: self.turns.clone(),
            turn,
            needs_key_frame: self.needs_key_frame.clone(),
            pushing_since_us: self.pushing_since_us.clone(),
            meter: self.meter.clone(),
            oldest: jitter_buffer + BACKLOG,
            caps: None,
            gate: KeyFrameGate::default(),
            gap: true,
            key_frame_asked_us: 0,
        }
    }

    /// For how long the output has been taking one picture.
    pub fn busy(&self) -> Duration {
        match self.pushing_since_us.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_micros(now_us().saturating_sub(since).unsigned_abs()),
        }
    }

    /// Lets go of the picture that the output is taking, and takes none before
    /// [`View::resume`]: whoever pushes must not wait for the output.
    pub fn interrupt(&self) {
        self.inlet.push_event(gst::event::FlushStart::new());
    }

    /// Takes pictures again.
    pub fn resume(&self) {
        self.inlet.push_event(gst::event::FlushStop::new(true));
    }

    /// Frees decoder and output. Blocks until they are free.
    pub fn stop(self) {
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
            bus.set_flushing(true);
        }
        // The output first: a session may be waiting for it in the middle of a push.
        let _ = self.pipeline.set_state(gst::State::Null);
        let _ = self.inlet.set_active(false);
    }
}

impl Entrance {
    /// Takes an access unit, and returns when it is decoded. False when a key frame should be
    /// asked for.
    pub fn push(&mut self, sample: &gst::Sample) -> bool {
        // A view that is closed needs nothing any more, no key frames either.
        let Some(buffer) = sample.buffer_owned().filter(|_| self.inlet.is_active()) else {
            return true;
        };
        self.meter.received.fetch_add(1, Ordering::Relaxed);
        self.meter.bytes.fetch_add(buffer.size() as u64, Ordering::Relaxed);
        let late = buffer.pts().is_some_and(|pts| Duration::from(now()) > self.oldest + pts.into());
        let flags = buffer.flags();
        let key_frame = !flags.contains(gst::BufferFlags::DELTA_UNIT);
        // Where packets were lost, depayloaders that cannot wait for a key frame themselves say so.
        let gap = self.gap || flags.contains(gst::BufferFlags::DISCONT);
        let passes = self.gate.passes(gap, key_frame) && !late;
        self.gap = late;
        if passes {
            let turns = self.turns.clone();
            let turn = self.turn.clone();
            match turns.take(&turn, key_frame, || self.hand_over(sample, buffer)) {
                Some(true) => {}
                // The view stops, or was interrupted: it must hear everything again.
                Some(false) => (self.caps, self.gap) = (None, true),
                // A later session has taken over.
                None => return true,
            }
        } else {
            self.meter.dropped.fetch_add(1, Ordering::Relaxed);
        }
        let lacks = self.needs_key_frame.swap(false, Ordering::Relaxed) || self.gap || !passes;
        let asks = lacks && now_us() - self.key_frame_asked_us > KEY_FRAME_REQUESTS_US;
        if asks {
            self.key_frame_asked_us = now_us();
        }
        !asks
    }

    /// Gives the decoder an access unit. False when it does not take it.
    fn hand_over(&mut self, sample: &gst::Sample, buffer: gst::Buffer) -> bool {
        self.announce(sample);
        self.pushing_since_us.store(now_us(), Ordering::Relaxed);
        let pushed = self.inlet.push(buffer);
        self.pushing_since_us.store(0, Ordering::Relaxed);
        pushed.is_ok()
    }

    /// Tells the decoder what comes, before the first access unit and when that changes.
    fn announce(&mut self, sample: &gst::Sample) {
        let caps = sample.caps_owned();
        if caps == self.caps {
            return;
        }
        if let (Some(caps), Some(segment)) = (&caps, sample.segment()) {
            self.inlet.push_event(gst::event::StreamStart::new(self.inlet.name().as_str()));
            self.inlet.push_event(gst::event::Caps::new(caps));
            self.inlet.push_event(gst::event::Segment::new(segment));
        }
        self.caps = caps;
    }
}

/// A pad of no element: sessions, which are in pipelines of their own, push into the decoder by it.
fn inlet(needs_key_frame: &Arc<AtomicBool>) -> gst::Pad {
    let needs_key_frame = needs_key_frame.clone();
    let inlet = gst::Pad::builder(gst::PadDirection::Src)
        .name("inlet")
        .event_function(move |_, _, event| {
            if gst_video::UpstreamForceKeyUnitEvent::parse(&event).is_ok() {
                needs_key_frame.store(true, Ordering::Relaxed);
            }
            true
        })
        .build();
    // Only a pad with a parent can refuse.
    let _ = inlet.set_active(true);
    inlet
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
