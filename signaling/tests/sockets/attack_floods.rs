//! Too much of something: connections, handshakes that never end, messages. What is over the limit is
//! refused with its code, counted, and, if it goes on, closed; and nobody else notices.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::client::PATIENCE;
use crate::guarded::Guarded;
use crate::pages::connect_from;

#[tokio::test]
async fn a_flood_of_connections_from_one_address_harms_nobody_else() {
    let broker = Guarded::start("[limits]\nmax_connections_per_address = 8");
    let mut bystanders = broker.bystanders().await;
    let request = broker.request(&broker.token("view:*"));
    let [flood, other] = [[127, 0, 0, 9], [127, 0, 0, 10]];
    let mut let_in = Vec::new();
    let mut refused = 0;
    for _ in 0..40 {
        let stream = connect_from(flood, broker.address).await;
        match client_async(request.clone(), stream).await {
            Ok((socket, _)) => let_in.push(socket),
            // It may be closed before it is answered: that costs the broker least.
            Err(_) => refused += 1,
        }
    }
    assert_eq!((let_in.len(), refused), (8, 32));
    assert_eq!(broker.refused("too-many-connections").await, 32);

    let stream = connect_from(other, broker.address).await;
    client_async(request.clone(), stream).await.unwrap();
    bystanders.notice_nothing().await;
    // Who leaves makes room.
    let mut one = let_in.pop().unwrap();
    one.close(None).await.unwrap();
    let again = async {
        loop {
            let stream = connect_from(flood, broker.address).await;
            if client_async(request.clone(), stream).await.is_ok() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn handshakes_that_never_end_are_cut_off() {
    let broker = Guarded::start("[limits]\nhandshake_timeout_s = 1");
    let mut bystanders = broker.bystanders().await;
    let slow = (0..30).map(|index| {
        let address = broker.address;
        tokio::task::spawn_blocking(move || drip(address, index))
    });
    let slow: Vec<_> = slow.collect();
    // Meanwhile others come in.
    for _ in 0..5 {
        broker.peer("view:*").await.hear_nothing_else().await;
        bystanders.notice_nothing().await;
    }
    for dripping in slow {
        dripping.await.unwrap();
    }
    bystanders.notice_nothing().await;
}

#[tokio::test]
async fn a_flood_of_messages_is_refused_and_then_closed() {
    let broker = Guarded::start("[limits]\nmessages_per_s = 100\nmessage_burst = 200");
    let mut bystanders = broker.bystanders().await;
    let (mut sink, mut stream) = broker.peer("view:*").await.socket.split();
    let list = Message::text(json!({"type": "list"}).to_string());
    let mut heard = Vec::new();
    // Until it is closed.
    let flooding = async { while sink.send(list.clone()).await.is_ok() {} };
    let hearing = async {
        while let Some(Ok(frame)) = stream.next().await {
            heard.extend(frame.into_text().map(|text| text.to_string()));
        }
    };
    timeout(PATIENCE, async { tokio::join!(flooding, hearing) }).await.unwrap();
    let refused = heard.iter().filter(|text| text.contains("\"rate-limited\"")).count();
    let answered = heard.iter().filter(|text| text.contains("\"producers\"")).count();
    assert!(refused > 0, "{heard:?}");
    assert!((200..2_000).contains(&answered), "{answered} were answered");
    assert!(broker.refused("rate-limited").await > 0);
    assert_eq!(broker.ended("rate-limited").await, 1);
    bystanders.notice_nothing().await;
}

/// Sends a handshake so slowly that it never ends, each from another point on, until it is cut off.
fn drip(address: SocketAddr, index: usize) {
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let head = b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX: ";
    let started = head.len().min(index * 3);
    socket.write_all(&head[..started]).unwrap();
    let rest = head[started..].iter().chain(std::iter::repeat(&b'x'));
    let deadline = std::time::Instant::now() + PATIENCE;
    for byte in rest {
        assert!(std::time::Instant::now() < deadline, "never cut off");
        match socket.read(&mut [0; 512]) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
        if socket.write_all(&[*byte]).is_err() {
            return;
        }
    }
}
