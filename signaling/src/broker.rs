//! The broker's rules: requests in, commands out. Neither sockets nor clocks nor randomness are
//! here; the shell ([`crate::Server`]) reads and writes frames and obeys the commands.
//!
//! The cost of a request is bounded by the sessions of the peer that made it, except where the
//! answer itself is long: a list names every producer, and a producer that comes or goes is
//! announced to every listener.

use std::collections::{BTreeSet, HashMap, VecDeque};

use rovercast_protocol::ids::{PeerId, SessionId};
use rovercast_protocol::signaling::{
    BrokerMessage, EndReason, ErrorCode, ErrorMessage, IceServer, PeerBody, PeerInfo, PeerMessage,
    PeerRequest, PeerRole, PeerStatus, Sdp, SessionEnd, SessionRequest, SessionStart,
    SessionStarted, Welcome,
};
use serde_json::Value;

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Say this to each of these peers.
    Send {
        /// To whom.
        to: Vec<PeerId>,
        /// What.
        message: BrokerMessage,
    },
    /// Pass on the frame that carried the request, as it came: fields that the broker does not
    /// know survive.
    Relay {
        /// To whom.
        to: PeerId,
        /// Whether it goes from a consumer to its producer: one that many talk to.
        to_producer: bool,
    },
}

/// Sessions that one peer may have as their consumer.
const MAX_CONSUMED: usize = 64;

/// What one peer may say of itself, in bytes of JSON: everyone who listens gets it.
const MAX_META_BYTES: usize = 32 * 1024;

/// Who is connected, what they are, and who talks to whom.
#[derive(Debug, Default)]
pub struct Broker {
    ice_servers: Vec<IceServer>,
    peers: HashMap<PeerId, Peer>,
    sessions: HashMap<SessionId, Session>,
    // Who holds a role, so that nobody searches all peers; ordered, so that answers are, too.
    producers: BTreeSet<PeerId>,
    consumers: BTreeSet<PeerId>,
    listeners: BTreeSet<PeerId>,
    came: u64,
}

impl Broker {
    /// A broker without peers, which names these servers to everyone who connects.
    pub fn new(ice_servers: Vec<IceServer>) -> Self {
        Self { ice_servers, ..Self::default() }
    }

    /// A peer is connected. Its id must be new.
    pub fn connect(&mut self, peer_id: PeerId) -> Vec<Command> {
        let ice_servers = self.ice_servers.clone();
        let welcome = Welcome { peer_id: peer_id.clone(), ice_servers };
        self.came += 1;
        self.peers.insert(peer_id.clone(), Peer { number: self.came, ..Peer::default() });
        vec![send(&peer_id, BrokerMessage::Welcome(welcome))]
    }

    /// A peer asks for something. `fresh` names the session, should one come of it; it must be new.
    pub fn handle(
        &mut self,
        from: &PeerId,
        request: PeerRequest,
        fresh: SessionId,
    ) -> Vec<Command> {
        if !self.peers.contains_key(from) {
            return Vec::new();
        }
        let outcome = match request {
            PeerRequest::SetPeerStatus(status) => self.set_status(from, status),
            PeerRequest::StartSession(wish) => self.start_session(from, wish, fresh),
            PeerRequest::EndSession(end) => self.end_session(from, &end.session_id),
            PeerRequest::Peer(message) => self.relay(from, &message),
            PeerRequest::Error(complaint) => self.relay_complaint(from, &complaint),
            PeerRequest::List => {
                let producers = self.describe(&self.producers);
                Ok(vec![send(from, BrokerMessage::List { producers })])
            }
            PeerRequest::ListConsumers => {
                let consumers = self.describe(&self.consumers);
                Ok(vec![send(from, BrokerMessage::ListConsumers { consumers })])
            }
        };
        outcome.unwrap_or_else(|refusal| vec![send(from, BrokerMessage::Error(refusal))])
    }

    /// A peer's connection is gone.
    pub fn disconnect(&mut self, peer_id: &PeerId) -> Vec<Command> {
        let Some(gone) = self.peers.remove(peer_id) else {
            return Vec::new();
        };
        for index in [&mut self.producers, &mut self.consumers, &mut self.listeners] {
            index.remove(peer_id);
        }
        let mut commands: Vec<_> = (gone.sessions.iter())
            .filter_map(|session_id| self.close(session_id, peer_id, EndReason::PeerLeft))
            .collect();
        if is_public(&gone.roles) {
            let status = PeerStatus {
                peer_id: Some(peer_id.clone()),
                roles: Vec::new(),
                meta: gone.meta.clone(),
            };
            commands.extend(self.announce(status));
        }
        commands
    }

    fn set_status(&mut self, from: &PeerId, status: PeerStatus) -> Outcome {
        let roles = distinct(&status.roles);
        if roles.contains(&PeerRole::Producer) && roles.contains(&PeerRole::Consumer) {
            let details = "the roles producer and consumer exclude each other: \
                           use a connection of its own for each";
            return Err(refusal(ErrorCode::ConflictingRoles, details));
        }
        let meta_bytes = status.meta.as_ref().map_or(0, |meta| meta.to_string().len());
        if meta_bytes > MAX_META_BYTES {
            let details = format!("meta has {meta_bytes} bytes: say it in {MAX_META_BYTES}");
            return Err(refusal(ErrorCode::TooLarge, details));
        }
        let Some(peer) = self.peers.get_mut(from) else {
            return Ok(Vec::new());
        };
        if peer.roles == roles && peer.meta == status.meta {
            return Ok(Vec::new());
        }
        let old_roles = std::mem::replace(&mut peer.roles, roles.clone());
        peer.meta.clone_from(&status.meta);
        let sessions = peer.sessions.clone();
        let mut commands = Vec::new();
        for (role, index) in [
            (PeerRole::Producer, &mut self.producers),
            (PeerRole::Consumer, &mut self.consumers),
            (PeerRole::Listener, &mut self.listeners),
        ] {
            if roles.contains(&role) {
                index.insert(from.clone());
            } else {
                index.remove(from);
            }
        }
        let left = |role| old_roles.contains(&role) && !roles.contains(&role);
        for session_id in sessions {
            let was_producer = self.sessions.get(&session_id).map(|s| s.producer == *from);
            if was_producer == Some(true) && left(PeerRole::Producer)
                || was_producer == Some(false) && left(PeerRole::Consumer)
            {
                commands.extend(self.close(&session_id, from, EndReason::Ended));
            }
        }
        let public = is_public(&roles) || is_public(&old_roles);
        let listens = roles.contains(&PeerRole::Listener);
        let status = PeerStatus { peer_id: Some(from.clone()), roles, meta: status.meta };
        if public {
            commands.extend(self.announce(status));
        } else if listens {
            // Nobody waits for news of listeners, but itself: telling all of them of each other
            // would cost the square of their number.
            commands.push(send(from, BrokerMessage::PeerStatusChanged(status)));
        }
        Ok(commands)
    }

    fn start_session(&mut self, from: &PeerId, wish: SessionRequest, fresh: SessionId) -> Outcome {
        let to = wish.peer_id;
        if to == *from {
            let details = "a peer cannot have a session with itself: name another one";
            return Err(refusal(ErrorCode::NotAProducer, details));
        }
        let Some(peer) = self.peers.get(&to) else {
            let details =
                format!("peer {to} is not connected: ask for the `list` of those that are");
            return Err(refusal(ErrorCode::UnknownPeer, details));
        };
        let (producer, consumer) = if peer.roles.contains(&PeerRole::Producer) {
            (&to, from)
        } else if peer.roles.contains(&PeerRole::Consumer) {
            (from, &to)
        } else {
            let details = format!(
                "peer {to} is neither a producer nor a waiting consumer: \
                 ask for the `list` of producers"
            );
            return Err(refusal(ErrorCode::NotAProducer, details));
        };
        let consumed = self.peers.get(consumer).map_or(0, |peer| {
            peer.sessions
                .iter()
                .filter(|id| self.sessions.get(*id).is_some_and(|s| s.consumer == *consumer))
                .count()
        });
        if consumed >= MAX_CONSUMED {
            let details = format!("peer {consumer} has {MAX_CONSUMED} sessions: end one first");
            return Err(refusal(ErrorCode::TooManySessions, details));
        }
        for member in [producer, consumer] {
            if let Some(peer) = self.peers.get_mut(member) {
                peer.sessions.insert(fresh.clone());
            }
        }
        let session = Session { producer: producer.clone(), consumer: consumer.clone() };
        self.sessions.insert(fresh.clone(), session);
        let started = SessionStarted { peer_id: producer.clone(), session_id: fresh.clone() };
        let start = SessionStart {
            peer_id: consumer.clone(),
            session_id: fresh,
            offer: wish.offer,
            cameras: wish.cameras,
        };
        Ok(vec![
            send(consumer, BrokerMessage::SessionStarted(started)),
            send(producer, BrokerMessage::StartSession(start)),
        ])
    }

    fn end_session(&mut self, from: &PeerId, session_id: &SessionId) -> Outcome {
        match self.session_of(from, session_id)? {
            Some(_) => Ok(self.close(session_id, from, EndReason::Ended).into_iter().collect()),
            None => Ok(Vec::new()),
        }
    }

    fn relay(&self, from: &PeerId, message: &PeerMessage) -> Outcome {
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

    fn relay_complaint(&self, from: &PeerId, complaint: &ErrorMessage) -> Outcome {
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
        let peer = self.peers.get(from);
        if peer.is_some_and(|peer| peer.sessions.contains(session_id)) {
            return Ok(self.sessions.get(session_id));
        }
        if peer.is_some_and(|peer| peer.ended.contains(session_id)) {
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

    /// Forgets a session and tells the member that did not end it.
    fn close(
        &mut self,
        session_id: &SessionId,
        ended_by: &PeerId,
        reason: EndReason,
    ) -> Option<Command> {
        let session = self.sessions.remove(session_id)?;
        for member in [&session.producer, &session.consumer] {
            if let Some(peer) = self.peers.get_mut(member) {
                peer.sessions.remove(session_id);
                if peer.ended.len() == ENDED_KEPT {
                    peer.ended.pop_front();
                }
                peer.ended.push_back(session_id.clone());
            }
        }
        let end = SessionEnd { session_id: session_id.clone(), reason: Some(reason) };
        Some(send(session.other(ended_by), BrokerMessage::EndSession(end)))
    }

    fn announce(&self, status: PeerStatus) -> Option<Command> {
        let to: Vec<_> = self.listeners.iter().cloned().collect();
        let message = BrokerMessage::PeerStatusChanged(status);
        (!to.is_empty()).then_some(Command::Send { to, message })
    }

    /// In the order in which they came: of two connections of one robot, the later is the live one.
    fn describe(&self, ids: &BTreeSet<PeerId>) -> Vec<PeerInfo> {
        let mut peers: Vec<_> =
            ids.iter().filter_map(|id| Some((id, self.peers.get(id)?))).collect();
        peers.sort_by_key(|(_, peer)| peer.number);
        let info =
            |(id, peer): (&PeerId, &Peer)| PeerInfo { id: id.clone(), meta: peer.meta.clone() };
        peers.into_iter().map(info).collect()
    }
}

/// What a request leads to, or why it is refused.
type Outcome = Result<Vec<Command>, ErrorMessage>;

/// So many ended sessions are remembered of each peer.
const ENDED_KEPT: usize = 64;

#[derive(Debug, Default)]
struct Peer {
    /// Counts up with each peer that comes.
    number: u64,
    roles: Vec<PeerRole>,
    meta: Option<Value>,
    sessions: BTreeSet<SessionId>,
    ended: VecDeque<SessionId>,
}

#[derive(Debug)]
struct Session {
    producer: PeerId,
    consumer: PeerId,
}

impl Session {
    /// The member that is not `member`.
    fn other(&self, member: &PeerId) -> &PeerId {
        if self.producer == *member { &self.consumer } else { &self.producer }
    }
}

/// Each role once, in one order, so that equal roles compare equal.
fn distinct(roles: &[PeerRole]) -> Vec<PeerRole> {
    let all = [PeerRole::Producer, PeerRole::Listener, PeerRole::Consumer];
    all.into_iter().filter(|role| roles.contains(role)).collect()
}

/// Peers that can be called: those that listeners want to hear of.
fn is_public(roles: &[PeerRole]) -> bool {
    roles.contains(&PeerRole::Producer) || roles.contains(&PeerRole::Consumer)
}

fn send(to: &PeerId, message: BrokerMessage) -> Command {
    Command::Send { to: vec![to.clone()], message }
}

fn refusal(code: ErrorCode, details: impl Into<String>) -> ErrorMessage {
    ErrorMessage { details: details.into(), code: Some(code), session_id: None }
}

#[cfg(test)]
mod tests;
