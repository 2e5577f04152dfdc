//! Tokens that expire: what they let see is over, and nothing else.

use serde_json::json;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::Peer;
use crate::guarded::{Guarded, call, status};

/// Long enough to connect and to call, on a computer that has other things to do.
const SOON: &str = "4s";

#[tokio::test]
async fn what_an_expired_token_shows_ends_at_both_ends() {
    let broker = Guarded::start("");
    let mut robot = broker.robot("r1").await;
    // The same subject has another connection.
    let mut other = broker.peer("view:r1").await;
    let other_session = call(&mut other, &mut robot).await;
    let mut viewer = Peer::connect(broker.request(&broker.token_for("view:r1", SOON))).await;
    let session = call(&mut viewer, &mut robot).await;
    let end = json!({"type": "endSession", "sessionId": session, "reason": "ended"});
    assert_eq!(robot.hear().await, end);
    assert_eq!(viewer.hear().await, end);
    viewer.hear_error("token-expired").await;
    assert_eq!(viewer.hear_end().await.unwrap().code, CloseCode::Policy);
    robot.reaches(&mut other, &other_session).await;
    // One that is merely gone may see on.
    drop(other);
    let end = json!({"type": "endSession", "sessionId": other_session, "reason": "peerLeft"});
    assert_eq!(robot.hear().await, end);
}

#[tokio::test]
async fn the_viewers_of_a_robot_whose_token_expires_keep_their_pictures() {
    let broker = Guarded::start("");
    let mut viewer = broker.peer("view:r1").await;
    let mut robot = Peer::connect(broker.request(&broker.token_for("publish:r1", SOON))).await;
    robot.say(status(&["producer"], "r1")).await;
    robot.hear_nothing_else().await;
    let session = call(&mut viewer, &mut robot).await;
    let end = json!({"type": "endSession", "sessionId": session, "reason": "peerLeft"});
    assert_eq!(viewer.hear().await, end);
    robot.hear_error("token-expired").await;
    viewer.hear_nothing_else().await;
}
