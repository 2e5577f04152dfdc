//! What peers say of themselves, and the lists of it.

use super::*;

#[test]
fn a_changed_meta_is_announced_and_listed() {
    let mut room = Room::with(&["ear", "robot"]);
    room.ask("ear", roles(&[Listener]));
    let meta = said(json!({"name": "rover", "added": [1, null]}));
    let forged = Some(peer("ear"));
    let mine = PeerStatus { peer_id: forged, roles: vec![Producer], meta: meta.clone() };
    let told = PeerStatus { peer_id: Some(peer("robot")), ..mine.clone() };
    let announced = to("ear", BrokerMessage::PeerStatusChanged(told));
    room.assert_commands("robot", PeerRequest::SetPeerStatus(mine), &[announced]);
    let producers = vec![PeerInfo { id: peer("robot"), meta }];
    room.assert_commands("ear", PeerRequest::List, &[to("ear", BrokerMessage::List { producers })]);
    let consumers = vec![];
    let none = to("ear", BrokerMessage::ListConsumers { consumers });
    room.assert_commands("ear", PeerRequest::ListConsumers, &[none]);
}

#[test]
fn what_a_peer_says_of_itself_is_short() {
    let mut room = Room::with(&["robot"]);
    let meta = |bytes: usize| {
        let meta = said("x".repeat(bytes).into());
        PeerRequest::SetPeerStatus(PeerStatus {
            peer_id: None,
            roles: vec![PeerRole::Producer],
            meta,
        })
    };
    room.assert_refused("robot", meta(40_000), ErrorCode::TooLarge, None);
    room.assert_commands("robot", meta(30_000), &[]);
}

#[test]
fn what_a_peer_without_a_role_says_of_itself_is_not_kept() {
    let mut room = Room::with(&["a"]);
    let says = |roles: &[PeerRole]| {
        let (roles, meta) = (roles.to_vec(), meta("r1", &["front"]));
        PeerRequest::SetPeerStatus(PeerStatus { peer_id: None, roles, meta })
    };
    room.ask("a", says(&[]));
    assert_eq!(room.0.peers[&peer("a")].profile, Profile::default());
    room.ask("a", says(&[Producer]));
    assert!(room.0.peers[&peer("a")].profile.meta.is_some());
    room.ask("a", says(&[]));
    assert_eq!(room.0.peers[&peer("a")].profile, Profile::default());
}

/// Others may go by the one that the broker does not.
#[test]
fn nobody_says_two_things_of_itself() {
    let mut room = Room::with(&["a"]);
    for text in [r#"{"name":"r1","name":"r2"}"#, r#"{"cameras":[],"cameras":[{"id":"c"}]}"#] {
        let meta = Some(serde_json::from_str(text).unwrap());
        let status = PeerStatus { peer_id: None, roles: vec![Producer], meta };
        let request = PeerRequest::SetPeerStatus(status);
        room.assert_refused("a", request, ErrorCode::Malformed, None);
    }
    assert_eq!(room.0.population().producers, 0);
}

#[test]
fn a_list_that_is_too_long_has_names_alone() {
    let limits = LimitSettings { queue_bytes: 65_536, ..LimitSettings::default() };
    let mut room = Room(Broker::new(&limits), 1);
    room.join("viewer", Grant::open());
    let names: Vec<String> = (0..1_000).map(|n| format!("robot-{n:03}")).collect();
    let mut last = 0;
    for (index, name) in names.iter().enumerate() {
        room.join(name, Grant::open());
        room.ask(name, publish(name, &["front", "rear"]));
        let commands = room.ask("viewer", PeerRequest::List);
        let [Command::Send { message, .. }] = &commands[..] else { panic!("{commands:?}") };
        let bytes = serde_json::to_string(message).unwrap().len();
        assert!(bytes <= 32_768, "{bytes}");
        let BrokerMessage::List { producers } = message else { break };
        assert_eq!(producers.len(), index + 1);
        let whole = producers[0].meta == meta("robot-000", &["front", "rear"]);
        assert!(whole || producers[0].meta == said(json!({"name": "robot-000"})), "{producers:?}");
        last = index;
    }
    assert!((400..900).contains(&last), "{last}");
    let refused = ErrorCode::TooLarge;
    let details = room.assert_refused("viewer", PeerRequest::List, refused, None);
    assert!(details.contains("queue_bytes"), "{details}");
}
