//! What the broker serves to browsers.

use std::net::SocketAddr;

use rovercast_signaling::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::{Error, client::IntoClientRequest};

use crate::client::{Broker, PATIENCE, Peer, config};
use crate::http::request;

#[tokio::test]
async fn the_root_is_the_viewer_or_the_websocket() {
    let broker = Broker::start(config()).await;
    let page = get(broker.address, "/", "").await;
    assert_eq!(page.status, 200);
    assert!(page.body.to_lowercase().contains("<!doctype html>"), "{}", page.body);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("cache-control"), "no-cache");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(get(broker.address, "/index.html", "").await.body, page.body);

    Peer::connect(&format!("ws://{}/", broker.address)).await;
    let half = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    for (path, headers) in [("/", half), ("/ws", half), ("/ws", "")] {
        let broken = get(broker.address, path, headers).await;
        assert_eq!(broken.code(), (400, "malformed".to_owned()), "{path} {headers}");
    }
}

#[tokio::test]
async fn web_pages_of_other_servers_may_not_connect() {
    let allow_origins = vec!["https://ops.example.org".to_owned()];
    let broker = Broker::start(Config { allow_origins, ..config() }).await;
    let own = format!("http://{}", broker.address);
    for (origin, welcome) in [
        (own.as_str(), true),
        ("https://ops.example.org", true),
        ("https://evil.example", false),
        ("null", false),
        ("", false),
    ] {
        for path in ["", "/ws"] {
            let url = format!("ws://{}{path}", broker.address);
            let mut request = url.into_client_request().unwrap();
            request.headers_mut().insert("Origin", origin.parse().unwrap());
            match connect_async(request).await {
                Ok(_) => assert!(welcome, "{origin}"),
                Err(Error::Http(refusal)) => {
                    assert!(!welcome && refusal.status() == 403, "{origin}")
                }
                Err(error) => panic!("{origin}: {error}"),
            }
        }
    }
}

/// A name of somebody's own may lead to this computer, and his page in there.
#[tokio::test]
async fn a_page_by_another_name_may_connect_only_where_everybody_may() {
    for (insecure, welcome) in [(false, false), (true, true)] {
        let broker = Broker::start(Config { insecure, ..config() }).await;
        let mut request = format!("ws://{}/ws", broker.address).into_client_request().unwrap();
        request.headers_mut().insert("Host", "evil.example:8765".parse().unwrap());
        request.headers_mut().insert("Origin", "http://evil.example:8765".parse().unwrap());
        match connect_async(request).await {
            Ok(_) => assert!(welcome),
            Err(Error::Http(refusal)) => assert!(!welcome && refusal.status() == 403),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Of its own server, as it believes, such a page asks without an origin.
#[tokio::test]
async fn a_page_by_another_name_is_told_only_where_everybody_is() {
    for insecure in [false, true] {
        let broker = Broker::start(Config { insecure, ..config() }).await;
        let ask = async |path: &str, host: &str| {
            get_from([127, 0, 0, 1], broker.address, path, host).await
        };
        for path in ["/api/robots", "/metrics"] {
            for host in ["evil.example:8765", "localhost.evil.example", "x", ""] {
                let answer = ask(path, &format!("Host: {host}\r\n")).await;
                match insecure {
                    true => assert_eq!(answer.status, 200, "{path} {host}"),
                    false => assert_eq!(answer.code(), (403, "forbidden".to_owned()), "{host}"),
                }
            }
            for known in ["Host: 127.0.0.1\r\n", "Host: LocalHost:9\r\n", "Host: [::1]:9\r\n", ""] {
                // HTTP before 1.1 has no such header.
                assert_eq!(ask(path, known).await.status, 200, "{path} {known}");
            }
        }
        assert_eq!(ask("/healthz", "Host: evil.example\r\n").await.status, 200);
    }
}

#[tokio::test]
async fn pages_are_not_sent_twice() {
    let broker = Broker::start(config()).await;
    let first = get(broker.address, "/", "").await;
    let tag = format!("If-None-Match: \"other\", W/{}\r\n", first.header("etag"));
    let second = get(broker.address, "/", &tag).await;
    assert_eq!((second.status, second.body.as_str()), (304, ""));
    assert_eq!(second.header("etag"), first.header("etag"));
    assert_eq!(get(broker.address, "/", "If-None-Match: \"other\"\r\n").await.status, 200);
}

#[tokio::test]
async fn scripts_have_their_type() {
    let broker = Broker::start(config()).await;
    let script = get(broker.address, "/app.js", "").await;
    assert_eq!(script.status, 200);
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
}

#[tokio::test]
async fn health_is_told_and_nothing_else_is_there() {
    let broker = Broker::start(config()).await;
    let health = get(broker.address, "/healthz", "").await;
    assert_eq!((health.status, health.body.as_str()), (200, "ok"));
    for path in ["/nothing", "/../Cargo.toml", "/%2e%2e/Cargo.toml", "//index.html/", "/healthz/"] {
        assert_eq!(get(broker.address, path, "").await.status, 404, "{path}");
    }
    for path in ["/", "/app.js", "/ws", "/healthz", "/metrics", "/api/robots"] {
        let refused = request(broker.address, "POST", path, "", "").await;
        assert_eq!((refused.status, refused.code().as_str()), (405, "unknown-type"), "{path}");
        assert_eq!(refused.header("allow"), "GET,HEAD", "{path}");
    }
}

/// What was answered to a request.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = |line: &'_ str| line.split_once(": ").is_some_and(|(found, _)| found == name);
        let line = self.head.lines().find(|line| value(line));
        line.unwrap_or_else(|| panic!("no {name}: {}", self.head)).split_once(": ").unwrap().1
    }
}

impl Answer {
    /// Status and code of a refusal, which must have a remedy, too.
    pub(crate) fn code(&self) -> (u16, String) {
        let said: serde_json::Value = serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.body));
        assert!(said["details"].as_str().is_some_and(|details| !details.is_empty()), "{said}");
        (self.status, said["code"].as_str().unwrap_or_default().to_owned())
    }

    /// Whether it carries this header.
    pub(crate) fn has(&self, name: &str) -> bool {
        let value = |line: &str| line.split_once(": ").is_some_and(|(found, _)| found == name);
        self.head.lines().any(value)
    }
}

/// Asks for a page; `headers` are lines of the request.
pub(crate) async fn get(address: SocketAddr, path: &str, headers: &str) -> Answer {
    let headers = format!("Host: {address}\r\n{headers}");
    get_from([127, 0, 0, 1], address, path, &headers).await
}

/// The same from one of this computer's addresses, with nothing but these headers.
pub(crate) async fn get_from(
    host: [u8; 4],
    broker: SocketAddr,
    path: &str,
    headers: &str,
) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    let mut stream = connect_from(host, broker).await;
    let mut text = Vec::new();
    let asked = async {
        let _ = stream.write_all(request.as_bytes()).await;
        // A broker that refuses does not read everything: what it said came before.
        let _ = stream.read_to_end(&mut text).await;
    };
    timeout(PATIENCE, asked).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// A connection from one of this computer's addresses.
pub(crate) async fn connect_from(host: [u8; 4], broker: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((host, 0))).unwrap();
    timeout(PATIENCE, socket.connect(broker)).await.unwrap().unwrap()
}
