//! Sessions: who may have one, what is said in it, and how it ends.

use std::collections::BTreeSet;

use rovercast_protocol::ids::{CameraId, PeerId, SessionId};
use rovercast_protocol::signaling::{
    BrokerMessage, EndReason, ErrorCode, ErrorMessage, PeerBody, PeerMessage, PeerRole, Sdp,
    SessionEnd, SessionRequest, SessionStart, SessionStarted,
};

use super::described::Described;
use super::view::shows;
use super::{Broker, Command, Note, Outcome, Peer, Session, refusal, send};

impl Session {
    /// The member that is not `member`.
    fn other(&self, member: &PeerId) -> &PeerId {
        if self.producer == *member { &self.consumer } else { &self.producer }
    }
}

impl Broker {
    pub(super) fn start_session(
        &mut self,
        from: &PeerId,
        wish: SessionRequest,
        fresh: impl FnOnce() -> SessionId,
    ) -> Outcome {
        let to = wish.peer_id;
        if to == *from {
            let details = "a peer cannot have a session with itself: name another one";
            return Err(refusal(ErrorCode::NotAProducer, details));
        }
        let Some(asking) = self.peers.get(from) else {
            return Ok(Vec::new());
        };
        // The same words whether the peer is there or hidden: a stranger learns nothing.
        let asked = self.peers.get(&to).filter(|to| shows(asking, &to.profile, &to.grant));
        let Some(asked) = asked else {
            let details =
                format!("peer {to} is not connected: ask for the `list` of those that are");
            return Err(refusal(ErrorCode::UnknownPeer, details));
        };
        let [(producer_id, producer), (consumer_id, consumer)] =
            if asked.profile.is(PeerRole::Producer) {
                [(&to, asked), (from, asking)]
            } else if asked.profile.is(PeerRole::Consumer) {
                [(from, asking), (&to, asked)]
            } else {
                let details = format!(
                    "peer {to} is neither a producer nor a waiting consumer: \
                     ask for the `list` of producers"
                );
                return Err(refusal(ErrorCode::NotAProducer, details));
            };
        let most = self.max_sessions_per_peer;
        if consumer.consumes.len() >= most {
            let details = format!("peer {consumer_id} has {most} sessions: end one first");
            return Err(refusal(ErrorCode::TooManySessions, details));
        }
        let most = self.max_sessions_per_robot;
        if producer.produces.len() >= most {
            let details = format!("the robot has {most} sessions: try again when one has ended");
            return Err(refusal(ErrorCode::TooManySessions, details));
        }
        let cameras = cameras(producer, consumer, wish.cameras)?;
        let robot = producer.profile.robot.clone();
        let grant = &consumer.grant;
        let control = (!grant.is_open())
            .then(|| grant.may_control(robot.as_ref().map(|robot| robot.as_str())));
        let session = Session {
            id: fresh(),
            producer: producer_id.clone(),
            consumer: consumer_id.clone(),
            robot,
        };
        let start = SessionStart {
            peer_id: session.consumer.clone(),
            session_id: session.id.clone(),
            offer: wish.offer,
            cameras,
            control,
        };
        Ok(self.open(session, start))
    }

    pub(super) fn end_session(&mut self, from: &PeerId, session_id: &SessionId) -> Outcome {
        match self.session_of(from, session_id)? {
            Some(_) => Ok(self.close(session_id, from, EndReason::Ended)),
            None => Ok(Vec::new()),
        }
    }

    pub(super) fn relay(&self, from: &PeerId, message: &PeerMessage) -> Outcome {
        let Some(session) = self.session_of(from, &message.session_id)? else {
            return Ok(Vec::new());
        };
        if matches!(message.body, PeerBody::Sdp(Sdp::Offer { .. })) && session.consumer == *from {
            let details = "only the producer of a session offers: wait for its offer and answer it";
            let session_id = Some(message.session_id.clone());
            return Err(ErrorMessage { session_id, ..refusal(ErrorCode::NotTheProducer, details) });
        }
        let to_producer = session.consumer == *from;
        Ok(vec![Command::Relay { to: session.other(from).clone(), to_producer }])
    }

    pub(super) fn relay_complaint(&self, from: &PeerId, complaint: &ErrorMessage) -> Outcome {
        // A complaint about no session is about the broker, which has nothing to say to it: an
        // answer could start an endless exchange of complaints.
        let Some(session_id) = &complaint.session_id else {
            return Ok(Vec::new());
        };
        // Other programs that produce take every `error` for the end of everything: a consumer must
        // not be able to end them, it ends its session instead.
        let session = self.session_of(from, session_id)?;
        let session = session.filter(|session| session.producer == *from);
        Ok(session
            .map(|s| Command::Relay { to: s.consumer.clone(), to_producer: false })
            .into_iter()
            .collect())
    }

    /// The session, if `from` is in it. `None` if it was until a moment ago: both ends may end a
    /// session, so what was under way just then is late, not wrong. (GStreamer's elements take
    /// every `error` for the end of everything.)
    fn session_of(
        &self,
        from: &PeerId,
        session_id: &SessionId,
    ) -> Result<Option<&Session>, ErrorMessage> {
        let session = self.sessions.get(session_id);
        if let Some(session) = session.filter(|s| s.producer == *from || s.consumer == *from) {
            return Ok(Some(session));
        }
        if self.peers.get(from).is_some_and(|peer| peer.ended.contains(session_id)) {
            return Ok(None);
        }
        // The same words whether the session exists or not: a stranger learns nothing.
        let details =
            format!("session {session_id} is none of this peer's: ask for one with `startSession`");
        Err(ErrorMessage {
            session_id: Some(session_id.clone()),
            ..refusal(ErrorCode::UnknownSession, details)
        })
    }

    fn open(&mut self, session: Session, start: SessionStart) -> Vec<Command> {
        if let Some(producer) = self.peers.get_mut(&session.producer) {
            producer.produces.insert(session.id.clone());
        }
        if let Some(consumer) = self.peers.get_mut(&session.consumer) {
            consumer.consumes.insert(session.id.clone());
        }
        self.sessions.insert(session.id.clone(), session.clone());
        let (peer_id, session_id) = (session.producer.clone(), session.id.clone());
        let started = BrokerMessage::SessionStarted(SessionStarted { peer_id, session_id });
        vec![
            send(&session.consumer, started),
            send(&session.producer, BrokerMessage::StartSession(start)),
            Command::Note(Note::SessionStarted(session)),
        ]
    }

    /// Forgets a session and tells the member that did not end it.
    pub(super) fn close(
        &mut self,
        session_id: &SessionId,
        ended_by: &PeerId,
        reason: EndReason,
    ) -> Vec<Command> {
        let Some(session) = self.sessions.remove(session_id) else {
            return Vec::new();
        };
        for member in [&session.producer, &session.consumer] {
            if let Some(peer) = self.peers.get_mut(member) {
                peer.forget(session_id);
            }
        }
        let end = SessionEnd { session_id: session_id.clone(), reason: Some(reason) };
        let told = send(session.other(ended_by), BrokerMessage::EndSession(end));
        let by = Some(ended_by.clone());
        vec![told, Command::Note(Note::SessionEnded { session, by, reason })]
    }
}

/// Of the cameras that are wanted, those that the consumer may see; `None` is all of them.
fn cameras(
    producer: &Peer,
    consumer: &Peer,
    wanted: Option<Vec<CameraId>>,
) -> Result<Option<Vec<CameraId>>, ErrorMessage> {
    let (robot, grant) = (producer.profile.robot(), &consumer.grant);
    if grant.views_all_cameras(robot) {
        return Ok(wanted);
    }
    // Those that the robot does not name are not shown either: a program that knows no cameras
    // would send all that it has.
    let wanted: Option<BTreeSet<CameraId>> = wanted.map(BTreeSet::from_iter);
    let named = producer.profile.meta.as_ref().map(Described::cameras);
    let cameras: Vec<CameraId> = (named.into_iter().flatten())
        .filter_map(|camera| camera.parse().ok())
        .filter(|camera: &CameraId| grant.may_view_camera(robot, camera.as_str()))
        .filter(|camera| wanted.as_ref().is_none_or(|wanted| wanted.contains(camera)))
        .collect();
    if cameras.is_empty() {
        let details = "this token shows none of these cameras: \
                       ask for those of the `list`, or for another token";
        return Err(refusal(ErrorCode::Forbidden, details));
    }
    Ok(Some(cameras))
}
