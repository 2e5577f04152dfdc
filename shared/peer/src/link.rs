//! The link to the broker: a WebSocket that comes back by itself.

mod dial;
mod doubts;
mod race;
mod refusal;
mod renewal;
mod target;
#[cfg(test)]
mod tests;
mod tls;

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, SinkExt, StreamExt};
use rovercast_protocol::signaling::{
    BrokerMessage, IceServer, PeerRequest, PeerRole, PeerStatus, Welcome,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::addresses;
use crate::retry::Retry;
use dial::{Connected, Dialer};
pub use doubts::Doubt;
use refusal::{Refusal, Telling};
use renewal::Renewal;
pub use target::{Fingerprint, InvalidFingerprint, InvalidUrl, Target, check_url};

/// Messages that may wait, each way. Towards the broker more than this are refused to the caller;
/// from the broker the reading stops until there is room.
const QUEUE: usize = 256;

/// How often it is looked whether something is to be done.
const LOOK: Duration = Duration::from_millis(50);

/// How often the broker is pinged.
const PING_EVERY: Duration = Duration::from_secs(1);

/// The same while there are signs that the network is in trouble.
const PING_IN_DOUBT: Duration = Duration::from_millis(200);

/// A broker that has not taken a message by then has stopped reading.
const SENDING: Duration = Duration::from_secs(6);

/// A broker that has said nothing for this long, not even in answer to pings, is taken for gone.
const SILENCE: Duration = Duration::from_millis(2500);

/// What the link reports.
#[derive(Debug)]
pub enum LinkEvent {
    /// Connected, welcomed and registered.
    Up(Welcome),
    /// A message of the broker, anything but its welcome.
    Message(BrokerMessage),
    /// STUN and TURN servers with fresh credentials, for sessions from now on.
    IceServers(Vec<IceServer>),
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
    /// Starts to connect to the broker, and registers each time that it has: first with `status`.
    /// Ends when the receiver of the events is dropped.
    pub fn start(target: Target, status: PeerStatus) -> (Self, mpsc::Receiver<LinkEvent>) {
        let (requests, requests_rx) = mpsc::channel(QUEUE);
        let (events, events_rx) = mpsc::channel(QUEUE);
        let (status, doubtful) = (watch::Sender::new(status), watch::Sender::new(false));
        let run = Run {
            dialer: Dialer::new(target),
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
    dialer: Dialer,
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
        let mut telling = Telling::default();
        let mut successor = None;
        loop {
            let connection = self.connect_once(successor.take());
            let (ending, was_up) = tokio::select! {
                ended = connection => ended,
                () = events.closed() => return,
            };
            let refusal = match ending {
                Err(refusal) => refusal,
                Ok(connected) => {
                    successor = Some(connected);
                    let url = self.dialer.url();
                    Refusal::lost(format!("the broker at {url} answers on another connection only"))
                }
            };
            let retry = self.retry.failed(self.started.elapsed(), rand::random());
            let retry =
                retry.max(refusal.least_wait(was_up).mul_f64(1.0 + rand::random::<f64>() / 2.0));
            let news = telling.is_news(self.started.elapsed(), refusal.code, was_up);
            if news && events.send(LinkEvent::Down(refusal.reason)).await.is_err() {
                return;
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
    async fn connect_once(
        &mut self,
        made: Option<Connected>,
    ) -> (Result<Connected, Refusal>, bool) {
        let mut welcomed = false;
        let connected = match made {
            Some(connected) => Ok(connected),
            None => self.dialer.connect().await,
        };
        let ending = match connected {
            Ok(connected) => self.converse(connected, &mut welcomed).await,
            Err(refusal) => Err(refusal),
        };
        (ending, welcomed)
    }

    /// Talks to the broker until the connection is lost, with the reason; or, while that is in doubt
    /// and silent, until another one is made, which is returned.
    async fn converse(
        &mut self,
        (mut socket, took): Connected,
        welcomed: &mut bool,
    ) -> Result<Connected, Refusal> {
        let url = self.dialer.url();
        let broke = |error| Refusal::lost(format!("the link to the broker broke: {error}"));
        let unwanted = || Refusal::lost("no longer wanted".to_owned());
        let own_address = dial::own_address(&socket);
        let mut renewal = Renewal::default();
        // What the broker said last, if that may be why it closes.
        let mut last_word: Option<Refusal> = None;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard, mut pinged, mut looked) = (Instant::now(), Instant::now(), Instant::now());
        // Since when a ping is unanswered, and what is tried then by who is in doubt.
        let mut asked: Option<Instant> = None;
        let mut other: Option<BoxFuture<'static, Result<Connected, Refusal>>> = None;
        loop {
            let outgoing = tokio::select! {
                // What has arrived comes first: it proves that the broker is there.
                biased;
                frame = socket.next() => {
                    heard = Instant::now();
                    (asked, other) = (None, None);
                    let text = match frame {
                        Some(Ok(Message::Text(text))) => text,
                        Some(Ok(Message::Close(_))) | None => {
                            let unsaid = || Refusal::lost("the broker closed".to_owned());
                            return Err(last_word.unwrap_or_else(unsaid));
                        }
                        Some(Ok(_)) => continue,
                        Some(Err(error)) => return Err(broke(error)),
                    };
                    last_word = None;
                    let event = match BrokerMessage::parse(&text) {
                        Ok(BrokerMessage::Welcome(welcome)) => {
                            *welcomed = true;
                            self.retry.up(self.started.elapsed(), took);
                            renewal.given(self.started.elapsed(), welcome.ice_servers_ttl_s);
                            // What was meant for an earlier connection means nothing on this one.
                            while self.requests.try_recv().is_ok() {}
                            let register = PeerRequest::SetPeerStatus(self.status.borrow().clone());
                            if let Err(error) = socket.send(text_of(&register)).await {
                                return Err(broke(error));
                            }
                            LinkEvent::Up(welcome)
                        }
                        Ok(BrokerMessage::IceServers(servers)) => {
                            renewal.given(self.started.elapsed(), servers.ice_servers_ttl_s);
                            LinkEvent::IceServers(servers.ice_servers)
                        }
                        Ok(BrokerMessage::Error(error)) => {
                            let producer = self.status.borrow().roles.contains(&PeerRole::Producer);
                            match Refusal::of_error(&error) {
                                Some(refusal) if refusal.is_end(producer) => return Err(refusal),
                                refusal => last_word = refusal.filter(Refusal::may_be_end),
                            }
                            LinkEvent::Message(BrokerMessage::Error(error))
                        }
                        Ok(message) => LinkEvent::Message(message),
                        Err(error) => {
                            tracing::debug!(%error, "a message of the broker is not understood");
                            continue;
                        }
                    };
                    if self.events.send(event).await.is_err() {
                        return Err(unwanted());
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
                    None => return Err(unwanted()),
                },
                _ = look.tick() => {
                    if let Some(address) = own_address.filter(|own| addresses::is_gone(own.ip())) {
                        let gone = format!("this host has the address {} no more", address.ip());
                        return Err(Refusal::lost(gone));
                    }
                    // Whoever looks much later than it meant to stood still itself: what the broker
                    // said meanwhile still waits to be heard.
                    let stood_still = looked.elapsed().saturating_sub(2 * LOOK);
                    looked = Instant::now();
                    heard += stood_still;
                    let in_doubt = *self.doubtful.borrow();
                    asked = asked.map(|since| since + stood_still);
                    let waits = asked.filter(|_| in_doubt).map(|since| since.elapsed());
                    let answers = waits.is_none_or(|waits| waits < self.retry.answer());
                    if waits.is_some_and(|waits| waits >= self.retry.late()) && other.is_none() {
                        let mut dialer = self.dialer.clone();
                        other = Some(async move { dialer.connect().await }.boxed());
                    }
                    if heard.elapsed() > SILENCE.max(2 * self.retry.answer()) || !answers {
                        return Err(Refusal::lost(format!("the broker at {url} has gone silent")));
                    }
                    if renewal.is_due(self.started.elapsed()) {
                        text_of(&PeerRequest::GetIceServers)
                    } else if pinged.elapsed() >= if in_doubt { PING_IN_DOUBT } else { PING_EVERY } {
                        pinged = Instant::now();
                        asked = asked.or(Some(pinged));
                        Message::Ping(Default::default())
                    } else {
                        continue;
                    }
                }
            };
            match timeout(SENDING, socket.send(outgoing)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(broke(error)),
                Err(_) => {
                    return Err(Refusal::lost(format!("the broker at {url} has stopped reading")));
                }
            }
        }
    }
}

fn text_of(request: &PeerRequest) -> Message {
    // Every request is made of strings, numbers and JSON values: it always serializes.
    Message::text(serde_json::to_string(request).unwrap_or_default())
}
