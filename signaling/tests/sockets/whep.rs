//! WHEP: what a standard player says over HTTP is an ordinary session for a robot.

use rovercast_protocol::signaling::IceServer;
use rovercast_signaling::{Config, whep};
use serde_json::{Value, json};

use crate::client::{Broker, Peer, config, ice};
use crate::http::{Answer, request};

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=recvonly\r\n";
const ANSWER: &str = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n";
const HOST: &str = "candidate:1 1 UDP 2015363327 192.0.2.1 46304 typ host";
const SDP: &str = "Content-Type: application/sdp\r\n";
const FRAGMENT: &str = "Content-Type: application/trickle-ice-sdpfrag\r\n";

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
    let address = broker.address;
    let posted = request(address, "POST", path, SDP, OFFER);
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
    ] {
        let refused = request(address, "POST", path, headers, body).await;
        assert_eq!(refused.status, status, "{path} {headers}: {refused:?}");
        assert_eq!(refused.code(), code, "{path} {headers}");
    }
    for method in ["GET", "PUT", "PATCH", "DELETE"] {
        assert_eq!(request(address, method, "/whep/rover", "", "").await.status, 405, "{method}");
    }
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
