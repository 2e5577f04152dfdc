//! The broker's figures, for Prometheus: how many there are, what is said, and what is refused. Told
//! of every message, so all of them are atomic numbers; none of their labels is chosen by a peer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rovercast_metrics::page::{self, Figures, Labels, Page};
use rovercast_metrics::seconds::Seconds;
use rovercast_protocol::signaling::ErrorCode;

use crate::broker::Population;

mod kinds;

pub use kinds::{Ended, Kind};

/// The content type of [`Metrics::render`].
pub use rovercast_metrics::page::FORMAT;

/// What is counted of a broker since it was started.
#[derive(Debug, Default)]
pub struct Metrics(Arc<Numbers>);

#[derive(Debug)]
struct Numbers {
    peers: AtomicUsize,
    producers: AtomicUsize,
    consumers: AtomicUsize,
    listeners: AtomicUsize,
    sessions: AtomicUsize,
    queued_bytes: Arc<AtomicUsize>,
    heard: [Traffic; Kind::ALL.len()],
    said: [Traffic; Kind::ALL.len()],
    refusals: [AtomicU64; REFUSALS.len()],
    ended: [AtomicU64; Ended::ALL.len()],
    relay: Seconds,
}

#[derive(Debug, Default)]
struct Traffic {
    messages: AtomicU64,
    bytes: AtomicU64,
}

/// What the broker refuses for.
const REFUSALS: [ErrorCode; 23] = [
    ErrorCode::Malformed,
    ErrorCode::UnknownType,
    ErrorCode::TooLarge,
    ErrorCode::NotText,
    ErrorCode::UnknownPeer,
    ErrorCode::NotAProducer,
    ErrorCode::UnknownSession,
    ErrorCode::NotTheProducer,
    ErrorCode::ConflictingRoles,
    ErrorCode::TooManySessions,
    ErrorCode::Unauthorized,
    ErrorCode::TokenExpired,
    ErrorCode::Forbidden,
    ErrorCode::RobotTaken,
    ErrorCode::RateLimited,
    ErrorCode::TooManyConnections,
    ErrorCode::ShuttingDown,
    ErrorCode::TooSlow,
    ErrorCode::BadSdp,
    ErrorCode::BadCandidate,
    ErrorCode::NotAcceptable,
    ErrorCode::NegotiationTimeout,
    ErrorCode::Internal,
];

/// The upper bounds of the times that relaying takes, in seconds.
const RELAY_BOUNDS_S: [f64; 13] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0];

impl Metrics {
    /// All zero.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The page, in the text format of OpenMetrics: see [`FORMAT`].
    pub fn render(&self) -> String {
        let figures: Arc<dyn Figures> = self.0.clone();
        // Writing to a text cannot fail.
        page::text(&figures).unwrap_or_default()
    }

    /// A peer said something.
    pub fn heard(&self, kind: Kind, bytes: usize) {
        self.0.heard[kind as usize].count(bytes);
    }

    /// Something waits to be said to a peer.
    pub fn said(&self, kind: Kind, bytes: usize) {
        self.0.said[kind as usize].count(bytes);
    }

    /// Something was refused: a request, or a handshake.
    pub fn refused(&self, code: ErrorCode) {
        if let Some(index) = REFUSALS.iter().position(|known| *known == code) {
            self.0.refusals[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A peer's connection is over.
    pub fn ended(&self, why: Ended) {
        self.0.ended[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// What was relayed is written, so long after it was read.
    pub fn relayed(&self, took: Duration) {
        self.0.relay.observe(took);
    }

    /// How many are there now.
    pub fn populated(&self, now: Population) {
        let Population { peers, producers, consumers, listeners, sessions } = now;
        for (number, now) in [
            (&self.0.peers, peers),
            (&self.0.producers, producers),
            (&self.0.consumers, consumers),
            (&self.0.listeners, listeners),
            (&self.0.sessions, sessions),
        ] {
            number.store(now, Ordering::Relaxed);
        }
    }

    /// The bytes that wait for all peers together; who queues them counts them here.
    pub fn queued_bytes(&self) -> &Arc<AtomicUsize> {
        &self.0.queued_bytes
    }
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            peers: AtomicUsize::default(),
            producers: AtomicUsize::default(),
            consumers: AtomicUsize::default(),
            listeners: AtomicUsize::default(),
            sessions: AtomicUsize::default(),
            queued_bytes: Arc::default(),
            heard: Default::default(),
            said: Default::default(),
            refusals: Default::default(),
            ended: Default::default(),
            relay: Seconds::within(&RELAY_BOUNDS_S),
        }
    }
}

impl Figures for Numbers {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        let now = |number: &AtomicUsize| number.load(Ordering::Relaxed) as f64;
        let so_far = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let role = |role: &'static str, number| (labels([("role", role)]), now(number));
        page.gauges(
            "rovercast_signaling_peers",
            "Peers that are connected.",
            [(vec![], now(&self.peers))],
        )?;
        page.gauges(
            "rovercast_signaling_roles",
            "Peers that have a role; one may have two.",
            [
                role("producer", &self.producers),
                role("consumer", &self.consumers),
                role("listener", &self.listeners),
            ],
        )?;
        let sessions = [(vec![], now(&self.sessions))];
        page.gauges("rovercast_signaling_sessions", "Sessions between peers.", sessions)?;
        let queued = [(vec![], now(&self.queued_bytes))];
        page.gauges(
            "rovercast_signaling_queued_bytes",
            "Bytes that wait for peers, and for those who asked for lists.",
            queued,
        )?;
        let traffic = |number: fn(&Traffic) -> &AtomicU64| {
            let of = move |direction, kinds: &'static [Kind], traffic: &[Traffic]| {
                let figure = |kind: &Kind| {
                    let labels = labels([("direction", direction), ("type", kind.name())]);
                    (labels, so_far(number(&traffic[*kind as usize])))
                };
                kinds.iter().map(figure).collect::<Vec<_>>()
            };
            let mut figures = of("in", &Kind::HEARD, &self.heard);
            figures.extend(of("out", &Kind::SAID, &self.said));
            figures
        };
        let messages = traffic(|traffic| &traffic.messages);
        page.counters("rovercast_signaling_messages", "Messages from and to peers.", messages)?;
        let bytes = traffic(|traffic| &traffic.bytes);
        page.counters("rovercast_signaling_message_bytes", "Their bytes.", bytes)?;
        let refusals = REFUSALS.iter().zip(&self.refusals);
        page.counters(
            "rovercast_signaling_refusals",
            "Requests and handshakes that were refused.",
            refusals.map(|(code, n)| (vec![("code", code.to_string())], so_far(n))),
        )?;
        let ended = Ended::ALL.iter().zip(&self.ended);
        page.counters(
            "rovercast_signaling_ended",
            "Connections of peers that are over; too-slow: their queue was full.",
            ended.map(|(why, n)| (labels([("reason", why.name())]), so_far(n))),
        )?;
        page.seconds(
            "rovercast_signaling_relay_seconds",
            "From reading a message to having written it to the other member of the session.",
            [(vec![], self.relay.clone())],
        )
    }
}

fn labels<const N: usize>(labels: [(&'static str, &'static str); N]) -> Labels {
    labels.map(|(name, value)| (name, value.to_owned())).to_vec()
}

impl Traffic {
    fn count(&self, bytes: usize) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_is_on_the_page() {
        let metrics = Metrics::new();
        metrics.heard(Kind::Peer, 300);
        metrics.heard(Kind::Invalid, 1);
        metrics.said(Kind::Peer, 300);
        metrics.said(Kind::Peer, 200);
        metrics.refused(ErrorCode::Forbidden);
        metrics.ended(Ended::TooSlow);
        metrics.relayed(Duration::from_micros(80));
        let listeners = Population { peers: 3, listeners: 2, ..Population::default() };
        metrics.populated(listeners);
        metrics.queued_bytes().store(7, Ordering::Relaxed);
        let page = metrics.render();
        for line in [
            "peers 3.0",
            "roles{role=\"listener\"} 2.0",
            "roles{role=\"producer\"} 0.0",
            "queued_bytes 7.0",
            "messages_total{direction=\"in\",type=\"peer\"} 1",
            "messages_total{direction=\"in\",type=\"invalid\"} 1",
            "messages_total{direction=\"out\",type=\"peer\"} 2",
            "message_bytes_total{direction=\"out\",type=\"peer\"} 500",
            "refusals_total{code=\"forbidden\"} 1",
            "refusals_total{code=\"malformed\"} 0",
            "ended_total{reason=\"too-slow\"} 1",
            "relay_seconds_bucket{le=\"0.0001\"} 1",
            "relay_seconds_count 1",
        ] {
            let line = format!("rovercast_signaling_{line}");
            assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
        }
        assert!(page.ends_with("# EOF\n"));
    }
}
