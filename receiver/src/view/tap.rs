//! Where somebody else sees a view's access units, as they came.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Called for each access unit of a camera as it arrived, before anything is dropped, on the
/// thread that brought it: it must neither block nor take long. False when it needs a key frame.
pub type OnAccessUnit = Arc<dyn Fn(&gst::Sample) -> bool + Send + Sync>;

/// A place for an [`OnAccessUnit`]; costs next to nothing while it is empty.
#[derive(Default)]
pub(super) struct Tap {
    is_set: AtomicBool,
    call: Mutex<Option<OnAccessUnit>>,
}

impl Tap {
    /// Calls this one from now on; none by `None`.
    pub(super) fn set(&self, call: Option<OnAccessUnit>) {
        let mut current = self.call.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_set.store(call.is_some(), Ordering::Relaxed);
        *current = call;
    }

    /// An access unit has arrived. False when somebody needs a key frame.
    pub(super) fn tell(&self, sample: &gst::Sample) -> bool {
        if !self.is_set.load(Ordering::Relaxed) {
            return true;
        }
        let call = self.call.lock().unwrap_or_else(PoisonError::into_inner).clone();
        call.is_none_or(|call| call(sample))
    }
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap").field("is_set", &self.is_set).finish()
    }
}
