//! What a viewer is to be told of a camera's signal, given what it was told last. Pure.

use rovercast_protocol::control::{RobotMessage, SignalLost, SignalRestored};
use rovercast_protocol::ids::CameraId;
use rovercast_protocol::telemetry::CameraState;

/// What the viewer takes a camera's signal for.
#[derive(Debug, Default)]
pub enum Told {
    /// It has not started yet.
    #[default]
    Starting,
    /// It is there.
    Live,
    /// It was told that it is not.
    Lost(SignalLost),
}

impl Told {
    /// What there is to say of a camera that is in this state since then (the shared clock,
    /// microseconds). To be said again until [`Told::said`]. States in between may have been
    /// missed: only what was told last counts.
    pub fn news(
        &mut self,
        camera: &CameraId,
        state: CameraState,
        reason: Option<&str>,
        since_us: i64,
    ) -> Option<RobotMessage> {
        let camera = camera.clone();
        match (&mut *self, state) {
            (Self::Lost(lost), CameraState::Live) => {
                let lost_us = since_us.saturating_sub(lost.since_us).max(0);
                Some(RobotMessage::SignalRestored(SignalRestored { camera, lost_us }))
            }
            (_, CameraState::Live) => {
                *self = Self::Live;
                None
            }
            // The first start is no loss; another attempt is no news.
            (Self::Starting | Self::Lost(_), CameraState::Starting) => None,
            (before, state) => {
                let since_us = match before {
                    Self::Lost(lost) => lost.since_us,
                    _ => since_us,
                };
                let reason = reason.unwrap_or_default().to_owned();
                let lost = SignalLost { camera, state, reason, since_us };
                let known = matches!(before, Self::Lost(before) if *before == lost);
                (!known).then_some(RobotMessage::SignalLost(lost))
            }
        }
    }

    /// This news was said.
    pub fn said(&mut self, news: RobotMessage) {
        match news {
            RobotMessage::SignalLost(lost) => *self = Self::Lost(lost),
            RobotMessage::SignalRestored(_) => *self = Self::Live,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CameraState::{Failed, Live, Lost, Off, Stalled, Starting};

    /// What a viewer is told of a camera that goes through these states, one each second.
    fn told(states: &[CameraState]) -> Vec<String> {
        let camera = "c".parse().unwrap();
        let mut told = Told::default();
        let mut said = Vec::new();
        for (second, &state) in states.iter().enumerate() {
            let since_us = second as i64 * 1_000_000;
            if let Some(news) = told.news(&camera, state, Some("why"), since_us) {
                said.push(match &news {
                    RobotMessage::SignalLost(lost) => {
                        format!("{second}: {:?} since {}", lost.state, lost.since_us / 1_000_000)
                    }
                    RobotMessage::SignalRestored(restored) => {
                        format!("{second}: restored after {}", restored.lost_us / 1_000_000)
                    }
                    other => panic!("{other:?}"),
                });
                told.said(news);
            }
        }
        said
    }

    #[test]
    fn loss_and_return_are_told_once_each() {
        assert_eq!(
            told(&[Live, Live, Lost, Lost, Live, Live, Off, Live]),
            ["2: Lost since 2", "4: restored after 2", "6: Off since 6", "7: restored after 1"]
        );
    }

    #[test]
    fn a_camera_that_starts_has_lost_nothing() {
        assert_eq!(told(&[Starting, Starting, Live]), [""; 0]);
        assert_eq!(told(&[Starting, Failed]), ["1: Failed since 1"]);
        assert_eq!(told(&[Live, Starting, Live]), ["1: Starting since 1", "2: restored after 1"]);
    }

    #[test]
    fn what_is_gone_already_is_told_at_once_and_attempts_are_no_news() {
        assert_eq!(
            told(&[Lost, Starting, Lost, Starting, Live]),
            ["0: Lost since 0", "4: restored after 4"]
        );
    }

    #[test]
    fn a_loss_that_becomes_another_goes_on_from_its_start() {
        let said = ["1: Stalled since 1", "2: Lost since 1", "3: restored after 2"];
        assert_eq!(told(&[Live, Stalled, Lost, Live]), said);
    }

    #[test]
    fn what_could_not_be_said_is_said_later() {
        let camera = "c".parse().unwrap();
        let mut told = Told::default();
        let first = told.news(&camera, Lost, None, 5);
        assert!(first.is_some());
        assert_eq!(told.news(&camera, Lost, None, 5), first);
        assert_eq!(told.news(&camera, Live, None, 6), None, "nobody heard of the loss");
    }
}
