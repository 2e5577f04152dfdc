//! Who may have what by HTTP, and what every response carries.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rovercast_signaling::access::{Algorithm, KeySettings, SigningKey};
use rovercast_signaling::web::WebSettings;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response};

use crate::client::{Broker, PATIENCE, Peer, config, limited, talkative};
use crate::pages::{connect_from, get, get_from};

const SECRET: &str = "of these tests alone, and long enough";

/// A broker that wants tokens.
async fn guarded() -> Broker {
    // One for each, since tests run side by side.
    static FILES: AtomicU32 = AtomicU32::new(0);
    let name = format!("front-secret-{}", FILES.fetch_add(1, Ordering::Relaxed));
    let secret_file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&secret_file, SECRET).unwrap();
    let mut config = config();
    config.access.keys = vec![KeySettings {
        id: "k".into(),
        algorithm: Algorithm::Hs256,
        secret_file: Some(secret_file),
        public_key_file: None,
    }];
    Broker::start(config).await
}

/// A token that is good for a minute, or was until a minute ago.
fn token(scope: &str, good: bool) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let exp = if good { now + 60 } else { now - 60 };
    let key = SigningKey::new("k", Algorithm::Hs256, SECRET.as_bytes()).unwrap();
    key.sign(&json!({"sub": "s", "scope": scope, "exp": exp})).unwrap()
}

fn bearing(scope: &str) -> String {
    format!("Authorization: Bearer {}\r\n", token(scope, true))
}

async fn robot(broker: &Broker, name: &str) -> Peer {
    let mut request = url(broker).into_client_request().unwrap();
    let value = format!("Bearer {}", token(&format!("publish:{name}"), true)).parse().unwrap();
    request.headers_mut().insert("Authorization", value);
    let mut robot = Peer::welcomed(connect_async(request).await.unwrap().0).await;
    let cameras = json!([{"id": "front"}, {"id": "rear"}]);
    let meta = json!({"name": name, "cameras": cameras});
    robot.say(json!({"type": "setPeerStatus", "roles": ["producer"], "meta": meta})).await;
    robot.hear_nothing_else().await;
    robot
}

fn url(broker: &Broker) -> String {
    format!("ws://{}/ws", broker.address)
}

/// A handshake with one more header.
async fn handshake(
    broker: &Broker,
    name: &'static str,
    value: &str,
) -> Result<(Peer, Response<Option<Vec<u8>>>), (u16, Value)> {
    let mut request = url(broker).into_client_request().unwrap();
    request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
    match connect_async(request).await {
        Ok((socket, response)) => Ok((Peer::welcomed(socket).await, response)),
        Err(Error::Http(response)) => {
            let body = serde_json::from_slice(response.body().as_deref().unwrap_or_default());
            Err((response.status().as_u16(), body.unwrap_or_default()))
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn robots_are_told_to_those_who_may_see_them() {
    let broker = guarded().await;
    let rover = robot(&broker, "rover-1").await;
    let _other = robot(&broker, "arm").await;
    let page = async |scope: &str| {
        let page = get(broker.address, "/api/robots", &bearing(scope)).await;
        assert_eq!(page.status, 200, "{}", page.body);
        assert_eq!(page.header("content-type"), "application/json");
        assert_eq!(page.header("cache-control"), "no-store");
        serde_json::from_str::<Value>(&page.body).unwrap()["robots"].clone()
    };
    let all = page("view:*").await;
    assert_eq!([&all[0]["name"], &all[1]["name"]], ["rover-1", "arm"]);
    let one = page("view:rover-*/rear").await;
    assert_eq!(one.as_array().unwrap().len(), 1, "{one}");
    assert_eq!((one[0]["id"].as_str(), &one[0]["name"]), (Some(&*rover.id), &json!("rover-1")));
    assert_eq!(one[0]["cameras"], json!([{"id": "rear"}]));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let since = one[0]["sinceUnixS"].as_u64().unwrap();
    assert!(since <= now && since + 60 > now, "{since} {now}");
    assert_eq!(page("publish:* metrics").await, json!([]));
}

#[tokio::test]
async fn what_is_asked_without_leave_is_refused() {
    let broker = guarded().await;
    let expired = format!("Authorization: Bearer {}\r\n", token("view:* metrics", false));
    for path in ["/api/robots", "/metrics"] {
        let answer = get(broker.address, path, "").await;
        assert_eq!(answer.code(), (401, "unauthorized".to_owned()));
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        let answer = get(broker.address, path, &expired).await;
        assert_eq!(answer.code(), (401, "token-expired".to_owned()));
    }
    let answer = get(broker.address, "/metrics", &bearing("view:*")).await;
    assert_eq!(answer.code(), (403, "forbidden".to_owned()));
    let figures = get(broker.address, "/metrics", &bearing("metrics")).await;
    assert_eq!(figures.status, 200);
    let refused = "rovercast_signaling_refusals_total{code=\"unauthorized\"} 2";
    assert!(figures.body.contains(refused), "{}", figures.body);
    // Whoever looks whether it is well needs no token.
    for (path, body) in [("/healthz", "ok"), ("/readyz", "ready")] {
        let answer = get(broker.address, path, "").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, body));
    }
}

#[tokio::test]
async fn a_broker_without_keys_tells_everybody() {
    let broker = Broker::start(config()).await;
    assert_eq!(get(broker.address, "/api/robots", "").await.body, "{\"robots\":[]}");
    let figures = get(broker.address, "/metrics", "").await;
    assert!(figures.header("content-type").contains("openmetrics"));
    assert!(figures.body.contains("rovercast_signaling_peers 0"), "{}", figures.body);
}

#[tokio::test]
async fn a_page_brings_its_token_as_a_subprotocol_that_does_not_come_back() {
    let broker = guarded().await;
    let offered = format!("rovercast, rovercast.bearer.{}", token("view:*", true));
    let (mut viewer, response) =
        handshake(&broker, "Sec-WebSocket-Protocol", &offered).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "rovercast");
    viewer.hear_nothing_else().await;
    let (status, said) =
        handshake(&broker, "Authorization", "Bearer made.up.token").await.err().unwrap();
    assert_eq!((status, said["code"].as_str()), (401, Some("unauthorized")));
    assert!(!said.to_string().contains("made.up"), "{said}");
}

#[tokio::test]
async fn every_response_is_fenced_in() {
    let broker = guarded().await;
    for path in ["/", "/app.js", "/nothing", "/healthz", "/metrics", "/api/robots"] {
        let answer = get(broker.address, path, "").await;
        for (name, part) in [
            ("content-security-policy", "default-src 'none'"),
            ("content-security-policy", "frame-ancestors 'none'"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("permissions-policy", "microphone=()"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert!(answer.header(name).contains(part), "{path} {name}");
        }
        assert!(!answer.header("content-security-policy").contains("unsafe"), "{path}");
        assert!(!answer.has("strict-transport-security"), "{path}");
    }
}

#[tokio::test]
async fn an_address_that_has_enough_is_told_so() {
    let broker = Broker::start(limited(|limits| limits.max_connections_per_address = 1)).await;
    let mut one = broker.peer().await;
    let answer = get(broker.address, "/healthz", "").await;
    assert_eq!(answer.code(), (429, "too-many-connections".to_owned()));
    one.hear_nothing_else().await;

    let broker = Broker::start(limited(|limits| limits.max_connections = 1)).await;
    let mut one = broker.peer().await;
    let answer = get(broker.address, "/healthz", "").await;
    assert_eq!(answer.code(), (503, "too-many-connections".to_owned()));
    one.hear_nothing_else().await;
}

#[tokio::test]
async fn a_trusted_proxy_tells_whose_connection_it_is() {
    let mut config = limited(|limits| limits.max_connections_per_address = 1);
    config.insecure = true;
    config.web = WebSettings { behind_proxy: true, ..WebSettings::default() };
    let broker = Broker::start(config.clone()).await;
    let from = async |hops: &str| handshake(&broker, "X-Forwarded-For", hops).await;
    let _one = from("192.0.2.1").await.unwrap();
    let (status, said) = from("203.0.113.7, 192.0.2.1").await.err().unwrap();
    assert_eq!((status, said["code"].as_str()), (429, Some("too-many-connections")));
    let _other = from("192.0.2.2").await.unwrap();
    // Nor has it leave for anything else, while others may ask as often as they like.
    let get = async |hops: &str| {
        get(broker.address, "/healthz", &format!("X-Forwarded-For: {hops}\r\n")).await
    };
    assert_eq!(get("192.0.2.1").await.code(), (429, "too-many-connections".to_owned()));
    for _ in 0..3 {
        assert_eq!(get("192.0.2.3").await.status, 200);
    }

    // Anybody else may claim what he likes.
    config.web.trusted_proxies = vec!["192.0.2.99".parse().unwrap()];
    let broker = Broker::start(config).await;
    let _one = handshake(&broker, "X-Forwarded-For", "192.0.2.1").await.unwrap();
    let (status, _) = handshake(&broker, "X-Forwarded-For", "192.0.2.2").await.err().unwrap();
    assert_eq!(status, 429);
}

#[tokio::test]
async fn a_head_that_is_too_long_is_not_read_to_its_end() {
    let broker = Broker::start(config()).await;
    let long = format!("X: {}\r\n", "x".repeat(20_000));
    assert_eq!(get(broker.address, "/healthz", &long).await.status, 431);
    let fits = format!("X: {}\r\n", "x".repeat(10_000));
    assert_eq!(get(broker.address, "/healthz", &fits).await.status, 200);
}

#[tokio::test]
async fn an_address_asks_as_much_as_one_peer_may_say() {
    let broker = Broker::start(limited(|limits| {
        limits.messages_per_s = 1;
        limits.message_burst = 30;
    }))
    .await;
    let mut answered = 0;
    let refused = loop {
        let answer = get(broker.address, "/api/robots", "").await;
        if answer.status != 200 {
            break answer;
        }
        answered += 1;
        assert!(answered < 100, "never refused");
    };
    assert_eq!(refused.code(), (429, "rate-limited".to_owned()));
    assert_eq!(refused.header("retry-after"), "5");
    assert!(answered >= 30, "{answered}");
    // What costs nothing is there, and others are untouched.
    assert_eq!(get(broker.address, "/healthz", "").await.status, 200);
    let other = async |path: &str| get_from([127, 0, 0, 9], broker.address, path, "").await;
    assert_eq!(other("/api/robots").await.status, 200);
    let counted = "rovercast_signaling_refusals_total{code=\"rate-limited\"} 1";
    let figures = other("/metrics").await.body;
    assert!(figures.lines().any(|line| line == counted), "{figures}");
}

#[tokio::test]
async fn a_long_list_costs_more() {
    let broker = Broker::start(limited(|limits| {
        limits.messages_per_s = 1;
        limits.message_burst = 100;
    }))
    .await;
    // 28 KiB: 7 messages more.
    let meta = json!({"name": "rover", "cameras": ["x".repeat(28 * 1024)]});
    let mut robot = broker.peer().await;
    robot.say(json!({"type": "setPeerStatus", "roles": ["producer"], "meta": meta})).await;
    robot.hear_nothing_else().await;
    let mut answered = 0;
    while get(broker.address, "/api/robots", "").await.status == 200 {
        answered += 1;
    }
    assert!((12..30).contains(&answered), "{answered}");
}

/// Longer than what the system keeps of it.
#[tokio::test]
async fn lists_that_are_not_read_do_not_pile_up() {
    let broker = Broker::start(talkative(|limits| {
        limits.max_message_bytes = 2 * 1024 * 1024;
        limits.max_meta_bytes = 1024 * 1024;
    }))
    .await;
    let mut robots = Vec::new();
    for number in 0..8 {
        let cameras = "x".repeat(1_000_000);
        let meta = json!({"name": format!("r{number}"), "cameras": cameras});
        let mut robot = broker.peer().await;
        robot.say(json!({"type": "setPeerStatus", "roles": ["producer"], "meta": meta})).await;
        robot.hear_nothing_else().await;
        robots.push(robot);
    }
    let waiting = async || {
        let page = get_from([127, 0, 0, 77], broker.address, "/metrics", "").await.body;
        let value =
            page.lines().find_map(|line| line.strip_prefix("rovercast_signaling_queued_bytes "));
        value.unwrap().parse::<f64>().unwrap()
    };
    let mut slow = connect_from([127, 0, 0, 1], broker.address).await;
    slow.write_all(b"GET /api/robots HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut read = vec![0; 12];
    timeout(PATIENCE, slow.read_exact(&mut read)).await.unwrap().unwrap();
    assert_eq!(read, b"HTTP/1.1 200");

    let refused = get(broker.address, "/api/robots", "").await;
    assert_eq!(refused.code(), (429, "rate-limited".to_owned()));
    assert!(waiting().await > 8_000_000.0);
    let other = get_from([127, 0, 0, 9], broker.address, "/api/robots", "").await;
    assert_eq!(other.status, 200);

    timeout(PATIENCE, slow.read_to_end(&mut read)).await.unwrap().unwrap();
    let text = String::from_utf8(read).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    assert_eq!(body, other.body);
    assert_eq!(serde_json::from_str::<Value>(body).unwrap()["robots"].as_array().unwrap().len(), 8);
    assert_eq!(waiting().await, 0.0);
    assert_eq!(get(broker.address, "/api/robots", "").await.status, 200);
}
