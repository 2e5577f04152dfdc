//! How connections end: slow peers, silent peers, and a broker that stops.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rovercast_signaling::Config;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::{Broker, PATIENCE, config, ice, limited, talkative};

#[tokio::test]
async fn a_peer_that_stops_reading_is_dropped_and_nobody_else_notices() {
    stop_reading(talkative(|limits| limits.queue_messages = 16)).await;
    stop_reading(talkative(|limits| limits.queue_bytes = 200_000)).await;
}

async fn stop_reading(config: Config) {
    let broker = Broker::start(config).await;
    let (robot, mut stuck, session) = broker.session().await;
    let (mut other_robot, mut other_viewer, other_session) = broker.session().await;

    let (mut sink, mut stream) = robot.socket.split();
    let dropped = async {
        let heard = timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
        let end = json!({"type": "endSession", "sessionId": session, "reason": "peerLeft"});
        assert_eq!(serde_json::from_str::<Value>(heard.to_text().unwrap()).unwrap(), end);
    };
    tokio::pin!(dropped);
    let frame = Message::text(ice(&session, 100_000).to_string());
    let mut slowest = Duration::ZERO;
    let mut relays = 0;
    // Until more was sent than fits into the queue and the sockets' buffers together.
    loop {
        tokio::select! {
            biased;
            () = &mut dropped => break,
            sent = sink.send(frame.clone()) => sent.unwrap(),
        }
        let began = Instant::now();
        other_robot.say(ice(&other_session, 10)).await;
        other_viewer.hear_a("peer").await;
        slowest = slowest.max(began.elapsed());
        relays += 1;
    }
    assert!(relays > 1, "{relays}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    // Its socket is closed, too, not only forgotten.
    stuck.hear_end().await;
    let mut fresh = broker.peer().await;
    fresh.hear_nothing_else().await;
}

#[tokio::test]
async fn a_viewer_that_floods_a_robot_loses_its_own_connection() {
    let broker = Broker::start(talkative(|_| {})).await;
    let (mut robot, mut honest, session) = broker.session().await;
    let (mut flood, flooded) = broker.call(&mut robot).await;
    // The robot does not read for a while.
    let frame = Message::text(ice(&flooded, 100_000).to_string());
    loop {
        let sent = timeout(PATIENCE, flood.socket.send(frame.clone())).await.unwrap();
        if sent.is_err() {
            break;
        }
    }
    honest.say(ice(&session, 10)).await;
    loop {
        let message = robot.hear().await;
        if message["sessionId"] == session {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_robot_that_reads_survives_many_viewers_at_once() {
    const VIEWERS: usize = 50;
    const MESSAGES: usize = 60;
    let broker = Broker::start(config()).await;
    let mut robot = broker.robot().await;
    let mut viewers = Vec::new();
    for _ in 0..VIEWERS {
        viewers.push(broker.call(&mut robot).await);
    }
    for (mut viewer, session) in viewers {
        tokio::spawn(async move {
            let frame = Message::text(ice(&session, 100).to_string());
            for _ in 0..MESSAGES {
                viewer.socket.feed(frame.clone()).await.unwrap();
            }
            viewer.socket.flush().await.unwrap();
            // Stays until the test is over.
            std::future::pending::<()>().await;
        });
    }
    for _ in 0..VIEWERS * MESSAGES {
        robot.hear_a("peer").await;
    }
}

#[tokio::test]
async fn a_peer_that_does_not_answer_pings_is_dropped() {
    let broker = Broker::start(limited(|limits| {
        limits.ping_interval = Duration::from_millis(50);
        limits.silence_timeout = Duration::from_millis(400);
    }))
    .await;
    let mut listener = broker.peer().await;
    listener.say(json!({"type": "setPeerStatus", "roles": ["listener"]})).await;
    listener.hear_a("peerStatusChanged").await;

    let address = broker.address;
    let silent = tokio::task::spawn_blocking(move || {
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            socket,
            "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .unwrap();
        let mut mask = [0x81, 0x80 | 45, 0, 0, 0, 0].to_vec();
        mask.extend(br#"{"type":"setPeerStatus","roles":["producer"]}"#);
        socket.write_all(&mask).unwrap();
        // Read, but never answered.
        let mut heard = Vec::new();
        socket.read_to_end(&mut heard).unwrap();
        heard
    });
    let came = listener.hear_a("peerStatusChanged").await;
    let went = listener.hear_a("peerStatusChanged").await;
    assert_eq!(went["peerId"], came["peerId"]);
    assert_eq!(went["roles"], json!([]));
    // The listener, which answers pings, lives on.
    let heard = tokio::select! {
        heard = silent => heard.unwrap(),
        other = listener.hear() => panic!("{other}"),
    };
    assert!(heard.windows(2).filter(|frame| frame == b"\x89\x00").count() > 1, "no pings");
    listener.hear_nothing_else().await;
}

#[tokio::test]
async fn a_broker_that_stops_says_goodbye_and_is_gone_within_a_second() {
    let broker = Broker::start(talkative(|_| {})).await;
    let address = broker.address;
    let (mut robot, mut viewer, session) = broker.session().await;
    // One that will not read the goodbye, and one that never says what it wants.
    let (busy, _deaf, deaf_session) = broker.session().await;
    let (mut sink, _stream) = busy.socket.split();
    let frame = Message::text(ice(&deaf_session, 100_000).to_string());
    let flood = tokio::spawn(async move { while sink.send(frame.clone()).await.is_ok() {} });
    let _mute = std::net::TcpStream::connect(address).unwrap();
    viewer.say(ice(&session, 10)).await;
    robot.hear_a("peer").await;

    let began = Instant::now();
    let goodbyes = async {
        let end = json!({"type": "endSession", "sessionId": session, "reason": "brokerStops"});
        for peer in [&mut robot, &mut viewer] {
            assert_eq!(peer.hear().await, end);
            peer.hear_error("shutting-down").await;
        }
        let (robot, viewer) = tokio::join!(robot.hear_end(), viewer.hear_end());
        assert_eq!(robot.unwrap().code, CloseCode::Away);
        assert_eq!(viewer.unwrap().code, CloseCode::Away);
    };
    tokio::join!(broker.stop(), goodbyes);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(std::net::TcpStream::connect(address).is_err());
    flood.abort();
}
