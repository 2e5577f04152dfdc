//! Hand-made peers: a raw WebSocket client, and a broker in the middle that changes what passes.

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, accept_async, connect_async};

use crate::lab::PATIENCE;

/// A peer that says whatever the test makes it say.
#[derive(Debug)]
pub struct RawPeer(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl RawPeer {
    /// Connects to a broker.
    pub async fn connect(address: &str) -> anyhow::Result<Self> {
        let (socket, _) = connect_async(format!("ws://{address}/ws")).await?;
        Ok(Self(socket))
    }

    /// Sends JSON.
    pub async fn say(&mut self, message: Value) -> anyhow::Result<()> {
        self.say_text(&message.to_string()).await
    }

    /// Sends any text.
    pub async fn say_text(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.0.send(Message::text(text)).await?)
    }

    /// The next message of this type; others are passed over.
    pub async fn hear(&mut self, kind: &str) -> anyhow::Result<Value> {
        let heard = timeout(PATIENCE, async {
            let mut others = Vec::new();
            while let Some(frame) = self.0.next().await {
                let Message::Text(text) = frame? else { continue };
                let message: Value = serde_json::from_str(&text)?;
                if message["type"] == kind {
                    return Ok(message);
                }
                others.push(text);
            }
            bail!("the broker closed before {kind}; it said {others:?}")
        });
        heard.await.with_context(|| format!("no {kind}"))?
    }

    /// Waits for the one robot that is on-line. Returns its peer id.
    pub async fn find_robot(&mut self) -> anyhow::Result<String> {
        self.say(json!({"type": "setPeerStatus", "roles": ["listener"]})).await?;
        self.say(json!({"type": "list"})).await?;
        let list = self.hear("list").await?;
        let peer = match list["producers"][0]["id"].as_str() {
            Some(id) => id.to_owned(),
            None => {
                let status = self.hear("peerStatusChanged").await?;
                status["peerId"].as_str().context("no peer id")?.to_owned()
            }
        };
        Ok(peer)
    }

    /// Asks a robot for a session. Returns the session's id.
    pub async fn start_session(&mut self, request: Value) -> anyhow::Result<String> {
        self.say(request).await?;
        let started = self.hear("sessionStarted").await?;
        Ok(started["sessionId"].as_str().context("no session id")?.to_owned())
    }
}

/// Listens for peers and connects each to the broker at `address`; every text that passes, in
/// either direction, goes through `change`. Returns where it listens, and what ends it with all its
/// connections.
pub async fn in_the_middle(
    address: String,
    change: fn(String) -> String,
) -> anyhow::Result<(String, AbortHandle)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let here = listener.local_addr()?.to_string();
    let task = tokio::spawn(async move {
        let mut relays = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let address = address.clone();
            relays.spawn(async move { relay(stream, &address, change).await });
        }
    });
    Ok((here, task.abort_handle()))
}

async fn relay(
    stream: TcpStream,
    address: &str,
    change: fn(String) -> String,
) -> anyhow::Result<()> {
    let mut peer = accept_async(stream).await?;
    let (mut broker, _) = connect_async(format!("ws://{address}/ws")).await?;
    loop {
        tokio::select! {
            Some(Ok(frame)) = peer.next() => broker.send(changed(frame, change)).await?,
            Some(Ok(frame)) = broker.next() => peer.send(changed(frame, change)).await?,
            else => return Ok(()),
        }
    }
}

fn changed(frame: Message, change: fn(String) -> String) -> Message {
    match frame {
        Message::Text(text) => Message::text(change(text.to_string())),
        other => other,
    }
}
