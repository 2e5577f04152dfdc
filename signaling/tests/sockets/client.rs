//! A broker to test, and peers that say and hear JSON. Every wait ends with an event or a panic.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rovercast_signaling::limits::LimitSettings;
use rovercast_signaling::{Config, Server};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message, protocol::CloseFrame};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Longer than anything takes; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The settings of most tests: a free port.
pub(crate) fn config() -> Config {
    Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Config::default() }
}

/// The same, with other limits.
pub(crate) fn limited(change: impl FnOnce(&mut LimitSettings)) -> Config {
    let mut config = config();
    change(&mut config.limits);
    config
}

/// The same, where everybody may say as much as he can.
pub(crate) fn talkative(change: impl FnOnce(&mut LimitSettings)) -> Config {
    limited(|limits| {
        limits.message_burst = 1_000_000;
        change(limits);
    })
}

/// A broker that runs.
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Broker {
    pub(crate) async fn start(config: Config) -> Self {
        let server = Server::bind(config).await.unwrap();
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async move { stopped.await.unwrap() }));
        Self { address, stop, running }
    }

    pub(crate) async fn peer(&self) -> Peer {
        Peer::connect(&format!("ws://{}/ws", self.address)).await
    }

    /// A producer, ready to be called.
    pub(crate) async fn robot(&self) -> Peer {
        let mut robot = self.peer().await;
        robot.say(json!({"type": "setPeerStatus", "roles": ["producer"]})).await;
        // Whatever is answered to the next request comes after the status was taken.
        robot.say(json!({"type": "listConsumers"})).await;
        robot.hear_a("listConsumers").await;
        robot
    }

    /// A new viewer of `robot`, and the id of their session.
    pub(crate) async fn call(&self, robot: &mut Peer) -> (Peer, String) {
        let mut viewer = self.peer().await;
        viewer.say(json!({"type": "startSession", "peerId": robot.id})).await;
        let session = viewer.hear_a("sessionStarted").await["sessionId"].clone();
        assert_eq!(robot.hear_a("startSession").await["sessionId"], session);
        (viewer, session.as_str().unwrap().to_owned())
    }

    /// A robot, a viewer, and the id of their session.
    pub(crate) async fn session(&self) -> (Peer, Peer, String) {
        let mut robot = self.robot().await;
        let (viewer, session) = self.call(&mut robot).await;
        (robot, viewer, session)
    }

    /// Stops the broker and returns once it is.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(PATIENCE, self.running).await.unwrap().unwrap();
    }
}

/// A peer that is connected and welcome.
pub(crate) struct Peer {
    pub(crate) id: String,
    pub(crate) welcome: Value,
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Peer {
    pub(crate) async fn connect(request: impl IntoClientRequest + Unpin) -> Self {
        let (socket, _) = timeout(PATIENCE, connect_async(request)).await.unwrap().unwrap();
        Self::welcomed(socket).await
    }

    /// One whose handshake is done.
    pub(crate) async fn welcomed(socket: WebSocketStream<MaybeTlsStream<TcpStream>>) -> Self {
        let mut peer = Self { id: String::new(), welcome: Value::Null, socket };
        peer.welcome = peer.hear_a("welcome").await;
        peer.id = peer.welcome["peerId"].as_str().unwrap().to_owned();
        peer
    }

    /// Proves that `other` hears what this peer says in their session, and nothing else came before.
    pub(crate) async fn reaches(&mut self, other: &mut Self, session: &str) {
        self.say(ice(session, 10)).await;
        assert_eq!(other.hear().await, ice(session, 10));
    }

    pub(crate) async fn say(&mut self, message: Value) {
        self.send(Message::text(message.to_string())).await;
    }

    /// The error is that the connection is over.
    pub(crate) async fn try_say(&mut self, message: Value) -> Result<(), Error> {
        let message = Message::text(message.to_string());
        timeout(PATIENCE, self.socket.send(message)).await.unwrap()
    }

    pub(crate) async fn send(&mut self, message: Message) {
        timeout(PATIENCE, self.socket.send(message)).await.unwrap().unwrap();
    }

    pub(crate) async fn hear_text(&mut self) -> String {
        let heard = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => return text.to_string(),
                    // They come again and again, whatever is waited for.
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("no message but {other:?}"),
                }
            }
        };
        timeout(PATIENCE, heard).await.unwrap()
    }

    pub(crate) async fn hear(&mut self) -> Value {
        serde_json::from_str(&self.hear_text().await).unwrap()
    }

    /// The next message, which must be of this type.
    pub(crate) async fn hear_a(&mut self, kind: &str) -> Value {
        let message = self.hear().await;
        assert_eq!(message["type"], kind, "{message}");
        message
    }

    /// The next message, which must be a refusal with a remedy.
    pub(crate) async fn hear_error(&mut self, code: &str) -> Value {
        let error = self.hear_a("error").await;
        assert_eq!(error["code"], code, "{error}");
        assert!(error["details"].is_string(), "{error}");
        error
    }

    /// Reads until the connection ends; the close frame, if there was one.
    pub(crate) async fn hear_end(&mut self) -> Option<CloseFrame> {
        let mut close = None;
        loop {
            match timeout(PATIENCE, self.socket.next()).await.unwrap() {
                Some(Ok(Message::Close(frame))) => close = frame,
                Some(Ok(_)) => {}
                None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => return close,
                // A broker that gives up does not wait for the end of the handshake.
                Some(Err(Error::Io(_) | Error::Protocol(_))) => return close,
                Some(Err(error)) => panic!("{error}"),
            }
        }
    }

    /// Proves that nothing else was said to this peer: the answer to a question comes next.
    pub(crate) async fn hear_nothing_else(&mut self) {
        self.say(json!({"type": "listConsumers"})).await;
        self.hear_a("listConsumers").await;
    }
}

/// SDP for a session, with a field that the broker does not know.
pub(crate) fn sdp(session: &str, kind: &str) -> Value {
    let sdp = json!({"type": kind, "sdp": "v=0", "added": 1});
    json!({"type": "peer", "sessionId": session, "sdp": sdp, "added": {"by": "us"}})
}

/// A candidate for a session, `bytes` long.
pub(crate) fn ice(session: &str, bytes: usize) -> Value {
    let ice = json!({"candidate": "x".repeat(bytes), "sdpMLineIndex": 0});
    json!({"type": "peer", "sessionId": session, "ice": ice})
}
