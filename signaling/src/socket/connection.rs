//! One WebSocket: its frames become requests, and what waits for its peer becomes frames.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use rovercast_protocol::signaling::{ErrorCode, ErrorMessage};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_tungstenite::tungstenite;

use super::farewell::farewell;
use super::post::Waiting;
use super::{Caller, Hub, Reply, Seat, unix_s};
use crate::access::Grant;
use crate::audit::Who;
use crate::limits::{Bucket, REFUSAL_COST};
use crate::metrics::Ended;

/// So many messages are written before the socket is flushed.
const BATCH: usize = 32;

/// How often at least a token is compared with the clock, which somebody may have set.
const CLOCK_CHECK: Duration = Duration::from_secs(60);

impl Hub {
    /// Serves a connection until it ends.
    pub(super) async fn serve(&self, socket: WebSocket, caller: Caller) {
        let Caller { grant, address, permit: _permit } = caller;
        let mut seat = self.join(grant, address);
        let (mut sink, mut stream) = socket.split();
        let heard = Heard::now();
        let Seat { who, queue, answers, end, open } = &mut seat;
        let ended = tokio::select! {
            ended = self.read(who, answers, &heard, &mut stream) => ended,
            ended = self.write(queue, &mut sink) => ended,
            ended = self.watch(&who.grant, &heard) => ended,
            ended = end => ended.unwrap_or(Ended::Left),
        };
        if open.is_some() {
            self.leave(who, ended);
        }
        farewell(ended, &self.settings, queue, &mut sink, &mut stream).await;
    }

    async fn read(
        &self,
        who: &Who,
        answers: &mpsc::Sender<Waiting>,
        heard: &Heard,
        stream: &mut SplitStream<WebSocket>,
    ) -> Ended {
        let now = Instant::now().into_std();
        let mut messages = Bucket::full(self.settings.messages(), now);
        let mut refusals = Bucket::full(self.settings.refusals(), now);
        loop {
            // A peer that asks without reading the answers is not read from either, so that a
            // burst of requests does not fill its own queue.
            if answers.reserve().await.is_err() {
                return Ended::Left;
            }
            let frame = match stream.next().await {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return ended_by(who, error),
                None => return Ended::Left,
            };
            let came = heard.again();
            let now = came.into_std();
            let reply = match frame {
                Message::Close(_) => return Ended::Left,
                // No peer has reason to ping all the time.
                Message::Ping(_) | Message::Pong(_) if messages.take(1, now) => continue,
                Message::Text(_) | Message::Binary(_) if !messages.take(1, now) => {
                    self.refuse(who, too_often())
                }
                Message::Text(text) => self.request(who, text, now),
                Message::Binary(_) => self.refuse(who, not_text()),
                Message::Ping(_) | Message::Pong(_) => return Ended::RateLimited,
            };
            let Reply { refused, surcharge } = reply;
            messages.charge(surcharge);
            if refused && !refusals.take(REFUSAL_COST, now) {
                return Ended::RateLimited;
            }
        }
    }

    async fn write(
        &self,
        queue: &mut mpsc::Receiver<Waiting>,
        sink: &mut SplitSink<WebSocket, Message>,
    ) -> Ended {
        let interval = self.settings.ping_interval;
        let mut pings = interval_at(Instant::now() + interval, interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            let ping = tokio::select! {
                // First, or a peer that is told something all the time would never be pinged.
                biased;
                _ = pings.tick() => Some(Message::Ping(Bytes::new())),
                _ = queue.recv_many(&mut batch, BATCH) => None,
            };
            let sent = async {
                for waiting in &batch {
                    sink.feed(Message::Text(waiting.text.clone())).await?;
                }
                if let Some(ping) = ping {
                    sink.feed(ping).await?;
                }
                sink.flush().await
            };
            match timeout(self.settings.silence_timeout, sent).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ended::Left,
                Err(_) => return Ended::TooSlow,
            }
            for waiting in batch.drain(..) {
                if let Some(came) = waiting.came {
                    self.metrics.relayed(came.elapsed());
                }
            }
            if batch.capacity() > BATCH / 4 {
                // What a burst needed is not kept for ever.
                batch = Vec::new();
            }
        }
    }

    /// Waits until nothing was heard for too long, or the token has expired.
    async fn watch(&self, grant: &Grant, heard: &Heard) -> Ended {
        loop {
            let silent = heard.last() + self.settings.silence_timeout;
            if silent <= Instant::now() {
                return Ended::Silent;
            }
            let Some(left) = left(grant) else { return Ended::TokenExpired };
            sleep_until(silent.min(Instant::now() + left)).await;
        }
    }
}

/// Waits until a token has expired: for ever when it never does.
pub(super) async fn expiry(grant: &Grant) {
    while let Some(left) = left(grant) {
        tokio::time::sleep(left).await;
    }
}

/// How long to wait until a token is looked at again; `None` when it has expired.
fn left(grant: &Grant) -> Option<Duration> {
    let Some(expires_at) = grant.expires_at() else { return Some(CLOCK_CHECK) };
    let left_s = expires_at.saturating_sub(unix_s(SystemTime::now()));
    (left_s > 0).then(|| Duration::from_secs(left_s).min(CLOCK_CHECK))
}

/// When a peer was last heard: without a timer for each frame.
struct Heard {
    start: Instant,
    last_us: AtomicU64,
}

impl Heard {
    fn now() -> Self {
        Self { start: Instant::now(), last_us: AtomicU64::new(0) }
    }

    fn again(&self) -> Instant {
        let now = Instant::now();
        let us = u64::try_from((now - self.start).as_micros()).unwrap_or(u64::MAX);
        self.last_us.store(us, Ordering::Relaxed);
        now
    }

    fn last(&self) -> Instant {
        self.start + Duration::from_micros(self.last_us.load(Ordering::Relaxed))
    }
}

fn ended_by(who: &Who, error: axum::Error) -> Ended {
    let inner = error.into_inner();
    tracing::debug!(peer = %who.peer_id, error = %inner, "cannot be read any more");
    match inner.downcast_ref() {
        Some(tungstenite::Error::Capacity(_)) => Ended::TooLarge,
        _ => Ended::Left,
    }
}

fn not_text() -> ErrorMessage {
    let details = "binary frames are not part of the protocol: send JSON in text frames".into();
    ErrorMessage { details, code: Some(ErrorCode::NotText), session_id: None }
}

fn too_often() -> ErrorMessage {
    let details = "this peer says more than it may, and was not heard: say less, or raise the \
                   broker's messages_per_s"
        .into();
    ErrorMessage { details, code: Some(ErrorCode::RateLimited), session_id: None }
}
