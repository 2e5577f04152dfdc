//! WHEP: what a standard player says over HTTP is an ordinary session for a robot.

use std::net::SocketAddr;

use rovercast_protocol::signaling::IceServer;
use rovercast_signaling::{Config, whep};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Broker, PATIENCE, Peer, config, ice, limited};
use crate::http::{Answer, request};
use crate::pages::{connect_from, get};

pub(crate) const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=recvonly\r\n";
const ANSWER: &str = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n";
pub(crate) const HOST: &str = "candidate:1 1 UDP 2015363327 192.0.2.1 46304 typ host";
pub(crate) const SDP: &str = "Content-Type: application/sdp\r\n";
pub(crate) const FRAGMENT: &str = "Content-Type: application/trickle-ice-sdpfrag\r\n";

/// A robot that is registered by this name.
async fn robot(broker: &Broker, name: &str) -> Peer {
    let mut robot = broker.peer().await;
    let meta = json!({"name": name, "kind": "robot", "cameras": []});
    robot.say(json!({"type": "setPeerStatus", "roles": ["producer"], "meta": meta})).await;
    robot.hear_nothing_else().await;
    robot
}

/// Has `robot` play for who posts an offer to `path`. Returns the response, what the robot was asked
/// for, and the session.
async fn play(broker: &Broker, robot: &mut Peer, path: &str, all: bool) -> (Answer, Value, String) {
    play_as(broker.address, robot, path, SDP, all).await
}

/// The same with other headers.
pub(crate) async fn play_as(
    broker: SocketAddr,
    robot: &mut Peer,
    path: &str,
    headers: &str,
    all: bool,
) -> (Answer, Value, String) {
    let posted = request(broker, "POST", path, headers, OFFER);
    let answered = async {
        let start = robot.hear_a("startSession").await;
        let session = start["sessionId"].as_str().unwrap().to_owned();
        let answer = json!({"type": "answer", "sdp": ANSWER});
        robot.say(json!({"type": "peer", "sessionId": session, "sdp": answer})).await;
        for candidate in [HOST, ""].into_iter().take(if all { 2 } else { 1 }) {
            let ice = json!({"candidate": candidate, "sdpMLineIndex": 0});
            robot.say(json!({"type": "peer", "sessionId": session, "ice": ice})).await;
        }
        (start, session)
    };
    let (posted, (start, session)) = tokio::join!(posted, answered);
    (posted, start, session)
}

/// A request whose body the broker waits for.
async fn begin(broker: SocketAddr, method: &str, path: &str, headers: &str) -> TcpStream {
    let mut stream = connect_from([127, 0, 0, 1], broker).await;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {broker}\r\n{headers}Content-Length: {}\r\n\
         Expect: 100-continue\r\nConnection: close\r\n\r\n",
        OFFER.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let wanted = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut said = vec![0; wanted.len()];
    timeout(PATIENCE, stream.read_exact(&mut said)).await.unwrap().unwrap();
    assert_eq!(said, wanted);
    stream
}

/// What is answered once the body has come.
async fn finish(mut stream: TcpStream, body: &str) -> String {
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut said = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut said)).await.unwrap().unwrap();
    said
}

#[tokio::test]
async fn a_player_gets_a_session_trickles_and_ends_it() {
    let server = IceServer {
        urls: vec!["turn:t:3478".into()],
        username: Some("u".into()),
        credential: Some("c".into()),
    };
    let broker = Broker::start(Config { ice_servers: vec![server], ..config() }).await;
    let mut robot = robot(&broker, "rover").await;
    let (created, start, session) = play(&broker, &mut robot, "/whep/rover/front", true).await;
    assert_eq!((start["offer"].as_str(), &start["cameras"]), (Some(OFFER), &json!(["front"])));
    assert_eq!(created.status, 201, "{created:?}");
    // Nobody listed all robots to find this one.
    let figures = get(broker.address, "/metrics", "").await.body;
    assert!(figures.contains("messages_total{direction=\"in\",type=\"list\"} 0\n"), "{figures}");
    assert_eq!(created.header("content-type"), "application/sdp");
    assert_eq!(created.body, format!("{ANSWER}a={HOST}\r\na=end-of-candidates\r\n"));
    let link = "<turn:t:3478>; rel=\"ice-server\"; username=\"u\"; credential=\"c\"; \
                credential-type=\"password\"";
    assert_eq!(created.headers("link").collect::<Vec<_>>(), [link]);
    let (place, etag) = (created.header("location"), created.header("etag"));
    assert!(place.starts_with("/whep/rover/sessions/"), "{place}");
    let address = broker.address;

    let trickled = format!("a=ice-ufrag:EsAw\r\nm=video 9 x 0\r\na=mid:0\r\na={HOST}\r\n");
    let current = format!("{FRAGMENT}If-Match: {etag}\r\n");
    assert_eq!(request(address, "PATCH", place, &current, &trickled).await.status, 204);
    let heard = robot.hear_a("peer").await;
    assert_eq!((&heard["sessionId"], &heard["ice"]["candidate"]), (&json!(session), &json!(HOST)));
    let end = "a=end-of-candidates\r\n";
    assert_eq!(request(address, "PATCH", place, FRAGMENT, end).await.status, 204);
    assert_eq!(robot.hear_a("peer").await["ice"]["candidate"], "");

    let restart = "a=ice-ufrag:other\r\na=ice-pwd:x\r\n";
    for (headers, body, status) in [
        (FRAGMENT, restart, 422),
        (FRAGMENT, "nonsense", 400),
        ("Content-Type: application/json\r\n", "{}", 415),
        (&*format!("{FRAGMENT}If-Match: \"other\"\r\n"), end, 412),
    ] {
        let refused = request(address, "PATCH", place, headers, body).await;
        assert_eq!(refused.status, status, "{headers}{body}");
        refused.code();
    }
    let elsewhere = place.replace("rover", "other");
    assert_eq!(request(address, "DELETE", &elsewhere, "", "").await.status, 404);
    robot.hear_nothing_else().await;

    assert_eq!(request(address, "DELETE", place, "", "").await.status, 200);
    let end = json!({"type": "endSession", "sessionId": session, "reason": "ended"});
    assert_eq!(robot.hear().await, end);
    for method in ["DELETE", "PATCH"] {
        let gone = request(address, method, place, FRAGMENT, "").await;
        assert_eq!((gone.status, gone.code().as_str()), (404, "unknown-session"));
    }
    robot.hear_nothing_else().await;
}

#[tokio::test]
async fn the_robot_of_that_name_is_called() {
    let broker = Broker::start(config()).await;
    let mut others = [robot(&broker, "rover-2").await, robot(&broker, "Rover").await];
    let mut old = robot(&broker, "rover").await;
    let mut new = robot(&broker, "rover").await;
    old.hear_end().await;
    assert_eq!(play(&broker, &mut new, "/whep/rover", true).await.0.status, 201);
    for other in &mut others {
        other.hear_nothing_else().await;
    }
    drop(new);
    for path in ["/whep/rover", "/whep/rover-20"] {
        loop {
            let refused = request(broker.address, "POST", path, SDP, OFFER).await;
            // The broker may hear a moment later that the robot has left.
            if refused.status == 404 {
                assert_eq!(refused.code(), "unknown-peer");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_session_ends_though_somebody_is_about_to_send_candidates() {
    let broker = Broker::start(config()).await;
    let mut robot = robot(&broker, "rover").await;
    let (created, _, session) = play(&broker, &mut robot, "/whep/rover", true).await;
    let place = created.header("location");
    let patching = begin(broker.address, "PATCH", place, FRAGMENT).await;
    assert_eq!(request(broker.address, "DELETE", place, "", "").await.status, 200);
    assert_eq!(robot.hear_a("endSession").await["sessionId"], session);
    let said = finish(patching, OFFER).await;
    assert!(said.starts_with("HTTP/1.1 404"), "{said}");
    robot.hear_nothing_else().await;
}

#[tokio::test]
async fn who_is_about_to_send_an_offer_takes_nobodys_place() {
    let whep = whep::Settings { max_sessions_per_address: 1, ..whep::Settings::default() };
    let broker = Broker::start(Config { whep, ..config() }).await;
    let mut robot = robot(&broker, "rover").await;
    let slow = begin(broker.address, "POST", "/whep/rover", SDP).await;
    assert_eq!(play(&broker, &mut robot, "/whep/rover", true).await.0.status, 201);
    let said = finish(slow, OFFER).await;
    assert!(said.starts_with("HTTP/1.1 429") && said.contains("too-many-sessions"), "{said}");
    robot.hear_nothing_else().await;
}

#[tokio::test]
async fn candidates_count_as_messages() {
    let broker = Broker::start(limited(|limits| {
        limits.messages_per_s = 1;
        limits.message_burst = 100;
    }))
    .await;
    let mut robot = robot(&broker, "rover").await;
    let (created, ..) = play(&broker, &mut robot, "/whep/rover", true).await;
    let place = created.header("location");
    // 20 for the session, and 65 for each.
    let many = format!("a={HOST}\r\n").repeat(64);
    for status in [204, 204, 429] {
        let patched = request(broker.address, "PATCH", place, FRAGMENT, &many).await;
        assert_eq!(patched.status, status, "{patched:?}");
        if status == 429 {
            assert_eq!(patched.code(), "rate-limited");
        } else {
            for _ in 0..64 {
                robot.hear_a("peer").await;
            }
        }
    }
}

#[tokio::test]
async fn candidates_are_not_waited_for_long() {
    let whep = whep::Settings { gather_ms: 0, ..whep::Settings::default() };
    let broker = Broker::start(Config { whep, ..config() }).await;
    let mut robot = robot(&broker, "rover").await;
    let (created, start, _) = play(&broker, &mut robot, "/whep/rover", false).await;
    assert_eq!(start.get("cameras"), None, "as many as the offer takes");
    assert_eq!(created.status, 201);
    assert!(created.body.starts_with(ANSWER) && !created.body.contains("end-of-candidates"));
}

#[tokio::test]
async fn a_session_ends_with_its_robot() {
    let broker = Broker::start(config()).await;
    for leaves in [true, false] {
        let mut robot = robot(&broker, "rover").await;
        let (created, _, session) = play(&broker, &mut robot, "/whep/rover", true).await;
        let place = created.header("location");
        if leaves {
            robot.socket.close(None).await.unwrap();
            robot.hear_end().await;
        } else {
            robot.say(json!({"type": "endSession", "sessionId": session})).await;
            robot.hear_nothing_else().await;
            robot.say(ice(&session, 10)).await;
            robot.hear_nothing_else().await;
        }
        // The session's task may hear of it a moment later.
        loop {
            let patched = request(broker.address, "PATCH", place, FRAGMENT, "").await;
            if patched.status == 404 {
                break;
            }
            assert_eq!(patched.status, 204);
        }
    }
    broker.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_a_reason() {
    let whep = whep::Settings { max_sessions_per_address: 2, ..whep::Settings::default() };
    let broker = Broker::start(Config { whep, ..config() }).await;
    let mut robot = robot(&broker, "rover").await;
    let address = broker.address;
    let long = format!("{OFFER}{}", "a=x\r\n".repeat(20_000));
    let json_wanted = format!("{SDP}Accept: application/json\r\n");
    for (path, headers, body, status, code) in [
        ("/whep/rover", "", OFFER, 415, "malformed"),
        ("/whep/rover", "Content-Type: text/plain\r\n", OFFER, 415, "malformed"),
        ("/whep/rover", &*json_wanted, OFFER, 406, "not-acceptable"),
        ("/whep/rover", SDP, "", 400, "bad-sdp"),
        ("/whep/rover", SDP, "{}", 400, "bad-sdp"),
        ("/whep/rover", SDP, &OFFER.replace("m=video", "m=audio"), 400, "bad-sdp"),
        ("/whep/rover", SDP, &*long, 413, "too-large"),
        ("/whep/away", SDP, OFFER, 404, "unknown-peer"),
        ("/whep/.", SDP, OFFER, 404, "unknown-peer"),
        ("/whep/rover/a%20b", SDP, OFFER, 404, "unknown-peer"),
        ("/whep/%ff", SDP, OFFER, 400, "malformed"),
        ("/whep/rover/%ff", SDP, OFFER, 400, "malformed"),
    ] {
        let refused = request(address, "POST", path, headers, body).await;
        assert_eq!(refused.status, status, "{path} {headers}: {refused:?}");
        assert_eq!(refused.code(), code, "{path} {headers}");
    }
    for method in ["GET", "PUT", "PATCH", "DELETE"] {
        let refused = request(address, method, "/whep/rover", "", "").await;
        assert_eq!((refused.status, refused.code().as_str()), (405, "unknown-type"), "{method}");
        assert_eq!(refused.header("allow"), "POST");
    }
    let mut broken = connect_from([127, 0, 0, 1], address).await;
    let head = format!("POST /whep/rover HTTP/1.1\r\n{SDP}Transfer-Encoding: chunked\r\n\r\n");
    broken.write_all(head.as_bytes()).await.unwrap();
    let said = finish(broken, "no length\r\n").await;
    assert!(said.starts_with("HTTP/1.1 400") && said.contains("\"malformed\""), "{said}");
    robot.hear_nothing_else().await;

    // The robot's own words, and what became of its session.
    for (code, status) in [("not-acceptable", 406), ("unknown-camera", 404), ("bad-sdp", 400)] {
        let posted = request(address, "POST", "/whep/rover", SDP, OFFER);
        let refuse = async {
            let session = robot.hear_a("startSession").await["sessionId"].clone();
            let error =
                json!({"type": "error", "details": "d", "code": code, "sessionId": session});
            robot.say(error).await;
            robot.hear_a("endSession").await;
        };
        let (refused, ()) = tokio::join!(posted, refuse);
        assert_eq!((refused.status, refused.code().as_str()), (status, code));
    }
    let posted = request(address, "POST", "/whep/rover", SDP, OFFER);
    let hang_up = async {
        let session = robot.hear_a("startSession").await["sessionId"].clone();
        robot.say(json!({"type": "endSession", "sessionId": session})).await;
    };
    let (refused, ()) = tokio::join!(posted, hang_up);
    assert_eq!((refused.status, refused.code().as_str()), (503, "internal"));
    for _ in 0..2 {
        assert_eq!(play(&broker, &mut robot, "/whep/rover", true).await.0.status, 201);
    }
    let refused = request(address, "POST", "/whep/rover", SDP, OFFER).await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "too-many-sessions"));
    assert_eq!(refused.header("retry-after"), "5");
    broker.stop().await;
}

#[tokio::test]
async fn pages_of_other_servers_are_fenced_off() {
    let allow_origins = vec!["https://ops.example.org".to_owned()];
    let broker = Broker::start(Config { allow_origins, ..config() }).await;
    let mut robot = robot(&broker, "rover").await;
    let address = broker.address;
    let own = format!("http://{address}");
    for origin in ["https://ops.example.org", &own] {
        let headers = format!("Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\n");
        for path in ["/whep/rover", "/whep/rover/front", "/whep/rover/sessions/x"] {
            let preflight = request(address, "OPTIONS", path, &headers, "").await;
            assert_eq!(preflight.status, 204, "{path}");
            assert_eq!(preflight.header("access-control-allow-origin"), origin);
            assert!(preflight.header("access-control-allow-methods").contains("PATCH"));
            assert!(preflight.header("access-control-allow-headers").contains("Authorization"));
            assert_eq!(preflight.header("accept-post"), "application/sdp");
        }
        let refused = request(address, "DELETE", "/whep/rover/sessions/x", &headers, "").await;
        assert_eq!(refused.status, 404);
        assert!(refused.header("access-control-expose-headers").contains("Location"));
    }
    for origin in ["https://evil.example", "null"] {
        let headers = format!("{SDP}Origin: {origin}\r\n");
        for method in ["OPTIONS", "POST"] {
            let refused = request(address, method, "/whep/rover", &headers, OFFER).await;
            assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"));
            assert_eq!(refused.headers("access-control-allow-origin").count(), 0);
        }
    }
    robot.hear_nothing_else().await;
}

#[tokio::test]
async fn whep_can_be_switched_off() {
    let whep = whep::Settings { enabled: false, ..whep::Settings::default() };
    let broker = Broker::start(Config { whep, ..config() }).await;
    let refused = request(broker.address, "POST", "/whep/rover", SDP, OFFER).await;
    assert!([404, 405].contains(&refused.status), "{refused:?}");
}

#[tokio::test]
async fn a_broker_that_stops_takes_its_players_along() {
    let broker = Broker::start(config()).await;
    let mut robot = robot(&broker, "rover").await;
    let (created, ..) = play(&broker, &mut robot, "/whep/rover", true).await;
    assert_eq!(created.status, 201);
    let stopped = broker.stop();
    let heard = robot.hear_end();
    tokio::join!(stopped, heard);
}
