//! Where frames pass from a source, which comes and goes, to the encoder, which stays; and where a
//! slate takes the place of a source that is away.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gst_app::AppSrc;
use rovercast_peer::start::now;

use crate::camera::counters::Counters;

/// One attempt at opening a camera's source. Later ones have greater numbers.
pub type Attempt = u32;

#[derive(Debug, Default)]
struct State {
    /// The encoder's entrance.
    input: Option<AppSrc>,
    /// The caps of the frames that last passed, as their source gave them.
    caps: Option<gst::Caps>,
    /// Whose frames pass; none while a slate is shown.
    live: Option<Attempt>,
    /// The last frame that passed.
    last: Option<gst::Sample>,
}

/// A camera's seam.
#[derive(Debug)]
pub struct Seam {
    state: Mutex<State>,
    counters: Arc<Counters>,
}

impl Seam {
    /// A seam that nothing passes yet.
    pub fn new(counters: Arc<Counters>) -> Self {
        Self { state: Mutex::default(), counters }
    }

    /// Frames go there from now on.
    pub fn lead_to(&self, input: Option<AppSrc>) {
        let mut state = self.lock();
        *state = State { input, live: state.live, ..State::default() };
    }

    /// The frames of this attempt pass from now on, and no slate.
    pub fn pass(&self, attempt: Attempt) {
        self.lock().live = Some(attempt);
    }

    /// No frames pass from now on. Returns the last that did: whoever holds it may hold a buffer
    /// of the device, too.
    pub fn cut(&self) -> Option<gst::Sample> {
        let mut state = self.lock();
        state.live = None;
        state.last.take()
    }

    /// Takes a frame of a source, on the thread that made it.
    pub fn frame(&self, attempt: Attempt, sample: gst::Sample) {
        let mut state = self.lock();
        if state.live != Some(attempt) {
            return;
        }
        let Some(input) = state.input.clone() else { return };
        let Some(mut buffer) = sample.buffer_owned() else { return };
        unmark(&mut buffer);
        self.counters.offered.fetch_add(1, Ordering::Relaxed);
        let caps = sample.caps_owned();
        if caps != state.caps {
            if let (Some(caps), Some(now)) = (&caps, input.caps()) {
                colour(&input, &now, caps);
            }
            state.caps = caps;
        }
        // Refused only while it stops.
        let _ = input.push_buffer(buffer);
        state.last = Some(sample);
    }

    /// Takes a picture of a slate; it leaves with the time of now.
    pub fn slate(&self, slate: &gst::Sample) {
        let state = self.lock();
        let (None, Some(input), Some(buffer)) = (state.live, &state.input, slate.buffer()) else {
            return;
        };
        let mut buffer = buffer.copy();
        buffer.make_mut().set_pts(now());
        unmark(&mut buffer);
        self.counters.offered.fetch_add(1, Ordering::Relaxed);
        let _ = input.push_buffer(buffer);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A gap between frames is none between access units, where it would wait for a key frame.
fn unmark(buffer: &mut gst::Buffer) {
    if buffer.flags().contains(gst::BufferFlags::DISCONT) {
        buffer.make_mut().unset_flags(gst::BufferFlags::DISCONT);
    }
}

/// Frames look always the same to the encoder, but for their colours, which are the camera's. It
/// starts anew when they change: a slate's are never told.
fn colour(input: &AppSrc, now: &gst::Caps, frames: &gst::Caps) {
    let mut caps = now.clone();
    let (Some(frames), Some(told)) = (frames.structure(0), caps.make_mut().structure_mut(0)) else {
        return;
    };
    for field in ["colorimetry", "chroma-site"] {
        match frames.get::<&str>(field) {
            Ok(value) => told.set(field, value),
            Err(_) => told.remove_field(field),
        }
    }
    if caps != *now {
        input.set_caps(Some(&caps));
    }
}
