//! Frames that are made to do harm, sent by those who were let in. Each is refused with its code and
//! counted, and nobody else notices.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::guarded::Guarded;

#[tokio::test]
async fn nonsense_is_refused_and_counted() {
    let broker = Guarded::start("[limits]\nmax_message_bytes = 1048576\nqueue_bytes = 8388608");
    let mut bystanders = broker.bystanders().await;
    let deep = |open: &str, close: &str| {
        let [open, close] = [open, close].map(|part| part.repeat(50_000));
        format!(r#"{{"type":"setPeerStatus","meta":{open}{close}}}"#)
    };
    let malformed = [
        "[".repeat(100_000),
        deep("[", "]"),
        deep(r#"[["#, "]]"),
        format!(r#"{{"type":"peer","x":{}"#, r#"{"a":"#.repeat(20_000)),
        r#"{"type":"peer","sessionId":7}"#.to_owned(),
        format!(r#"{{"type":"setPeerStatus","roles":["{}"]}}"#, "\u{7f}".repeat(50_000)),
    ];
    let mut peer = broker.peer("view:*").await;
    for frame in &malformed {
        peer.send(Message::text(frame.clone())).await;
        let details = peer.hear_error("malformed").await["details"].to_string();
        assert!(details.len() < 8_000, "{} bytes said of {}", details.len(), frame.len());
    }
    peer.send(Message::text(r#"{"type":"reboot"}"#)).await;
    peer.hear_error("unknown-type").await;
    peer.send(Message::binary(vec![0; 1_000])).await;
    peer.hear_error("not-text").await;
    peer.hear_nothing_else().await;
    assert_eq!(broker.refused("malformed").await, malformed.len());
    assert_eq!(broker.refused("unknown-type").await, 1);
    assert_eq!(broker.refused("not-text").await, 1);
    bystanders.notice_nothing().await;
}

#[tokio::test]
async fn a_frame_that_is_too_large_ends_its_connection_alone() {
    let broker = Guarded::start("");
    let mut bystanders = broker.bystanders().await;
    let mut peer = broker.peer("view:*").await;
    let text = json!({"type": "list", "x": "x".repeat(200_000)}).to_string();
    peer.send(Message::text(text)).await;
    peer.hear_error("too-large").await;
    assert_eq!(peer.hear_end().await.unwrap().code, CloseCode::Size);
    assert_eq!(broker.ended("too-large").await, 1);

    let mut robot = broker.peer("publish:rover-1").await;
    let meta = json!({"name": "rover-1", "kind": "robot", "cameras": [], "x": "x".repeat(100_000)});
    robot.say(json!({"type": "setPeerStatus", "roles": ["producer"], "meta": meta})).await;
    robot.hear_error("too-large").await;
    robot.hear_nothing_else().await;
    assert_eq!(broker.refused("too-large").await, 1);
    bystanders.notice_nothing().await;
}
