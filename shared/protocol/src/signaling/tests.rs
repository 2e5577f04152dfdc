//! Messages as they are read and written.

use serde_json::{Value, json};

use super::reading::Relayed;
use super::*;

fn request(json: &str) -> PeerRequest {
    PeerRequest::parse(json).unwrap_or_else(|error| panic!("{json}: {error:?}"))
}

/// As GStreamer's own programs write them.
#[test]
fn requests_of_other_programs_are_understood() {
    let status = request(r#"{"type":"setPeerStatus","roles":["listener"],"meta":null}"#);
    let PeerRequest::SetPeerStatus(status) = status else { panic!("{status:?}") };
    assert_eq!((status.roles, status.meta), (vec![PeerRole::Listener], None));

    let start = request(r#"{"type":"startSession","peerId":"p","offer":null}"#);
    let PeerRequest::StartSession(start) = start else { panic!("{start:?}") };
    assert_eq!(start, SessionRequest { peer_id: PeerId("p".into()), offer: None, cameras: None });

    let sdp = request(r#"{"type":"peer","sessionId":"s","sdp":{"type":"answer","sdp":"v=0"}}"#);
    let PeerRequest::Peer(sdp) = sdp else { panic!("{sdp:?}") };
    assert_eq!(sdp.body, PeerBody::Sdp(Sdp::Answer { sdp: "v=0".into() }));

    let ice = r#"{"type":"peer","sessionId":"s","ice":{"candidate":"","sdpMLineIndex":1}}"#;
    let PeerRequest::Peer(message) = request(ice) else { panic!("{ice}") };
    let candidate = Candidate { candidate: String::new(), sdp_m_line_index: 1 };
    assert_eq!(message.body, PeerBody::Ice(candidate));
    assert_eq!(serde_json::to_string(&PeerRequest::Peer(message)).unwrap(), ice);

    assert_eq!(request(r#"{"type":"list"}"#), PeerRequest::List);
}

/// The short way to read what is relayed leads nowhere else than the long one.
#[test]
fn what_is_relayed_is_read_in_one_way() {
    let ice = r#""ice":{"candidate":"c","sdpMLineIndex":1,"sdpMid":"0"}"#;
    for (json, is_read) in [
        (format!(r#"{{"type":"peer","sessionId":"s",{ice}}}"#), true),
        (format!(r#"{{{ice},"added":[1],"sessionId":"s","type":"peer"}}"#), true),
        (format!(r#"{{"type":"peer","sessionId":"s","sdp":null,{ice}}}"#), true),
        (r#"{"type":"peer","sessionId":"s","sdp":{"type":"offer","sdp":"v"}}"#.into(), true),
        (format!(r#"{{"type":"peer","type":"peer","sessionId":"s",{ice}}}"#), false),
        (format!(r#"{{"type":"list","type":"peer","sessionId":"s",{ice}}}"#), false),
        (format!(r#"{{"type":"peer","sessionId":"s",{ice},{ice}}}"#), false),
        (format!(r#"{{"type":["peer"],"sessionId":"s",{ice}}}"#), false),
        (format!(r#"{{"type":{{"peer":null}},"sessionId":"s",{ice}}}"#), false),
        (format!(r#"{{"type":"peer","sessionId":"s",{ice}}} x"#), false),
    ] {
        // An escape in the tag leads to the long way.
        let long = PeerRequest::parse(&json.replace(r#""peer""#, r#""p\u0065er""#)).ok();
        assert_eq!(PeerRequest::parse(&json).ok(), long, "{json}");
        assert_eq!(serde_json::from_str::<Relayed>(&json).is_ok(), is_read, "{json}");
        assert_eq!(long.is_some(), is_read, "{json}");
    }
    for other in [r#"{"type":"list"}"#, r#"{"type":"endSession","sessionId":"s"}"#] {
        assert!(serde_json::from_str::<Relayed>(other).is_err());
        assert!(PeerRequest::parse(other).is_ok());
    }
}

#[test]
fn our_fields_are_left_out_when_empty() {
    let welcome = BrokerMessage::Welcome(Welcome {
        peer_id: PeerId("p".into()),
        ice_servers: vec![],
        ice_servers_ttl_s: None,
    });
    assert_eq!(serde_json::to_string(&welcome).unwrap(), r#"{"type":"welcome","peerId":"p"}"#);
}

#[test]
fn failures_to_parse_have_codes() {
    let code = |json: &str| PeerRequest::parse(json).unwrap_err().code.unwrap();
    assert_eq!(code(r#"{"type":"reboot"}"#), ErrorCode::UnknownType);
    for malformed in [
        "",
        "{",
        "[]",
        r#"["list"]"#,
        "7",
        "{}",
        r#"{"type":7}"#,
        r#"{"type":"peer"}"#,
        r#"{"type":"peer","sessionId":"s"}"#,
        r#"{"type":"setPeerStatus","roles":["king"]}"#,
        r#"{"type":"peer","sessionId":"s","ice":{"candidate":"","sdpMLineIndex":0},"sdp":{"type":"offer","sdp":""}}"#,
        r#"{"type":"peer","sessionId":"s","sdp":{"type":"answer","sdp":""},"sdp":{"type":"offer","sdp":""}}"#,
        r#"{"type":"peer","sessionId":"s","sessionId":"t","sdp":{"type":"answer","sdp":""}}"#,
    ] {
        assert_eq!(code(malformed), ErrorCode::Malformed, "{malformed}");
    }
}

#[test]
fn codes_and_reasons_of_later_versions_are_tolerated() {
    let error: BrokerMessage =
        BrokerMessage::parse(r#"{"type":"error","details":"d","code":"from-the-future"}"#).unwrap();
    let BrokerMessage::Error(error) = error else { panic!("{error:?}") };
    assert_eq!(error.code, Some(ErrorCode::Other));
}

#[test]
fn what_is_written_is_read_as_the_same() {
    let (session, peer) = (json!("s"), json!("p"));
    let infos = json!([{"id": "p", "meta": {"name": "r1"}}, {"id": "q", "meta": null}]);
    for message in [
        json!({"type": "welcome", "peerId": peer, "iceServersTtlS": 9}),
        json!({"type": "peerStatusChanged", "peerId": peer, "roles": ["producer"], "meta": [1]}),
        json!({"type": "list", "producers": infos}),
        json!({"type": "listConsumers", "consumers": infos}),
        json!({"type": "startSession", "peerId": peer, "sessionId": session, "control": true}),
        json!({"type": "sessionStarted", "peerId": peer, "sessionId": session}),
        json!({"type": "endSession", "sessionId": session, "reason": "peerLeft"}),
        json!({"type": "peer", "sessionId": session, "sdp": {"type": "offer", "sdp": "v=0"}}),
        json!({"type": "iceServers", "iceServers": [{"urls": ["stun:s"]}]}),
        json!({"type": "error", "details": "d", "code": "too-slow"}),
    ] {
        let read = BrokerMessage::parse(&message.to_string()).unwrap();
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), message);
    }
    let error = BrokerMessage::parse(r#"{"type":"reboot"}"#).unwrap_err().to_string();
    assert!(error.contains("reboot"), "{error}");
}
