//! Who has no token, a bad one, or one for something else. Everybody is refused with a code and
//! counted, and nobody else notices.

use serde_json::{Value, json};

use crate::client::Peer;
use crate::guarded::{Guarded, call, foreign_token, status};

/// Signed with the secret of these tests, for everything, until the end of 2019.
pub(crate) const EXPIRED: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
    eyJzdWIiOiJsYXRlIiwic2NvcGUiOiJ2aWV3OiogcHVibGlzaDoqIiwiaWF0IjoxNTc3ODM2ODAwLCJleHAiOjE1Nzc5MjMyMDB9.\
    bIwXJjbkIGQDjGfnHE6bgCWRX8qMddS-3MKZC7Sf_BI";

/// `{"alg":"none","typ":"JWT"}`
const NONE: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";

#[tokio::test]
async fn nobody_comes_in_without_a_good_token() {
    let broker = Guarded::start("");
    let mut bystanders = broker.bystanders().await;
    let good = broker.token("view:*");
    let wider = broker.token("view:* publish:* control:*");
    let [head, claims, signature] = parts(&good);
    let [_, wider_claims, _] = parts(&wider);
    let bad = [
        String::new(),
        "x".to_owned(),
        "..".to_owned(),
        "x".repeat(7_000),
        foreign_token("view:*"),
        format!("{NONE}.{claims}."),
        format!("{NONE}.{claims}.{signature}"),
        format!("{head}.{wider_claims}.{signature}"),
        format!("{head}.{claims}."),
        format!("{head}.{claims}"),
    ];
    let mut refused = 0;
    for token in &bad {
        for headers in carried(token) {
            let said = broker.refusal(&headers).await;
            assert_eq!(said, (401, "unauthorized".to_owned()), "{headers}");
            refused += 1;
        }
    }
    for headers in ["", "Authorization: Basic eDp5\r\n", "Sec-WebSocket-Protocol: rovercast\r\n"] {
        assert_eq!(broker.refusal(headers).await, (401, "unauthorized".to_owned()), "{headers}");
        refused += 1;
    }
    // What is in a link ends in logs.
    for query in ["token", "access_token", "bearer"] {
        let said = broker.refusal_at(&format!("/ws?{query}={good}"), "").await;
        assert_eq!(said, (401, "unauthorized".to_owned()));
        refused += 1;
    }
    assert_eq!(broker.refused("unauthorized").await, refused);
    for headers in carried(EXPIRED) {
        assert_eq!(broker.refusal(&headers).await, (401, "token-expired".to_owned()));
    }
    assert_eq!(broker.refused("token-expired").await, 2);
    bystanders.notice_nothing().await;
    Peer::connect(broker.request(&good)).await;
}

#[tokio::test]
async fn turn_credentials_are_for_those_who_may_have_sessions_and_end_with_their_token() {
    let secret = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/ed25519.pem");
    let turn = format!("[turn]\nsecret_file = {secret:?}\nurls = [\"turn:t\"]\nttl_s = 86400");
    let broker = Guarded::start(&turn);
    for (scope, given) in
        [("publish:r", true), ("view:r", true), ("metrics", false), ("control:r", false)]
    {
        let mut peer = broker.peer(scope).await;
        peer.say(json!({"type": "getIceServers"})).await;
        let again = peer.hear_a("iceServers").await;
        for told in [&peer.welcome, &again] {
            assert_eq!(told["iceServers"][0]["credential"].is_string(), given, "{scope}: {told}");
            // The tokens of these tests are good for an hour.
            let ttl_s = told["iceServersTtlS"].as_u64();
            assert_eq!(ttl_s.is_some_and(|s| (1..=3_600).contains(&s)), given, "{scope}: {told}");
        }
    }
}

#[tokio::test]
async fn a_robots_token_is_for_that_robot() {
    let broker = Guarded::start("");
    let mut bystanders = broker.bystanders().await;
    let mut robot = broker.peer("publish:rover-1").await;
    let nameless = json!({"type": "setPeerStatus", "roles": ["producer"], "meta": null});
    let wrong = ["rover-2", "rover-10", "rover-", "*", "bystander"];
    let attempts = wrong.map(|name| status(&["producer"], name)).into_iter().chain([nameless]);
    let mut refused = 0;
    for attempt in attempts {
        robot.say(attempt).await;
        robot.hear_error("forbidden").await;
        refused += 1;
    }
    assert_eq!(broker.refused("forbidden").await, refused);
    robot.say(status(&["producer"], "rover-1")).await;
    robot.hear_nothing_else().await;

    // Nor may it look at others: they are not there for it.
    robot.say(json!({"type": "list"})).await;
    assert_eq!(robot.hear_a("list").await["producers"], json!([]));
    bystanders.notice_nothing().await;
}

#[tokio::test]
async fn who_may_only_view_neither_publishes_nor_controls() {
    let broker = Guarded::start("");
    let mut bystanders = broker.bystanders().await;
    let mut robot = broker.robot("rover-1").await;
    let mut viewer = broker.peer("view:rover-1").await;
    viewer.say(status(&["producer"], "rover-1")).await;
    viewer.hear_error("forbidden").await;
    viewer.say(status(&["producer", "listener"], "rover-1")).await;
    viewer.hear_error("forbidden").await;
    assert_eq!(broker.refused("forbidden").await, 2);

    for (scope, control) in [
        ("view:rover-1", false),
        ("view:rover-1 control:rover-2", false),
        ("view:rover-1 control:rover-1", true),
    ] {
        let mut viewer = broker.peer(scope).await;
        // What a viewer claims of itself counts for nothing.
        let wish = json!({"type": "startSession", "peerId": robot.id, "control": true});
        viewer.say(wish).await;
        viewer.hear_a("sessionStarted").await;
        assert_eq!(robot.hear_a("startSession").await["control"], control, "{scope}");
        drop(viewer);
        robot.hear_a("endSession").await;
    }
    bystanders.notice_nothing().await;
}

#[tokio::test]
async fn a_viewer_sees_what_its_token_names() {
    let broker = Guarded::start("");
    let mut bystanders = broker.bystanders().await;
    let mut robot = broker.robot("rover-1").await;
    let mut viewer = broker.peer("view:rover-1/front").await;
    viewer.say(json!({"type": "list"})).await;
    let producers = viewer.hear_a("list").await["producers"].clone();
    assert_eq!(producers.as_array().map(Vec::len), Some(1), "{producers}");
    assert_eq!(cameras(&producers[0]["meta"]), ["front"]);

    viewer.say(json!({"type": "startSession", "peerId": robot.id})).await;
    viewer.hear_a("sessionStarted").await;
    assert_eq!(robot.hear_a("startSession").await["cameras"], json!(["front"]));
    let wish = json!({"type": "startSession", "peerId": robot.id, "cameras": ["rear"]});
    viewer.say(wish).await;
    viewer.hear_error("forbidden").await;

    // A robot that it may not see is, for it, not there.
    let mut stranger = broker.peer("view:rover-2").await;
    for id in [robot.id.as_str(), "made-up"] {
        stranger.say(json!({"type": "startSession", "peerId": id})).await;
        stranger.hear_error("unknown-peer").await;
    }
    stranger.say(json!({"type": "setPeerStatus", "roles": ["listener"]})).await;
    stranger.hear_a("peerStatusChanged").await;
    robot.say(status(&["producer", "listener"], "rover-1")).await;
    robot.hear_a("peerStatusChanged").await;
    stranger.hear_nothing_else().await;
    bystanders.notice_nothing().await;
}

#[tokio::test]
async fn a_session_is_no_business_of_others_whatever_their_token() {
    let broker = Guarded::start("");
    let mut bystanders = broker.bystanders().await;
    let mut robot = broker.robot("rover-1").await;
    let mut viewer = broker.peer("view:rover-1").await;
    let session = call(&mut viewer, &mut robot).await;
    let mut forger = broker.peer("publish:* view:* control:*").await;
    let requests = [
        json!({"type": "peer", "sessionId": session, "sdp": {"type": "offer", "sdp": "v=0"}}),
        json!({"type": "peer", "sessionId": session, "ice": {"candidate": "", "sdpMLineIndex": 0}}),
        json!({"type": "endSession", "sessionId": session}),
        json!({"type": "error", "details": "d", "sessionId": session}),
    ];
    for request in &requests {
        forger.say(request.clone()).await;
        forger.hear_error("unknown-session").await;
    }
    assert_eq!(broker.refused("unknown-session").await, requests.len());
    // Another's id in a status is nothing but one's own status.
    forger.say(json!({"type": "setPeerStatus", "peerId": robot.id, "roles": ["listener"]})).await;
    assert_eq!(forger.hear_a("peerStatusChanged").await["peerId"], forger.id);
    viewer.reaches(&mut robot, &session).await;
    robot.reaches(&mut viewer, &session).await;
    bystanders.notice_nothing().await;
}

#[tokio::test]
async fn pages_of_other_servers_are_refused_though_their_token_is_good() {
    let broker = Guarded::start("");
    let mut bystanders = broker.bystanders().await;
    let token = broker.token("view:*");
    for origin in ["https://evil.example", "null", ""] {
        let headers = format!("Authorization: Bearer {token}\r\nOrigin: {origin}\r\n");
        assert_eq!(broker.refusal(&headers).await, (403, "forbidden".to_owned()), "{origin}");
    }
    assert_eq!(broker.refused("forbidden").await, 3);
    bystanders.notice_nothing().await;
}

/// The ways of a program and of a browser to carry a token.
fn carried(token: &str) -> [String; 2] {
    [
        format!("Authorization: Bearer {token}\r\n"),
        format!("Sec-WebSocket-Protocol: rovercast, rovercast.bearer.{token}\r\n"),
    ]
}

fn parts(token: &str) -> [&str; 3] {
    let parts: Vec<_> = token.split('.').collect();
    parts.try_into().unwrap()
}

fn cameras(meta: &Value) -> Vec<&str> {
    let cameras = meta["cameras"].as_array().unwrap();
    cameras.iter().map(|camera| camera["id"].as_str().unwrap()).collect()
}
