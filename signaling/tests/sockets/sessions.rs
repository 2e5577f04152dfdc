//! Sessions between producers, consumers and listeners, and those who have no business in them.

use rovercast_protocol::signaling::IceServer;
use rovercast_signaling::Config;
use serde_json::json;

use crate::client::{Broker, Peer, config, ice, sdp};

#[tokio::test]
async fn a_session_from_welcome_to_end() {
    let broker = Broker::start(config()).await;
    let mut listener = broker.peer().await;
    listener.say(json!({"type": "setPeerStatus", "roles": ["listener"], "meta": null})).await;
    assert_eq!(listener.hear_a("peerStatusChanged").await["peerId"], listener.id);

    let mut robot = broker.peer().await;
    let meta = json!({"name": "rover", "kind": "robot", "cameras": []});
    let status = json!({"type": "setPeerStatus", "roles": ["producer"], "meta": meta});
    robot.say(status).await;
    let told = listener.hear_a("peerStatusChanged").await;
    assert_eq!((&told["peerId"], &told["meta"]), (&json!(robot.id), &meta));
    assert_eq!(told["roles"], json!(["producer"]));

    // As GStreamer's programs connect: no path.
    let mut viewer = Peer::connect(&format!("ws://{}", broker.address)).await;
    viewer.say(json!({"type": "list"})).await;
    let listed = viewer.hear_a("list").await;
    assert_eq!(listed["producers"], json!([{"id": robot.id, "meta": meta}]));
    let wish = json!({"type": "startSession", "peerId": robot.id, "cameras": ["front"]});
    viewer.say(wish).await;
    let started = viewer.hear_a("sessionStarted").await;
    let session = started["sessionId"].as_str().unwrap();
    assert_eq!(started["peerId"], robot.id);
    let start = robot.hear_a("startSession").await;
    assert_eq!((&start["peerId"], &start["sessionId"]), (&json!(viewer.id), &json!(session)));
    assert_eq!((&start["cameras"], start.get("offer")), (&json!(["front"]), None));

    // Frames are relayed to the letter, fields that the broker does not know included.
    let offer = format!("  {} ", sdp(session, "offer"));
    robot.send(offer.clone().into()).await;
    assert_eq!(viewer.hear_text().await, offer);
    viewer.say(sdp(session, "answer")).await;
    assert_eq!(robot.hear().await, sdp(session, "answer"));
    viewer.say(ice(session, 10)).await;
    assert_eq!(robot.hear().await, ice(session, 10));
    let complaint = json!({"type": "error", "details": "d", "code": "new", "sessionId": session});
    robot.say(complaint.clone()).await;
    assert_eq!(viewer.hear().await, complaint);

    viewer.say(json!({"type": "endSession", "sessionId": session})).await;
    let end = json!({"type": "endSession", "sessionId": session, "reason": "ended"});
    assert_eq!(robot.hear().await, end);
    robot.hear_nothing_else().await;
    robot.socket.close(None).await.unwrap();
    let told = listener.hear_a("peerStatusChanged").await;
    assert_eq!((&told["peerId"], &told["roles"]), (&json!(robot.id), &json!([])));
    listener.hear_nothing_else().await;
    viewer.hear_nothing_else().await;
}

#[tokio::test]
async fn ice_servers_are_in_the_welcome() {
    let server = IceServer { urls: vec!["stun:s".into()], username: None, credential: None };
    let broker = Broker::start(Config { ice_servers: vec![server], ..config() }).await;
    let welcome = broker.peer().await.welcome;
    assert_eq!(welcome["iceServers"], json!([{"urls": ["stun:s"]}]));
}

#[tokio::test]
async fn a_viewer_that_is_cut_off_ends_its_session() {
    let broker = Broker::start(config()).await;
    let (mut robot, viewer, session) = broker.session().await;
    drop(viewer);
    let end = json!({"type": "endSession", "sessionId": session, "reason": "peerLeft"});
    assert_eq!(robot.hear().await, end);
}

#[tokio::test]
async fn forged_ids_lead_nowhere() {
    let broker = Broker::start(config()).await;
    let (mut robot, mut viewer, session) = broker.session().await;
    let mut forger = broker.peer().await;
    for session in [session.as_str(), "made-up", ""] {
        let mut requests = vec![sdp(session, "offer"), sdp(session, "answer"), ice(session, 1)];
        requests.push(json!({"type": "endSession", "sessionId": session}));
        requests.push(json!({"type": "error", "details": "d", "sessionId": session}));
        for request in requests {
            forger.say(request).await;
            assert_eq!(forger.hear_error("unknown-session").await["sessionId"], session);
        }
    }
    forger.say(json!({"type": "startSession", "peerId": "made-up"})).await;
    forger.hear_error("unknown-peer").await;
    for id in [viewer.id.clone(), forger.id.clone()] {
        forger.say(json!({"type": "startSession", "peerId": id})).await;
        forger.hear_error("not-a-producer").await;
    }
    // Speaking in another's name is speaking for oneself.
    let forged = json!({"type": "setPeerStatus", "peerId": robot.id, "roles": ["listener"]});
    forger.say(forged).await;
    assert_eq!(forger.hear_a("peerStatusChanged").await["peerId"], forger.id);

    viewer.say(sdp(&session, "offer")).await;
    assert_eq!(viewer.hear_error("not-the-producer").await["sessionId"], session);
    robot.hear_nothing_else().await;
    viewer.hear_nothing_else().await;
}
