//! Peers that ask too much, or in vain: they are refused, then dropped; nobody else notices.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::{Broker, Peer, ice, limited, sdp};

#[tokio::test]
async fn a_peer_that_says_too_much_is_refused_and_then_dropped() {
    let broker = Broker::start(limited(|limits| {
        limits.messages_per_s = 1;
        limits.message_burst = 100;
        limits.refusals_per_minute = 5;
    }))
    .await;
    let (mut robot, mut viewer, session) = broker.session().await;
    let mut flood = broker.peer().await;
    for _ in 0..300 {
        // Once it is dropped, what it says is lost.
        if flood.try_say(json!({"type": "listConsumers"})).await.is_err() {
            break;
        }
    }
    let mut answers = [0, 0];
    let last = loop {
        let message = flood.hear().await;
        match message["type"].as_str() {
            Some("listConsumers") => answers[0] += 1,
            _ if message["details"].as_str().unwrap().contains("dropped") => break message,
            _ => {
                assert_eq!(message["code"], "rate-limited", "{message}");
                answers[1] += 1;
            }
        }
    };
    assert_eq!(last["code"], "rate-limited");
    assert_eq!(flood.hear_end().await.unwrap().code, CloseCode::Policy);
    // A slow host gives back some in the meantime.
    assert!((100..200).contains(&answers[0]) && (6..20).contains(&answers[1]), "{answers:?}");
    viewer.say(ice(&session, 10)).await;
    robot.hear_a("peer").await;
}

#[tokio::test]
async fn what_costs_others_more_counts_for_more() {
    let broker = Broker::start(limited(|limits| {
        limits.messages_per_s = 1;
        limits.message_burst = 200;
    }))
    .await;
    let mut listener = broker.peer().await;
    listener.say(json!({"type": "setPeerStatus", "roles": ["listener"]})).await;
    listener.hear_a("peerStatusChanged").await;
    let mut robot = broker.peer().await;
    for number in 0..20 {
        let status = json!({"type": "setPeerStatus", "roles": ["producer"], "meta": number});
        robot.say(status).await;
    }
    robot.hear_error("rate-limited").await;
    robot.socket.close(None).await.unwrap();
    let mut announced = 0;
    while listener.hear_a("peerStatusChanged").await["roles"] == json!(["producer"]) {
        announced += 1;
    }
    assert!((4..10).contains(&announced), "{announced}");
}

#[tokio::test]
async fn long_messages_count_for_more() {
    let broker = Broker::start(limited(|limits| {
        limits.messages_per_s = 1;
        limits.message_burst = 100;
    }))
    .await;
    let (mut robot, mut viewer, session) = broker.session().await;
    for _ in 0..20 {
        viewer.say(ice(&session, 100_000)).await;
    }
    viewer.hear_error("rate-limited").await;
    viewer.socket.close(None).await.unwrap();
    let mut relayed = 0;
    while robot.hear().await["type"] == "peer" {
        relayed += 1;
    }
    assert!((3..8).contains(&relayed), "{relayed}");
}

#[tokio::test]
async fn a_peer_that_is_refused_again_and_again_is_dropped() {
    let broker = Broker::start(limited(|limits| limits.refusals_per_minute = 10)).await;
    let (mut robot, mut viewer, session) = broker.session().await;
    let mut forger = broker.peer().await;
    let frames = [
        Message::text(sdp(&session, "offer").to_string()),
        Message::text(json!({"type": "startSession", "peerId": "made-up"}).to_string()),
        Message::text("{"),
        Message::binary(vec![0; 10]),
    ];
    let mut codes = Vec::new();
    'refused: for frame in frames.iter().cycle() {
        forger.send(frame.clone()).await;
        let error: Value = forger.hear_a("error").await;
        if error["details"].as_str().unwrap().contains("again and again") {
            assert_eq!(error["code"], "rate-limited");
            break 'refused;
        }
        codes.push(error["code"].as_str().unwrap().to_owned());
    }
    assert!(codes.len() > 10, "{codes:?}");
    assert_eq!(codes[..4], ["unknown-session", "unknown-peer", "malformed", "not-text"]);
    assert_eq!(forger.hear_end().await.unwrap().code, CloseCode::Policy);
    viewer.say(ice(&session, 10)).await;
    robot.hear_a("peer").await;
    robot.hear_nothing_else().await;
}

#[tokio::test]
async fn a_robot_that_is_replaced_is_told_and_closed() {
    let broker = Broker::start(limited(|_| {})).await;
    let publish = json!({
        "type": "setPeerStatus", "roles": ["producer"], "meta": {"name": "rover"}
    });
    let mut old: Peer = broker.peer().await;
    old.say(publish.clone()).await;
    old.hear_nothing_else().await;
    let mut new = broker.peer().await;
    new.say(publish).await;
    old.hear_error("replaced").await;
    assert_eq!(old.hear_end().await.unwrap().code, CloseCode::Policy);
    new.say(json!({"type": "list"})).await;
    let listed = new.hear_a("list").await;
    assert_eq!(listed["producers"], json!([{"id": new.id, "meta": {"name": "rover"}}]));
}
