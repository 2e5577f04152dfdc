//! How long things take, counted by how long: cheap enough to be told of every frame.

use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;

/// The upper bounds of the counts, in seconds: from an encoder in hardware to a network in trouble.
const BOUNDS_S: [f64; 13] =
    [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.033, 0.066, 0.1, 0.2, 0.5, 1.0, 2.0];

/// A histogram of durations. Clones count together.
#[derive(Debug, Clone)]
pub struct Seconds(pub(crate) Histogram);

impl Default for Seconds {
    fn default() -> Self {
        Self(Histogram::new(BOUNDS_S))
    }
}

impl Seconds {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }
}
