//! Random requests of random peers. A model beside the broker keeps nothing but who was told of
//! which session; every word must be explained by it, and by what the token of its reader shows.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Peers, and their subjects and scopes where there are keys.
const PEERS: [(&str, &str, &str); 10] = [
    ("a", "r1", "publish:r1"),
    ("b", "r1", "publish:r1 view:r2"),
    ("c", "r2", "publish:r2 publish:r3"),
    ("d", "fleet", "publish:* view:* control:*"),
    ("e", "guest", "view:*"),
    ("f", "guest", "view:r1/front view:r2/re*"),
    ("g", "driver", "view:r2 control:r2"),
    ("h", "blind", "control:*"),
    ("i", "guest", "view:r* publish:r3"),
    ("j", "nobody", ""),
];

#[derive(Debug, Clone)]
enum Step {
    Join,
    Leave,
    Expire,
    Roles(Vec<PeerRole>),
    Publish(&'static str, Vec<&'static str>),
    List(bool),
    Call(usize, Option<Vec<&'static str>>),
    /// What is said in the newest session but so many: past ones and those of others included.
    Say(usize, Saying),
}

#[derive(Debug, Clone, Copy)]
enum Saying {
    Offer,
    Answer,
    Candidate,
    Complaint,
    End,
}

fn step() -> impl Strategy<Value = Step> {
    let role = prop::sample::select(vec![Producer, Listener, Consumer]);
    let cameras = || prop::sample::subsequence(vec!["front", "rear", "arm"], 0..=3);
    let robot = prop::sample::select(vec!["r1", "r2", "r3", "no robot"]);
    let saying = prop::sample::select(vec![
        Saying::Offer,
        Saying::Answer,
        Saying::Candidate,
        Saying::Complaint,
        Saying::End,
    ]);
    prop_oneof![
        3 => Just(Step::Join),
        1 => Just(Step::Leave),
        1 => Just(Step::Expire),
        3 => prop::collection::vec(role, 0..3).prop_map(Step::Roles),
        4 => (robot, cameras()).prop_map(|(robot, cameras)| Step::Publish(robot, cameras)),
        2 => any::<bool>().prop_map(Step::List),
        8 => (0..PEERS.len(), prop::option::of(cameras())).prop_map(|(to, c)| Step::Call(to, c)),
        12 => (0_usize..8, saying).prop_map(|(back, saying)| Step::Say(back, saying)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..Default::default() })]

    #[test]
    fn words_reach_nobody_whom_they_do_not_concern(
        keys in any::<bool>(),
        steps in prop::collection::vec((0..PEERS.len(), step()), 0..300),
    ) {
        let mut world = World::new(keys);
        for (number, (from, step)) in steps.into_iter().enumerate() {
            world.step(from, step, number);
        }
        for (name, ..) in PEERS {
            world.room.leave(name);
        }
        assert!(world.room.is_empty());
    }
}

struct World {
    room: Room,
    keys: bool,
    members: BTreeMap<SessionId, [PeerId; 2]>,
    sessions: Vec<SessionId>,
}

impl World {
    fn new(keys: bool) -> Self {
        let limits = LimitSettings {
            max_sessions_per_peer: 5,
            max_sessions_per_robot: 7,
            ..LimitSettings::default()
        };
        let room = Room(Broker::new(&limits), 0);
        Self { room, keys, members: BTreeMap::new(), sessions: Vec::new() }
    }

    fn grant(&self, name: &str) -> Grant {
        let (_, subject, scopes) = PEERS.into_iter().find(|(peer, ..)| *peer == name).unwrap();
        if self.keys { grant(subject, scopes) } else { Grant::open() }
    }

    fn step(&mut self, from: usize, step: Step, number: usize) {
        let name = PEERS[from].0;
        let here = self.room.0.peers.contains_key(&peer(name));
        let request = match step {
            Step::Join if here => return,
            Step::Join => return self.room.join(name, self.grant(name)),
            Step::Leave | Step::Expire => {
                let expires = matches!(step, Step::Expire);
                let commands = if expires {
                    words(self.room.0.expire(&peer(name)))
                } else {
                    self.room.leave(name)
                };
                let own = |command: &Command| matches!(command, Command::Send { to, .. } if expires && to[..] == [peer(name)]);
                let (own, commands): (Vec<_>, Vec<_>) = commands.into_iter().partition(own);
                // It is told of the end of what it watched, which its robots are, too.
                for command in own {
                    let Command::Send { message: BrokerMessage::EndSession(end), .. } = command
                    else {
                        panic!("{command:?}")
                    };
                    assert_eq!(self.members[&end.session_id][0], peer(name));
                }
                self.check(name, None, &commands);
                assert!(self.members.values().all(|pair| !pair.contains(&peer(name))));
                return;
            }
            Step::Roles(taken) => roles(&taken),
            Step::Publish(robot, cameras) => publish(robot, &cameras),
            Step::List(true) => PeerRequest::List,
            Step::List(false) => PeerRequest::ListConsumers,
            Step::Call(to, cameras) => {
                let cameras = cameras.map(|ids| ids.iter().map(|id| id.parse().unwrap()).collect());
                let peer_id = peer(PEERS[to].0);
                PeerRequest::StartSession(SessionRequest { peer_id, offer: None, cameras })
            }
            Step::Say(back, saying) => {
                let session = self.sessions.iter().rev().nth(back);
                let session = session.map_or("made-up", |id| id.0.as_str());
                match saying {
                    Saying::Offer => sdp(session, true),
                    Saying::Answer => sdp(session, false),
                    Saying::Candidate => ice(session),
                    Saying::Complaint => complaint(Some(session)),
                    Saying::End => end(session),
                }
            }
        };
        self.room.1 = number;
        let commands = self.room.ask(name, request.clone());
        assert!(here || commands.is_empty(), "{commands:?}");
        self.check(name, Some(&request), &commands);
        self.check_bounds();
    }

    fn check(&mut self, from: &str, request: Option<&PeerRequest>, commands: &[Command]) {
        let from = peer(from);
        let replaced = |command: &Command| match command {
            Command::Replace(old) => Some(old.clone()),
            _ => None,
        };
        let mut gone: BTreeSet<_> = commands.iter().filter_map(replaced).collect();
        assert!(gone.iter().all(|old| !self.room.0.peers.contains_key(old)));
        gone.insert(from.clone());
        for command in commands {
            let (to, message) = match command {
                Command::Relay { to, to_producer } => {
                    let session_id = match request {
                        Some(PeerRequest::Peer(message)) => Some(&message.session_id),
                        Some(PeerRequest::Error(complaint)) => complaint.session_id.as_ref(),
                        _ => None,
                    };
                    let [consumer, producer] = &self.members[session_id.unwrap()];
                    let pair =
                        if *to_producer { [producer, consumer] } else { [consumer, producer] };
                    assert_eq!(pair, [to, &from]);
                    continue;
                }
                Command::Replace(_) => continue,
                Command::Send { to, message } => (to, message),
                Command::Note(_) => unreachable!("taken out"),
            };
            assert!(!to.is_empty(), "{command:?}");
            assert!(to.iter().all(|peer| self.room.0.peers.contains_key(peer)), "{command:?}");
            self.check_word(&from, &gone, to, message);
        }
    }

    fn check_word(
        &mut self,
        from: &PeerId,
        gone: &BTreeSet<PeerId>,
        to: &[PeerId],
        message: &BrokerMessage,
    ) {
        match message {
            BrokerMessage::SessionStarted(started) => {
                let pair = [to[0].clone(), started.peer_id.clone()];
                assert!(pair.contains(from) && pair[0] != pair[1] && to.len() == 1);
                self.sessions.push(started.session_id.clone());
                self.members.insert(started.session_id.clone(), pair);
            }
            BrokerMessage::StartSession(start) => {
                let pair = &self.members[&start.session_id];
                assert_eq!((pair, to.len()), (&[start.peer_id.clone(), to[0].clone()], 1));
                let robot = self.robot(&to[0]);
                let (consumer, robot) = (self.grant(&start.peer_id.0), robot.as_deref());
                assert!(consumer.may_view(robot));
                assert_eq!(start.control, self.keys.then(|| consumer.may_control(robot)));
                match &start.cameras {
                    None => assert!(consumer.views_all_cameras(robot)),
                    Some(cameras) => assert!(
                        cameras.iter().all(|id| consumer.may_view_camera(robot, id.as_str()))
                    ),
                }
            }
            BrokerMessage::EndSession(end) => {
                let pair = self.members.remove(&end.session_id).unwrap();
                let (stays, goes) = (&to[0], pair.iter().find(|member| **member != to[0]));
                assert!(to.len() == 1 && pair.contains(stays) && gone.contains(goes.unwrap()));
            }
            BrokerMessage::PeerStatusChanged(status) => {
                let about = status.peer_id.as_ref().unwrap();
                assert!(gone.contains(about));
                // The one that asks may have listened until now.
                let listens = |peer| peer == from || self.room.0.listeners.contains(peer);
                assert!(to.iter().all(listens));
                if status.roles.contains(&Producer) {
                    let others = to.iter().filter(|reader| *reader != about);
                    others.for_each(|reader| self.check_view(reader, status.meta.as_ref()));
                }
            }
            BrokerMessage::List { producers } => {
                assert_eq!(to, std::slice::from_ref(from));
                producers.iter().for_each(|info| self.check_view(from, info.meta.as_ref()));
            }
            BrokerMessage::ListConsumers { consumers } => {
                assert_eq!(to, std::slice::from_ref(from));
                let robot = self.robot(from);
                let may_view = |info: &PeerInfo| self.grant(&info.id.0).may_view(robot.as_deref());
                assert!(consumers.iter().all(may_view));
            }
            BrokerMessage::Error(_) => assert_eq!(to, std::slice::from_ref(from)),
            other => panic!("{other:?}"),
        }
    }

    /// Whether `reader` may be told of a robot that says this of itself.
    fn check_view(&self, reader: &PeerId, meta: Option<&Meta>) {
        let meta: Option<Value> = meta.and_then(Meta::read);
        let meta = meta.as_ref();
        let robot = meta.and_then(|meta| meta["name"].as_str()).filter(|name| *name != "no robot");
        let grant = self.grant(&reader.0);
        assert!(grant.may_view(robot), "{reader} {meta:?}");
        for camera in meta.and_then(|meta| meta["cameras"].as_array()).into_iter().flatten() {
            assert!(
                grant.may_view_camera(robot, camera["id"].as_str().unwrap()),
                "{reader} {meta:?}"
            );
        }
    }

    fn robot(&self, peer: &PeerId) -> Option<String> {
        let robots = &self.room.0.robots;
        robots.iter().find(|(_, owner)| *owner == peer).map(|(robot, _)| robot.to_string())
    }

    /// Nothing grows, and nothing points to what is not there.
    fn check_bounds(&self) {
        let Room(broker, _) = &self.room;
        assert_eq!(broker.sessions.len(), self.members.len());
        for (id, session) in &broker.sessions {
            assert!(broker.peers[&session.producer].produces.contains(id));
            assert!(broker.peers[&session.consumer].consumes.contains(id));
        }
        let held = |peer: &Peer| (peer.produces.len(), peer.consumes.len());
        let (mut produced, mut consumed) = (0, 0);
        for peer in broker.peers.values() {
            let (produces, consumes) = held(peer);
            assert!(produces <= 7 && consumes <= 5 && peer.ended.len() <= ENDED_KEPT);
            (produced, consumed) = (produced + produces, consumed + consumes);
        }
        assert_eq!((produced, consumed), (broker.sessions.len(), broker.sessions.len()));
        for (robot, owner) in &broker.robots {
            assert_eq!(broker.peers[owner].profile.robot.as_ref(), Some(robot));
            assert!(broker.producers.contains(owner));
        }
        let named = broker.peers.values().filter(|peer| peer.profile.robot.is_some()).count();
        assert_eq!(named, broker.robots.len());
    }
}
