//! The rules one by one, each test proving that nothing else came out; and, at the end, that
//! random requests never get a word to anybody whom it does not concern.

use std::collections::BTreeMap;

use rovercast_protocol::signaling::{Candidate, PeerRole::*};
use serde_json::json;

use super::*;

#[test]
fn everyone_is_welcomed_with_the_ice_servers() {
    let server = IceServer { urls: vec!["stun:s".into()], username: None, credential: None };
    let mut broker = Broker::new(vec![server.clone()]);
    let welcome = Welcome { peer_id: peer("a"), ice_servers: vec![server] };
    assert_eq!(broker.connect(peer("a")), [to("a", BrokerMessage::Welcome(welcome))]);
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
    assert_eq!(room.0.disconnect(&peer("a")), []);
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
fn a_changed_meta_is_announced_and_listed() {
    let mut room = Room::with(&["ear", "robot"]);
    room.ask("ear", roles(&[Listener]));
    let meta = Some(json!({"name": "rover", "added": [1, null]}));
    let forged = Some(peer("ear"));
    let mine = PeerStatus { peer_id: forged, roles: vec![Producer], meta: meta.clone() };
    let told = PeerStatus { peer_id: Some(peer("robot")), ..mine.clone() };
    let announced = to("ear", BrokerMessage::PeerStatusChanged(told));
    room.assert_commands("robot", PeerRequest::SetPeerStatus(mine), &[announced]);
    let producers = vec![PeerInfo { id: peer("robot"), meta }];
    room.assert_commands("ear", PeerRequest::List, &[to("ear", BrokerMessage::List { producers })]);
    let consumers = vec![];
    let none = to("ear", BrokerMessage::ListConsumers { consumers });
    room.assert_commands("ear", PeerRequest::ListConsumers, &[none]);
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
    room.0.connect(peer("stranger"));
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
    room.0.connect(peer("ear"));
    room.ask("ear", roles(&[Listener]));
    let gone = room.0.disconnect(&peer("viewer"));
    assert_eq!(gone, [ended("robot", "s1", EndReason::PeerLeft)]);
    room.assert_commands("robot", ice("s1"), &[]);
    assert_eq!(room.0.disconnect(&peer("robot")), [to("ear", status("robot", &[]))]);
    assert_eq!(room.0.disconnect(&peer("robot")), []);
}

#[test]
fn a_producer_that_leaves_ends_sessions_before_it_is_announced() {
    let mut room = Room::in_session();
    room.ask("viewer", roles(&[Listener]));
    let gone = room.0.disconnect(&peer("robot"));
    let told = [ended("viewer", "s1", EndReason::PeerLeft), to("viewer", status("robot", &[]))];
    assert_eq!(gone, told);
}

#[test]
fn a_producer_that_stops_producing_ends_only_what_it_produces() {
    let mut room = Room::in_session();
    room.0.connect(peer("other"));
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

/// 20,000 random requests of 12 peers that come and go. A model beside the broker keeps nothing
/// but who was told of which session; every word must be explained by it.
#[test]
fn random_requests_reach_nobody_whom_they_do_not_concern() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let mut random = Random(7);
    let mut room = Room::with(&[]);
    let mut members: BTreeMap<SessionId, [PeerId; 2]> = BTreeMap::new();
    let (mut relays, mut starts) = (0, 0);
    for step in 0..20_000 {
        room.1 = step;
        // Now a member of a session speaks of it, now anybody of any session, past ones included.
        let known = (random.below(2) == 0)
            .then(|| members.iter().nth(random.below(members.len().max(1))))
            .flatten();
        let (session, from) = match known {
            Some((session, pair)) => (session.0.clone(), pair[random.below(2)].0.clone()),
            None => {
                let session = format!("s{}", step.saturating_sub(random.below(40)));
                (session, random.pick(&names).to_owned())
            }
        };
        let from = from.as_str();
        let here = room.0.peers.contains_key(&peer(from));
        let request = match random.below(24) {
            0 if here => {
                let commands = room.0.disconnect(&peer(from));
                check(&room, &peer(from), None, &commands, &mut members);
                assert!(members.values().all(|pair| !pair.contains(&peer(from))));
                continue;
            }
            _ if !here => {
                assert_eq!(room.0.connect(peer(from)).len(), 1);
                continue;
            }
            1..=3 => roles(random.pick(&[&[Producer][..], &[Listener], &[Consumer], &[]])),
            4 => roles(random.pick(&[&[Producer, Listener][..], &[Producer, Consumer]])),
            5 => PeerRequest::List,
            6..=11 => call(random.pick(&names)),
            12 => end(&session),
            13..=16 => sdp(&session, random.below(2) == 0),
            17 => complaint(Some(&session)),
            _ => ice(&session),
        };
        let commands = room.0.handle(&peer(from), request.clone(), SessionId(format!("s{step}")));
        check(&room, &peer(from), Some(&request), &commands, &mut members);
        relays += commands.iter().filter(|c| matches!(c, Command::Relay { .. })).count();
        starts += usize::from(matches!(request, PeerRequest::StartSession(_)));
    }
    assert!(relays > 1_000 && starts > 1_000, "too tame to prove a thing: {relays}, {starts}");
    for name in names {
        room.0.disconnect(&peer(name));
    }
    assert!(room.is_empty());
}

#[test]
fn what_a_peer_says_of_itself_is_short() {
    let mut room = Room::with(&["robot"]);
    let meta = |bytes: usize| {
        let meta = Some("x".repeat(bytes).into());
        PeerRequest::SetPeerStatus(PeerStatus {
            peer_id: None,
            roles: vec![PeerRole::Producer],
            meta,
        })
    };
    room.assert_refused("robot", meta(40_000), ErrorCode::TooLarge, None);
    room.assert_commands("robot", meta(30_000), &[]);
}

#[test]
fn a_consumer_has_only_so_many_sessions() {
    let mut room = Room::with(&["robot", "viewer", "other"]);
    room.assert_commands("robot", roles(&[PeerRole::Producer]), &[]);
    let replies = |room: &mut Room, from: &str, fresh: &str| {
        room.0.handle(&peer(from), call("robot"), SessionId(fresh.to_owned())).len()
    };
    for index in 0..MAX_CONSUMED {
        assert_eq!(replies(&mut room, "viewer", &format!("v{index}")), 2);
    }
    assert_eq!(replies(&mut room, "viewer", "too many"), 1);
    assert_eq!(replies(&mut room, "other", "o0"), 2, "the robot may have more");
    room.0.handle(&peer("viewer"), end("v0"), SessionId("unused".to_owned()));
    assert_eq!(replies(&mut room, "viewer", "again"), 2);
}

fn check(
    room: &Room,
    from: &PeerId,
    request: Option<&PeerRequest>,
    commands: &[Command],
    members: &mut BTreeMap<SessionId, [PeerId; 2]>,
) {
    for command in commands {
        let (to, message) = match command {
            Command::Relay { to, .. } => {
                let session_id = match request {
                    Some(PeerRequest::Peer(message)) => Some(&message.session_id),
                    Some(PeerRequest::Error(complaint)) => complaint.session_id.as_ref(),
                    _ => None,
                };
                let pair = &members[session_id.unwrap()];
                assert!(pair.contains(to) && pair.contains(from) && to != from);
                continue;
            }
            Command::Send { to, message } => (to, message),
        };
        assert!(to.iter().all(|peer| room.0.peers.contains_key(peer)), "{command:?}");
        match message {
            BrokerMessage::SessionStarted(started) => {
                let pair = [to[0].clone(), started.peer_id.clone()];
                assert!(pair.contains(from) && to.len() == 1);
                members.insert(started.session_id.clone(), pair);
            }
            BrokerMessage::StartSession(start) => {
                let pair = &members[&start.session_id];
                assert_eq!((pair, to.len()), (&[start.peer_id.clone(), to[0].clone()], 1));
            }
            BrokerMessage::EndSession(end) => {
                let pair = members.remove(&end.session_id).unwrap();
                assert!(pair.contains(from) && pair.contains(&to[0]) && to.len() == 1);
                assert_ne!(to[0], *from);
            }
            BrokerMessage::PeerStatusChanged(status) => {
                assert_eq!(status.peer_id.as_ref(), Some(from));
                assert!(to.iter().all(|peer| room.0.listeners.contains(peer)));
            }
            BrokerMessage::Error(_) | BrokerMessage::List { .. } => {
                assert_eq!((to.len(), &to[0]), (1, from))
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A broker, and the number of the session that the next request may start.
struct Room(Broker, usize);

impl Room {
    fn with(names: &[&str]) -> Self {
        let mut room = Self(Broker::default(), 1);
        for name in names {
            room.0.connect(peer(name));
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

    fn ask(&mut self, from: &str, request: PeerRequest) -> Vec<Command> {
        self.0.handle(&peer(from), request, SessionId(format!("s{}", self.1)))
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
        let Broker { ice_servers: _, peers, sessions, producers, consumers, listeners, came: _ } =
            &self.0;
        let roles = producers.len() + consumers.len() + listeners.len();
        peers.len() + sessions.len() + roles == 0
    }
}

/// A linear congruential generator (Knuth's MMIX constants).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
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
    let message = SessionStart { peer_id, session_id, offer: None, cameras: None };
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
