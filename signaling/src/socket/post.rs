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
use crate::limits::{CONSUMER_SHARES, Count, LimitSettings};
use crate::metrics::{Ended, Kind, Metrics};

/// What is said to others costs its author the part of one in so many of what an answer to itself does.
const AUDIENCE: usize = 8;

/// What may wait for a peer even when too much waits for all of them: one that reads seldom has more.
const FAIR_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct State {
    pub(super) broker: Broker,
    outboxes: HashMap<PeerId, Outbox>,
    queue_bytes: usize,
    queue_messages: usize,
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
    _counts: (Count, Arc<Count>, Option<Count>),
}

/// What is to be said, to one peer or to many.
#[derive(Clone)]
struct Word {
    text: Utf8Bytes,
    kind: Kind,
    came: Option<Instant>,
    /// Counts towards what waits for all peers, and once, however many it waits for.
    in_all: Arc<Count>,
}

/// What a peer said.
pub(super) struct Frame<'a> {
    pub(super) from: &'a PeerId,
    pub(super) kind: Kind,
    pub(super) text: Utf8Bytes,
    pub(super) came: Instant,
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
            queue_messages: settings.queue_messages as usize,
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

    pub(super) fn leave(&mut self, peer_id: &PeerId, why: Ended) -> Vec<Note> {
        let commands = match why {
            Ended::TokenExpired => self.broker.expire(peer_id),
            _ => self.broker.disconnect(peer_id),
        };
        let (_, notes) = self.obey(commands, None);
        // Only now: it may be told something itself.
        self.outboxes.remove(peer_id);
        notes
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
    /// many bytes that costs the peer, and what is to be written down.
    pub(super) fn obey(
        &mut self,
        commands: Vec<Command>,
        frame: Option<Frame<'_>>,
    ) -> (usize, Vec<Note>) {
        let (mut cost_bytes, mut notes) = (0, Vec::new());
        let mut commands = VecDeque::from(commands);
        while let Some(command) = commands.pop_front() {
            match command {
                Command::Send { to, message } => {
                    let Some(text) = text_of(&message) else { continue };
                    let bytes = text.len();
                    let word = self.word(text, Kind::from(&message), None);
                    let calls = matches!(word.kind, Kind::StartSession | Kind::EndSession);
                    for peer_id in to {
                        let author = frame.as_ref().map(|frame| frame.from);
                        let author = author.filter(|author| **author != peer_id);
                        cost_bytes += if author.is_some() { bytes / AUDIENCE } else { bytes };
                        let behalf = author.filter(|_| calls);
                        commands.extend(self.deliver(&peer_id, word.clone(), behalf));
                    }
                }
                Command::Relay { to, to_producer } => {
                    let Some(Frame { from, kind, text, came }) = &frame else { continue };
                    let word = self.word(text.clone(), *kind, Some(*came));
                    commands.extend(self.deliver(&to, word, to_producer.then_some(*from)));
                }
                Command::Replace(peer_id) => {
                    if let Some(outbox) = self.outboxes.remove(&peer_id) {
                        outbox.end(Ended::Replaced);
                    }
                }
                Command::Note(note) => notes.push(note),
            }
        }
        (cost_bytes, notes)
    }

    fn word(&self, text: Utf8Bytes, kind: Kind, came: Option<Instant>) -> Word {
        let in_all = Arc::new(Count::of(self.metrics.queued_bytes(), text.len()));
        Word { text, kind, came, in_all }
    }

    /// Puts a word into a peer's queue, within the share of the peer on whose behalf it is said, if any.
    /// Whoever exceeds what may wait is dropped; returns what the broker commands then.
    fn deliver(&mut self, to: &PeerId, word: Word, behalf: Option<&PeerId>) -> Vec<Command> {
        let Word { text, kind, came, in_all } = word;
        let bytes = text.len();
        let under_way = match behalf.and_then(|behalf| self.outboxes.get_key_value(behalf)) {
            Some((consumer, outbox)) => {
                // A queue can be full of short messages, too.
                let share = bytes.max(self.queue_bytes / self.queue_messages);
                let limit = self.queue_bytes / CONSUMER_SHARES;
                let Some(count) = Count::within(limit, &outbox.under_way_bytes, share) else {
                    let consumer = consumer.clone();
                    return self.drop_peer(&consumer, Ended::TooFast);
                };
                Some(count)
            }
            None => None,
        };
        let crowded = self.metrics.queued_bytes().load(Ordering::Relaxed) > self.queue_bytes_in_all;
        let mut follows = if crowded { self.drop_largest() } else { Vec::new() };
        // One that is not there any more is leaving; the broker hears of it next.
        let Some(outbox) = self.outboxes.get(to) else { return follows };
        let waits =
            Count::within(self.queue_bytes, &outbox.waiting_bytes, bytes).and_then(|count| {
                let waiting = Waiting { text, came, _counts: (count, in_all, under_way) };
                let sent = outbox.queue.try_send(waiting);
                (!matches!(sent, Err(mpsc::error::TrySendError::Full(_)))).then_some(())
            });
        match waits {
            Some(()) => self.metrics.said(kind, bytes),
            None => follows.extend(self.drop_peer(to, Ended::TooSlow)),
        }
        follows
    }

    /// Too much waits for all peers together: the one for which most does goes.
    fn drop_largest(&mut self) -> Vec<Command> {
        let waiting = |outbox: &Outbox| outbox.waiting_bytes.load(Ordering::Relaxed);
        let largest = self.outboxes.iter().max_by_key(|(_, outbox)| waiting(outbox));
        let unfair = largest.filter(|(_, outbox)| waiting(outbox) > FAIR_BYTES);
        match unfair.map(|(peer_id, _)| peer_id.clone()) {
            Some(peer_id) => self.drop_peer(&peer_id, Ended::TooSlow),
            None => Vec::new(),
        }
    }

    /// Ends a peer that does not keep to its share.
    fn drop_peer(&mut self, peer_id: &PeerId, why: Ended) -> Vec<Command> {
        if let Some(outbox) = self.outboxes.remove(peer_id) {
            outbox.end(why);
        }
        self.broker.disconnect(peer_id)
    }
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
