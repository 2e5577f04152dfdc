//! The page of figures, in the text format of OpenMetrics.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::seconds::Seconds;

/// The content type of a page: OpenMetrics, which Prometheus asks for and others take for its own.
pub const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Labels of one figure: name and value. Values must come from a small, fixed set: each that ever
/// occurs is kept by Prometheus for months.
pub type Labels = Vec<(&'static str, String)>;

/// One that has figures. Asked on a thread of the server's, whenever somebody wants them.
pub trait Figures: fmt::Debug + Send + Sync + 'static {
    /// Writes all of them. The error is the page's.
    fn write(&self, page: &mut Page<'_>) -> fmt::Result;
}

/// A page that is being written.
#[derive(Debug)]
pub struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    /// What goes up and down: a family with a name such as `rovercast_sender_sessions`.
    pub fn gauges(
        &mut self,
        name: &str,
        help: &str,
        figures: impl IntoIterator<Item = (Labels, f64)>,
    ) -> fmt::Result {
        let figures = figures.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.family(name, help, MetricType::Gauge, figures)
    }

    /// What only goes up. The name is without its ending `_total`, which is put there.
    pub fn counters(
        &mut self,
        name: &str,
        help: &str,
        figures: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        let figures = figures.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.family(name, help, MetricType::Counter, figures)
    }

    /// Histograms of durations: a name that ends in `_seconds`.
    pub fn seconds(
        &mut self,
        name: &str,
        help: &str,
        figures: impl IntoIterator<Item = (Labels, Seconds)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Histogram, figures.into_iter())
    }

    fn family<M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        figures: impl Iterator<Item = (Labels, M)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, figure) in figures {
            if labels.is_empty() {
                figure.encode(family)?;
                return Ok(());
            }
            figure.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// The whole page, as it is now.
pub fn text(figures: &Arc<dyn Figures>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Whole(figures.clone())));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

#[derive(Debug)]
struct Whole(Arc<dyn Figures>);

impl Collector for Whole {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.write(&mut Page(encoder))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[derive(Debug)]
    struct Several;

    impl Figures for Several {
        fn write(&self, page: &mut Page<'_>) -> fmt::Result {
            page.gauges("a_sessions", "How many.", [(vec![], 2.5)])?;
            let camera = |id: &str| vec![("camera", id.to_owned())];
            page.counters("a_frames", "Frames.", [(camera("front"), 7), (camera("rear"), 8)])?;
            let took = Seconds::default();
            took.observe(Duration::from_micros(700));
            took.clone().observe(Duration::from_secs(3));
            page.seconds("a_seconds", "Time.", [(camera("front"), took)])?;
            page.gauges("a_nothing", "Nothing.", [])
        }
    }

    #[test]
    fn a_page_looks_as_the_format_says() {
        let figures: Arc<dyn Figures> = Arc::new(Several);
        let page = text(&figures).unwrap();
        let lines: Vec<&str> = page.lines().collect();
        assert_eq!(
            lines[..3],
            ["# HELP a_sessions How many.", "# TYPE a_sessions gauge", "a_sessions 2.5"]
        );
        for line in [
            "# TYPE a_frames counter",
            "a_frames_total{camera=\"front\"} 7",
            "a_frames_total{camera=\"rear\"} 8",
            "# TYPE a_seconds histogram",
            "a_seconds_sum{camera=\"front\"} 3.0007",
            "a_seconds_count{camera=\"front\"} 2",
            "a_seconds_bucket{le=\"0.0005\",camera=\"front\"} 0",
            "a_seconds_bucket{le=\"0.001\",camera=\"front\"} 1",
            "a_seconds_bucket{le=\"+Inf\",camera=\"front\"} 2",
            "# TYPE a_nothing gauge",
        ] {
            assert!(lines.contains(&line), "{line} in\n{page}");
        }
        assert_eq!(lines.last(), Some(&"# EOF"));
    }
}
