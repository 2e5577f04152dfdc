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
        state.input = input;
        state.last = None;
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
        let Some(input) = &state.input else { return };
        self.counters.offered.fetch_add(1, Ordering::Relaxed);
        // Refused only while it stops.
        let _ = input.push_sample(&sample);
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
        let caps = slate.caps_owned();
        let sample = gst::Sample::builder().buffer(&buffer);
        let sample = if let Some(caps) = &caps { sample.caps(caps) } else { sample };
        let _ = input.push_sample(&sample.build());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
