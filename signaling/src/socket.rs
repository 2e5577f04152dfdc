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
    too_slow_total: u64,
    /// A copy is in every [`Seat`]; taken out on shutdown.
    open: Option<mpsc::Sender<()>>,
}

/// The way to a peer.
#[derive(Debug)]
struct Outbox {
    queue: mpsc::Sender<Utf8Bytes>,
    waiting_bytes: Arc<AtomicUsize>,
    end: oneshot::Sender<Ending>,
}

/// What a connection holds while its peer is known to the broker.
struct Seat {
    peer_id: PeerId,
    queue: mpsc::Receiver<Utf8Bytes>,
    waiting_bytes: Arc<AtomicUsize>,
    answers: mpsc::Sender<Utf8Bytes>,
    end: oneshot::Receiver<Ending>,
    _open: mpsc::Sender<()>,
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Left,
    Silent,
    TooSlow,
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
            too_slow_total: 0,
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
            ending = self.write(&mut seat.queue, &seat.waiting_bytes, &mut sink) => ending,
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
        answers: &mpsc::Sender<Utf8Bytes>,
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
        queue: &mut mpsc::Receiver<Utf8Bytes>,
        waiting_bytes: &AtomicUsize,
        sink: &mut SplitSink<WebSocket, Message>,
    ) -> Ending {
        let interval = self.config.ping_interval;
        let mut pings = interval_at(Instant::now() + interval, interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                Some(text) = queue.recv() => {
                    waiting_bytes.fetch_sub(text.len(), Ordering::Relaxed);
                    Message::Text(text)
                }
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
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let outbox = Outbox {
            queue: answers.clone(),
            waiting_bytes: waiting_bytes.clone(),
            end: end_sender,
        };
        state.outboxes.insert(peer_id.clone(), outbox);
        let commands = state.broker.connect(peer_id.clone());
        state.obey(commands, None);
        Some(Seat { peer_id, queue, waiting_bytes, answers, end, _open: open })
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
                state.obey(commands, Some(text));
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
    /// the broker command more.
    fn obey(&mut self, commands: Vec<Command>, frame: Option<Utf8Bytes>) {
        let mut commands = VecDeque::from(commands);
        while let Some(command) = commands.pop_front() {
            let (to, text) = match command {
                Command::Send { to, message } => (to, text_of(&message)),
                Command::Relay { to } => (vec![to], frame.clone()),
            };
            let Some(text) = text else { continue };
            for peer_id in to {
                if !self.deliver(&peer_id, text.clone()) {
                    commands.extend(self.drop_slow(&peer_id));
                }
            }
        }
    }

    /// False when as much waits for the peer as may.
    fn deliver(&mut self, peer_id: &PeerId, text: Utf8Bytes) -> bool {
        let Some(outbox) = self.outboxes.get(peer_id) else {
            // It is leaving; the broker hears of it next.
            return true;
        };
        let bytes = text.len();
        // Only those who hold the lock add, so that the sum cannot grow beyond the limit.
        if outbox.waiting_bytes.load(Ordering::Relaxed) + bytes > self.queue_bytes {
            return false;
        }
        outbox.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        !matches!(outbox.queue.try_send(text), Err(mpsc::error::TrySendError::Full(_)))
    }

    fn drop_slow(&mut self, peer_id: &PeerId) -> Vec<Command> {
        self.too_slow_total += 1;
        tracing::warn!(
            peer = %peer_id,
            dropped_so_far = self.too_slow_total,
            "dropped a peer that does not read its messages: its queue is full"
        );
        if let Some(outbox) = self.outboxes.remove(peer_id) {
            // It may have ended by itself just now.
            let _ = outbox.end.send(Ending::TooSlow);
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
