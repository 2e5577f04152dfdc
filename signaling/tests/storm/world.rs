//! Peers that come, go, and say anything, with a model beside the broker that keeps nothing but who
//! was told of which session: the entry that the fuzzer and the tests share. Every choice is made
//! by the bytes that it is given.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::slice::from_ref;

use rovercast_protocol::ids::{PeerId, SessionId};
use rovercast_protocol::signaling::{BrokerMessage, IceServers, PeerRequest};
use rovercast_signaling::access::Grant;
use rovercast_signaling::broker::{Broker, Command, Population};
use rovercast_signaling::limits::LimitSettings;

/// So many peers there are, at most.
const PEERS: usize = 12;

/// Sessions that are remembered after their end, so that somebody speaks of them.
const PAST: usize = 48;

/// A broker, and what must be true of it.
#[derive(Debug)]
pub(crate) struct World {
    broker: Broker,
    here: BTreeSet<PeerId>,
    /// Robot and viewer of each session that both were told of.
    sessions: BTreeMap<SessionId, [PeerId; 2]>,
    past: VecDeque<SessionId>,
    /// What was done so far.
    pub(crate) tally: Tally,
}

/// How much was done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Frames given to the broker.
    pub(crate) frames: u64,
    /// Of these, the ones that were no message.
    pub(crate) malformed: u64,
    /// Sessions that began.
    pub(crate) sessions: u64,
    /// Messages relayed.
    pub(crate) relayed: u64,
    /// Requests that the broker refused.
    pub(crate) refused: u64,
}

impl World {
    /// Nobody is there; everybody may come, and do everything.
    pub(crate) fn new() -> Self {
        Self {
            broker: Broker::new(&LimitSettings::default()),
            here: BTreeSet::new(),
            sessions: BTreeMap::new(),
            past: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    /// Lives on by these choices, until they are used up. Panics when a rule is broken.
    pub(crate) fn live(&mut self, choices: &[u8]) {
        let mut choices = Choices(choices);
        while !choices.0.is_empty() {
            self.step(&mut choices);
        }
    }

    /// Everybody leaves; panics if the broker keeps anything of them.
    pub(crate) fn end(mut self) -> Tally {
        for peer in self.here.clone() {
            self.leave(&peer);
        }
        assert!(self.sessions.is_empty(), "sessions without peers: {:?}", self.sessions);
        assert_eq!(self.broker.population(), Population::default());
        let new = Broker::new(&LimitSettings::default());
        let [kept, new] = [&self.broker, &new].map(|broker| format!("{broker:?}").len());
        // A counter's digits are all that may be left.
        assert!(kept <= new + 24, "kept after all had left: {:?}", self.broker);
        self.tally
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        let peer = id(choices.below(PEERS));
        if !self.here.contains(&peer) {
            self.here.insert(peer.clone());
            let commands = self.broker.connect(peer.clone(), Grant::open(), IceServers::default());
            self.obey(&peer, None, None, commands);
            return;
        }
        if choices.below(40) == 0 {
            self.leave(&peer);
            return;
        }
        let frame = self.frame(&peer, choices);
        self.tally.frames += 1;
        let Ok(request) = PeerRequest::parse(&frame) else {
            self.tally.malformed += 1;
            return;
        };
        let fresh = SessionId(format!("s{}", self.tally.frames));
        let commands = self.broker.handle(&peer, request.clone(), || fresh.clone());
        self.obey(&peer, Some(&request), Some(&fresh), commands);
    }

    fn leave(&mut self, peer: &PeerId) {
        self.here.remove(peer);
        let commands = self.broker.disconnect(peer);
        self.obey(peer, None, None, commands);
        let with_it = self.sessions.values().any(|members| members.contains(peer));
        assert!(!with_it, "{peer} left, and its sessions did not end");
    }

    /// Sees to it that whatever the broker commands is explained by what it was asked.
    fn obey(
        &mut self,
        from: &PeerId,
        request: Option<&PeerRequest>,
        fresh: Option<&SessionId>,
        commands: Vec<Command>,
    ) {
        // Of whom listeners may be told.
        let replaced = |command: &Command| match command {
            Command::Replace(old) => Some(old.clone()),
            _ => None,
        };
        let mut speaks_of: Vec<_> = commands.iter().filter_map(replaced).collect();
        speaks_of.push(from.clone());
        for command in commands {
            let (to, message) = match &command {
                // Another connection publishes its robot; its sessions have ended.
                Command::Replace(old) => {
                    assert!(self.here.remove(old) && old != from, "replaced: {old}");
                    assert!(self.sessions.values().all(|members| !members.contains(old)));
                    continue;
                }
                Command::Note(_) => continue,
                Command::Relay { to, .. } => {
                    let session = match request {
                        Some(PeerRequest::Peer(message)) => Some(&message.session_id),
                        Some(PeerRequest::Error(complaint)) => complaint.session_id.as_ref(),
                        _ => None,
                    };
                    let members = session.and_then(|session| self.sessions.get(session));
                    let members = members.expect("relayed though there is no such session");
                    assert!(members.contains(from) && members.contains(to) && from != to);
                    self.tally.relayed += 1;
                    continue;
                }
                Command::Send { to, message } => (to, message),
            };
            assert!(to.iter().all(|peer| self.here.contains(peer)), "to nobody: {command:?}");
            match message {
                BrokerMessage::SessionStarted(started) => {
                    assert_eq!(
                        Some(&started.session_id),
                        fresh,
                        "a session that was not asked for"
                    );
                    let members = [started.peer_id.clone(), to[0].clone()];
                    assert!(to.len() == 1 && members.contains(from) && members[0] != members[1]);
                    assert!(members.iter().all(|member| self.here.contains(member)));
                    self.sessions.insert(started.session_id.clone(), members);
                    self.tally.sessions += 1;
                }
                BrokerMessage::StartSession(start) => {
                    let members = self.sessions.get(&start.session_id);
                    let members = members.expect("the producer is told of another session");
                    assert_eq!(
                        (&members[..], to.len()),
                        (&[to[0].clone(), start.peer_id.clone()][..], 1)
                    );
                }
                BrokerMessage::EndSession(end) => {
                    let members = self.sessions.remove(&end.session_id);
                    let members = members.expect("a session ended that there was not");
                    assert!(to.len() == 1 && members.contains(&to[0]), "{command:?}");
                    self.past.push_back(end.session_id.clone());
                    if self.past.len() > PAST {
                        self.past.pop_front();
                    }
                }
                BrokerMessage::Error(_) => {
                    assert_eq!(to[..], *from_ref(from), "blamed for another's request");
                    self.tally.refused += 1;
                }
                BrokerMessage::Welcome(welcome) => {
                    assert_eq!((&to[..], &welcome.peer_id), (from_ref(from), from));
                }
                BrokerMessage::PeerStatusChanged(status) => {
                    assert!(status.peer_id.as_ref().is_some_and(|peer| speaks_of.contains(peer)));
                }
                BrokerMessage::List { producers: peers }
                | BrokerMessage::ListConsumers { consumers: peers } => {
                    assert_eq!(to[..], *from_ref(from));
                    assert!(peers.iter().all(|peer| self.here.contains(&peer.id)));
                }
                BrokerMessage::Peer(_) | BrokerMessage::IceServers(_) => {
                    panic!("made up: {command:?}")
                }
            }
        }
    }

    /// What a peer says: mostly a message, of sessions that there are, were or never have been.
    fn frame(&self, from: &PeerId, choices: &mut Choices<'_>) -> String {
        let session = match choices.below(8) {
            0 => self.past.get(choices.below(PAST)).map(SessionId::to_string),
            1 => Some("made-up".to_owned()),
            // Of its own, most of the time.
            2 | 3 => self.sessions.keys().nth(choices.below(64)).map(SessionId::to_string),
            _ => {
                let mut own = self.sessions.iter().filter(|(_, members)| members.contains(from));
                own.nth(choices.below(4)).map(|(session, _)| session.to_string())
            }
        };
        let session = session.unwrap_or_default();
        let peer = id(choices.below(PEERS + 1));
        let roles =
            ["", "\"producer\"", "\"listener\"", "\"consumer\"", "\"producer\",\"listener\""];
        let roles = roles[choices.below(roles.len())];
        let index = choices.byte();
        let named = format!("{{\"name\":\"r{}\"}}", index % 8);
        let metas = ["null", &named, &named, "[[[[]]]]", "\"\\u0000\"", "1e400", "-0.0"];
        let meta = metas[choices.below(metas.len())];
        let text = match choices.below(16) {
            0..=2 => format!(r#"{{"type":"setPeerStatus","roles":[{roles}],"meta":{meta}}}"#),
            3..=5 => format!(r#"{{"type":"startSession","peerId":"{peer}","offer":null}}"#),
            6 => format!(r#"{{"type":"startSession","peerId":"{peer}","cameras":["front"]}}"#),
            7 => format!(r#"{{"type":"endSession","sessionId":"{session}"}}"#),
            8 => format!(r#"{{"type":"error","details":"d","sessionId":"{session}"}}"#),
            9 => r#"{"type":"list"}"#.to_owned(),
            10 => r#"{"type":"listConsumers","x":[{}]}"#.to_owned(),
            11 => {
                let kind = ["offer", "answer"][usize::from(index % 2)];
                format!(
                    r#"{{"type":"peer","sessionId":"{session}","sdp":{{"type":"{kind}","sdp":"v"}}}}"#
                )
            }
            _ => format!(
                r#"{{"type":"peer","sessionId":"{session}","ice":{{"candidate":"c","sdpMLineIndex":{index}}}}}"#
            ),
        };
        match choices.below(12) {
            0 => damaged(text, choices),
            _ => text,
        }
    }
}

/// The text with something cut out, doubled, or put in.
fn damaged(text: String, choices: &mut Choices<'_>) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = choices.below(chars.len());
    let up_to = (at + choices.below(9)).min(chars.len());
    match choices.below(3) {
        0 => drop(chars.drain(at..up_to)),
        1 => {
            let twice = chars[at..up_to].to_vec();
            chars.splice(at..at, twice);
        }
        _ => chars.insert(at, char::from(choices.byte())),
    }
    chars.into_iter().collect()
}

fn id(number: usize) -> PeerId {
    PeerId(format!("p{number}"))
}

/// What is chosen, byte by byte; always the first when they are used up.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: usize) -> usize {
        if bound <= 256 {
            return usize::from(self.byte()) % bound.max(1);
        }
        (usize::from(self.byte()) << 8 | usize::from(self.byte())) % bound
    }
}
