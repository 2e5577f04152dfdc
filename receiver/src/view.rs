//! One camera's way from access units to pictures. It outlives sessions and decoders: a window, or
//! whatever reads from a launch fragment, stays while robots and brokers come and go.

mod entrance;
mod stage;
mod tap;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use gst::prelude::*;
use rovercast_peer::start::now_us;
use rovercast_protocol::codec::Codec;
use rovercast_protocol::ids::CameraId;
use tokio::sync::mpsc;

use crate::decode::{Decoders, Decoding};
use crate::meter::Meter;
use crate::output::Output;
use crate::turns::{Turn, Turns};
pub use entrance::Entrance;
use stage::Stage;
pub use tap::OnAccessUnit;
use tap::Tap;

/// An access unit may be this much older than the jitter buffer explains. Decoding runs on the
/// thread that brings the packets, so that no hand-over costs time; where it does not keep up,
/// older access units are dropped, up to the next key frame.
const BACKLOG: Duration = Duration::from_millis(300);

/// An output that takes one picture for this long is stuck: a pipe that nobody reads, say.
const STUCK: Duration = Duration::from_secs(2);

/// A decoder that is at one access unit at so many looks of [`View::unstick`] hangs. Looks, and no
/// time: a process that was stopped for a while does not.
const LOOKS: u32 = 50;

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
    inside: Arc<Inside>,
    reported: (u64, u64),
    /// Looks at a push that is still the same one, and since when that is under way.
    looks: AtomicU32,
    looked_at_us: AtomicI64,
}

/// What a view shares with its entrances.
#[derive(Debug)]
struct Inside {
    decoding: Arc<Decoding>,
    stage: Stage,
    meter: Arc<Meter>,
    tap: Tap,
    turns: Turns,
    /// Since when a session has been pushing, in microseconds of the shared clock; 0 when none is.
    pushing_since_us: AtomicI64,
}

impl View {
    /// Starts to wait for access units: blocks until a decoder is open. The error is for people.
    pub fn start(
        camera: &CameraId,
        codec: Codec,
        output: &Output,
        decoders: &Arc<Decoders>,
        failures: mpsc::Sender<ViewFailed>,
    ) -> Result<Self, String> {
        let stage = Stage::build(camera, output, failures.clone())?;
        let meter = Arc::new(Meter::default());
        if let Some(pad) = stage.pictures() {
            measure(&pad, &meter);
        }
        match output.wall() {
            Some(wall) => {
                let meter = meter.clone();
                wall.on_presented(camera, Arc::new(move |pts, at_us| meter.presented(pts, at_us)));
            }
            None => stage.tell_presented(&meter),
        }
        let of = camera.clone();
        let on_end = Box::new(move |reason| {
            let _ = failures.try_send(ViewFailed { camera: of.clone(), reason });
        });
        let decoding = Decoding::start(camera, codec, decoders, stage.entry().clone(), on_end)?;
        let (tap, pushing_since_us) = (Tap::default(), AtomicI64::new(0));
        let turns = Turns::default();
        let inside = Arc::new(Inside { decoding, stage, meter, tap, turns, pushing_since_us });
        let (looks, looked_at_us) = (AtomicU32::new(0), AtomicI64::new(0));
        let view = Self { codec, inside, reported: (0, 0), looks, looked_at_us };
        match view.inside.stage.play() {
            Ok(()) => Ok(view),
            Err(reason) => {
                view.stop();
                Err(reason)
            }
        }
    }

    /// What it decodes.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// What it decodes with: the factory name of the decoder in use, or of the one being opened.
    pub fn decoder(&self) -> &'static str {
        self.inside.decoding.factory()
    }

    /// Its figures.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.inside.meter
    }

    /// Has this called for every access unit that arrives from now on, of whichever session is
    /// shown; nothing by `None`.
    pub fn set_tap(&self, tap: Option<OnAccessUnit>) {
        self.inside.tap.set(tap);
    }

    /// How much more pictures were decoded and bytes received than at the last call.
    pub fn since_last_report(&mut self, decoded: u64, bytes: u64) -> (u64, u64) {
        let (frames_before, bytes_before) = std::mem::replace(&mut self.reported, (decoded, bytes));
        (decoded - frames_before, bytes - bytes_before)
    }

    /// A way in, for the session whose turn this is and whose jitter buffer waits so long at most.
    pub fn entrance(&self, jitter_buffer: Duration, turn: Turn) -> Entrance {
        self.inside.meter.forget_times();
        Entrance::new(self.inside.clone(), jitter_buffer + BACKLOG, turn)
    }

    /// Looks whether something is stuck, and does what helps: to be called ten times a second. True
    /// when the output had to let go of a picture that it has been taking for too long.
    pub fn unstick(&self) -> bool {
        let Inside { decoding, stage, pushing_since_us, .. } = &*self.inside;
        if stage.busy() > STUCK {
            decoding.interrupt();
            decoding.resume();
            return true;
        }
        let pushing = pushing_since_us.load(Ordering::Relaxed);
        let same = self.looked_at_us.swap(pushing, Ordering::Relaxed) == pushing;
        let waits = pushing != 0 && same && stage.busy() == Duration::ZERO;
        let looks = if waits { self.looks.load(Ordering::Relaxed) + 1 } else { 0 };
        self.looks.store(looks, Ordering::Relaxed);
        // With the first pictures it is watched by whoever pushes.
        if looks >= LOOKS
            && let Some(chain) = decoding.chain().filter(|chain| chain.pictures() > 0)
        {
            decoding.replace(&chain, "it hangs", true);
            // Some drivers let go then. The output is not linked any more, and hears nothing.
            chain.give_up();
        }
        false
    }

    /// Frees decoder and output. Blocks until they are free.
    pub fn stop(self) {
        // The output first: a session may be waiting for it in the middle of a push.
        self.inside.stage.stop();
        self.inside.decoding.stop();
    }
}

fn measure(pad: &gst::Pad, meter: &Arc<Meter>) {
    let meter = meter.clone();
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |_, info| {
        match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let pts = buffer.pts().unwrap_or(gst::ClockTime::ZERO);
                meter.decoded(pts.nseconds(), now_us());
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
