//! Peers of the load: as many as one process can hold, each from an address of its own, as if they
//! were as many computers. They speak only what both brokers understand.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use futures_util::stream::{self, StreamExt};
use futures_util::{SinkExt, TryStreamExt};
use rovercast_e2e::lab::PATIENCE;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout, timeout_at};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::wire::{Wire, frame};

/// So many connect at the same time.
const AT_ONCE: usize = 32;

/// Read at once; thousands of peers wait in one process.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// Of every candidate that is said; nothing else that is heard has it.
const FOUNDATION: &str = "842163049";

/// A message that is awaited for so long after the measurement is over counts as never come.
const GRACE: Duration = Duration::from_secs(2);

/// A peer that is connected and welcome.
pub(crate) struct Peer {
    id: String,
    socket: WebSocketStream<TcpStream>,
}

impl Peer {
    /// Connects, and reads the welcome.
    pub(crate) async fn connect(broker: SocketAddr) -> anyhow::Result<Self> {
        Self::connect_with(broker, None).await
    }

    /// Like [`Peer::connect`]; the kernel holds no more than so many bytes for it.
    pub(crate) async fn connect_with(
        broker: SocketAddr,
        held_bytes: Option<u32>,
    ) -> anyhow::Result<Self> {
        let connected = async {
            let socket = TcpSocket::new_v4()?;
            if let Some(bytes) = held_bytes {
                socket.set_recv_buffer_size(bytes)?;
            }
            socket.bind(SocketAddr::from((next_host(), 0)))?;
            let stream = socket.connect(broker).await?;
            stream.set_nodelay(true)?;
            let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
            let url = format!("ws://{broker}/");
            let (socket, _) = client_async_with_config(url, stream, Some(config)).await?;
            let mut peer = Self { id: String::new(), socket };
            let welcome = peer.hear_a("welcome").await?;
            peer.id = welcome["peerId"].as_str().context("no peerId")?.to_owned();
            anyhow::Ok(peer)
        };
        timeout(PATIENCE, connected).await.context("a broker that does not welcome")?
    }

    /// So many, connected side by side.
    pub(crate) async fn connect_all(broker: SocketAddr, count: usize) -> anyhow::Result<Vec<Self>> {
        let peers = stream::iter(0..count).map(|_| Self::connect(broker));
        peers.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Becomes a listener, and hears that it is one.
    pub(crate) async fn listen(&mut self) -> anyhow::Result<()> {
        self.say(json!({"type": "setPeerStatus", "roles": ["listener"], "meta": null})).await?;
        // Of others it may hear, too, before and after.
        while self.hear_a("peerStatusChanged").await?["peerId"] != self.id {}
        Ok(())
    }

    /// Asks something, and hears the answer.
    pub(crate) async fn ask(&mut self) -> anyhow::Result<()> {
        self.say(json!({"type": "listConsumers"})).await?;
        self.hear_a("listConsumers").await.map(|_| ())
    }

    /// Reads, and answers pings, for ever; returns when the broker ends the connection.
    pub(crate) async fn idle(&mut self) {
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    async fn say(&mut self, message: Value) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::text(message.to_string())).await?)
    }

    /// The next message, which must be of this type.
    async fn hear_a(&mut self, kind: &str) -> anyhow::Result<Value> {
        let text = timeout(PATIENCE, self.hear()).await.context("no answer")??;
        let message: Value = serde_json::from_str(&text)?;
        if message["type"] != kind {
            bail!("no {kind}, but {message}");
        }
        Ok(message)
    }

    async fn hear(&mut self) -> anyhow::Result<Utf8Bytes> {
        loop {
            match self.socket.next().await.context("the broker closed the connection")?? {
                Message::Text(text) => return Ok(text),
                Message::Ping(_) | Message::Pong(_) => {}
                other => bail!("no text, but {other:?}"),
            }
        }
    }
}

/// Listeners that hear and say nothing, for as long as this lives.
pub(crate) struct Audience {
    _idle: JoinSet<()>,
}

impl Audience {
    /// So many.
    pub(crate) async fn gather(broker: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let mut idle = JoinSet::new();
        let joining = stream::iter(0..count).map(|_| async {
            let mut peer = Peer::connect(broker).await?;
            peer.listen().await?;
            anyhow::Ok(peer)
        });
        let mut joining = std::pin::pin!(joining.buffer_unordered(AT_ONCE));
        while let Some(peer) = joining.next().await {
            let mut peer = peer?;
            idle.spawn(async move { peer.idle().await });
        }
        Ok(Self { _idle: idle })
    }
}

/// A robot and its viewer, who say candidates to each other.
pub(crate) struct Pair {
    robot: Wire,
    viewer: Wire,
    frame: Vec<u8>,
}

impl Pair {
    /// In a session. `held_bytes` as in [`Peer::connect_with`], of the viewer; `frame_bytes` is how
    /// long what they say is, at least that of a real candidate.
    pub(crate) async fn meet(
        broker: SocketAddr,
        held_bytes: Option<u32>,
        frame_bytes: usize,
    ) -> anyhow::Result<Self> {
        let mut robot = Peer::connect(broker).await?;
        robot.say(json!({"type": "setPeerStatus", "roles": ["producer"], "meta": null})).await?;
        // What is answered next comes after the status was taken.
        robot.ask().await?;
        let mut viewer = Peer::connect_with(broker, held_bytes).await?;
        viewer.say(json!({"type": "startSession", "peerId": robot.id})).await?;
        let session = viewer.hear_a("sessionStarted").await?["sessionId"].clone();
        robot.hear_a("startSession").await?;
        let candidate = format!(
            "candidate:{FOUNDATION} 1 udp 1677729535 203.0.113.7 46154 typ srflx \
             raddr 192.168.1.23 rport 46154 generation 0 ufrag EsAw network-cost 10"
        );
        let said = |candidate: &str| {
            let ice = json!({"candidate": candidate, "sdpMLineIndex": 0});
            json!({"type": "peer", "sessionId": session, "ice": ice}).to_string()
        };
        let padding = frame_bytes.saturating_sub(said(&candidate).len());
        let text = said(&format!("{candidate}{}", " ".repeat(padding)));
        let [robot, viewer] = [robot, viewer].map(|peer| Wire::new(peer.socket.into_inner()));
        Ok(Self { robot, viewer, frame: frame(&text) })
    }

    /// So many, who say candidates as they are.
    pub(crate) async fn meet_all(broker: SocketAddr, count: usize) -> anyhow::Result<Vec<Self>> {
        let pairs = stream::iter(0..count).map(|_| Self::meet(broker, None, 0));
        pairs.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Robot and viewer say one message in turn until then. Returns how long each took, in
    /// milliseconds, and whether the last never came.
    pub(crate) async fn talk(&mut self, until: Instant) -> anyhow::Result<(Vec<f64>, bool)> {
        let (mut took_ms, mut said) = (Vec::new(), Instant::now());
        // One timer for all: whatever the load takes of this computer, the broker does not get.
        let talking = timeout_at((until + GRACE).into(), async {
            while Instant::now() < until {
                for _ in 0..2 {
                    said = Instant::now();
                    relay(&mut self.robot, &mut self.viewer, &self.frame).await?;
                    took_ms.push(said.elapsed().as_secs_f64() * 1000.0);
                    std::mem::swap(&mut self.robot, &mut self.viewer);
                }
            }
            anyhow::Ok(())
        });
        let hung = talking.await.map_or(Ok(true), |talked| talked.map(|()| false))?;
        if hung {
            took_ms.push(said.elapsed().as_secs_f64() * 1000.0);
        }
        Ok((took_ms, hung))
    }

    /// The two ends: what feeds, and what is fed.
    pub(crate) fn part(self) -> (Feeder, Wire) {
        (Feeder { robot: self.robot, frame: self.frame }, self.viewer)
    }
}

/// Says something to one end, and hears it at the other.
async fn relay(from: &mut Wire, to: &mut Wire, frame: &[u8]) -> anyhow::Result<()> {
    from.say(frame).await?;
    let heard = to.hear().await?;
    let known = std::str::from_utf8(heard).is_ok_and(|text| text.contains(FOUNDATION));
    ensure!(known, "another message was relayed: {}", String::from_utf8_lossy(heard));
    Ok(())
}

/// A robot that talks without being answered.
pub(crate) struct Feeder {
    robot: Wire,
    frame: Vec<u8>,
}

impl Feeder {
    /// Talks, so many messages a second, until the broker says that its viewer is gone (true), or
    /// the connection ends.
    pub(crate) async fn feed(mut self, per_second: u32) -> bool {
        let mut beats = interval(Duration::from_secs(1) / per_second);
        // Not all at once what could not be said in time.
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beats.tick() => {
                    if self.robot.say(&self.frame).await.is_err() {
                        return false;
                    }
                }
                heard = self.robot.hear() => {
                    return heard.is_ok_and(|text| text.starts_with(b"{\"type\":\"endSession\""));
                }
            }
        }
    }
}

/// The next address of this computer: each is of its own, like those of as many others.
fn next_host() -> Ipv4Addr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) % 0x00fe_0000;
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + count)
}
