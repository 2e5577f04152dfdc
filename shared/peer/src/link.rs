//! The link to the broker: a WebSocket that comes back by itself.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, SinkExt, StreamExt};
use rovercast_protocol::signaling::{BrokerMessage, PeerRequest, PeerStatus, Welcome};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, sleep, timeout};
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::addresses;
use crate::retry::Retry;

/// Messages that may wait, each way. Towards the broker more than this are refused to the caller;
/// from the broker the reading stops until there is room.
const QUEUE: usize = 256;

/// No message of a broker is longer than this, in bytes: lists of many robots are long.
const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// How often it is looked whether something is to be done.
const LOOK: Duration = Duration::from_millis(200);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// After so long without an answer another attempt to connect is begun.
const NEXT_ATTEMPT: Duration = Duration::from_millis(300);

/// How often attempts are told that all fail.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// How often the broker is pinged.
const PING_EVERY: Duration = Duration::from_secs(1);

/// A broker that has not taken a message by then has stopped reading.
const SENDING: Duration = Duration::from_secs(6);

/// A broker that has said nothing for this long, not even in answer to pings, is taken for gone.
const SILENCE: Duration = Duration::from_millis(2500);

/// An address that cannot be a broker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no broker's address: write ws://HOST:PORT")]
pub struct InvalidUrl(String);

/// Checks the address of a broker.
pub fn check_url(text: &str) -> Result<String, InvalidUrl> {
    let uri = text.parse::<Uri>().ok();
    let fits = uri.is_some_and(|uri| uri.scheme_str() == Some("ws") && uri.host().is_some());
    if fits { Ok(text.to_owned()) } else { Err(InvalidUrl(text.to_owned())) }
}

/// What the link reports.
#[derive(Debug)]
pub enum LinkEvent {
    /// Connected, welcomed and registered.
    Up(Welcome),
    /// A message of the broker, anything but its welcome.
    Message(BrokerMessage),
    /// Not connected any more, or not yet; it goes on trying. Says why. Of the attempts that fail
    /// after that, one is told now and then.
    Down(String),
}

/// The sending end; clones share the link.
#[derive(Debug, Clone)]
pub struct Link {
    requests: mpsc::Sender<PeerRequest>,
    status: watch::Sender<PeerStatus>,
    doubtful: watch::Sender<bool>,
}

impl Link {
    /// Starts to connect to `url`, and registers each time that it has: first with `status`. Ends
    /// when the receiver of the events is dropped.
    pub fn start(url: String, status: PeerStatus) -> (Self, mpsc::Receiver<LinkEvent>) {
        let (requests, requests_rx) = mpsc::channel(QUEUE);
        let (events, events_rx) = mpsc::channel(QUEUE);
        let (status, doubtful) = (watch::Sender::new(status), watch::Sender::new(false));
        let run = Run {
            url,
            status: status.subscribe(),
            doubtful: doubtful.subscribe(),
            requests: requests_rx,
            events,
            retry: Retry::new(Duration::ZERO),
            started: Instant::now(),
        };
        tokio::spawn(run.run());
        (Self { requests, status, doubtful }, events_rx)
    }

    /// Whether there are signs that the network is in trouble: then the broker is pinged all the
    /// time. While it does not answer, another connection is tried, which takes the place of this one
    /// if it comes first; and without either this one is given up within about a second.
    pub fn doubt(&self, doubtful: bool) {
        self.doubtful.send_if_modified(|now| std::mem::replace(now, doubtful) != doubtful);
    }

    /// Registers with another status, now and from now on.
    pub fn set_status(&self, status: PeerStatus) {
        self.status.send_replace(status.clone());
        self.send(PeerRequest::SetPeerStatus(status));
    }

    /// Sends a request, if the link is up: signalling that could not be sent now is worthless
    /// later, so that it is dropped and the session's watchdog decides.
    pub fn send(&self, request: PeerRequest) {
        if self.requests.try_send(request).is_err() {
            tracing::warn!("the broker takes no more requests; one is dropped");
        }
    }
}

struct Run {
    url: String,
    status: watch::Receiver<PeerStatus>,
    doubtful: watch::Receiver<bool>,
    requests: mpsc::Receiver<PeerRequest>,
    events: mpsc::Sender<LinkEvent>,
    retry: Retry,
    started: Instant,
}

impl Run {
    async fn run(mut self) {
        let events = self.events.clone();
        let mut told: Option<Instant> = None;
        let mut successor = None;
        loop {
            let connection = self.connect_once(successor.take());
            let (ending, was_up) = tokio::select! {
                ended = connection => ended,
                () = events.closed() => return,
            };
            let reason = match ending {
                Err(reason) => reason,
                Ok(connected) => {
                    successor = Some(connected);
                    format!("the broker at {} answers on another connection only", self.url)
                }
            };
            let retry = self.retry.failed(self.started.elapsed(), rand::random());
            if was_up || told.is_none_or(|told| told.elapsed() > TELL_EVERY) {
                told = Some(Instant::now());
                if events.send(LinkEvent::Down(reason)).await.is_err() {
                    return;
                }
            }
            if successor.is_some() {
                continue;
            }
            let mut retry = std::pin::pin!(sleep(retry));
            loop {
                tokio::select! {
                    () = &mut retry => break,
                    () = events.closed() => return,
                    // Without a link nothing is kept.
                    request = self.requests.recv() => if request.is_none() { return },
                }
            }
        }
    }

    /// One connection from beginning to end; it may be made already. Returns how it ended, and
    /// whether it had been welcomed.
    async fn connect_once(&mut self, made: Option<Connected>) -> (Result<Connected, String>, bool) {
        let mut welcomed = false;
        let ending = match made {
            Some(connected) => self.converse(connected, &mut welcomed).await,
            None => match connect(self.url.clone()).await {
                Ok(connected) => self.converse(connected, &mut welcomed).await,
                Err(reason) => Err(reason),
            },
        };
        (ending, welcomed)
    }

    /// Talks to the broker until the connection is lost, with the reason; or, while that is in doubt
    /// and silent, until another one is made, which is returned.
    async fn converse(
        &mut self,
        connected: Connected,
        welcomed: &mut bool,
    ) -> Result<Connected, String> {
        let (mut socket, took) = connected;
        let url = self.url.clone();
        let own_address = match socket.get_ref() {
            MaybeTlsStream::Plain(stream) => stream.local_addr().ok(),
            _ => None,
        };
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard, mut pinged) = (Instant::now(), Instant::now());
        // Since when the broker has been doubted without a sign of life, and what is tried then.
        let mut doubted: Option<Instant> = None;
        let mut other: Option<BoxFuture<'static, Result<Connected, String>>> = None;
        loop {
            let outgoing = tokio::select! {
                // What has arrived comes first: it proves that the broker is there.
                biased;
                frame = socket.next() => {
                    heard = Instant::now();
                    (doubted, other) = (None, None);
                    let text = match frame {
                        Some(Ok(Message::Text(text))) => text,
                        Some(Ok(Message::Close(_))) | None => return Err("the broker closed".to_owned()),
                        Some(Ok(_)) => continue,
                        Some(Err(error)) => return Err(format!("the link to the broker broke: {error}")),
                    };
                    let event = match serde_json::from_str(&text) {
                        Ok(BrokerMessage::Welcome(welcome)) => {
                            *welcomed = true;
                            self.retry.up(self.started.elapsed(), took);
                            // What was meant for an earlier connection means nothing on this one.
                            while self.requests.try_recv().is_ok() {}
                            let register = PeerRequest::SetPeerStatus(self.status.borrow().clone());
                            if let Err(error) = socket.send(text_of(&register)).await {
                                return Err(format!("the link to the broker broke: {error}"));
                            }
                            LinkEvent::Up(welcome)
                        }
                        Ok(message) => LinkEvent::Message(message),
                        Err(error) => {
                            tracing::debug!(%error, "a message of the broker is not understood");
                            continue;
                        }
                    };
                    if self.events.send(event).await.is_err() {
                        return Err("no longer wanted".to_owned());
                    }
                    continue;
                }
                Some(made) = async { Some(other.as_mut()?.await) } => match made {
                    Ok(connected) => return Ok(connected),
                    Err(_) => {
                        other = None;
                        continue;
                    }
                },
                request = self.requests.recv(), if *welcomed => match request {
                    Some(request) => text_of(&request),
                    None => return Err("no longer wanted".to_owned()),
                },
                _ = look.tick() => {
                    if let Some(address) = own_address.filter(|own| addresses::is_gone(own.ip())) {
                        return Err(format!("this host has the address {} no more", address.ip()));
                    }
                    let in_doubt = *self.doubtful.borrow();
                    doubted = doubted.or(Some(Instant::now())).filter(|_| in_doubt);
                    let answers = doubted.is_none_or(|since| since.elapsed() < self.retry.answer());
                    if doubted.is_some_and(|since| since.elapsed() >= LOOK) && other.is_none() {
                        other = Some(connect(self.url.clone()).boxed());
                    }
                    if heard.elapsed() > SILENCE.max(2 * self.retry.answer()) || !answers {
                        return Err(format!("the broker at {url} has gone silent"));
                    }
                    if !in_doubt && pinged.elapsed() < PING_EVERY {
                        continue;
                    }
                    pinged = Instant::now();
                    Message::Ping(Default::default())
                }
            };
            match timeout(SENDING, socket.send(outgoing)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(format!("the link to the broker broke: {error}")),
                Err(_) => return Err(format!("the broker at {url} has stopped reading")),
            }
        }
    }
}

/// A connection, and how long it took to make it.
type Connected = (WebSocketStream<MaybeTlsStream<TcpStream>>, Duration);

/// Connects, and says how long that took. While no answer comes, one attempt follows the other
/// without the earlier ones being given up: TCP repeats a lost SYN late, and ever later, but a
/// network that is back is to be noticed at once.
async fn connect(url: String) -> Result<Connected, String> {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let attempt = async || {
        let started = Instant::now();
        let connect = tokio_tungstenite::connect_async_with_config(&url, Some(limits), true);
        let (socket, _) = connect
            .await
            .map_err(|error| format!("cannot connect to the broker at {url}: {error}"))?;
        Ok((socket, started.elapsed()))
    };
    let (mut attempts, mut next) = (FuturesUnordered::new(), tokio::time::interval(NEXT_ATTEMPT));
    let mut give_up = std::pin::pin!(sleep(CONNECT_TIMEOUT));
    loop {
        tokio::select! {
            biased;
            Some(outcome) = attempts.next() => return outcome,
            () = &mut give_up => return Err(format!("the broker at {url} does not answer")),
            _ = next.tick() => attempts.push(attempt()),
        }
    }
}

fn text_of(request: &PeerRequest) -> Message {
    // Every request is made of strings, numbers and JSON values: it always serializes.
    Message::text(serde_json::to_string(request).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        for good in ["ws://127.0.0.1:8765", "ws://[::1]:8765/ws", "ws://robot.local"] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:8765", "http://x", "ws://", "ws://a b", "wss://x"] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }
}
