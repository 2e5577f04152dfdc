//! Sums of bytes that wait, counted by what waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a sum, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Count(Arc<AtomicUsize>, usize);

impl Count {
    /// Adds so many to the sum.
    pub(crate) fn of(sum: &Arc<AtomicUsize>, bytes: usize) -> Self {
        sum.fetch_add(bytes, Ordering::Relaxed);
        Self(sum.clone(), bytes)
    }

    /// None when the sum would exceed the limit. Exact where nobody else adds meanwhile.
    pub(crate) fn within(limit: usize, sum: &Arc<AtomicUsize>, bytes: usize) -> Option<Self> {
        (sum.load(Ordering::Relaxed) + bytes <= limit).then(|| Self::of(sum, bytes))
    }

    /// Whether the sum exceeds the limit, and not by these bytes alone.
    pub(crate) fn exceeds(&self, limit: usize) -> bool {
        let sum = self.0.load(Ordering::Relaxed);
        sum > limit && sum > self.1
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}
