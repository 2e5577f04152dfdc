//! The broker's rules: requests in, commands out. Neither sockets nor clocks nor randomness are
//! here; the shell ([`crate::Server`]) reads and writes frames and obeys the commands.
//!
//! The cost of a request is bounded by the sessions of the peer that made it, except where the
//! answer itself is long: a list names every producer, and a producer that comes or goes is
//! announced to every listener that may see it.

use std::collections::{BTreeSet, HashMap, VecDeque};

use rovercast_protocol::ids::{PeerId, RobotId, SessionId};
use rovercast_protocol::signaling::{
    BrokerMessage, EndReason, ErrorCode, ErrorMessage, IceServers, MAX_BROKER_MESSAGE_BYTES,
    PeerInfo, PeerRequest, PeerRole, SessionEnd, Welcome,
};

use crate::access::Grant;
use crate::limits::LimitSettings;
use described::Described;

mod calls;
mod described;
mod status;
mod view;

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
    /// Close the connection of a peer that a newer one has replaced. The broker has forgotten it.
    Replace(PeerId),
    /// Write down what happened.
    Note(Note),
}

/// What happened, for those who look after the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A peer took these roles in place of others.
    Roles {
        /// Which peer.
        peer: PeerId,
        /// All it has now.
        roles: Vec<PeerRole>,
        /// The robot that it publishes.
        robot: Option<RobotId>,
    },
    /// A peer publishes a robot in place of another peer.
    Replaced {
        /// Who did.
        peer: PeerId,
        /// Whose place it takes.
        old: PeerId,
        /// Which robot.
        robot: RobotId,
    },
    /// Two peers have a session.
    SessionStarted(Session),
    /// They have it no longer.
    SessionEnded {
        /// Which session.
        session: Session,
        /// The member that ended it, left, or was dropped; nobody when the broker stops.
        by: Option<PeerId>,
        /// What the members are told.
        reason: EndReason,
    },
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Who sends media.
    pub producer: PeerId,
    /// Who gets it.
    pub consumer: PeerId,
    /// The robot that the producer publishes.
    pub robot: Option<RobotId>,
}

/// How many are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Population {
    /// Peers that are connected.
    pub peers: usize,
    /// Those that send media.
    pub producers: usize,
    /// Those that wait to be called.
    pub consumers: usize,
    /// Those that are told who comes and goes.
    pub listeners: usize,
    /// Sessions between them.
    pub sessions: usize,
}

/// Who is connected, what they are, and who talks to whom.
#[derive(Debug)]
pub struct Broker {
    max_meta_bytes: usize,
    max_list_bytes: usize,
    max_sessions_per_robot: usize,
    max_sessions_per_peer: usize,
    peers: HashMap<PeerId, Peer>,
    sessions: HashMap<SessionId, Session>,
    /// Who publishes which robot.
    robots: HashMap<RobotId, PeerId>,
    // Who holds a role, so that nobody searches all peers; ordered, so that answers are, too.
    producers: BTreeSet<PeerId>,
    consumers: BTreeSet<PeerId>,
    listeners: BTreeSet<PeerId>,
    came: u64,
}

impl Broker {
    /// A broker without peers. Of the limits it keeps those of sessions, `meta` and lists.
    pub fn new(limits: &LimitSettings) -> Self {
        Self {
            max_meta_bytes: limits.max_meta_bytes as usize,
            // So that it fits into a queue, even when something waits there.
            max_list_bytes: (limits.queue_bytes as usize / 2).min(MAX_BROKER_MESSAGE_BYTES),
            max_sessions_per_robot: limits.max_sessions_per_robot as usize,
            max_sessions_per_peer: limits.max_sessions_per_peer as usize,
            peers: HashMap::new(),
            sessions: HashMap::new(),
            robots: HashMap::new(),
            producers: BTreeSet::new(),
            consumers: BTreeSet::new(),
            listeners: BTreeSet::new(),
            came: 0,
        }
    }

    /// A peer is connected, may do what `grant` says, and is told of `servers`. Its id must be new.
    pub fn connect(&mut self, peer_id: PeerId, grant: Grant, servers: IceServers) -> Vec<Command> {
        let IceServers { ice_servers, ice_servers_ttl_s } = servers;
        let welcome = Welcome { peer_id: peer_id.clone(), ice_servers, ice_servers_ttl_s };
        self.came += 1;
        self.peers.insert(peer_id.clone(), Peer::new(self.came, grant));
        vec![send(&peer_id, BrokerMessage::Welcome(welcome))]
    }

    /// A peer asks for something. `fresh` names the session, should one come of it; the name must
    /// be new. [`PeerRequest::GetIceServers`] leads to nothing: who makes credentials answers it.
    pub fn handle(
        &mut self,
        from: &PeerId,
        request: PeerRequest,
        fresh: impl FnOnce() -> SessionId,
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
            PeerRequest::List => (self.list(&self.producers, from))
                .map(|producers| vec![send(from, BrokerMessage::List { producers })]),
            PeerRequest::ListConsumers => (self.list(&self.consumers, from))
                .map(|consumers| vec![send(from, BrokerMessage::ListConsumers { consumers })]),
            PeerRequest::GetIceServers => Ok(Vec::new()),
        };
        outcome.unwrap_or_else(|refusal| vec![send(from, BrokerMessage::Error(refusal))])
    }

    /// A peer's token has expired, and its connection ends. What it watches is over: those who send to
    /// it stop. Who watches it goes on as with any peer that is gone.
    pub fn expire(&mut self, peer_id: &PeerId) -> Vec<Command> {
        let watched = self.peers.get(peer_id).map(|peer| peer.consumes.clone());
        let mut commands = Vec::new();
        for session_id in watched.into_iter().flatten() {
            let reason = EndReason::Ended;
            let end = SessionEnd { session_id: session_id.clone(), reason: Some(reason) };
            commands.push(send(peer_id, BrokerMessage::EndSession(end)));
            commands.extend(self.close(&session_id, peer_id, reason));
        }
        commands.extend(self.disconnect(peer_id));
        commands
    }

    /// A peer's connection is gone. The media of its sessions may go on.
    pub fn disconnect(&mut self, peer_id: &PeerId) -> Vec<Command> {
        let Some(gone) = self.peers.remove(peer_id) else {
            return Vec::new();
        };
        for index in [&mut self.producers, &mut self.consumers, &mut self.listeners] {
            index.remove(peer_id);
        }
        if let Some(robot) = &gone.profile.robot {
            self.robots.remove(robot);
        }
        let mut commands = Vec::new();
        for session_id in gone.produces.iter().chain(&gone.consumes) {
            commands.extend(self.close(session_id, peer_id, EndReason::PeerLeft));
        }
        let after = Profile { meta: gone.profile.meta.clone(), ..Profile::default() };
        commands.extend(self.announce(peer_id, &gone.grant, &gone.profile, &after));
        commands
    }

    /// The broker stops: everybody is told that the sessions are over, and nobody has one.
    pub fn stop(&mut self) -> Vec<Command> {
        let sessions = std::mem::take(&mut self.sessions);
        for peer in self.peers.values_mut() {
            peer.produces.clear();
            peer.consumes.clear();
        }
        let reason = EndReason::BrokerStops;
        let end = |session: Session| {
            let to = vec![session.producer.clone(), session.consumer.clone()];
            let end = SessionEnd { session_id: session.id.clone(), reason: Some(reason) };
            let message = BrokerMessage::EndSession(end);
            let note = Note::SessionEnded { session, by: None, reason };
            [Command::Send { to, message }, Command::Note(note)]
        };
        sessions.into_values().flat_map(end).collect()
    }

    /// The robots that `grant` shows, in the order in which they came.
    pub fn robots(&self, grant: &Grant) -> Vec<PeerInfo> {
        self.in_order(&self.producers)
            .filter(|(_, peer)| grant.may_view(peer.profile.robot()))
            .map(|(id, peer)| view::info(id, &peer.profile, grant))
            .collect()
    }

    /// Who publishes this robot, if `grant` shows it.
    pub fn robot(&self, robot: &RobotId, grant: &Grant) -> Option<&PeerId> {
        self.robots.get(robot).filter(|_| grant.may_view(Some(robot.as_str())))
    }

    /// How many are there now.
    pub fn population(&self) -> Population {
        Population {
            peers: self.peers.len(),
            producers: self.producers.len(),
            consumers: self.consumers.len(),
            listeners: self.listeners.len(),
            sessions: self.sessions.len(),
        }
    }

    /// Those of a list whom `viewer` may see: where they are too many for one message with nothing but
    /// their names.
    fn list(&self, ids: &BTreeSet<PeerId>, viewer: &PeerId) -> Result<Vec<PeerInfo>, ErrorMessage> {
        let Some(viewer) = self.peers.get(viewer) else { return Ok(Vec::new()) };
        let seen = || {
            let peers = self.in_order(ids);
            peers.filter(|(_, peer)| view::shows(viewer, &peer.profile, &peer.grant))
        };
        let whole = seen().map(|(id, peer)| view::info(id, &peer.profile, &viewer.grant));
        if let Some(list) = view::within(self.max_list_bytes, whole) {
            return Ok(list);
        }
        let names = seen().map(|(id, peer)| view::name(id, &peer.profile));
        view::within(self.max_list_bytes, names).ok_or_else(|| {
            let details = "the list is longer than half of the broker's queue_bytes: raise that, or \
                           ask with a token that shows fewer robots";
            refusal(ErrorCode::TooLarge, details)
        })
    }

    /// In the order in which they came.
    fn in_order<'a>(
        &'a self,
        ids: &'a BTreeSet<PeerId>,
    ) -> impl Iterator<Item = (&'a PeerId, &'a Peer)> {
        let mut peers: Vec<_> =
            ids.iter().filter_map(|id| Some((id, self.peers.get(id)?))).collect();
        peers.sort_by_key(|(_, peer)| peer.number);
        peers.into_iter()
    }
}

/// What a request leads to, or why it is refused.
type Outcome = Result<Vec<Command>, ErrorMessage>;

/// So many ended sessions are remembered of each peer.
const ENDED_KEPT: usize = 64;

#[derive(Debug)]
struct Peer {
    /// Counts up with each peer that comes.
    number: u64,
    grant: Grant,
    profile: Profile,
    /// Sessions in which it sends media.
    produces: BTreeSet<SessionId>,
    /// Sessions in which it gets media.
    consumes: BTreeSet<SessionId>,
    ended: VecDeque<SessionId>,
}

/// What a peer says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
struct Profile {
    roles: Vec<PeerRole>,
    /// The robot that it publishes.
    robot: Option<RobotId>,
    meta: Option<Described>,
}

impl Peer {
    fn new(number: u64, grant: Grant) -> Self {
        Self {
            number,
            grant,
            profile: Profile::default(),
            produces: BTreeSet::new(),
            consumes: BTreeSet::new(),
            ended: VecDeque::new(),
        }
    }

    /// Moves a session to those that have ended.
    fn forget(&mut self, session_id: &SessionId) {
        self.produces.remove(session_id);
        self.consumes.remove(session_id);
        if self.ended.len() == ENDED_KEPT {
            self.ended.pop_front();
        }
        self.ended.push_back(session_id.clone());
    }
}

impl Profile {
    fn is(&self, role: PeerRole) -> bool {
        self.roles.contains(&role)
    }

    /// Can be called: one of those that listeners want to hear of.
    fn is_public(&self) -> bool {
        self.is(PeerRole::Producer) || self.is(PeerRole::Consumer)
    }

    fn robot(&self) -> Option<&str> {
        self.robot.as_ref().map(RobotId::as_str)
    }
}

fn send(to: &PeerId, message: BrokerMessage) -> Command {
    Command::Send { to: vec![to.clone()], message }
}

fn refusal(code: ErrorCode, details: impl Into<String>) -> ErrorMessage {
    ErrorMessage { details: details.into(), code: Some(code), session_id: None }
}

#[cfg(test)]
mod tests;
