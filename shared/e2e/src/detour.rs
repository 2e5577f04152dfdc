//! A detour between two ends of a session: the candidates of each lead to a socket of the detour,
//! which brings every datagram to the other end: later, or never, as a test decides.
//!
//! What is decided is said of RTP headers, which travel in the clear; nothing is decrypted or changed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rovercast_protocol::signaling::Candidate;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Datagrams on their way, at most; more are lost.
const UNDER_WAY: usize = 65_536;

/// One end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The end that sends media.
    Robot,
    /// The end that receives it.
    Viewer,
}

/// A datagram, as far as one can see from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Datagram {
    /// A media packet, or one that brings it again.
    Rtp(Rtp),
    /// Reports and requests.
    Rtcp,
    /// ICE, DTLS, and what goes by data channels.
    Other,
}

/// The header of an RTP packet (RFC 3550, section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rtp {
    /// What it carries, by the numbers of the SDP.
    pub payload_type: u8,
    /// Its number in its stream.
    pub sequence: u16,
    /// That of its picture.
    pub timestamp: u32,
    /// Whether it is the last of its picture.
    pub marker: bool,
    /// Its stream.
    pub ssrc: u32,
}

impl Datagram {
    fn parse(bytes: &[u8]) -> Self {
        // RFC 7983: RTP and RTCP begin so; RFC 5761: RTCP's types would be these payload types.
        let [128..=191, second, ..] = *bytes else { return Self::Other };
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        match (second, word(0), word(4), word(8)) {
            (192..=223, ..) => Self::Rtcp,
            (second, Some(head), Some(timestamp), Some(ssrc)) => Self::Rtp(Rtp {
                payload_type: second & 0x7f,
                sequence: head as u16,
                timestamp,
                marker: second & 0x80 != 0,
                ssrc,
            }),
            _ => Self::Other,
        }
    }
}

/// How long a datagram of this end takes to the other; none when it never arrives.
type Fate = Box<dyn FnMut(End, Datagram) -> Option<Duration> + Send>;

/// A detour. Dropping it cuts it.
#[derive(Debug)]
pub struct Detour {
    robot: Side,
    viewer: Side,
    _relays: JoinSet<()>,
}

/// What faces one end.
#[derive(Debug)]
struct Side {
    /// The port at which the other end is told that this one is, on the same address.
    port: u16,
    /// Where this end is.
    there: Arc<Mutex<Option<SocketAddr>>>,
}

impl Detour {
    /// A detour on which every datagram has its `fate`. Both ends must be on this host.
    pub async fn new(
        fate: impl FnMut(End, Datagram) -> Option<Duration> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let fate: Arc<Mutex<Fate>> = Arc::new(Mutex::new(Box::new(fate)));
        // What leaves for the robot comes from where the robot was told that the viewer is.
        let (robot_socket, viewer_socket) = (socket().await?, socket().await?);
        let robot = Side { port: viewer_socket.local_addr()?.port(), there: Arc::default() };
        let viewer = Side { port: robot_socket.local_addr()?.port(), there: Arc::default() };
        let mut relays = JoinSet::new();
        let ways = [
            (End::Robot, &robot_socket, &viewer_socket, &viewer),
            (End::Viewer, &viewer_socket, &robot_socket, &robot),
        ];
        for (from, inbound, outbound, to) in ways {
            let (queue, queued) = mpsc::channel(UNDER_WAY);
            relays.spawn(receive(from, inbound.clone(), fate.clone(), queue));
            relays.spawn(send(queued, outbound.clone(), to.there.clone()));
        }
        Ok(Self { robot, viewer, _relays: relays })
    }

    /// The candidate to pass on for one of this end's; none for those that would lead past the
    /// detour.
    pub fn lead(&self, end: End, candidate: &Candidate) -> Option<Candidate> {
        let side = match end {
            End::Robot => &self.robot,
            End::Viewer => &self.viewer,
        };
        let mut words: Vec<&str> = candidate.candidate.split(' ').collect();
        let [_, component, "UDP" | "udp", _, address, port, _, "host", ..] = words[..] else {
            return None;
        };
        let address = SocketAddr::new(address.parse().ok()?, port.parse().ok()?);
        let mut there = side.there.lock().unwrap_or_else(PoisonError::into_inner);
        if component != "1" || !address.is_ipv4() || there.is_some_and(|known| known != address) {
            return None;
        }
        *there = Some(address);
        let port = side.port.to_string();
        words[5] = &port;
        Some(Candidate { candidate: words.join(" "), ..*candidate })
    }
}

async fn socket() -> anyhow::Result<Arc<UdpSocket>> {
    Ok(Arc::new(UdpSocket::bind("0.0.0.0:0").await.context("no socket for the detour")?))
}

async fn receive(
    from: End,
    socket: Arc<UdpSocket>,
    fate: Arc<Mutex<Fate>>,
    queue: mpsc::Sender<(Instant, Vec<u8>)>,
) {
    let mut bytes = vec![0; 65_536];
    while let Ok((length, _)) = socket.recv_from(&mut bytes).await {
        let datagram = &bytes[..length];
        let arrives = {
            let mut fate = fate.lock().unwrap_or_else(PoisonError::into_inner);
            fate(from, Datagram::parse(datagram))
        };
        if let Some(delay) = arrives {
            let _ = queue.try_send((Instant::now() + delay, datagram.to_vec()));
        }
    }
}

async fn send(
    mut queued: mpsc::Receiver<(Instant, Vec<u8>)>,
    socket: Arc<UdpSocket>,
    to: Arc<Mutex<Option<SocketAddr>>>,
) {
    while let Some((at, datagram)) = queued.recv().await {
        sleep_until(at).await;
        let to = *to.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(to) = to {
            let _ = socket.send_to(&datagram, to).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_told_apart() {
        let rtp = [0x80, 0xe0, 0x12, 0x34, 0, 0, 0, 5, 0, 0, 0, 7, 1, 2];
        let header =
            Rtp { payload_type: 96, sequence: 0x1234, timestamp: 5, marker: true, ssrc: 7 };
        assert_eq!(Datagram::parse(&rtp), Datagram::Rtp(header));
        assert_eq!(Datagram::parse(&[0x81, 206, 0, 2, 0, 0, 0, 1]), Datagram::Rtcp);
        assert_eq!(Datagram::parse(&[22, 254, 253]), Datagram::Other);
        assert_eq!(Datagram::parse(&rtp[..9]), Datagram::Other);
    }
}
