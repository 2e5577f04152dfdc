//! The broker's sockets: reads frames, asks [`Broker`], and puts what it commands into a bounded
//! queue per peer. Decides nothing but when a connection is lost.
//!
//! Nobody waits for a peer that does not read: when its queue is full, that peer is dropped, and
//! nobody else notices.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use rovercast_protocol::ids::{PeerId, SessionId};
use rovercast_protocol::signaling::{BrokerMessage, ErrorCode, ErrorMessage, PeerRequest};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite;
use uuid::Uuid;

use crate::broker::{Broker, Command};
use crate::config::Config;

/// What is read from a socket at once; most of what an idle connection costs.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// How long a connection that ends may take to say why.
const FAREWELL: Duration = Duration::from_millis(500);

/// Of what may wait for a producer, each of its consumers may take one part in so many: a viewer
/// that floods a robot loses its own connection before the robot loses that of all.
const SHARES: usize = 8;

/// All sockets of a broker.
#[derive(Debug)]
pub(crate) struct Hub {
    config: Config,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    broker: Broker,
    outboxes: HashMap<PeerId, Outbox>,
    queue_bytes: usize,
    dropped_total: u64,
    /// A copy is in every [`Seat`]; taken out on shutdown.
    open: Option<mpsc::Sender<()>>,
}

/// The way to a peer.
#[derive(Debug)]
struct Outbox {
    queue: mpsc::Sender<Waiting>,
    waiting_bytes: Arc<AtomicUsize>,
    /// What this peer, as a consumer, has under way to producers.
    under_way_bytes: Arc<AtomicUsize>,
    end: oneshot::Sender<Ending>,
}

/// A message that waits for a peer, and what it counts towards while it does.
#[derive(Debug)]
struct Waiting {
    text: Utf8Bytes,
    _counts: [Option<Count>; 2],
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

/// What a connection holds while its peer is known to the broker.
struct Seat {
    peer_id: PeerId,
    queue: mpsc::Receiver<Waiting>,
    answers: mpsc::Sender<Waiting>,
    end: oneshot::Receiver<Ending>,
    _open: mpsc::Sender<()>,
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Left,
    Silent,
    TooSlow,
    TooFast,
    TooLarge,
    Shutdown,
}

impl Hub {
    /// A hub without sockets, and what reports (by closing) that after [`Hub::close`] the last
    /// socket is gone.
    pub(crate) fn new(config: Config) -> (Arc<Self>, mpsc::Receiver<()>) {
        let (open, all_closed) = mpsc::channel(1);
        let state = State {
            broker: Broker::new(config.ice_servers.clone()),
            outboxes: HashMap::new(),
            queue_bytes: config.queue_bytes,
            dropped_total: 0,
            open: Some(open),
        };
        (Arc::new(Self { config, state: Mutex::new(state) }), all_closed)
    }

    /// Answers a WebSocket handshake and serves the connection until it ends.
    pub(crate) fn accept(self: Arc<Self>, upgrade: WebSocketUpgrade) -> Response {
        upgrade
            .max_message_size(self.config.max_message_bytes)
            .max_frame_size(self.config.max_message_bytes)
            .read_buffer_size(READ_BUFFER_BYTES)
            .on_upgrade(move |socket| async move { self.serve(socket).await })
    }

    /// Whether web pages of this origin may connect, though it is another server's.
    pub(crate) fn allows_origin(&self, origin: &str) -> bool {
        self.config.allow_origins.iter().any(|allowed| allowed == "*" || allowed == origin)
    }

    /// Ends every connection and refuses new ones.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.open = None;
        for (_, outbox) in state.outboxes.drain() {
            // It may have ended by itself just now.
            let _ = outbox.end.send(Ending::Shutdown);
        }
    }

    async fn serve(&self, socket: WebSocket) {
        let Some(mut seat) = self.join() else { return };
        tracing::info!(peer = %seat.peer_id, "connected");
        let (mut sink, mut stream) = socket.split();
        let ending = tokio::select! {
            ending = self.read(&seat.peer_id, &seat.answers, &mut stream) => ending,
            ending = self.write(&mut seat.queue, &mut sink) => ending,
            ending = &mut seat.end => ending.unwrap_or(Ending::Left),
        };
        self.leave(&seat.peer_id);
        tracing::info!(peer = %seat.peer_id, ?ending, "disconnected");
        // Whatever comes of it: the connection is over.
        let _ = timeout(FAREWELL, say_goodbye(ending, &self.config, &mut sink, &mut stream)).await;
    }

    async fn read(
        &self,
        peer_id: &PeerId,
        answers: &mpsc::Sender<Waiting>,
        stream: &mut SplitStream<WebSocket>,
    ) -> Ending {
        let patience = self.config.silence_timeout;
        loop {
            // A peer that asks without reading the answers is not read from either, so that a
            // burst of requests does not fill its own queue.
            if timeout(patience, answers.reserve()).await.is_err() {
                return Ending::TooSlow;
            }
            let frame = match timeout(patience, stream.next()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return ending_of(peer_id, error),
                Ok(None) => return Ending::Left,
                Err(_) => return Ending::Silent,
            };
            match frame {
                Message::Text(text) => self.request(peer_id, text),
                Message::Binary(_) => self.refuse(peer_id, not_text()),
                Message::Ping(_) | Message::Pong(_) => {}
                Message::Close(_) => return Ending::Left,
            }
        }
    }

    async fn write(
        &self,
        queue: &mut mpsc::Receiver<Waiting>,
        sink: &mut SplitSink<WebSocket, Message>,
    ) -> Ending {
        let interval = self.config.ping_interval;
        let mut pings = interval_at(Instant::now() + interval, interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                Some(waiting) = queue.recv() => Message::Text(waiting.text),
                _ = pings.tick() => Message::Ping(Bytes::new()),
            };
            let sent = async {
                sink.feed(message).await?;
                if queue.is_empty() { sink.flush().await } else { Ok(()) }
            };
            match timeout(self.config.silence_timeout, sent).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ending::Left,
                Err(_) => return Ending::TooSlow,
            }
        }
    }

    fn join(&self) -> Option<Seat> {
        let mut state = self.lock();
        let open = state.open.clone()?;
        let peer_id = PeerId(Uuid::new_v4().to_string());
        let (answers, queue) = mpsc::channel(self.config.queue_messages);
        let (end_sender, end) = oneshot::channel();
        let outbox = Outbox {
            queue: answers.clone(),
            waiting_bytes: Arc::default(),
            under_way_bytes: Arc::default(),
            end: end_sender,
        };
        state.outboxes.insert(peer_id.clone(), outbox);
        let commands = state.broker.connect(peer_id.clone());
        state.obey(commands, None);
        Some(Seat { peer_id, queue, answers, end, _open: open })
    }

    fn leave(&self, peer_id: &PeerId) {
        let mut state = self.lock();
        state.outboxes.remove(peer_id);
        let commands = state.broker.disconnect(peer_id);
        state.obey(commands, None);
    }

    /// Handles the text of a frame.
    fn request(&self, peer_id: &PeerId, text: Utf8Bytes) {
        match PeerRequest::parse(&text) {
            Ok(request) => {
                let fresh = SessionId(Uuid::new_v4().to_string());
                let mut state = self.lock();
                let commands = state.broker.handle(peer_id, request, fresh);
                state.obey(commands, Some((peer_id, text)));
            }
            Err(refusal) => self.refuse(peer_id, refusal),
        }
    }

    fn refuse(&self, peer_id: &PeerId, refusal: ErrorMessage) {
        tracing::debug!(peer = %peer_id, code = ?refusal.code, details = refusal.details, "refused");
        let message = BrokerMessage::Error(refusal);
        self.lock().obey(vec![Command::Send { to: vec![peer_id.clone()], message }], None);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock leaves things half done, should it panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Does what the broker commands, and what follows from it: a peer that must be dropped makes
    /// the broker command more. `frame` is what a peer said that led to the commands.
    fn obey(&mut self, commands: Vec<Command>, frame: Option<(&PeerId, Utf8Bytes)>) {
        let mut commands = VecDeque::from(commands);
        while let Some(command) = commands.pop_front() {
            match command {
                Command::Send { to, message } => {
                    let Some(text) = text_of(&message) else { continue };
                    for peer_id in to {
                        if !self.deliver(&peer_id, text.clone(), None) {
                            commands.extend(self.end(&peer_id, Ending::TooSlow));
                        }
                    }
                }
                Command::Relay { to, to_producer } => {
                    let Some((from, text)) = &frame else { continue };
                    let under_way = match to_producer.then(|| self.outboxes.get(*from)).flatten() {
                        Some(outbox) => {
                            let (limit, sum) = (self.queue_bytes / SHARES, &outbox.under_way_bytes);
                            let count = Count::within(limit, sum, text.len());
                            if count.is_none() {
                                commands.extend(self.end(from, Ending::TooFast));
                                continue;
                            }
                            count
                        }
                        None => None,
                    };
                    if !self.deliver(&to, text.clone(), under_way) {
                        commands.extend(self.end(&to, Ending::TooSlow));
                    }
                }
            }
        }
    }

    /// False when as much waits for the peer as may.
    fn deliver(&mut self, peer_id: &PeerId, text: Utf8Bytes, under_way: Option<Count>) -> bool {
        let Some(outbox) = self.outboxes.get(peer_id) else {
            // It is leaving; the broker hears of it next.
            return true;
        };
        let count = Count::within(self.queue_bytes, &outbox.waiting_bytes, text.len());
        if count.is_none() {
            return false;
        }
        let waiting = Waiting { text, _counts: [count, under_way] };
        !matches!(outbox.queue.try_send(waiting), Err(mpsc::error::TrySendError::Full(_)))
    }

    /// Ends a peer that does not keep to its share.
    fn end(&mut self, peer_id: &PeerId, ending: Ending) -> Vec<Command> {
        self.dropped_total += 1;
        let dropped_so_far = self.dropped_total;
        tracing::warn!(peer = %peer_id, ?ending, dropped_so_far, "dropped a peer");
        if let Some(outbox) = self.outboxes.remove(peer_id) {
            // It may have ended by itself just now.
            let _ = outbox.end.send(ending);
        }
        self.broker.disconnect(peer_id)
    }
}

fn text_of(message: &BrokerMessage) -> Option<Utf8Bytes> {
    match serde_json::to_string(message) {
        Ok(text) => Some(text.into()),
        Err(error) => {
            tracing::error!(%error, "a message cannot be written as JSON and is not sent");
            None
        }
    }
}

fn ending_of(peer_id: &PeerId, error: axum::Error) -> Ending {
    let inner = error.into_inner();
    tracing::debug!(peer = %peer_id, error = %inner, "cannot be read any more");
    match inner.downcast_ref() {
        Some(tungstenite::Error::Capacity(_)) => Ending::TooLarge,
        _ => Ending::Left,
    }
}

fn not_text() -> ErrorMessage {
    let details = "binary frames are not part of the protocol: send JSON in text frames".into();
    ErrorMessage { details, code: Some(ErrorCode::NotText), session_id: None }
}

/// Tells the peer why the connection ends, as far as it still listens.
async fn say_goodbye(
    ending: Ending,
    config: &Config,
    sink: &mut SplitSink<WebSocket, Message>,
    stream: &mut SplitStream<WebSocket>,
) -> Result<(), axum::Error> {
    let (close_code, error) = match ending {
        Ending::Left => return sink.close().await,
        Ending::Silent => (close_code::POLICY, None),
        Ending::Shutdown => (close_code::AWAY, None),
        Ending::TooSlow => {
            let details = "this peer was dropped because it did not read its messages: \
                           read faster, and connect again";
            (close_code::POLICY, Some((ErrorCode::TooSlow, details.to_owned())))
        }
        Ending::TooFast => {
            let details = "this peer was dropped because it sent more to a robot than that reads: \
                           send less, and connect again";
            (close_code::POLICY, Some((ErrorCode::TooFast, details.to_owned())))
        }
        Ending::TooLarge => {
            let limit = config.max_message_bytes;
            let details = format!(
                "the frame is larger than {limit} bytes: send less, or raise the broker's \
                 max_message_bytes"
            );
            (close_code::SIZE, Some((ErrorCode::TooLarge, details)))
        }
    };
    if let Some((code, details)) = error {
        let error = ErrorMessage { details, code: Some(code), session_id: None };
        if let Some(text) = text_of(&BrokerMessage::Error(error)) {
            sink.send(Message::Text(text)).await?;
        }
    }
    let frame = CloseFrame { code: close_code, reason: Utf8Bytes::default() };
    sink.send(Message::Close(Some(frame))).await?;
    // The peer closes first: a socket closed while input is unread resets the connection, and the
    // farewell could be lost on the way.
    while let Some(Ok(_)) = stream.next().await {}
    if ending == Ending::TooLarge {
        // What is left of the frame cannot be read: wait until the time is up.
        std::future::pending().await
    }
    Ok(())
}
