//! Who may have what by HTTP, and what every response carries.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rovercast_signaling::access::{Algorithm, KeySettings, SigningKey};
use rovercast_signaling::web::WebSettings;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response};

use crate::client::{Broker, Peer, config, limited};
use crate::pages::{Answer, get};

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

fn code(answer: &Answer) -> (u16, String) {
    let said: Value = serde_json::from_str(&answer.body).unwrap();
    assert!(said["details"].as_str().is_some_and(|details| !details.is_empty()), "{said}");
    (answer.status, said["code"].as_str().unwrap().to_owned())
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
        assert_eq!(code(&answer), (401, "unauthorized".to_owned()));
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        let answer = get(broker.address, path, &expired).await;
        assert_eq!(code(&answer), (401, "token-expired".to_owned()));
    }
    let answer = get(broker.address, "/metrics", &bearing("view:*")).await;
    assert_eq!(code(&answer), (403, "forbidden".to_owned()));
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
    assert_eq!(code(&answer), (429, "too-many-connections".to_owned()));
    one.hear_nothing_else().await;

    let broker = Broker::start(limited(|limits| limits.max_connections = 1)).await;
    let mut one = broker.peer().await;
    let answer = get(broker.address, "/healthz", "").await;
    assert_eq!(code(&answer), (503, "too-many-connections".to_owned()));
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
