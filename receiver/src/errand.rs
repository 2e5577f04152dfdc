//! A snapshot that is asked for and put together. Neither the session that it takes, nor the file
//! that it goes into.

use rovercast_protocol::control::{About, Assembly, RobotMessage, ViewerMessage};
use rovercast_protocol::ids::CameraId;
use tokio::sync::oneshot;

/// What became of a snapshot: the JPEG, or a reason for people.
pub type Taken = Result<Vec<u8>, String>;

/// A snapshot that is wanted.
#[derive(Debug)]
pub struct Errand {
    camera: CameraId,
    request: u32,
    assembly: Assembly,
    /// None once it is done.
    taken: Option<oneshot::Sender<Taken>>,
}

impl Errand {
    /// One of this camera, and where it comes.
    pub fn new(camera: CameraId) -> (Self, oneshot::Receiver<Taken>) {
        let (sender, taken) = oneshot::channel();
        let assembly = Assembly::default();
        (Self { camera, request: 0, assembly, taken: Some(sender) }, taken)
    }

    /// What to ask of a robot in a session that has just opened; whatever an earlier one gave is
    /// forgotten.
    pub fn begin(&mut self) -> ViewerMessage {
        self.request += 1;
        self.assembly = Assembly::default();
        ViewerMessage::TakeSnapshot(About { request: self.request, camera: self.camera.clone() })
    }

    /// Takes what the robot says.
    pub fn heard(&mut self, message: RobotMessage) {
        let taken = match message {
            RobotMessage::Snapshot(part) if part.request == self.request => {
                self.assembly.take(part).map_err(|error| error.to_string()).transpose()
            }
            RobotMessage::Result(outcome) if outcome.request == self.request => {
                outcome.error.map(|error| Err(error.details))
            }
            _ => None,
        };
        if let Some(taken) = taken {
            self.finish(taken);
        }
    }

    /// It is over; only the first end counts.
    pub fn finish(&mut self, taken: Taken) {
        if let Some(sender) = self.taken.take() {
            let _ = sender.send(taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rovercast_protocol::control::{Outcome, Refusal, RefusalCode, SnapshotPart};

    fn part(errand: &Errand, jpeg: &[u8], part: u32) -> RobotMessage {
        let part = SnapshotPart::of(jpeg, errand.request, &errand.camera, part);
        RobotMessage::Snapshot(part.unwrap())
    }

    #[test]
    fn a_snapshot_survives_the_end_of_a_session() {
        let jpeg: Vec<u8> = (0..60_000).map(|n| n as u8).collect();
        let (mut errand, mut taken) = Errand::new("c".parse().unwrap());
        errand.begin();
        let late = part(&errand, &jpeg, 1);
        errand.heard(part(&errand, &jpeg, 0));
        errand.begin();
        errand.heard(late);
        for n in 0..3 {
            assert!(taken.try_recv().is_err());
            errand.heard(part(&errand, &jpeg, n));
        }
        assert_eq!(taken.try_recv().unwrap(), Ok(jpeg));
    }

    #[test]
    fn the_robots_reason_is_told() {
        let (mut errand, mut taken) = Errand::new("c".parse().unwrap());
        errand.begin();
        let (code, details) = (RefusalCode::NotAuthorised, "not here".to_owned());
        let error = Some(Refusal { code, details });
        errand.heard(RobotMessage::Result(Outcome { request: 9, error: error.clone() }));
        assert!(taken.try_recv().is_err());
        errand.heard(RobotMessage::Result(Outcome { request: 1, error }));
        assert_eq!(taken.try_recv().unwrap(), Err("not here".to_owned()));
    }
}
