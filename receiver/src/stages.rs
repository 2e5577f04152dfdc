//! Latency told by stage: from the times of each frame to the figures of a second. Pure.

use serde::{Serialize, Serializer};

use crate::meter::FrameTimes;
use crate::report::Spread;

/// One stage of a frame's way from camera to screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// From its capture until its access unit left the encoder.
    Encode,
    /// Until its last packet was handed to the transport.
    Send,
    /// Until its last packet arrived.
    Network,
    /// Until the whole access unit was given to the decoder: jitter buffer and depayloader.
    Receive,
    /// Until the picture came out of the decoder.
    Decode,
    /// Until it was shown, or whatever the output does with pictures.
    Present,
    /// All of them together.
    Total,
}

impl Stage {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [
        Self::Encode,
        Self::Send,
        Self::Network,
        Self::Receive,
        Self::Decode,
        Self::Present,
        Self::Total,
    ];

    /// Its name, in reports and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Encode => "encode",
            Self::Send => "send",
            Self::Network => "network",
            Self::Receive => "receive",
            Self::Decode => "decode",
            Self::Present => "present",
            Self::Total => "total",
        }
    }

    /// Whether two clocks measure it, so that it is off by as much as their offset is.
    fn spans_clocks(self) -> bool {
        matches!(self, Self::Network | Self::Total)
    }
}

/// How long one frame took, stage by stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// In microseconds, by stage; none where that is not known. What two clocks measure may be less
    /// than nothing, by their error.
    us: [Option<i64>; Stage::ALL.len()],
    /// How far the clocks' offset may be off, in microseconds.
    clock_error_us: i64,
}

impl StageTimes {
    /// Of a frame. Without the robot's clock, what happens on either side is told all the same.
    pub fn of(frame: &FrameTimes) -> Self {
        let FrameTimes { origin, arrived_us, delivered_us, decoded_us, presented_us } = *frame;
        let after =
            |later: Option<i64>, earlier: Option<i64>| Some(later?.saturating_sub(earlier?));
        let captured_us = origin.captured.map(|captured| captured.at_us);
        let encoded = origin.stages.encoded_us.map(i64::from);
        let sent = origin.stages.sent_us.map(i64::from);
        let sent_us = captured_us.zip(sent).map(|(at_us, sent)| at_us.saturating_add(sent));
        let time = |stage| match stage {
            Stage::Encode => encoded,
            Stage::Send => after(sent, encoded),
            Stage::Network => after(Some(arrived_us), sent_us),
            Stage::Receive => after(delivered_us, Some(arrived_us)),
            Stage::Decode => after(decoded_us, delivered_us),
            Stage::Present => after(presented_us, decoded_us),
            Stage::Total => after(presented_us, captured_us),
        };
        let clock_error_us = origin.captured.map_or(0, |captured| captured.error_us);
        Self { us: Stage::ALL.map(time), clock_error_us }
    }

    /// How far those may be off that two clocks measure, in microseconds.
    pub fn clock_error_us(&self) -> i64 {
        self.clock_error_us
    }

    /// One of them, in microseconds.
    pub fn us(&self, stage: Stage) -> Option<i64> {
        self.us[stage as usize]
    }
}

/// How long the frames of a second took, by stage.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stages(Vec<(Stage, StageSpread)>);

/// How long they took in one stage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StageSpread {
    /// In milliseconds.
    #[serde(flatten)]
    pub spread: Spread,
    /// How far it may be off, in milliseconds; absent where one clock measures it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_error_ms: Option<f64>,
}

impl Stages {
    /// Of these frames. A stage of which nothing is known is left out.
    pub fn of(frames: &[StageTimes]) -> Self {
        let error_us = frames.iter().map(|frame| frame.clock_error_us).max().unwrap_or(0);
        let of = |stage: Stage| {
            let spread =
                Spread::of_us(frames.iter().filter_map(|frame| frame.us(stage)).collect())?;
            let clock_error_ms = stage.spans_clocks().then_some(error_us as f64 / 1000.0);
            Some((stage, StageSpread { spread, clock_error_ms }))
        };
        Self(Stage::ALL.into_iter().filter_map(of).collect())
    }

    /// One stage's figures.
    pub fn get(&self, stage: Stage) -> Option<StageSpread> {
        self.0.iter().find(|(other, _)| *other == stage).map(|(_, figures)| *figures)
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Stages {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(stage, figures)| (stage.name(), figures)))
    }
}

#[cfg(test)]
mod tests {
    use rovercast_protocol::frame_times;

    use super::*;
    use crate::track_clock::{Captured, Origin};

    fn frame() -> FrameTimes {
        let stages = frame_times::Stages { encoded_us: Some(2_000), sent_us: Some(2_300) };
        FrameTimes {
            origin: Origin { captured: Some(Captured { at_us: 10_000, error_us: 150 }), stages },
            arrived_us: 13_000,
            delivered_us: Some(13_100),
            decoded_us: Some(14_600),
            presented_us: Some(15_000),
        }
    }

    #[test]
    fn the_stages_make_up_the_whole() {
        let times = StageTimes::of(&frame());
        let us = Stage::ALL.map(|stage| times.us(stage).unwrap());
        assert_eq!(us, [2_000, 300, 700, 100, 1_500, 400, 5_000]);
        assert_eq!(us[..6].iter().sum::<i64>(), us[6]);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let known = |frame: FrameTimes| {
            let stages = Stages::of(&[StageTimes::of(&frame)]);
            let known = Stage::ALL.into_iter().filter(|stage| stages.get(*stage).is_some());
            known.map(Stage::name).collect::<Vec<_>>().join(" ")
        };
        let mut without = frame();
        without.presented_us = None;
        assert_eq!(known(without), "encode send network receive decode");
        without.origin.stages = frame_times::Stages::default();
        assert_eq!(known(without), "receive decode");
        without = frame();
        without.origin.captured = None;
        assert_eq!(known(without), "encode send receive decode present");
        without.origin = Origin::default();
        assert_eq!(known(without), "receive decode present");
        assert!(Stages::of(&[]).is_empty());
    }

    #[test]
    fn figures_look_as_documented() {
        let json = serde_json::to_value(Stages::of(&[StageTimes::of(&frame())])).unwrap();
        let local = serde_json::json!({"p50": 2.0, "p95": 2.0, "max": 2.0});
        assert_eq!(json["encode"], local);
        let spans = serde_json::json!({"p50": 5.0, "p95": 5.0, "max": 5.0, "clockErrorMs": 0.15});
        assert_eq!(json["total"], spans);
        assert_eq!(json.as_object().unwrap().len(), Stage::ALL.len());
    }

    #[test]
    fn whatever_a_robot_says_is_survived() {
        let mut absurd = frame();
        for at_us in [i64::MIN, i64::MAX] {
            absurd.origin.captured = Some(Captured { at_us, error_us: i64::MAX });
            let stages = Stages::of(&[StageTimes::of(&absurd)]);
            assert!(stages.get(Stage::Total).is_some());
        }
    }
}
