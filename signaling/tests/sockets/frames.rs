//! Frames that are no messages.

use rovercast_signaling::Config;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::{Broker, config, ice, limited};

#[tokio::test]
async fn frames_that_are_no_messages_are_refused_and_survived() {
    let broker = Broker::start(config()).await;
    let mut peer = broker.peer().await;
    let deep = format!(
        r#"{{"type":"setPeerStatus","meta":{}{}}}"#,
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    for (frame, code) in [
        (Message::text("hello"), "malformed"),
        (Message::text(""), "malformed"),
        (Message::text("[1]"), "malformed"),
        (Message::text(r#"{"type":"peer"}"#), "malformed"),
        (Message::text("[".repeat(100_000)), "malformed"),
        (Message::text(deep), "malformed"),
        (Message::text(r#"{"type":"reboot"}"#), "unknown-type"),
        (Message::text(r#"{"type":"welcome","peerId":"x"}"#), "unknown-type"),
        (Message::binary(br#"{"type":"list"}"#.to_vec()), "not-text"),
    ] {
        peer.send(frame).await;
        peer.hear_error(code).await;
    }
    peer.hear_nothing_else().await;
}

#[tokio::test]
async fn a_frame_that_is_too_large_ends_the_connection_and_says_so() {
    let broker = Broker::start(config()).await;
    let (mut robot, mut viewer, session) = broker.session().await;
    let limit = Config::default().limits.max_message_bytes as usize;
    let overhead = ice(&session, 0).to_string().len();
    viewer.say(ice(&session, limit - overhead)).await;
    assert_eq!(robot.hear_text().await.len(), limit);

    viewer.say(ice(&session, limit - overhead + 1)).await;
    let error = viewer.hear_error("too-large").await;
    assert!(error["details"].as_str().unwrap().contains("131072"), "{error}");
    assert_eq!(viewer.hear_end().await.unwrap().code, CloseCode::Size);
    let end = json!({"type": "endSession", "sessionId": session, "reason": "peerLeft"});
    assert_eq!(robot.hear().await, end);
}

#[tokio::test]
async fn a_burst_of_requests_is_answered_to_the_last() {
    let broker = Broker::start(limited(|limits| limits.queue_messages = 8)).await;
    let mut peer = broker.peer().await;
    for _ in 0..1_000 {
        peer.say(json!({"type": "list"})).await;
    }
    for _ in 0..1_000 {
        peer.hear_a("list").await;
    }
}
