//! An RTMP server for one stream: whoever knows its key may publish, one at a time.
//!
//! The newest publisher with the right key wins: it is most likely the same one, back from a broken
//! connection that is not known to be dead yet. Audio and metadata are dropped. No more is read
//! from a publisher than somebody receives, so that no picture is lost before a pipeline is there.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use rtmp_runtime::server::{ServerConfig, ServerEvent, ServerSession};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::camera::inputs::flv::{self, Unit, Video};
use crate::config::Secret;

/// From the connection to the right key.
const TIME_TO_PUBLISH: Duration = Duration::from_secs(5);
/// A publisher that sends nothing for this long is gone, and so is one that takes nothing.
const SILENCE: Duration = Duration::from_secs(10);
/// Who gave a wrong key may guess again after this.
const WRONG_KEY: Duration = Duration::from_secs(1);
/// Connections at the same time; more are closed at once.
const CONNECTIONS: usize = 32;
/// What may be said before the right key. The handshake is 3 KiB, the rest less.
const MOST_BEFORE_KEY: usize = 16 * 1024;
/// Unfinished messages of a publisher: some large pictures.
const MOST_UNFINISHED: usize = 16 * 1024 * 1024;
/// A configuration record is two parameter sets.
const LONGEST_CONFIG: usize = 64 * 1024;
/// What is read at a time.
const READ: usize = 32 * 1024;
/// After an error to accept, as when there are no descriptors left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// What the session tells a peer with a wrong key, and nobody else.
const REFUSAL: &[u8] = b"NetStream.Publish.BadName";

/// What comes from publishers.
#[derive(Debug, PartialEq, Eq)]
pub enum Publication<'a> {
    /// How to decode the access units from here on. First of all, and whenever it changes.
    Config(&'a [u8]),
    /// An access unit.
    Unit(Unit<'a>),
    /// There will be none until another publisher comes; says why.
    Ended(String),
}

/// Takes what comes. It must not block.
type Receive = Arc<dyn Fn(Publication<'_>) + Send + Sync>;

/// A listening server. Ends with all its connections when it is dropped.
#[derive(Debug)]
pub struct RtmpListener {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// While this lives, what comes is received.
#[derive(Debug)]
pub struct Receiving {
    number: u64,
    shared: Arc<Shared>,
}

struct Shared {
    key: Secret,
    /// Who receives, and the number by which it is known from others.
    receiver: watch::Sender<(u64, Option<Receive>)>,
    /// The number of the newest publisher.
    newest: watch::Sender<u64>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("newest", &self.newest).finish_non_exhaustive()
    }
}

impl RtmpListener {
    /// Starts to listen, on the tokio runtime of `runtime`. The error is for people.
    pub fn bind(listen: SocketAddr, key: Secret, runtime: &Handle) -> Result<Self, String> {
        let cannot = |error| format!("cannot listen for RTMP on {listen}: {error}");
        let socket = StdListener::bind(listen).map_err(cannot)?;
        socket.set_nonblocking(true).map_err(cannot)?;
        let _entered = runtime.enter();
        let socket = TcpListener::from_std(socket).map_err(cannot)?;
        let address = socket.local_addr().map_err(cannot)?;
        let (receiver, newest) = (watch::Sender::new((0, None)), watch::Sender::new(0));
        let shared = Arc::new(Shared { key, receiver, newest });
        let accepting = runtime.spawn(accept(socket, shared.clone()));
        Ok(Self { address, shared, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on `receive` gets what comes, and nobody else does. It is called by the runtime and
    /// must not block. The first call is a [`Publication::Config`]; a publisher may be in the
    /// middle of its stream then.
    pub fn receive(&self, receive: impl Fn(Publication<'_>) + Send + Sync + 'static) -> Receiving {
        let receive: Receive = Arc::new(receive);
        let mut number = 0;
        self.shared.receiver.send_modify(|receiver| {
            number = receiver.0 + 1;
            *receiver = (number, Some(receive));
        });
        Receiving { number, shared: self.shared.clone() }
    }
}

impl Drop for RtmpListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.shared.receiver.send_if_modified(|(number, receive)| {
            *number == self.number && receive.take().is_some()
        });
    }
}

async fn accept(socket: TcpListener, shared: Arc<Shared>) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, peer)) = socket.accept().await else {
            sleep(ACCEPT_AGAIN).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let Ok(place) = free.clone().try_acquire_owned() else {
            tracing::debug!(%peer, "too many RTMP connections");
            continue;
        };
        let connection = Connection::new(stream, peer, shared.clone());
        connections.spawn(async move {
            connection.run().await;
            drop(place);
        });
    }
}

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    session: ServerSession,
    /// Its number among the publishers, once it is one.
    publishes: Option<u64>,
    config: Vec<u8>,
    receiver: watch::Receiver<(u64, Option<Receive>)>,
    /// The receiver that knows the configuration.
    introduced: Option<u64>,
}

impl Connection {
    fn new(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) -> Self {
        let config = ServerConfig::default()
            .with_expected_stream_key(Some(shared.key.0.clone()))
            .with_max_in_progress_bytes(MOST_UNFINISHED);
        let receiver = shared.receiver.subscribe();
        let session = ServerSession::new(config);
        let (publishes, config, introduced) = (None, Vec::new(), None);
        Self { stream, peer, shared, session, publishes, config, receiver, introduced }
    }

    async fn run(mut self) {
        let peer = self.peer;
        // Replies are small and waited for.
        let _ = self.stream.set_nodelay(true);
        if let Err(reason) = self.identify().await {
            // Whoever scans ports shall not fill the log.
            tracing::debug!(%peer, "no RTMP sender: {reason}");
            return;
        }
        let mut newest = self.shared.newest.subscribe();
        let number = self.publishes.unwrap_or_default();
        tracing::info!(%peer, "RTMP sender connected");
        let reason = tokio::select! {
            reason = self.publish() => reason,
            _ = newest.wait_for(|&newest| newest != number) => {
                tracing::warn!(%peer, "another RTMP sender took over");
                return;
            }
        };
        tracing::info!(%peer, "RTMP sender gone: {reason}");
        let receive = self.receiver.borrow().1.clone();
        if let Some(receive) = receive {
            receive(Publication::Ended(reason));
        }
    }

    /// Until it may publish. The error says why it may not.
    async fn identify(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + TIME_TO_PUBLISH;
        let (mut bytes, mut seen) = (vec![0; READ], 0);
        loop {
            let room = MOST_BEFORE_KEY - seen;
            let read = timeout_at(deadline, self.stream.read(&mut bytes[..room]));
            let count = match read.await {
                Ok(Ok(0)) => return Err("it left before it gave the key".to_owned()),
                Ok(Ok(count)) => count,
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => return Err("it did not give the key in time".to_owned()),
            };
            seen += count;
            let (reply, events) =
                self.session.handle_data(&bytes[..count]).map_err(|error| error.to_string())?;
            let right = events.iter().any(|event| matches!(event, ServerEvent::Publish { .. }));
            let refused = reply.windows(REFUSAL.len()).any(|part| part == REFUSAL);
            if right {
                self.shared.newest.send_modify(|newest| {
                    *newest += 1;
                    self.publishes = Some(*newest);
                });
            }
            self.reply(&reply).await?;
            if refused {
                tracing::warn!(peer = %self.peer, "RTMP sender refused: its stream key is wrong");
                // It reads the reply in the meantime, and cannot guess fast.
                sleep(WRONG_KEY).await;
                return Err("its stream key is wrong".to_owned());
            }
            if right {
                return self.hand_over(events).await;
            }
            if seen == MOST_BEFORE_KEY {
                return Err("it said too much before the key".to_owned());
            }
        }
    }

    /// Until it ends, and why.
    async fn publish(&mut self) -> String {
        let mut bytes = vec![0; READ];
        loop {
            let count = match timeout(SILENCE, self.stream.read(&mut bytes)).await {
                Ok(Ok(0)) => return "the RTMP sender closed the connection".to_owned(),
                Ok(Ok(count)) => count,
                Ok(Err(error)) => return format!("the RTMP sender is gone: {error}"),
                Err(_) => return "the RTMP sender is silent".to_owned(),
            };
            let (reply, events) = match self.session.handle_data(&bytes[..count]) {
                Ok(handled) => handled,
                Err(error) => return format!("the RTMP sender is not understood: {error}"),
            };
            if let Err(reason) = self.reply(&reply).await {
                return reason;
            }
            if let Err(reason) = self.hand_over(events).await {
                return reason;
            }
        }
    }

    async fn reply(&mut self, reply: &[u8]) -> Result<(), String> {
        match timeout(SILENCE, self.stream.write_all(reply)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("the RTMP sender is gone: {error}")),
            Err(_) => Err("the RTMP sender takes no replies".to_owned()),
        }
    }

    async fn hand_over(&mut self, events: Vec<ServerEvent>) -> Result<(), String> {
        for event in events {
            match event {
                ServerEvent::Media { flv } => match flv::video(&flv) {
                    Ok(Some(video)) => self.receive(video).await?,
                    Ok(None) => {}
                    Err(codec) => {
                        return Err(format!("the RTMP sender sends {codec}: set it to H.264"));
                    }
                },
                ServerEvent::Eof => return Err("the RTMP sender stopped".to_owned()),
                _ => {}
            }
        }
        Ok(())
    }

    async fn receive(&mut self, video: Video<'_>) -> Result<(), String> {
        if let Video::Config(config) = video {
            if config.len() > LONGEST_CONFIG {
                return Err("the RTMP sender's H.264 configuration is too long".to_owned());
            }
            self.config = config.to_vec();
        }
        let waited = self.receiver.wait_for(|(_, receive)| receive.is_some()).await;
        let Ok((number, Some(receive))) = waited.map(|receiver| receiver.clone()) else {
            return Err("the camera stops".to_owned());
        };
        match video {
            // Without configuration nothing can be decoded.
            Video::Unit(_) if self.config.is_empty() => {}
            Video::Unit(unit) => {
                if self.introduced.replace(number) != Some(number) {
                    receive(Publication::Config(&self.config));
                }
                receive(Publication::Unit(unit));
            }
            Video::Config(_) => {
                self.introduced = Some(number);
                receive(Publication::Config(&self.config));
            }
        }
        Ok(())
    }
}
