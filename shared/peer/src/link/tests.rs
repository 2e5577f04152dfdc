use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::{SinkExt, StreamExt};
use rcgen::{CertificateParams, KeyPair, generate_simple_self_signed};
use rovercast_protocol::signaling::{BrokerMessage, PeerRequest, PeerRole, PeerStatus};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::*;

const WELCOME: &str = r#"{"type":"welcome","peerId":"me"}"#;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// The other end of a link: one connection after the other, by hand.
struct Broker {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Broker {
    async fn plain() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), tls: None }
    }

    async fn encrypted(certificate: CertificateDer<'static>, key: &KeyPair) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Self { tls: Some(TlsAcceptor::from(Arc::new(config))), ..Self::plain().await }
    }

    fn target(&self, host: &str) -> Target {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let port = self.listener.local_addr().unwrap().port();
        Target::from(format!("{scheme}://{host}:{port}/ws"))
    }

    async fn stream(&self) -> Box<dyn Stream> {
        loop {
            let (stream, _) = self.listener.accept().await.unwrap();
            match &self.tls {
                None => return Box::new(stream),
                // A client that does not like the certificate hangs up.
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => return Box::new(stream),
                    Err(_) => continue,
                },
            }
        }
    }

    /// The next connection, welcomed and registered, and what it had for `Authorization`.
    async fn accept(&self, welcome: &str) -> (WebSocketStream<Box<dyn Stream>>, Option<String>) {
        let mut authorization = None;
        #[allow(clippy::result_large_err)]
        let look = |request: &Request, response: Response| {
            let header = request.headers().get("authorization");
            authorization = header.map(|value| value.to_str().unwrap().to_owned());
            Ok(response)
        };
        let mut socket = accept_hdr_async(self.stream().await, look).await.unwrap();
        socket.send(Message::text(welcome)).await.unwrap();
        assert!(matches!(heard(&mut socket).await, PeerRequest::SetPeerStatus(_)));
        (socket, authorization)
    }

    /// Answers the next handshake by HTTP alone, and waits until the peer has hung up.
    async fn refuse(&self, status: &str, body: &str) {
        let mut stream = self.stream().await;
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        while stream.read(&mut [0; 1024]).await.is_ok_and(|bytes| bytes > 0) {}
    }
}

/// The next request of a peer.
async fn heard(socket: &mut WebSocketStream<Box<dyn Stream>>) -> PeerRequest {
    loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            return PeerRequest::parse(&text).unwrap();
        }
    }
}

fn status(roles: &[PeerRole]) -> PeerStatus {
    PeerStatus { roles: roles.to_vec(), ..PeerStatus::default() }
}

fn start(target: Target) -> (Link, mpsc::Receiver<LinkEvent>) {
    Link::start(target, status(&[PeerRole::Listener]))
}

/// Why the link is down.
async fn down(events: &mut mpsc::Receiver<LinkEvent>) -> String {
    match events.recv().await.unwrap() {
        LinkEvent::Down(reason) => reason,
        event => panic!("{event:?}"),
    }
}

/// A file of this test alone.
struct TestFile(PathBuf);

impl TestFile {
    fn new(text: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rovercast-link-{}-{count}", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_broker_is_known_by_who_signed_its_certificate_and_its_name() {
    let signed = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let broker = Broker::encrypted(signed.cert.der().clone(), &signed.signing_key).await;
    let ca = TestFile::new(&signed.cert.pem());
    let target = Target { ca_file: Some(ca.0.clone()), ..broker.target("localhost") };
    let (_link, mut events) = start(target);
    let (_socket, _) = broker.accept(WELCOME).await;
    assert!(matches!(events.recv().await, Some(LinkEvent::Up(_))));

    // Another name; nobody that this computer knows; a file without a certificate.
    let none = TestFile::new("nothing");
    let known = Some(ca.0.clone());
    for (host, ca_file, says) in [
        ("127.0.0.1", known, "by the name that is in it"),
        ("localhost", None, "tls_fingerprint"),
        ("localhost", Some(none.0.clone()), "PEM"),
    ] {
        let (_link, mut events) = start(Target { ca_file, ..broker.target(host) });
        let reason = tokio::select! {
            reason = down(&mut events) => reason,
            _ = broker.stream() => panic!("connected to {host}"),
        };
        assert!(reason.contains(says), "{reason}");
    }
}

#[tokio::test]
async fn a_pinned_certificate_is_taken_whoever_signed_it_and_no_other() {
    let key = KeyPair::generate().unwrap();
    let pinned =
        CertificateParams::new(["elsewhere".to_owned()]).unwrap().self_signed(&key).unwrap();
    let other =
        CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let broker = Broker::encrypted(pinned.der().clone(), &key).await;
    let of = |der: &CertificateDer<'_>| Target {
        tls_fingerprint: Some(Fingerprint::of(der)),
        ..broker.target("localhost")
    };
    let (_link, mut events) = start(of(pinned.der()));
    let (_socket, _) = broker.accept(WELCOME).await;
    assert!(matches!(events.recv().await, Some(LinkEvent::Up(_))));

    let (_link, mut events) = start(of(other.der()));
    let reason = tokio::select! {
        reason = down(&mut events) => reason,
        _ = broker.stream() => panic!("connected"),
    };
    assert!(reason.contains(&Fingerprint::of(pinned.der()).to_string()), "{reason}");
}

#[tokio::test]
async fn a_token_goes_along_and_a_renewed_one_is_used() {
    let broker = Broker::plain().await;
    let token = TestFile::new("first.token\n");
    let target = Target { token_file: Some(token.0.clone()), ..broker.target("127.0.0.1") };
    let (_link, mut events) = start(target);
    let (socket, authorization) = broker.accept(WELCOME).await;
    assert_eq!(authorization.as_deref(), Some("Bearer first.token"));
    assert!(matches!(events.recv().await, Some(LinkEvent::Up(_))));
    token.write("second.token");
    drop(socket);
    let (_socket, authorization) = broker.accept(WELCOME).await;
    assert_eq!(authorization.as_deref(), Some("Bearer second.token"));

    for (text, says) in [("", "no token"), ("two\nlines", "no token")] {
        token.write(text);
        let target = Target { token_file: Some(token.0.clone()), ..broker.target("127.0.0.1") };
        let (_link, mut events) = start(target);
        let reason = down(&mut events).await;
        assert!(reason.contains(says) && !reason.contains("lines"), "{reason}");
    }
}

#[tokio::test]
async fn a_refused_handshake_is_told_with_its_reason() {
    let broker = Broker::plain().await;
    let token = TestFile::new("s3cret");
    let target = Target { token_file: Some(token.0.clone()), ..broker.target("127.0.0.1") };
    let (_link, mut events) = start(target);
    broker.refuse("401 Unauthorized", r#"{"code":"token-expired","details":"it was"}"#).await;
    let reason = down(&mut events).await;
    assert!(reason.contains("it was") && reason.contains("token_file"), "{reason}");
    assert!(!reason.contains("s3cret"), "{reason}");

    let (_link, mut events) = start(broker.target("127.0.0.1"));
    broker.refuse("503 Service Unavailable", "<html>").await;
    assert!(down(&mut events).await.contains("503"));
}

#[tokio::test]
async fn an_error_that_ends_a_connection_is_the_reason() {
    let broker = Broker::plain().await;
    let error =
        |code| Message::text(format!(r#"{{"type":"error","code":"{code}","details":"d"}}"#));
    for (role, code) in [(PeerRole::Listener, "token-expired"), (PeerRole::Producer, "forbidden")] {
        let (_link, mut events) = Link::start(broker.target("127.0.0.1"), status(&[role]));
        let (mut socket, _) = broker.accept(WELCOME).await;
        assert!(matches!(events.recv().await, Some(LinkEvent::Up(_))));
        socket.send(error(code)).await.unwrap();
        assert!(down(&mut events).await.contains("token"), "{code}");
        assert!(!matches!(socket.next().await, Some(Ok(Message::Text(_)))), "{code}");
    }

    // A viewer that may not see one robot goes on.
    let (_link, mut events) = start(broker.target("127.0.0.1"));
    let (mut socket, _) = broker.accept(WELCOME).await;
    socket.send(error("forbidden")).await.unwrap();
    assert!(matches!(events.recv().await, Some(LinkEvent::Up(_))));
    let Some(LinkEvent::Message(BrokerMessage::Error(_))) = events.recv().await else {
        panic!("the error is not passed on");
    };
}

#[tokio::test]
async fn a_connection_that_a_broker_ends_is_told_with_its_reason() {
    let error = |code| format!(r#"{{"type":"error","code":"{code}","details":"why"}}"#);
    for (code, ends) in
        [("too-slow", true), ("too-fast", true), ("rate-limited", false), ("too-large", false)]
    {
        let broker = Broker::plain().await;
        let (_link, mut events) = start(broker.target("127.0.0.1"));
        let (mut socket, _) = broker.accept(WELCOME).await;
        assert!(matches!(events.recv().await, Some(LinkEvent::Up(_))));
        socket.send(Message::text(error(code))).await.unwrap();
        if !ends {
            // It may be why the connection ends, and mostly is not.
            let Some(LinkEvent::Message(_)) = events.recv().await else { panic!("{code}") };
        }
        socket.close(None).await.unwrap();
        assert_eq!(down(&mut events).await, "the broker says: why", "{code}");
    }
    // It went on after that: it is not why it ends.
    let broker = Broker::plain().await;
    let (_link, mut events) = start(broker.target("127.0.0.1"));
    let (mut socket, _) = broker.accept(WELCOME).await;
    assert!(matches!(events.recv().await, Some(LinkEvent::Up(_))));
    let list = r#"{"type":"list","producers":[]}"#.to_owned();
    for text in [error("rate-limited"), list, error("unknown-peer")] {
        socket.send(Message::text(text)).await.unwrap();
        let Some(LinkEvent::Message(_)) = events.recv().await else { panic!("not passed on") };
    }
    socket.close(None).await.unwrap();
    assert_eq!(down(&mut events).await, "the broker closed");
}

#[tokio::test]
async fn a_broker_that_hangs_up_before_tls_may_have_enough_of_connections() {
    let key = KeyPair::generate().unwrap();
    let made = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let broker = Broker::encrypted(made.der().clone(), &key).await;
    let (_link, mut events) = start(broker.target("localhost"));
    drop(broker.listener.accept().await.unwrap());
    let reason = down(&mut events).await;
    assert!(reason.contains("as many connections as it takes"), "{reason}");
}

#[tokio::test]
async fn an_attempt_that_is_refused_does_not_take_another_along() {
    let broker = Broker::plain().await;
    let (_link, mut events) = start(broker.target("127.0.0.1"));
    // So slow that the peer begins a second attempt, for which it has too much to do.
    let slow = broker.stream().await;
    broker
        .refuse("503 Service Unavailable", r#"{"code":"too-many-connections","details":"d"}"#)
        .await;
    let mut socket = tokio_tungstenite::accept_async(slow).await.unwrap();
    socket.send(Message::text(WELCOME)).await.unwrap();
    let first = events.recv().await;
    assert!(matches!(first, Some(LinkEvent::Up(_))), "{first:?}");
}

#[tokio::test]
async fn ice_servers_are_renewed_before_they_expire() {
    let broker = Broker::plain().await;
    let (_link, mut events) = start(broker.target("127.0.0.1"));
    let welcome = r#"{"type":"welcome","peerId":"me","iceServersTtlS":2}"#;
    let (mut socket, _) = broker.accept(welcome).await;
    assert!(matches!(events.recv().await, Some(LinkEvent::Up(_))));
    assert_eq!(heard(&mut socket).await, PeerRequest::GetIceServers);
    let fresh = r#"{"type":"iceServers","iceServers":[{"urls":["turn:t"]}],"iceServersTtlS":2}"#;
    socket.send(Message::text(fresh)).await.unwrap();
    let Some(LinkEvent::IceServers(servers)) = events.recv().await else { panic!("none") };
    assert_eq!(servers[0].urls, ["turn:t"]);
    assert_eq!(heard(&mut socket).await, PeerRequest::GetIceServers, "and so on");
}

/// Answers pings, and waits until a peer has sent so many of them.
async fn answer(socket: &mut WebSocketStream<Box<dyn Stream>>, pings: usize) {
    for _ in 0..pings {
        // The answer itself is written when the next frame is read.
        while !matches!(socket.next().await.unwrap().unwrap(), Message::Ping(_)) {}
        socket.flush().await.unwrap();
    }
}

#[tokio::test]
async fn a_doubted_broker_that_answers_is_kept() {
    let broker = Broker::plain().await;
    let (link, mut events) = start(broker.target("127.0.0.1"));
    let (mut socket, _) = broker.accept(WELCOME).await;
    assert!(matches!(events.recv().await, Some(LinkEvent::Up(_))));
    link.doubt(true);
    tokio::select! {
        () = answer(&mut socket, 20) => {}
        _ = broker.accept(WELCOME) => panic!("another connection was made"),
        event = events.recv() => panic!("{event:?}"),
    }
}

#[tokio::test]
async fn a_doubted_broker_that_is_silent_is_replaced_by_one_that_is_not() {
    let broker = Broker::plain().await;
    let (link, mut events) = start(broker.target("127.0.0.1"));
    // Neither closed nor read: what a way looks like that is lost.
    let (_lost, _) = broker.accept(WELCOME).await;
    assert!(matches!(events.recv().await, Some(LinkEvent::Up(_))));
    link.doubt(true);
    let (mut socket, _) = broker.accept(WELCOME).await;
    assert!(down(&mut events).await.contains("on another connection only"));
    assert!(matches!(events.recv().await, Some(LinkEvent::Up(_))));
    answer(&mut socket, 1).await;
}
