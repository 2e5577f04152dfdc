//! The link to the broker: a WebSocket that comes back by itself.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rovercast_protocol::backoff::Backoff;
use rovercast_protocol::signaling::{BrokerMessage, PeerRequest, PeerStatus, Welcome};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};

/// Messages that may wait, each way. Towards the broker more than this are refused to the caller;
/// from the broker the reading stops until there is room.
const QUEUE: usize = 256;

/// No message of a broker is longer than this, in bytes: lists of many robots are long.
const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

const FIRST_RETRY: Duration = Duration::from_millis(200);
const SLOWEST_RETRY: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const PING_EVERY: Duration = Duration::from_secs(5);

/// A link that held for this long was a good one: the next is tried soon.
const HELD: Duration = Duration::from_secs(5);

/// A broker that has said nothing for this long, not even in answer to pings, is taken for gone.
const SILENCE: Duration = Duration::from_secs(15);

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
    /// Not connected any more, or not yet; it goes on trying. Says why.
    Down(String),
}

/// The sending end; clones share the link.
#[derive(Debug, Clone)]
pub struct Link {
    requests: mpsc::Sender<PeerRequest>,
    status: watch::Sender<PeerStatus>,
}

impl Link {
    /// Starts to connect to `url`, and registers each time that it has: first with `status`. Ends
    /// when the receiver of the events is dropped.
    pub fn start(url: String, status: PeerStatus) -> (Self, mpsc::Receiver<LinkEvent>) {
        let (requests, requests_rx) = mpsc::channel(QUEUE);
        let (events, events_rx) = mpsc::channel(QUEUE);
        let status = watch::Sender::new(status);
        tokio::spawn(run(url, status.subscribe(), requests_rx, events));
        (Self { requests, status }, events_rx)
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

async fn run(
    url: String,
    status: watch::Receiver<PeerStatus>,
    mut requests: mpsc::Receiver<PeerRequest>,
    events: mpsc::Sender<LinkEvent>,
) {
    let mut backoff = Backoff::new(FIRST_RETRY, SLOWEST_RETRY);
    loop {
        let started = Instant::now();
        let connection = connect_once(&url, &status, &mut requests, &events);
        let reason = tokio::select! {
            reason = connection => reason,
            () = events.closed() => return,
        };
        if started.elapsed() > HELD {
            backoff.reset();
        }
        if events.send(LinkEvent::Down(reason)).await.is_err() {
            return;
        }
        let mut retry = std::pin::pin!(sleep(backoff.next(rand::random())));
        loop {
            tokio::select! {
                () = &mut retry => break,
                () = events.closed() => return,
                // Without a link nothing is kept.
                request = requests.recv() => if request.is_none() { return },
            }
        }
    }
}

/// One connection from beginning to end. Returns why it ended.
async fn connect_once(
    url: &str,
    status: &watch::Receiver<PeerStatus>,
    requests: &mut mpsc::Receiver<PeerRequest>,
    events: &mpsc::Sender<LinkEvent>,
) -> String {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let connect = tokio_tungstenite::connect_async_with_config(url, Some(limits), true);
    let mut socket = match timeout(CONNECT_TIMEOUT, connect).await {
        Ok(Ok((socket, _))) => socket,
        Ok(Err(error)) => return format!("cannot connect to the broker at {url}: {error}"),
        Err(_) => return format!("the broker at {url} does not answer"),
    };
    let mut ping = tokio::time::interval(PING_EVERY);
    let (mut heard, mut welcome_heard) = (Instant::now(), false);
    loop {
        let outgoing = tokio::select! {
            // What has arrived comes first: it proves that the broker is there.
            biased;
            frame = socket.next() => {
                heard = Instant::now();
                let text = match frame {
                    Some(Ok(Message::Text(text))) => text,
                    Some(Ok(Message::Close(_))) | None => return "the broker closed".to_owned(),
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return format!("the link to the broker broke: {error}"),
                };
                let event = match serde_json::from_str(&text) {
                    Ok(BrokerMessage::Welcome(welcome)) => {
                        welcome_heard = true;
                        // What was meant for an earlier connection means nothing on this one.
                        while requests.try_recv().is_ok() {}
                        let register = PeerRequest::SetPeerStatus(status.borrow().clone());
                        if let Err(error) = socket.send(text_of(&register)).await {
                            return format!("the link to the broker broke: {error}");
                        }
                        LinkEvent::Up(welcome)
                    }
                    Ok(message) => LinkEvent::Message(message),
                    Err(error) => {
                        tracing::debug!(%error, "a message of the broker is not understood");
                        continue;
                    }
                };
                if events.send(event).await.is_err() {
                    return "no longer wanted".to_owned();
                }
                continue;
            }
            request = requests.recv(), if welcome_heard => match request {
                Some(request) => text_of(&request),
                None => return "no longer wanted".to_owned(),
            },
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE {
                    return format!("the broker at {url} has gone silent");
                }
                Message::Ping(Default::default())
            }
        };
        match timeout(SILENCE, socket.send(outgoing)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return format!("the link to the broker broke: {error}"),
            Err(_) => return format!("the broker at {url} has stopped reading"),
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
