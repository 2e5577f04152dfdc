//! What flowed through a camera since it exists, through all its sources and encoders.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use rovercast_metrics::seconds::Seconds;

/// Counts of frames.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames that the source gave, also those that nobody wanted.
    pub seen: AtomicU64,
    /// Raw frames offered to the encoder.
    pub offered: AtomicU64,
    /// Raw frames that the encoder took.
    pub taken: AtomicU64,
    /// Access units that came out.
    pub encoded: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// How long they took since their capture, until they came out.
    pub encode: Seconds,
    /// How long they took from there until they were handed to the transport, in all sessions.
    pub send: Seconds,
    /// How often the camera ceased to deliver.
    pub losses: AtomicU64,
    /// How often its encoder was started anew because it failed.
    pub encoder_restarts: AtomicU64,
}

impl Counters {
    /// Raw frames that the encoder was too busy for.
    pub fn dropped(&self) -> u64 {
        let offered = self.offered.load(Ordering::Relaxed);
        // One frame may be on its way.
        offered.saturating_sub(self.taken.load(Ordering::Relaxed) + 1)
    }
}

/// What is wanted of a camera at this moment; read for every frame.
#[derive(Debug)]
pub struct Demand {
    watchers: AtomicUsize,
    always: AtomicBool,
    fps: AtomicU32,
}

impl Demand {
    /// Wanted while somebody watches, or `always`; at most so many frames per second.
    pub fn new(always: bool, fps: u32) -> Arc<Self> {
        Arc::new(Self {
            watchers: AtomicUsize::new(0),
            always: always.into(),
            fps: AtomicU32::new(fps),
        })
    }

    /// Watches until the watch is dropped.
    pub fn watch(self: &Arc<Self>) -> Watching {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        Watching(self.clone())
    }

    /// Whether pictures are to be encoded.
    pub fn is_wanted(&self) -> bool {
        self.always.load(Ordering::Relaxed) || self.watchers.load(Ordering::Relaxed) > 0
    }

    /// Changes whether they are also when nobody watches.
    pub fn set_always(&self, always: bool) {
        self.always.store(always, Ordering::Relaxed);
    }

    /// Frames per second, at most.
    pub fn fps(&self) -> u32 {
        self.fps.load(Ordering::Relaxed)
    }

    /// Changes the same; at least 1.
    pub fn set_fps(&self, fps: u32) {
        self.fps.store(fps, Ordering::Relaxed);
    }
}

/// One that watches a camera.
#[derive(Debug)]
pub struct Watching(Arc<Demand>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}
