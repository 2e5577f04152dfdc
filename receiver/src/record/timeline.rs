//! One clock for everything of a recording: where its zero is, and when each picture was. Pure.

/// A capture time is believed when the picture arrived at most so much later, in microseconds.
const OLDEST_US: i64 = 10_000_000;

/// And at most so much earlier: the clocks' difference is only known so well.
const NEWEST_US: i64 = 1_000_000;

/// Pictures of a camera are at least so far apart: what a tick of Matroska is.
const STEP_US: i64 = 1_000;

/// Where a recording's clock begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch {
    /// On this host's monotonic clock, in microseconds.
    pub(super) mono_us: i64,
    /// In microseconds since 1970 (UTC), as this host knew it then. Later steps of the host's time
    /// are not followed: they would tear the recording.
    pub(super) utc_us: i64,
}

impl Epoch {
    /// A time of the monotonic clock, on the recording's.
    pub(super) fn since(self, mono_us: i64) -> i64 {
        mono_us.saturating_sub(self.mono_us)
    }

    /// A time of the monotonic clock, in microseconds since 1970 (UTC).
    pub(super) fn utc_us(self, mono_us: i64) -> i64 {
        self.utc_us.saturating_add(self.since(mono_us))
    }
}

/// The times of one camera's pictures: never backwards, never far from when they arrived.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    last_us: Option<i64>,
}

impl Timeline {
    /// When the next picture was: its capture time where that can be believed, else its
    /// presentation time, else its arrival. A peer that lies about its times moves its pictures by
    /// seconds and not more.
    pub(super) fn place(
        &mut self,
        arrived_us: i64,
        presented_us: Option<i64>,
        captured_us: Option<i64>,
    ) -> i64 {
        let believed = arrived_us.saturating_sub(OLDEST_US)..=arrived_us.saturating_add(NEWEST_US);
        let told = [captured_us, presented_us].into_iter().flatten();
        let at_us = told.into_iter().find(|us| believed.contains(us)).unwrap_or(arrived_us);
        let at_us =
            self.last_us.map_or(at_us, |last_us| at_us.max(last_us.saturating_add(STEP_US)));
        self.last_us = Some(at_us);
        at_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capture_times_are_kept_with_their_gaps() {
        let mut timeline = Timeline::default();
        let times = [(1_050_000, 1_000_000), (1_090_000, 1_033_000), (61_100_000, 61_000_000)];
        for (arrived, captured) in times {
            assert_eq!(timeline.place(arrived, Some(arrived - 1), Some(captured)), captured);
        }
    }

    #[test]
    fn what_cannot_be_is_not_believed() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.place(20_000_000, Some(19_990_000), Some(i64::MAX)), 19_990_000);
        assert_eq!(timeline.place(20_040_000, Some(i64::MIN), Some(0)), 20_040_000);
        assert_eq!(timeline.place(20_080_000, None, None), 20_080_000);
    }

    #[test]
    fn times_never_go_back_and_are_soon_right_again() {
        let mut timeline = Timeline::default();
        // The capture times become known: they are earlier by what the way takes.
        assert_eq!(timeline.place(1_000_000, Some(1_000_000), None), 1_000_000);
        assert_eq!(timeline.place(1_033_000, Some(1_033_000), Some(983_000)), 1_001_000);
        assert_eq!(timeline.place(1_066_000, Some(1_066_000), Some(1_016_000)), 1_016_000);
    }

    #[test]
    fn the_clock_of_the_recording() {
        let epoch = Epoch { mono_us: 500, utc_us: 1_700_000_000_000_000 };
        assert_eq!((epoch.since(400), epoch.since(1500)), (-100, 1000));
        assert_eq!(epoch.utc_us(1500), 1_700_000_000_001_000);
    }
}
