//! What was seen of a camera, picture by picture, and what that comes to: how many of its frames
//! were shown, how late, with how many freezes, and how many of them torn. Pure.

use std::collections::BTreeSet;
use std::ops::Range;
use std::str::FromStr;

use anyhow::Context;
use rovercast_protocol::pixelclock::Reading;

use crate::figures::percentile;

/// A picture stands still for longer than this: a freeze, in microseconds.
const FREEZE_US: i64 = 200_000;

/// One picture, as it was seen. Written as one line, and read again from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Of which camera: a number from 0.
    pub camera: usize,
    /// When it was there, in microseconds.
    pub at_us: i64,
    /// The clock in it, of the same origin.
    pub clock: Reading,
    /// Parts of it that do not belong to that time.
    pub wrong: usize,
}

impl Seen {
    /// When it was captured, if it is one picture from top to bottom.
    pub fn captured_us(&self) -> Option<i64> {
        match self.clock {
            Reading::Whole(micros) if self.wrong == 0 => i64::try_from(micros).ok(),
            _ => None,
        }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { camera, at_us, clock, wrong } = self;
        write!(f, "seen {camera} {at_us} ")?;
        match clock {
            Reading::Whole(micros) => write!(f, "{micros} {wrong}"),
            Reading::Torn => write!(f, "torn {wrong}"),
            Reading::Absent => write!(f, "absent {wrong}"),
        }
    }
}

impl FromStr for Seen {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let mut words = line.split(' ').skip_while(|word| *word != "seen").skip(1);
        let mut next = || words.next().with_context(|| format!("not a picture: {line}"));
        Ok(Self {
            camera: next()?.parse()?,
            at_us: next()?.parse()?,
            clock: match next()? {
                "torn" => Reading::Torn,
                "absent" => Reading::Absent,
                micros => Reading::Whole(micros.parse()?),
            },
            wrong: next()?.parse()?,
        })
    }
}

/// What it comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The share of the frames captured that were shown whole, 0 to 1.
    pub shown: f64,
    /// Pictures shown that were not of one frame.
    pub torn: usize,
    /// Freezes.
    pub freezes: usize,
    /// How long these were, together, in milliseconds.
    pub frozen_ms: f64,
    /// From capture to picture, of pictures that are whole, in milliseconds.
    pub latencies_ms: Vec<f64>,
}

impl Outcome {
    /// Of the frames that a camera with this frame rate captured in a span of time, in
    /// microseconds. `seen` is in the order of `at_us`, goes on some time beyond the span, and is
    /// of that camera alone.
    pub fn of(seen: &[Seen], span: Range<i64>, fps: f64) -> Self {
        let whole: Vec<(i64, i64)> = seen
            .iter()
            .filter_map(|seen| Some((seen.captured_us()?, seen.at_us)))
            .filter(|(captured, _)| span.contains(captured))
            .collect();
        let frames: BTreeSet<i64> = whole.iter().map(|&(captured, _)| captured).collect();
        let expected = (span.end - span.start) as f64 / 1e6 * fps;
        // What is shown stands still from one picture to the next; torn ones move, too.
        let times = seen.iter().map(|seen| seen.at_us).filter(|at| span.contains(at));
        let times: Vec<i64> = [span.start].into_iter().chain(times).chain([span.end]).collect();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        let freezes: Vec<i64> = gaps.filter(|&gap| gap > FREEZE_US).collect();
        Self {
            shown: (frames.len() as f64 / expected).min(1.0),
            torn: seen
                .iter()
                .filter(|seen| span.contains(&seen.at_us) && seen.captured_us().is_none())
                .count(),
            freezes: freezes.len(),
            frozen_ms: freezes.iter().sum::<i64>() as f64 / 1000.0,
            latencies_ms: whole.iter().map(|(captured, at)| (at - captured) as f64 / 1e3).collect(),
        }
    }

    /// The latency below which this part (0 to 1) of the pictures lies, in milliseconds.
    pub fn latency_ms(&self, part: f64) -> f64 {
        percentile(&self.latencies_ms, part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten frames per second, each shown 30 ms after its capture.
    fn seen(frames: impl IntoIterator<Item = i64>) -> Vec<Seen> {
        let of = |frame| {
            let captured = frame * 100_000;
            let clock = Reading::Whole(captured as u64);
            Seen { camera: 0, at_us: captured + 30_000, clock, wrong: 0 }
        };
        frames.into_iter().map(of).collect()
    }

    #[test]
    fn a_line_says_all_of_a_picture() {
        let all = [(Reading::Whole(9), 3), (Reading::Torn, 0), (Reading::Absent, 1)];
        for (clock, wrong) in all {
            let seen = Seen { camera: 2, at_us: 77, clock, wrong };
            assert_eq!(seen.to_string().parse::<Seen>().unwrap(), seen);
        }
        assert!("seen 0 1".parse::<Seen>().is_err());
        assert!("nothing was seen".parse::<Seen>().is_err());
    }

    #[test]
    fn all_is_shown() {
        let outcome = Outcome::of(&seen(0..40), 1_000_000..3_000_000, 10.0);
        assert_eq!((outcome.shown, outcome.torn, outcome.freezes), (1.0, 0, 0));
        assert_eq!(outcome.latencies_ms, [30.0; 20]);
        assert_eq!(outcome.latency_ms(0.5), 30.0);
    }

    #[test]
    fn a_frame_shown_twice_is_one() {
        let mut twice = seen(0..40);
        twice.insert(15, Seen { at_us: twice[14].at_us + 1, ..twice[14] });
        twice.retain(|seen| seen.at_us != 2_030_000);
        assert_eq!(Outcome::of(&twice, 1_000_000..3_000_000, 10.0).shown, 0.95);
    }

    #[test]
    fn frames_that_are_missing_are_a_freeze_when_they_are_many() {
        let outcome = Outcome::of(&seen((0..15).chain(16..40)), 1_000_000..3_000_000, 10.0);
        assert_eq!((outcome.shown, outcome.freezes, outcome.frozen_ms), (0.95, 0, 0.0));
        let outcome = Outcome::of(&seen((0..15).chain(18..40)), 1_000_000..3_000_000, 10.0);
        assert_eq!((outcome.shown, outcome.freezes, outcome.frozen_ms), (0.85, 1, 400.0));
    }

    #[test]
    fn a_freeze_at_the_end_counts_and_so_does_nothing_at_all() {
        let outcome = Outcome::of(&seen(0..26), 1_000_000..3_000_000, 10.0);
        assert_eq!((outcome.shown, outcome.freezes, outcome.frozen_ms), (0.8, 1, 470.0));
        let outcome = Outcome::of(&[], 1_000_000..3_000_000, 10.0);
        assert_eq!((outcome.shown, outcome.freezes, outcome.frozen_ms), (0.0, 1, 2000.0));
        assert!(outcome.latency_ms(0.5).is_nan());
    }

    #[test]
    fn a_picture_is_torn_by_its_clock_or_by_its_content() {
        let mut torn = seen(0..40);
        torn[15].clock = Reading::Torn;
        torn[16].clock = Reading::Absent;
        torn[17].wrong = 1;
        // Before the span.
        torn[5].clock = Reading::Torn;
        let outcome = Outcome::of(&torn, 1_000_000..3_000_000, 10.0);
        assert_eq!((outcome.torn, outcome.freezes, outcome.shown), (3, 0, 0.85));
    }
}
