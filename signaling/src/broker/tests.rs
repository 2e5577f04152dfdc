//! The rules one by one, each test proving that nothing else came out.

use rovercast_protocol::signaling::{
    Candidate, IceServer, Meta, PeerBody, PeerMessage, PeerRole::*, PeerStatus, Sdp,
    SessionRequest, SessionStart, SessionStarted,
};
use serde_json::{Value, json};

use super::*;

mod access;
mod meta;
mod random;
mod robots;

#[test]
fn everyone_is_welcomed_with_the_ice_servers() {
    let server = IceServer { urls: vec!["stun:s".into()], username: None, credential: None };
    let servers = IceServers { ice_servers: vec![server.clone()], ice_servers_ttl_s: Some(60) };
    let welcome =
        Welcome { peer_id: peer("a"), ice_servers: vec![server], ice_servers_ttl_s: Some(60) };
    let mut broker = Broker::new(&LimitSettings::default());
    let commands = broker.connect(peer("a"), Grant::open(), servers);
    assert_eq!(commands, [to("a", BrokerMessage::Welcome(welcome))]);
}

#[test]
fn listeners_hear_of_producers_and_waiting_consumers() {
    let mut room = Room::with(&["ear", "robot", "screen"]);
    room.assert_commands("ear", roles(&[Listener]), &[to("ear", status("ear", &[Listener]))]);
    room.assert_commands("robot", roles(&[Producer]), &[to("ear", status("robot", &[Producer]))]);
    room.assert_commands("screen", roles(&[Consumer]), &[to("ear", status("screen", &[Consumer]))]);
    room.assert_commands("robot", roles(&[]), &[to("ear", status("robot", &[]))]);
}

#[test]
fn a_listener_hears_of_itself_but_not_of_other_listeners() {
    let mut room = Room::with(&["a", "b"]);
    room.assert_commands("a", roles(&[Listener]), &[to("a", status("a", &[Listener]))]);
    room.assert_commands("b", roles(&[Listener]), &[to("b", status("b", &[Listener]))]);
    let both = &[Listener, Producer];
    let message = status("b", &[Producer, Listener]);
    room.assert_commands("b", roles(both), &[Command::Send { to: peers(&["a", "b"]), message }]);
    room.assert_commands("a", roles(&[]), &[]);
    assert_eq!(room.leave("a"), []);
}

#[test]
fn an_unchanged_status_is_not_announced() {
    let mut room = Room::with(&["ear", "robot"]);
    room.ask("ear", roles(&[Listener]));
    room.ask("robot", roles(&[Producer, Listener]));
    room.assert_commands("robot", roles(&[Listener, Producer, Producer]), &[]);
}

#[test]
fn producers_are_listed_in_the_order_in_which_they_came() {
    let mut room = Room::with(&["ear", "z", "a", "m"]);
    for robot in ["a", "m", "z"] {
        room.ask(robot, roles(&[Producer]));
    }
    let listed = ["z", "a", "m"].map(|robot| PeerInfo { id: peer(robot), meta: None });
    let list = BrokerMessage::List { producers: listed.to_vec() };
    room.assert_commands("ear", PeerRequest::List, &[to("ear", list)]);
}

#[test]
fn nobody_is_producer_and_waiting_consumer_at_once() {
    let mut room = Room::with(&["a"]);
    room.assert_refused("a", roles(&[Producer, Consumer]), ErrorCode::ConflictingRoles, None);
    let nobody = BrokerMessage::List { producers: vec![] };
    room.assert_commands("a", PeerRequest::List, &[to("a", nobody)]);
}

#[test]
fn a_session_is_started_and_relayed() {
    let mut room = Room::with(&["viewer", "robot"]);
    room.ask("robot", roles(&[Producer]));
    let cameras = Some(vec!["front".parse().unwrap()]);
    let offer = Some("v=0".to_owned());
    let wish =
        SessionRequest { peer_id: peer("robot"), offer: offer.clone(), cameras: cameras.clone() };
    let session_id = SessionId("s1".into());
    let start = SessionStart {
        peer_id: peer("viewer"),
        session_id: session_id.clone(),
        offer: offer.clone(),
        cameras,
        control: None,
    };
    let commands =
        [started("viewer", "robot", "s1"), to("robot", BrokerMessage::StartSession(start))];
    room.assert_commands("viewer", PeerRequest::StartSession(wish), &commands);

    room.assert_commands("robot", sdp("s1", true), &[relay("viewer")]);
    room.assert_commands("viewer", sdp("s1", false), &[relay("robot")]);
    room.assert_commands("viewer", ice("s1"), &[relay("robot")]);
    room.assert_commands("robot", ice("s1"), &[relay("viewer")]);
    room.assert_commands("robot", complaint(Some("s1")), &[relay("viewer")]);
    room.assert_commands("viewer", end("s1"), &[ended("robot", "s1", EndReason::Ended)]);
}

#[test]
fn a_producer_calls_a_waiting_consumer() {
    let mut room = Room::with(&["robot", "screen"]);
    room.ask("screen", roles(&[Consumer]));
    room.ask("robot", roles(&[Producer]));
    let commands = [started("screen", "robot", "s1"), start("robot", "screen", "s1")];
    room.assert_commands("robot", call("screen"), &commands);
    room.assert_commands("robot", sdp("s1", true), &[relay("screen")]);
    room.assert_refused("screen", sdp("s1", true), ErrorCode::NotTheProducer, Some("s1"));
    // It waits no longer: what it was called for ends.
    room.assert_commands("screen", roles(&[]), &[ended("robot", "s1", EndReason::Ended)]);
}

#[test]
fn the_consumer_of_a_session_does_not_offer() {
    let mut room = Room::in_session();
    room.assert_refused("viewer", sdp("s1", true), ErrorCode::NotTheProducer, Some("s1"));
}

#[test]
fn sessions_with_nobody_are_refused() {
    let mut room = Room::with(&["a", "b"]);
    room.assert_refused("a", call("nobody"), ErrorCode::UnknownPeer, None);
    room.assert_refused("a", call("b"), ErrorCode::NotAProducer, None);
    room.ask("a", roles(&[Producer]));
    room.assert_refused("a", call("a"), ErrorCode::NotAProducer, None);
}

#[test]
fn strangers_neither_end_nor_join_nor_recognise_a_session() {
    let mut room = Room::in_session();
    room.join("stranger", Grant::open());
    for session in ["s1", "made-up"] {
        for request in [end(session), sdp(session, false), ice(session), complaint(Some(session))] {
            let code = ErrorCode::UnknownSession;
            let details = room.assert_refused("stranger", request, code, Some(session));
            assert_eq!(details.replace(session, "_"), room.details_of_unknown());
        }
    }
    room.assert_commands("robot", ice("s1"), &[relay("viewer")]);
}

#[test]
fn what_was_under_way_when_a_session_ended_is_late_not_wrong() {
    let mut room = Room::in_session();
    room.ask("viewer", end("s1"));
    for member in ["robot", "viewer"] {
        for request in [ice("s1"), sdp("s1", false), end("s1"), complaint(Some("s1"))] {
            room.assert_commands(member, request, &[]);
        }
    }
    for session in 2..ENDED_KEPT + 2 {
        room.1 = session;
        room.ask("viewer", call("robot"));
        room.ask("viewer", end(&format!("s{session}")));
    }
    room.assert_refused("viewer", ice("s1"), ErrorCode::UnknownSession, Some("s1"));
}

#[test]
fn complaints_about_no_session_are_not_answered() {
    let mut room = Room::in_session();
    room.assert_commands("robot", complaint(None), &[]);
}

#[test]
fn a_peer_that_leaves_ends_its_sessions() {
    let mut room = Room::in_session();
    room.join("ear", Grant::open());
    room.ask("ear", roles(&[Listener]));
    let gone = room.leave("viewer");
    assert_eq!(gone, [ended("robot", "s1", EndReason::PeerLeft)]);
    room.assert_commands("robot", ice("s1"), &[]);
    assert_eq!(room.leave("robot"), [to("ear", status("robot", &[]))]);
    assert_eq!(room.leave("robot"), []);
}

/// Its pictures stop; those of others, who watch it, are theirs still.
#[test]
fn a_peer_whose_token_expires_watches_nothing_any_more() {
    let mut room = Room::with(&["ear", "viewer", "robot", "screen"]);
    for (name, role) in [("ear", Listener), ("viewer", Producer), ("robot", Producer)] {
        room.ask(name, roles(&[role]));
    }
    room.ask("viewer", call("robot"));
    room.1 = 2;
    room.ask("screen", call("viewer"));
    let gone = words(room.0.expire(&peer("viewer")));
    let told = [
        ended("viewer", "s1", EndReason::Ended),
        ended("robot", "s1", EndReason::Ended),
        ended("screen", "s2", EndReason::PeerLeft),
        to("ear", status("viewer", &[])),
    ];
    assert_eq!(gone, told);
    assert_eq!(room.0.expire(&peer("viewer")), []);
    assert_eq!(room.0.population().sessions, 0);
}

#[test]
fn a_producer_that_leaves_ends_sessions_before_it_is_announced() {
    let mut room = Room::in_session();
    room.ask("viewer", roles(&[Listener]));
    let gone = room.leave("robot");
    let told = [ended("viewer", "s1", EndReason::PeerLeft), to("viewer", status("robot", &[]))];
    assert_eq!(gone, told);
}

#[test]
fn a_producer_that_stops_producing_ends_only_what_it_produces() {
    let mut room = Room::in_session();
    room.join("other", Grant::open());
    room.ask("other", roles(&[Producer]));
    room.1 = 2;
    room.ask("robot", call("other"));
    room.assert_commands("robot", roles(&[]), &[ended("viewer", "s1", EndReason::Ended)]);
    room.assert_commands("robot", ice("s2"), &[relay("other")]);
}

#[test]
fn the_unconnected_are_not_heard() {
    let mut room = Room::with(&[]);
    for request in [roles(&[Producer]), call("ghost"), PeerRequest::List, complaint(Some("s"))] {
        room.assert_commands("ghost", request, &[]);
    }
    assert!(room.is_empty());
}

#[test]
fn a_consumer_and_a_robot_have_only_so_many_sessions() {
    let limits = LimitSettings {
        max_sessions_per_peer: 2,
        max_sessions_per_robot: 3,
        ..LimitSettings::default()
    };
    let mut room = Room(Broker::new(&limits), 0);
    for name in ["robot", "viewer", "other"] {
        room.join(name, Grant::open());
    }
    room.ask("robot", roles(&[Producer]));
    let starts = |room: &mut Room, from: &str| {
        room.1 += 1;
        room.ask(from, call("robot")).len() == 2
    };
    assert_eq!([(); 2].map(|()| starts(&mut room, "viewer")), [true, true]);
    let details = room.assert_refused("viewer", call("robot"), ErrorCode::TooManySessions, None);
    assert!(details.contains("peer viewer has 2"), "{details}");
    assert!(starts(&mut room, "other"));
    let details = room.assert_refused("other", call("robot"), ErrorCode::TooManySessions, None);
    assert!(details.contains("the robot has 3"), "{details}");
    room.assert_commands("viewer", end("s1"), &[ended("robot", "s1", EndReason::Ended)]);
    assert!(starts(&mut room, "other"));
    assert_eq!(room.0.population().sessions, 3);
}

#[test]
fn a_broker_that_stops_ends_all_sessions() {
    let mut room = Room::in_session();
    let message = SessionEnd { session_id: session("s1"), reason: Some(EndReason::BrokerStops) };
    let told = Command::Send {
        to: peers(&["robot", "viewer"]),
        message: BrokerMessage::EndSession(message),
    };
    assert_eq!(words(room.0.stop()), [told]);
    assert_eq!(room.leave("viewer"), []);
    assert_eq!(room.leave("robot"), []);
    assert!(room.is_empty());
}

#[test]
fn what_happens_is_noted() {
    let mut room = Room::with(&["viewer", "robot"]);
    let notes = |commands: Vec<Command>| {
        let note = |command| match command {
            Command::Note(note) => Some(note),
            _ => None,
        };
        commands.into_iter().filter_map(note).collect::<Vec<_>>()
    };
    let handle = |room: &mut Room, from: &str, request| {
        notes(room.0.handle(&peer(from), request, || session("s1")))
    };
    let produces =
        Note::Roles { peer: peer("robot"), roles: vec![Producer], robot: Some(robot("r1")) };
    assert_eq!(handle(&mut room, "robot", publish("r1", &[])), [produces]);
    // What it looks like today is no change of roles.
    assert_eq!(handle(&mut room, "robot", publish("r1", &["front"])), []);
    let started = Session {
        id: session("s1"),
        producer: peer("robot"),
        consumer: peer("viewer"),
        robot: Some(robot("r1")),
    };
    assert_eq!(handle(&mut room, "viewer", call("robot")), [Note::SessionStarted(started.clone())]);
    assert_eq!(handle(&mut room, "viewer", ice("s1")), []);
    let gone = notes(room.0.disconnect(&peer("viewer")));
    let (by, reason) = (Some(peer("viewer")), EndReason::PeerLeft);
    assert_eq!(gone, [Note::SessionEnded { session: started, by, reason }]);
}

/// A broker, and the number of the session that the next request may start.
struct Room(Broker, usize);

impl Room {
    /// Peers of a broker without keys.
    fn with(names: &[&str]) -> Self {
        let mut room = Self(Broker::new(&LimitSettings::default()), 1);
        for name in names {
            room.join(name, Grant::open());
        }
        room
    }

    /// Peers with a token each: of their own name, and with these scopes.
    fn guarded(tokens: &[(&str, &str)]) -> Self {
        let mut room = Self::with(&[]);
        for (name, scopes) in tokens {
            room.join(name, grant(name, scopes));
        }
        room
    }

    /// `viewer` watches `robot` in session `s1`.
    fn in_session() -> Self {
        let mut room = Self::with(&["viewer", "robot"]);
        room.ask("robot", roles(&[Producer]));
        assert_eq!(room.ask("viewer", call("robot")).len(), 2);
        room
    }

    fn join(&mut self, name: &str, grant: Grant) {
        self.0.connect(peer(name), grant, IceServers::default());
    }

    /// What is said when a peer leaves.
    fn leave(&mut self, name: &str) -> Vec<Command> {
        words(self.0.disconnect(&peer(name)))
    }

    /// What is said when a peer asks for something.
    fn ask(&mut self, from: &str, request: PeerRequest) -> Vec<Command> {
        let fresh = format!("s{}", self.1);
        words(self.0.handle(&peer(from), request, || session(&fresh)))
    }

    #[track_caller]
    fn assert_commands(&mut self, from: &str, request: PeerRequest, commands: &[Command]) {
        assert_eq!(self.ask(from, request), commands);
    }

    /// Exactly one answer came, and it is this refusal. Returns its details.
    #[track_caller]
    fn assert_refused(
        &mut self,
        from: &str,
        request: PeerRequest,
        code: ErrorCode,
        session: Option<&str>,
    ) -> String {
        let commands = self.ask(from, request);
        let [Command::Send { to, message: BrokerMessage::Error(error) }] = &commands[..] else {
            panic!("{commands:?}")
        };
        assert_eq!((&to[..], error.code), (&[peer(from)][..], Some(code)));
        assert_eq!(error.session_id.as_ref().map(|id| id.0.as_str()), session);
        assert!(error.details.contains(": "), "no remedy: {}", error.details);
        error.details.clone()
    }

    fn details_of_unknown(&mut self) -> String {
        self.assert_refused("stranger", end("_"), ErrorCode::UnknownSession, Some("_"))
    }

    fn is_empty(&self) -> bool {
        let empty = self.0.population() == Population::default();
        empty && self.0.robots.is_empty()
    }
}

/// Without what is only written down.
fn words(commands: Vec<Command>) -> Vec<Command> {
    commands.into_iter().filter(|command| !matches!(command, Command::Note(_))).collect()
}

fn grant(subject: &str, scopes: &str) -> Grant {
    Grant::new(subject, u64::MAX, scopes)
}

fn session(id: &str) -> SessionId {
    SessionId(id.to_owned())
}

fn robot(name: &str) -> RobotId {
    name.parse().unwrap()
}

/// What a robot says of itself.
fn meta(name: &str, cameras: &[&str]) -> Option<Meta> {
    let cameras: Vec<_> = cameras.iter().map(|id| json!({"id": id})).collect();
    said(json!({"name": name, "kind": "robot", "cameras": cameras}))
}

/// The same, of anybody.
fn said(meta: Value) -> Option<Meta> {
    Some(Meta::of(&meta).unwrap())
}

fn publish(name: &str, cameras: &[&str]) -> PeerRequest {
    let meta = meta(name, cameras);
    PeerRequest::SetPeerStatus(PeerStatus { peer_id: None, roles: vec![Producer], meta })
}

fn peer(name: &str) -> PeerId {
    PeerId(name.to_owned())
}

fn peers(names: &[&str]) -> Vec<PeerId> {
    names.iter().copied().map(peer).collect()
}

fn to(name: &str, message: BrokerMessage) -> Command {
    send(&peer(name), message)
}

fn relay(name: &str) -> Command {
    // In these tests whoever produces is called so.
    Command::Relay { to: peer(name), to_producer: ["robot", "other"].contains(&name) }
}

fn roles(roles: &[PeerRole]) -> PeerRequest {
    PeerRequest::SetPeerStatus(PeerStatus { peer_id: None, roles: roles.to_vec(), meta: None })
}

fn status(name: &str, roles: &[PeerRole]) -> BrokerMessage {
    let peer_id = Some(peer(name));
    BrokerMessage::PeerStatusChanged(PeerStatus { peer_id, roles: roles.to_vec(), meta: None })
}

fn call(name: &str) -> PeerRequest {
    let wish = SessionRequest { peer_id: peer(name), offer: None, cameras: None };
    PeerRequest::StartSession(wish)
}

fn started(consumer: &str, producer: &str, session: &str) -> Command {
    let session_id = SessionId(session.to_owned());
    let message = SessionStarted { peer_id: peer(producer), session_id };
    to(consumer, BrokerMessage::SessionStarted(message))
}

fn start(producer: &str, consumer: &str, session: &str) -> Command {
    let (peer_id, session_id) = (peer(consumer), SessionId(session.to_owned()));
    let message = SessionStart { peer_id, session_id, offer: None, cameras: None, control: None };
    to(producer, BrokerMessage::StartSession(message))
}

fn end(session: &str) -> PeerRequest {
    PeerRequest::EndSession(SessionEnd { session_id: SessionId(session.to_owned()), reason: None })
}

fn ended(name: &str, session: &str, reason: EndReason) -> Command {
    let session_id = SessionId(session.to_owned());
    to(name, BrokerMessage::EndSession(SessionEnd { session_id, reason: Some(reason) }))
}

fn sdp(session: &str, offer: bool) -> PeerRequest {
    let sdp = "v=0".to_owned();
    let body = PeerBody::Sdp(if offer { Sdp::Offer { sdp } } else { Sdp::Answer { sdp } });
    PeerRequest::Peer(PeerMessage { session_id: SessionId(session.to_owned()), body })
}

fn ice(session: &str) -> PeerRequest {
    let body = PeerBody::Ice(Candidate { candidate: String::new(), sdp_m_line_index: 0 });
    PeerRequest::Peer(PeerMessage { session_id: SessionId(session.to_owned()), body })
}

fn complaint(session: Option<&str>) -> PeerRequest {
    let session_id = session.map(|id| SessionId(id.to_owned()));
    PeerRequest::Error(ErrorMessage { details: "d".into(), code: None, session_id })
}
