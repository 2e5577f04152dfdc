//! Under the hub's lock: the broker, and the queues in which its words wait for the peers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

use axum::extract::ws::Utf8Bytes;
use rovercast_protocol::ids::PeerId;
use rovercast_protocol::signaling::{BrokerMessage, IceServers};
use tokio::sync::{mpsc, oneshot};

use super::{Robot, unix_s};
use crate::access::Grant;
use crate::audit::Who;
use crate::broker::{Broker, Command, Note};
use crate::limits::LimitSettings;
use crate::metrics::{Ended, Kind, Metrics};

/// Of what may wait for a producer, each of its consumers may take one part in so many: a viewer
/// that floods a robot loses its own connection before the robot loses that of all.
const SHARES: usize = 8;

/// What may wait for a peer even when too much waits for all of them: one that reads never has more.
const FAIR_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct State {
    pub(super) broker: Broker,
    outboxes: HashMap<PeerId, Outbox>,
    queue_bytes: usize,
    queue_bytes_in_all: usize,
    metrics: Arc<Metrics>,
    /// A copy is in every [`super::Seat`]; taken out on shutdown.
    open: Option<mpsc::Sender<()>>,
}

/// The way to a peer.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: mpsc::Sender<Waiting>,
    waiting_bytes: Arc<AtomicUsize>,
    /// What this peer, as a consumer, has under way to producers.
    under_way_bytes: Arc<AtomicUsize>,
    end: oneshot::Sender<Ended>,
    came: SystemTime,
}

/// A message that waits for a peer, and what it counts towards while it does.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) text: Utf8Bytes,
    /// When it was read, if it is relayed.
    pub(super) came: Option<Instant>,
    _counts: [Option<Count>; 3],
}

/// What a peer said.
pub(super) struct Frame<'a> {
    pub(super) from: &'a PeerId,
    pub(super) kind: Kind,
    pub(super) text: Utf8Bytes,
    pub(super) came: Instant,
}

/// Bytes of a sum, for as long as this lives.
#[derive(Debug)]
struct Count(Arc<AtomicUsize>, usize);

impl Count {
    /// None when the sum would exceed the limit. Only those who hold the hub's lock count.
    fn within(limit: usize, sum: &Arc<AtomicUsize>, bytes: usize) -> Option<Self> {
        if sum.load(Ordering::Relaxed) + bytes > limit {
            return None;
        }
        sum.fetch_add(bytes, Ordering::Relaxed);
        Some(Self(sum.clone(), bytes))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Outbox {
    pub(super) fn new(queue: mpsc::Sender<Waiting>, end: oneshot::Sender<Ended>) -> Self {
        let came = SystemTime::now();
        Self { queue, waiting_bytes: Arc::default(), under_way_bytes: Arc::default(), end, came }
    }

    fn end(self, why: Ended) {
        // It may have ended by itself just now.
        let _ = self.end.send(why);
    }
}

impl State {
    pub(super) fn new(
        settings: &LimitSettings,
        metrics: Arc<Metrics>,
        open: mpsc::Sender<()>,
    ) -> Self {
        Self {
            broker: Broker::new(settings),
            outboxes: HashMap::new(),
            queue_bytes: settings.queue_bytes as usize,
            queue_bytes_in_all: settings.queue_bytes_in_all as usize,
            metrics,
            open: Some(open),
        }
    }

    /// Connects a peer; `None`, and the peer ends at once, when the broker stops.
    pub(super) fn join(
        &mut self,
        who: &Who,
        outbox: Outbox,
        servers: IceServers,
    ) -> Option<mpsc::Sender<()>> {
        let Some(open) = self.open.clone() else {
            outbox.end(Ended::ShuttingDown);
            return None;
        };
        self.outboxes.insert(who.peer_id.clone(), outbox);
        let commands = self.broker.connect(who.peer_id.clone(), who.grant.clone(), servers);
        self.obey(commands, None);
        Some(open)
    }

    pub(super) fn leave(&mut self, peer_id: &PeerId) -> Vec<Note> {
        self.outboxes.remove(peer_id);
        let commands = self.broker.disconnect(peer_id);
        self.obey(commands, None).1
    }

    /// Ends all sessions and connections, and takes no more of them.
    pub(super) fn close(&mut self) -> Vec<Note> {
        self.open = None;
        let commands = self.broker.stop();
        let (_, notes) = self.obey(commands, None);
        for (_, outbox) in self.outboxes.drain() {
            outbox.end(Ended::ShuttingDown);
        }
        notes
    }

    pub(super) fn robots(&self, grant: &Grant) -> Vec<Robot> {
        let robot = |info: rovercast_protocol::signaling::PeerInfo| {
            let since_unix_s = unix_s(self.outboxes.get(&info.id)?.came);
            Some(Robot { info, since_unix_s })
        };
        self.broker.robots(grant).into_iter().filter_map(robot).collect()
    }

    /// Does what the broker commands, and what follows from it: a peer that must be dropped makes
    /// the broker command more. `frame` is what a peer said that led to the commands. Returns how
    /// many bytes were answered to that peer, and what is to be written down.
    pub(super) fn obey(
        &mut self,
        commands: Vec<Command>,
        frame: Option<Frame<'_>>,
    ) -> (usize, Vec<Note>) {
        let (mut answered, mut notes) = (0, Vec::new());
        let relays_only = commands.iter().all(|command| matches!(command, Command::Relay { .. }));
        let mut commands = VecDeque::from(commands);
        while let Some(command) = commands.pop_front() {
            match command {
                Command::Send { to, message } => {
                    let Some(text) = text_of(&message) else { continue };
                    let kind = Kind::from(&message);
                    for peer_id in to {
                        if frame.as_ref().is_some_and(|frame| *frame.from == peer_id) {
                            answered += text.len();
                        }
                        let waiting = Word { text: text.clone(), kind, came: None };
                        if !self.deliver(&peer_id, waiting, None) {
                            commands.extend(self.drop_peer(&peer_id, Ended::TooSlow));
                        }
                    }
                }
                Command::Relay { to, to_producer } => {
                    let Some(Frame { from, kind, text, came }) = &frame else { continue };
                    let under_way = match to_producer.then(|| self.outboxes.get(*from)).flatten() {
                        Some(outbox) => {
                            let (limit, sum) = (self.queue_bytes / SHARES, &outbox.under_way_bytes);
                            let count = Count::within(limit, sum, text.len());
                            if count.is_none() {
                                commands.extend(self.drop_peer(from, Ended::TooFast));
                                continue;
                            }
                            count
                        }
                        None => None,
                    };
                    let word = Word { text: text.clone(), kind: *kind, came: Some(*came) };
                    if !self.deliver(&to, word, under_way) {
                        commands.extend(self.drop_peer(&to, Ended::TooSlow));
                    }
                }
                Command::Replace(peer_id) => {
                    if let Some(outbox) = self.outboxes.remove(&peer_id) {
                        outbox.end(Ended::Replaced);
                    }
                }
                Command::Note(note) => notes.push(note),
            }
        }
        if !relays_only {
            self.metrics.populated(self.broker.population());
        }
        (answered, notes)
    }

    /// False when as much waits for the peer as may.
    fn deliver(&mut self, peer_id: &PeerId, word: Word, under_way: Option<Count>) -> bool {
        let Some(outbox) = self.outboxes.get(peer_id) else {
            // It is leaving; the broker hears of it next.
            return true;
        };
        let Word { text, kind, came } = word;
        let bytes = text.len();
        let in_all = self.metrics.queued_bytes();
        let crowded = in_all.load(Ordering::Relaxed) + bytes > self.queue_bytes_in_all;
        let limit = if crowded { FAIR_BYTES.max(bytes) } else { self.queue_bytes };
        let Some(count) = Count::within(limit, &outbox.waiting_bytes, bytes) else {
            return false;
        };
        let counts = [Some(count), Count::within(usize::MAX, in_all, bytes), under_way];
        let waiting = Waiting { text, came, _counts: counts };
        if let Err(mpsc::error::TrySendError::Full(_)) = outbox.queue.try_send(waiting) {
            return false;
        }
        self.metrics.said(kind, bytes);
        true
    }

    /// Ends a peer that does not keep to its share.
    fn drop_peer(&mut self, peer_id: &PeerId, why: Ended) -> Vec<Command> {
        if let Some(outbox) = self.outboxes.remove(peer_id) {
            outbox.end(why);
        }
        self.broker.disconnect(peer_id)
    }
}

/// What is to be said to somebody.
struct Word {
    text: Utf8Bytes,
    kind: Kind,
    came: Option<Instant>,
}

pub(super) fn text_of(message: &BrokerMessage) -> Option<Utf8Bytes> {
    match serde_json::to_string(message) {
        Ok(text) => Some(text.into()),
        Err(error) => {
            tracing::error!(%error, "a message cannot be written as JSON and is not sent");
            None
        }
    }
}
