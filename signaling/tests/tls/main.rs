//! The broker's TLS, as clients see it: the program runs, its files change, and connections are made to
//! it all the while.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod broker;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use broker::{Broker, Encrypted, PATIENCE};

type Made = CertifiedKey<KeyPair>;

fn certificate() -> Made {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

async fn get(broker: &Broker, trusted: &[&Made], path: &str) -> String {
    let (mut stream, _) = broker.connect(trusted).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

async fn peer(broker: &Broker, trusted: &[&Made]) -> WebSocketStream<Encrypted> {
    let (stream, _) = broker.connect(trusted).await.unwrap();
    let mut socket = client_async("wss://localhost/ws", stream).await.unwrap().0;
    assert!(hear(&mut socket).await.contains("\"welcome\""));
    socket
}

async fn hear(socket: &mut WebSocketStream<Encrypted>) -> String {
    loop {
        match timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap() {
            Message::Text(text) => return text.to_string(),
            other => assert!(other.is_ping() || other.is_pong(), "{other}"),
        }
    }
}

/// The peer is still there and is answered.
async fn reaches(socket: &mut WebSocketStream<Encrypted>) {
    socket.send(Message::text("{\"type\":\"list\"}")).await.unwrap();
    assert!(hear(socket).await.contains("\"producers\""));
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
    let [first, second, third] = [(); 3].map(|()| certificate());
    let all = [&first, &second, &third];
    let mut broker = Broker::start(&first, "");
    let mut peer = peer(&broker, &[&first]).await;

    // Nobody who comes meanwhile is turned away, and who is there stays.
    let mut renew = async |to: &Made, from: &Made| {
        broker.put(to);
        let mut old = 0;
        let taken = async {
            loop {
                let (_, shown) = broker.connect(&all).await.unwrap();
                if shown == *to.cert.der() {
                    return;
                }
                assert_eq!(shown, *from.cert.der());
                old += 1;
                reaches(&mut peer).await;
            }
        };
        timeout(PATIENCE, taken).await.unwrap();
        old
    };
    assert!(renew(&second, &first).await > 0);

    // Half a renewal, then what is no certificate: told once each, and nothing changes.
    broker.put_certificate_of(&first);
    let said = broker.says("the old one stays").await;
    assert!(said.contains("cannot be used with the certificate"), "{said}");
    broker.put_text("-----BEGIN CERTIFICATE-----\nno");
    let said = broker.says("the old one stays").await;
    assert!(said.contains("certificate.pem"), "{said}");
    let (_, shown) = broker.connect(&all).await.unwrap();
    assert_eq!(shown, *second.cert.der());

    broker.put(&third);
    broker.says("a new certificate is used").await;
    let (_, shown) = broker.connect(&all).await.unwrap();
    assert_eq!(shown, *third.cert.der());
    reaches(&mut peer).await;
}

#[tokio::test]
async fn a_key_that_cannot_be_read_yet_is_taken_once_it_can() {
    let [first, second] = [(); 2].map(|()| certificate());
    let mut broker = Broker::start_unprivileged(&first);
    // As some programs renew: who may read the key is said when all is written.
    broker.put_closed(&second);
    let said = broker.says("the old one stays").await;
    assert!(said.contains("key.pem cannot be read"), "{said}");
    let (_, shown) = broker.connect(&[&first, &second]).await.unwrap();
    assert_eq!(shown, *first.cert.der());
    broker.open();
    broker.says("a new certificate is used").await;
    let (_, shown) = broker.connect(&[&first, &second]).await.unwrap();
    assert_eq!(shown, *second.cert.der());
}

#[tokio::test]
async fn handshakes_that_fail_or_never_end_harm_nobody() {
    let made = certificate();
    let broker = Broker::start(&made, "[limits]\nhandshake_timeout_s = 1\n");
    let mut peer = peer(&broker, &[&made]).await;
    let begun = [
        &b""[..],
        // A handshake record that never comes whole, and one that is nonsense.
        b"\x16\x03\x01\x02\x00\x01",
        b"\x16\x03\x01\x00\x05hello",
        b"\x00\xff\x00\xff",
    ];
    let mut sockets = Vec::new();
    for bytes in begun.repeat(5) {
        let mut socket = TcpStream::connect(broker.address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        sockets.push(socket);
    }
    reaches(&mut peer).await;
    assert!(get(&broker, &[&made], "/healthz").await.ends_with("ok"));
    // All of them are closed by the broker.
    for mut socket in sockets {
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, socket.read_to_end(&mut rest)).await.unwrap();
    }
    reaches(&mut peer).await;
    // Who does not trust the certificate is no better.
    assert!(broker.connect(&[&certificate()]).await.is_err());
    reaches(&mut peer).await;
}

#[tokio::test]
async fn plain_http_is_told_where_to_go() {
    let made = certificate();
    let broker = Broker::start(&made, "");
    let mut socket = TcpStream::connect(broker.address).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert!(body.contains("https://"), "{body}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
}

#[tokio::test]
async fn browsers_are_held_to_tls_only_where_they_trust_it() {
    let made = certificate();
    let broker = Broker::start(&made, "");
    let page = get(&broker, &[&made], "/").await.to_lowercase();
    assert!(page.contains("strict-transport-security: max-age="), "{page}");
    let broker = Broker::start(&made, "tls.self_signed = true\n");
    let page = get(&broker, &[&made], "/").await.to_lowercase();
    assert!(!page.contains("strict-transport-security"), "{page}");
}

#[tokio::test]
async fn a_peer_over_tls_is_told_when_the_broker_stops() {
    let made = certificate();
    let broker = Broker::start(&made, "");
    let mut peer = peer(&broker, &[&made]).await;
    let told = async {
        assert!(hear(&mut peer).await.contains("\"shutting-down\""));
        let close = timeout(PATIENCE, peer.next()).await.unwrap().unwrap().unwrap();
        assert!(matches!(close, Message::Close(Some(frame)) if u16::from(frame.code) == 1001));
        // Reading on is what answers it.
        while let Ok(Some(Ok(_))) = timeout(Duration::from_secs(5), peer.next()).await {}
    };
    let (status, ()) = tokio::join!(broker.stop(), told);
    assert_eq!(status.code(), Some(0));
}
