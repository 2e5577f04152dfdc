//! What comes by a session: tracks to their views, messages to the report.

use anyhow::bail;
use rovercast_peer::channel::Channel;
use rovercast_peer::connection::{ConnectionError, ConnectionEvent, Track};
use rovercast_peer::negotiation::Section;
use rovercast_peer::start::now;
use rovercast_protocol::codec::Codec;
use rovercast_protocol::control;
use rovercast_protocol::ids::CameraId;
use rovercast_protocol::signaling::{PeerBody, PeerMessage, PeerRequest};
use rovercast_protocol::telemetry::RobotMessage;

use super::App;
use crate::policy::Slot;
use crate::report::Report;
use crate::view::ViewFailed;

impl App {
    pub(super) async fn on_connection(&mut self, slot: Slot, event: ConnectionEvent) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        match event {
            ConnectionEvent::Candidate(candidate) => {
                let (session_id, body) = (session.id.clone(), PeerBody::Ice(candidate));
                self.link.send(PeerRequest::Peer(PeerMessage { session_id, body }));
            }
            ConnectionEvent::Connected => {
                tracing::info!("connected to {}", self.settings.robot);
                self.watch.heard(slot, now().into());
            }
            ConnectionEvent::Gathered => {}
            // The robot answers with everything that is worth knowing at the start.
            ConnectionEvent::Channel(Channel::Telemetry) => session.ping(),
            ConnectionEvent::Channel(Channel::Control) => {
                if let Some(errand) = &mut self.errand {
                    session.ask(&errand.begin());
                }
            }
            ConnectionEvent::Track(track) => self.on_track(slot, track),
            ConnectionEvent::JitterBuffer(ssrc, element) => session.jitter_buffer(ssrc, element),
            ConnectionEvent::Message(Channel::Control, message) => {
                self.watch.heard(slot, now().into());
                // What is not understood is of a later version, or nonsense.
                if let Ok(message) = serde_json::from_slice(&message) {
                    self.on_control(message);
                }
            }
            ConnectionEvent::Message(Channel::Telemetry, message) => {
                let told = session.message(&message);
                let is_main = self.sessions.main().map(|main| &main.id)
                    == self.sessions.get(slot).map(|session| &session.id);
                if let (Some(RobotMessage::Telemetry(telemetry)), true) = (told, is_main) {
                    let robot = self.settings.robot.clone();
                    self.tell(&Report::Telemetry { robot, telemetry });
                }
            }
            ConnectionEvent::Ended(why) => {
                tracing::warn!("a session with {} is over: {why}", self.settings.robot);
                self.end(slot, why);
            }
            ConnectionEvent::Failed(error) => self.fail(slot, &error),
        }
    }

    fn on_track(&mut self, slot: Slot, track: Track) {
        if self.errand.is_some() {
            return self.discard(slot, track);
        }
        let camera = camera_of(&track.section);
        if let (Some(camera), Some(codec)) = (camera.clone(), codec_of(&track)) {
            // The section may have offered several codecs, and the view be made for another.
            self.views.open(camera.clone(), codec);
            if self.views.get(&camera, codec).is_some() {
                return self.attach(slot, camera, track);
            }
            if self.views.is_opening(&camera) {
                let session = self.sessions.get_mut(slot);
                let earlier = session.and_then(|session| session.waiting.insert(camera, track));
                if let Some(earlier) = earlier {
                    self.discard(slot, earlier);
                }
                return;
            }
        }
        let (mid, encoding) = (&track.section.mid, track.encoding().unwrap_or_default());
        tracing::warn!(?camera, %encoding, "track {mid} is not shown");
        self.discard(slot, track);
    }

    /// What the robot says of its cameras' signals, and its answers.
    fn on_control(&mut self, message: control::RobotMessage) {
        if let Some(errand) = &mut self.errand {
            return errand.heard(message);
        }
        let robot = self.settings.robot.clone();
        match message {
            control::RobotMessage::SignalLost(signal) => {
                tracing::warn!("camera {}: signal lost: {}", signal.camera, signal.reason);
                self.tell(&Report::SignalLost { robot, signal });
            }
            control::RobotMessage::SignalRestored(signal) => {
                let seconds = signal.lost_us as f64 / 1e6;
                tracing::warn!("camera {}: signal restored after {seconds:.1} s", signal.camera);
                self.tell(&Report::SignalRestored { robot, signal });
            }
            // Nothing was asked.
            control::RobotMessage::Result(_) | control::RobotMessage::Snapshot(_) => {}
        }
    }

    fn discard(&mut self, slot: Slot, track: Track) {
        if let Some(session) = self.sessions.get(slot)
            && let Err(error) = session.discard(track)
        {
            self.fail(slot, &error);
        }
    }

    pub(super) fn on_opened(&mut self, camera: CameraId) {
        self.views.set_taps(|camera, view| self.recordings.tap(camera, view.meter()));
        for slot in [Slot::Current, Slot::Pending] {
            let session = self.sessions.get_mut(slot);
            if let Some(track) = session.and_then(|session| session.waiting.remove(&camera)) {
                self.attach(slot, camera.clone(), track);
            }
        }
    }

    fn attach(&mut self, slot: Slot, camera: CameraId, track: Track) {
        let Some(codec) = codec_of(&track) else { return };
        let (Some(session), Some(view)) =
            (self.sessions.get_mut(slot), self.views.get(&camera, codec))
        else {
            return;
        };
        let entrance = view.entrance(self.settings.playout.longest(), session.turn.clone());
        if let Err(error) = session.attach(track, codec, camera, entrance, view.meter()) {
            self.fail(slot, &error);
        }
    }

    /// A view that failed stays away; with the last one gone there is nothing left to do.
    pub(super) async fn on_failed_view(&mut self, failure: ViewFailed) -> anyhow::Result<()> {
        let ViewFailed { camera, reason } = failure;
        tracing::error!(%camera, "{reason}");
        for slot in [Slot::Current, Slot::Pending] {
            let session = self.sessions.get_mut(slot);
            if let Some(track) = session.and_then(|session| session.waiting.remove(&camera)) {
                self.discard(slot, track);
            }
        }
        self.views.close(camera).await;
        if self.views.is_empty() {
            bail!("no camera can be shown any more: {reason}");
        }
        Ok(())
    }

    /// Ends a session in which something is wrong. The robot is told no more than that it is over:
    /// other programs that produce take an error of one viewer for their own.
    pub(super) fn fail(&mut self, slot: Slot, error: &ConnectionError) {
        tracing::error!("{error}");
        self.end(slot, &error.to_string());
    }
}

/// The camera of a media section: producers that do not name theirs are known by the track's name.
pub(super) fn camera_of(section: &Section) -> Option<CameraId> {
    let name = section.label.clone().or_else(|| section.mid.parse().ok());
    name.filter(|_| section.kind == "video" && !section.rejected)
}

fn codec_of(track: &Track) -> Option<Codec> {
    track.encoding()?.parse().ok()
}
