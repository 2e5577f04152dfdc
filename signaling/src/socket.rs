//! The broker's peers, as the rest of the program sees them: connections come in, the broker is
//! asked, and what it commands goes into a bounded queue for each peer. Decides nothing but when a
//! connection is lost.
//!
//! Nobody waits for a peer that does not read: when its queue is full, that peer is dropped, and
//! nobody else notices.

use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::extract::ws::{Utf8Bytes, WebSocketUpgrade};
use axum::response::Response;
use rovercast_protocol::ids::{PeerId, RobotId, SessionId};
use rovercast_protocol::signaling::{
    BrokerMessage, ErrorCode, ErrorMessage, IceServers, PeerInfo, PeerRequest,
};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::access::Grant;
use crate::audit::{self, Who};
use crate::broker::{Command, Note};
use crate::config::Config;
use crate::ice::Servers;
use crate::limits::{Bucket, LimitSettings, Limits, Permit, Rate};
use crate::metrics::{Ended, Kind, Metrics};

mod attached;
mod connection;
mod farewell;
mod post;

pub(crate) use attached::Attached;
use post::{Frame, Outbox, State, Waiting};

/// What is read from a socket at once; most of what an idle connection costs.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// What is asked and answered counts as one more message for each so many bytes.
const BYTES_PER_MESSAGE: usize = 4 * 1024;

/// How many lines of the log those may take that never came in: anybody can make as many as he likes.
const TURNED_AWAY: Rate = Rate { per_s: 10, burst: 200 };

/// All peers of a broker.
#[derive(Debug)]
pub(crate) struct Hub {
    settings: LimitSettings,
    allow_origins: Vec<String>,
    servers: Servers,
    limits: Limits,
    metrics: Arc<Metrics>,
    /// What may be logged of those that never came in.
    turned_away: Mutex<Bucket>,
    state: Mutex<State>,
}

/// Who asks for a WebSocket.
#[derive(Debug)]
pub(crate) struct Caller {
    /// What it may do.
    pub grant: Grant,
    /// Where it comes from.
    pub address: IpAddr,
    /// Its leave to be connected, kept until the WebSocket is gone.
    pub permit: Option<Arc<Permit>>,
}

/// A robot that is on-line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Robot {
    /// Its connection, and what it says of itself, as far as it was asked for by one who may see it.
    pub info: PeerInfo,
    /// Since when it is connected, in Unix seconds.
    pub since_unix_s: u64,
}

/// What a connection holds while its peer is known to the broker.
#[derive(Debug)]
struct Seat {
    who: Who,
    queue: mpsc::Receiver<Waiting>,
    answers: mpsc::Sender<Waiting>,
    end: oneshot::Receiver<Ended>,
    /// Whose last copy says that nobody is connected any more. None: the broker stopped before the
    /// peer came, and knows nothing of it.
    open: Option<mpsc::Sender<()>>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reply {
    refused: bool,
    /// How many messages it counts as, beside the one that it was.
    surcharge: u32,
}

impl Hub {
    /// A hub without peers, and what reports (by closing) that after [`Hub::close`] the last
    /// one is gone.
    pub(crate) fn new(config: &Config, servers: Servers) -> (Arc<Self>, mpsc::Receiver<()>) {
        let (open, all_closed) = mpsc::channel(1);
        let metrics = Metrics::new();
        let hub = Self {
            settings: config.limits.clone(),
            allow_origins: config.allow_origins.clone(),
            servers,
            limits: Limits::new(&config.limits),
            turned_away: Mutex::new(Bucket::full(TURNED_AWAY, Instant::now())),
            state: Mutex::new(State::new(&config.limits, metrics.clone(), open)),
            metrics,
        };
        (Arc::new(hub), all_closed)
    }

    /// Answers a WebSocket handshake and serves the connection until it ends.
    pub(crate) fn accept(self: Arc<Self>, upgrade: WebSocketUpgrade, caller: Caller) -> Response {
        let max_message_bytes = self.settings.max_message_bytes as usize;
        upgrade
            .max_message_size(max_message_bytes)
            .max_frame_size(max_message_bytes)
            .read_buffer_size(READ_BUFFER_BYTES)
            .on_upgrade(move |socket| async move { self.serve(socket, caller).await })
    }

    /// Connects a peer that lives in this program.
    pub(crate) fn attach(self: &Arc<Self>, grant: Grant, address: IpAddr) -> Attached {
        Attached::new(self.clone(), self.join(grant, address))
    }

    /// Whether web pages of this origin may connect, though it is another server's.
    pub(crate) fn allows_origin(&self, origin: &str) -> bool {
        self.allow_origins.iter().any(|allowed| allowed == "*" || allowed == origin)
    }

    /// The robots that are on-line, as far as `grant` shows them, in the order in which they came.
    pub(crate) fn robots(&self, grant: &Grant) -> Vec<Robot> {
        self.lock().robots(grant)
    }

    /// Who may connect, and who may not.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many bytes wait for all peers: a sum to which others may add what waits elsewhere.
    pub(crate) fn queued_bytes(&self) -> &Arc<AtomicUsize> {
        self.metrics.queued_bytes()
    }

    /// The page of what is counted.
    pub(crate) fn figures(&self) -> String {
        let population = self.lock().broker.population();
        self.metrics.populated(population);
        self.metrics.render()
    }

    /// Counts a handshake or an HTTP request that was refused, and logs it, unless there are so many
    /// that the log would be flooded.
    pub(crate) fn turn_away(&self, address: IpAddr, code: ErrorCode) {
        self.metrics.refused(code);
        let mut turned_away = self.turned_away.lock().unwrap_or_else(PoisonError::into_inner);
        let logged = turned_away.take(1, Instant::now());
        drop(turned_away);
        if logged {
            audit::turned_away(address, code);
        }
    }

    /// Ends every session and every connection, and takes no new ones.
    pub(crate) fn close(&self) {
        let notes = self.lock().close();
        notes.iter().for_each(|note| audit::noted(None, note));
    }

    /// STUN and TURN servers for a peer.
    fn servers_for(&self, who: &Who) -> IceServers {
        self.servers.for_peer(&who.peer_id, &who.grant, unix_s(SystemTime::now()))
    }

    fn join(&self, grant: Grant, address: IpAddr) -> Seat {
        let peer_id = PeerId(Uuid::new_v4().to_string());
        let (answers, queue) = mpsc::channel(self.settings.queue_messages as usize);
        let (end_sender, end) = oneshot::channel();
        let outbox = Outbox::new(answers.clone(), end_sender);
        let who = Who { peer_id, grant, address };
        let servers = self.servers_for(&who);
        let open = self.lock().join(&who, outbox, servers);
        match open {
            Some(_) => audit::joined(&who),
            None => self.turn_away(address, ErrorCode::ShuttingDown),
        }
        Seat { who, queue, answers, end, open }
    }

    /// A peer that had joined is gone.
    fn leave(&self, who: &Who, why: Ended) {
        let notes = self.lock().leave(&who.peer_id, why);
        self.metrics.ended(why);
        audit::left(who, why);
        notes.iter().for_each(|note| audit::noted(Some(who), note));
    }

    /// Handles the text of a frame that came at this time.
    fn request(&self, who: &Who, text: Utf8Bytes, came: Instant) -> Reply {
        let request = match PeerRequest::parse(&text) {
            Ok(request) => request,
            Err(refusal) => {
                self.metrics.heard(Kind::Invalid, text.len());
                return self.refuse(who, refusal);
            }
        };
        let (kind, asked_bytes) = (Kind::from(&request), text.len());
        self.metrics.heard(kind, asked_bytes);
        let fresh = || SessionId(Uuid::new_v4().to_string());
        let mut state = self.lock();
        let commands = match request {
            PeerRequest::GetIceServers => {
                let message = BrokerMessage::IceServers(self.servers_for(who));
                vec![Command::Send { to: vec![who.peer_id.clone()], message }]
            }
            request => state.broker.handle(&who.peer_id, request, fresh),
        };
        let refused = refusal_in(&commands);
        let frame = Frame { from: &who.peer_id, kind, text, came };
        let (answered_bytes, notes) = state.obey(commands, Some(frame));
        drop(state);
        self.tell(who, refused, &notes);
        let surcharge = surcharge(kind, asked_bytes + answered_bytes);
        Reply { refused: refused.is_some(), surcharge }
    }

    fn refuse(&self, who: &Who, refusal: ErrorMessage) -> Reply {
        let commands = vec![Command::Send {
            to: vec![who.peer_id.clone()],
            message: BrokerMessage::Error(refusal),
        }];
        let refused = refusal_in(&commands);
        let (_, notes) = self.lock().obey(commands, None);
        self.tell(who, refused, &notes);
        Reply { refused: true, surcharge: 0 }
    }

    /// Counts and logs. Never under the lock: whoever reads the log may be slow.
    fn tell(&self, who: &Who, refused: Option<ErrorCode>, notes: &[Note]) {
        if let Some(code) = refused {
            self.metrics.refused(code);
            audit::refused(who, code);
        }
        notes.iter().for_each(|note| audit::noted(Some(who), note));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock leaves things half done, should it panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who publishes this robot, if `grant` shows it.
    pub(crate) fn robot(&self, robot: &RobotId, grant: &Grant) -> Option<PeerId> {
        self.lock().broker.robot(robot, grant).cloned()
    }
}

/// How many messages a request counts as, beside the one that it is, by what it costs the others: a
/// status goes to every listener, a session makes a robot work, and long texts have to be read and
/// written.
pub(crate) fn surcharge(kind: Kind, bytes: usize) -> u32 {
    let for_length = u32::try_from(bytes / BYTES_PER_MESSAGE).unwrap_or(u32::MAX);
    let for_kind = match kind {
        Kind::SetPeerStatus => 49,
        Kind::StartSession => 19,
        _ => 0,
    };
    for_length.saturating_add(for_kind)
}

/// The broker says `error` of its own to nobody but the one that it refuses.
fn refusal_in(commands: &[Command]) -> Option<ErrorCode> {
    match commands {
        [Command::Send { message: BrokerMessage::Error(refusal), .. }] => refusal.code,
        _ => None,
    }
}

pub(crate) fn unix_s(time: SystemTime) -> u64 {
    // Before 1970 nothing has expired.
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
