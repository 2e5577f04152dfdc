//! How long things take, counted by how long: cheap enough to be told of every frame. Nobody ever
//! waits for a lock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// The upper bounds of the counts, in seconds: from an encoder in hardware to a network in trouble.
const BOUNDS_S: [f64; 13] =
    [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.033, 0.066, 0.1, 0.2, 0.5, 1.0, 2.0];

/// A histogram of durations. Clones count together.
#[derive(Debug, Clone)]
pub struct Seconds(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    bounds_s: &'static [f64],
    /// One for each bound, and one for what is above all of them.
    counts: Box<[AtomicU64]>,
    sum_ns: AtomicU64,
}

impl Default for Seconds {
    fn default() -> Self {
        Self::within(&BOUNDS_S)
    }
}

impl Seconds {
    /// Counts up to each of these bounds, which rise.
    pub fn within(bounds_s: &'static [f64]) -> Self {
        let counts = (0..=bounds_s.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Counts { bounds_s, counts, sum_ns: AtomicU64::new(0) }))
    }

    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let Counts { bounds_s, counts, sum_ns } = &*self.0;
        let bucket = bounds_s.partition_point(|bound| *bound < took.as_secs_f64());
        if let Some(count) = counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        sum_ns.fetch_add(took_ns, Ordering::Relaxed);
    }
}

impl EncodeMetric for Seconds {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = self.0.bounds_s.iter().copied().chain([f64::INFINITY]);
        let counts = self.0.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(self.0.sum_ns.load(Ordering::Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
