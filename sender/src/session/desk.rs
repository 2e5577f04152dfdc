//! One viewer's control channel: tells it which of its cameras have a signal, takes its requests
//! to whoever owns the cameras, and brings the answers back. What has no room in the channel waits
//! here, in bounded queues.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::select_all;
use rovercast_peer::channel::Channel;
use rovercast_peer::connection::Connection;
use rovercast_protocol::control::{
    MAX_SNAPSHOT_BYTES, Outcome, Refusal, RefusalCode, RobotMessage, SetCamera, SnapshotPart,
    ViewerMessage,
};
use rovercast_protocol::ids::CameraId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::camera::task::Status;
use crate::control::{self, Change, Reply, Request, What, refused};
use crate::session::signal::Told;

/// Requests of one viewer that may be under way, snapshots that are being sent included. Further
/// ones are refused.
const MAX_IN_FLIGHT: usize = 4;

/// Answers that may wait for the channel. Requests of a viewer that does not read them are dropped.
const MAX_ANSWERS: usize = 16;

/// A camera that has not answered by then does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes in the channel above which no further part of a snapshot is sent: news of a camera must
/// find room.
const SNAPSHOT_BACKLOG: u64 = 64 * 1024;

/// How long what had no room waits before it is tried again.
const AGAIN: Duration = Duration::from_millis(20);

/// The robot's side of one control channel.
#[derive(Debug)]
pub struct Desk {
    cameras: Vec<Watched>,
    /// Or why this viewer may not control cameras.
    requests: Result<mpsc::Sender<Request>, &'static str>,
    in_flight: JoinSet<Answer>,
    answers: VecDeque<Outcome>,
    snapshots: VecDeque<Snapshot>,
    /// Something had no room in the channel.
    waits: bool,
}

#[derive(Debug)]
struct Watched {
    id: CameraId,
    status: watch::Receiver<Status>,
    told: Told,
}

#[derive(Debug)]
struct Answer {
    request: u32,
    camera: CameraId,
    reply: control::Answer,
}

#[derive(Debug)]
struct Snapshot {
    request: u32,
    camera: CameraId,
    jpeg: Vec<u8>,
    next: u32,
}

impl Desk {
    /// A desk for these cameras. Requests go to `requests`; or are refused for that reason.
    pub fn new(
        cameras: impl IntoIterator<Item = (CameraId, watch::Receiver<Status>)>,
        requests: Result<mpsc::Sender<Request>, &'static str>,
    ) -> Self {
        let watched = |(id, status)| Watched { id, status, told: Told::default() };
        Self {
            cameras: cameras.into_iter().map(watched).collect(),
            requests,
            in_flight: JoinSet::new(),
            answers: VecDeque::new(),
            snapshots: VecDeque::new(),
            waits: false,
        }
    }

    /// Waits until there may be something to [`Desk::say`]. Cancel-safe.
    pub async fn news(&mut self) {
        let changes = self.cameras.iter_mut().map(|camera| {
            Box::pin(async {
                if camera.status.changed().await.is_err() {
                    // The camera is gone, and the session soon will be.
                    std::future::pending().await
                }
            })
        });
        let answer = tokio::select! {
            ((), ..) = select_all(changes) => return,
            () = sleep(AGAIN), if self.waits => return,
            Some(answer) = self.in_flight.join_next() => answer,
        };
        match answer {
            Ok(answer) => self.answered(answer),
            Err(error) => tracing::error!("a request to a camera: {error}"),
        }
    }

    /// Says what there is to say, as far as there is room. Before the channel is open nothing is
    /// said; nothing is lost.
    pub fn say(&mut self, connection: &Connection) {
        self.waits = connection.backlog(Channel::Control).is_some() && !self.say_all(connection);
    }

    /// False when something had no room.
    fn say_all(&mut self, connection: &Connection) -> bool {
        for Watched { id, status, told } in &mut self.cameras {
            let news = {
                let status = status.borrow_and_update();
                told.news(id, status.state, status.reason.as_deref(), status.since_us)
            };
            if let Some(news) = news {
                if !send(connection, &news) {
                    return false;
                }
                told.said(news);
            }
        }
        while let Some(outcome) = self.answers.front() {
            if !send(connection, &RobotMessage::Result(outcome.clone())) {
                return false;
            }
            self.answers.pop_front();
        }
        while let Some(Snapshot { request, camera, jpeg, next }) = self.snapshots.front_mut() {
            let Some(part) = SnapshotPart::of(jpeg, *request, camera, *next) else {
                self.snapshots.pop_front();
                continue;
            };
            let room = connection.backlog(Channel::Control) < Some(SNAPSHOT_BACKLOG);
            if !room || !send(connection, &RobotMessage::Snapshot(part)) {
                return false;
            }
            *next += 1;
        }
        true
    }

    /// Takes a message of the viewer.
    pub fn heard(&mut self, message: &[u8]) {
        // What is not understood is of a later version, or nonsense.
        let Ok(message) = serde_json::from_slice::<ViewerMessage>(message) else { return };
        if self.answers.len() >= MAX_ANSWERS {
            return;
        }
        let (request, camera) = (message.request(), message.camera().clone());
        match self.submit(message) {
            Ok(reply) => {
                self.in_flight.spawn(async move {
                    let reply = match timeout(PATIENCE, reply).await {
                        Ok(Ok(reply)) => reply,
                        Ok(Err(_)) => Err(refused("the camera is being stopped")),
                        Err(_) => {
                            Err(refused(format!("no answer within {} s", PATIENCE.as_secs())))
                        }
                    };
                    Answer { request, camera, reply }
                });
            }
            Err(refusal) => self.answers.push_back(Outcome { request, error: Some(refusal) }),
        }
    }

    /// Passes a request on, and returns where its answer will come.
    fn submit(
        &self,
        message: ViewerMessage,
    ) -> Result<oneshot::Receiver<control::Answer>, Refusal> {
        let refuse = |code, details: &str| Refusal { code, details: details.to_owned() };
        let camera = message.camera().clone();
        let requests = match &self.requests {
            Ok(requests) => requests,
            Err(reason) => return Err(refuse(RefusalCode::NotAuthorised, reason)),
        };
        if !self.cameras.iter().any(|watched| watched.id == camera) {
            let details = format!("this session has no camera {camera}");
            return Err(refuse(RefusalCode::UnknownCamera, &details));
        }
        if self.in_flight.len() + self.snapshots.len() >= MAX_IN_FLIGHT {
            return Err(refused("too many requests at once: wait for the answers"));
        }
        let what = match &message {
            ViewerMessage::SetCamera(set) => {
                let SetCamera { bitrate_kbps, fps, enabled, .. } = *set;
                let change = Change { bitrate_kbps, fps, enabled };
                What::Change(change.checked().map_err(refused)?)
            }
            ViewerMessage::KeyFrame(_) => What::KeyFrame,
            ViewerMessage::TakeSnapshot(_) => What::Snapshot,
        };
        tracing::info!(%camera, ?what, "a viewer's request");
        let (reply, answer) = oneshot::channel();
        match requests.try_send(Request { camera, what, reply }) {
            Ok(()) => Ok(answer),
            Err(_) => Err(refused("the robot has too many requests already: try again")),
        }
    }

    fn answered(&mut self, Answer { request, camera, reply }: Answer) {
        let error = match reply {
            Ok(Reply::Done) => None,
            Ok(Reply::Snapshot(jpeg)) if (1..=MAX_SNAPSHOT_BYTES).contains(&jpeg.len()) => {
                return self.snapshots.push_back(Snapshot { request, camera, jpeg, next: 0 });
            }
            Ok(Reply::Snapshot(jpeg)) => Some(refused(format!(
                "the snapshot has {} bytes, which cannot be sent",
                jpeg.len()
            ))),
            Err(refusal) => Some(refusal),
        };
        self.answers.push_back(Outcome { request, error });
    }
}

fn send(connection: &Connection, message: &RobotMessage) -> bool {
    serde_json::to_vec(message).is_ok_and(|json| connection.send(Channel::Control, &json))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::policy::may_control;

    fn desk(allowed: bool) -> (Desk, mpsc::Receiver<Request>) {
        let (requests, asked) = mpsc::channel(64);
        let cameras = ["front".parse().unwrap()].map(|id| {
            let status = Status {
                state: rovercast_protocol::telemetry::CameraState::Live,
                reason: None,
                encoder: None,
                since_us: 0,
                fault: None,
            };
            (id, watch::channel(status).1)
        });
        let requests = may_control(allowed, None).map(|()| requests);
        (Desk::new(cameras, requests), asked)
    }

    fn ask(desk: &mut Desk, json: &str) -> Option<RefusalCode> {
        let before = desk.answers.len();
        desk.heard(json.as_bytes());
        let answer = desk.answers.get(before)?;
        let error = answer.error.as_ref().unwrap();
        assert!(!error.details.is_empty());
        Some(error.code)
    }

    const KEY_FRAME: &str = r#"{"type":"key_frame","request":1,"camera":"front"}"#;

    #[tokio::test]
    async fn viewers_control_only_what_they_may() {
        let (mut desk, _asked) = desk(false);
        assert_eq!(ask(&mut desk, KEY_FRAME), Some(RefusalCode::NotAuthorised));
        let details = &desk.answers[0].error.as_ref().unwrap().details;
        assert!(details.contains("sessions.control_cameras"), "{details}");
        let (mut desk, _asked) = self::desk(true);
        let other = KEY_FRAME.replace("front", "rear");
        assert_eq!(ask(&mut desk, &other), Some(RefusalCode::UnknownCamera));
        let wrong = r#"{"type":"set_camera","request":1,"camera":"front","fps":0}"#;
        assert_eq!(ask(&mut desk, wrong), Some(RefusalCode::Refused));
    }

    #[tokio::test]
    async fn requests_are_passed_on_and_their_answers_brought_back() {
        let (mut desk, mut asked) = desk(true);
        let set = r#"{"type":"set_camera","request":7,"camera":"front","bitrateKbps":500,"enabled":false}"#;
        assert_eq!(ask(&mut desk, set), None);
        let request = asked.recv().await.unwrap();
        let change =
            crate::control::Change { bitrate_kbps: Some(500), fps: None, enabled: Some(false) };
        assert_eq!((request.camera.as_str(), request.what), ("front", What::Change(change)));
        request.reply.send(Ok(Reply::Done)).unwrap();
        desk.news().await;
        assert_eq!(desk.answers.pop_front(), Some(Outcome { request: 7, error: None }));

        let snapshot = r#"{"type":"take_snapshot","request":8,"camera":"front"}"#;
        for (reply, sent) in
            [(vec![1, 2, 3], true), (vec![], false), (vec![0; MAX_SNAPSHOT_BYTES + 1], false)]
        {
            assert_eq!(ask(&mut desk, snapshot), None);
            let request = asked.recv().await.unwrap();
            request.reply.send(Ok(Reply::Snapshot(reply))).unwrap();
            desk.news().await;
            assert_eq!(
                (desk.snapshots.pop_front().is_some(), desk.answers.pop_front().is_none()),
                (sent, sent)
            );
        }
        assert_eq!(ask(&mut desk, KEY_FRAME), None);
        drop(asked.recv().await.unwrap());
        desk.news().await;
        assert!(desk.answers[0].error.as_ref().unwrap().details.contains("stopped"));
    }

    #[tokio::test]
    async fn a_flood_is_refused_and_then_dropped() {
        let (mut desk, mut asked) = desk(true);
        for _ in 0..1000 {
            desk.heard(KEY_FRAME.as_bytes());
        }
        let mut passed = 0;
        while asked.try_recv().is_ok() {
            passed += 1;
        }
        assert_eq!((passed, desk.answers.len()), (MAX_IN_FLIGHT, MAX_ANSWERS));
        desk.heard(b"nonsense");
    }
}
