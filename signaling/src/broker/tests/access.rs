//! What tokens allow and hide.

use super::*;

#[test]
fn only_robots_of_the_scope_are_published() {
    let mut room = Room::guarded(&[("robot", "publish:r1"), ("any", "publish:*"), ("none", "")]);
    let code = ErrorCode::Forbidden;
    let details = room.assert_refused("robot", publish("r2", &[]), code, None);
    assert!(details.contains("publish:r2"), "{details}");
    room.assert_refused("none", publish("r1", &[]), code, None);
    // Without a name, or with one that is none, it is covered by `*` alone.
    for request in [roles(&[Producer]), publish("r 1", &[])] {
        room.assert_refused("robot", request.clone(), code, None);
        room.assert_commands("any", request, &[]);
    }
    room.assert_commands("robot", publish("r1", &[]), &[]);
    // What is refused changes nothing: it is the same robot still.
    room.assert_refused("robot", publish("r2", &[]), code, None);
    assert_eq!(room.0.robots.keys().collect::<Vec<_>>(), [&robot("r1")]);
    // Listening takes no scope: there is nothing to hear without one.
    room.assert_commands("none", roles(&[Listener]), &[to("none", status("none", &[Listener]))]);
}

#[test]
fn a_list_shows_what_the_token_does() {
    let mut room = Room::guarded(&[
        ("one", "publish:*"),
        ("two", "publish:*"),
        ("nameless", "publish:*"),
        ("all", "view:*"),
        ("some", "view:r1/front view:r1/arm-*"),
        ("none", "control:r1 publish:r1"),
    ]);
    let cameras = ["front", "arm-left", "rear"];
    room.ask("one", publish("r1", &cameras));
    room.ask("two", publish("r2", &cameras));
    room.ask("nameless", roles(&[Producer]));
    let info = |id, meta| PeerInfo { id: peer(id), meta };
    let nameless = info("nameless", None);
    let all = vec![info("one", meta("r1", &cameras)), info("two", meta("r2", &cameras)), nameless];
    let some = vec![info("one", meta("r1", &["front", "arm-left"]))];
    for (who, producers) in [("all", all), ("some", some), ("none", vec![]), ("one", vec![])] {
        let list = BrokerMessage::List { producers: producers.clone() };
        room.assert_commands(who, PeerRequest::List, &[to(who, list)]);
    }
    let grant = grant("x", "view:r2");
    assert_eq!(room.0.robots(&grant), [info("two", meta("r2", &cameras))]);
    assert_eq!(room.0.robots(&Grant::open()).len(), 3);
}

#[test]
fn cameras_that_are_no_list_are_hidden_from_those_who_see_some() {
    let mut room = Room::guarded(&[("robot", "publish:*"), ("some", "view:r1/front")]);
    for cameras in [json!({"front": 1}), json!("front"), json!([1, {"id": 2}, ["front"]])] {
        let meta = said(json!({"name": "r1", "cameras": cameras}));
        let status = PeerStatus { peer_id: None, roles: vec![Producer], meta };
        room.ask("robot", PeerRequest::SetPeerStatus(status));
        let shown = said(json!({"name": "r1", "cameras": []}));
        let producers = vec![PeerInfo { id: peer("robot"), meta: shown }];
        let list = to("some", BrokerMessage::List { producers });
        room.assert_commands("some", PeerRequest::List, &[list]);
        room.assert_refused("some", call("robot"), ErrorCode::Forbidden, None);
    }
}

#[test]
fn announcements_are_for_those_who_may_see_the_robot() {
    let mut room = Room::guarded(&[
        ("robot", "publish:*"),
        ("a", "view:*"),
        ("b", "view:r1"),
        ("c", "view:r1/front"),
        ("d", "view:r1/front*"),
        ("e", "view:r2"),
        ("f", ""),
    ]);
    for name in ["a", "b", "c", "d", "e", "f"] {
        room.ask(name, roles(&[Listener]));
    }
    let news = |to: &[&str], roles: &[PeerRole], meta| {
        let status = PeerStatus { peer_id: Some(peer("robot")), roles: roles.to_vec(), meta };
        Command::Send { to: peers(to), message: BrokerMessage::PeerStatusChanged(status) }
    };
    // Equal cuts are written once.
    let (full, cut) = (meta("r1", &["front", "rear"]), meta("r1", &["front"]));
    let came = [news(&["a", "b"], &[Producer], full), news(&["c", "d"], &[Producer], cut)];
    room.assert_commands("robot", publish("r1", &["front", "rear"]), &came);
    // Under another name it is gone for those who may not see that.
    let renamed =
        [news(&["a", "e"], &[Producer], meta("r2", &["front"])), news(&["b", "c", "d"], &[], None)];
    room.assert_commands("robot", publish("r2", &["front"]), &renamed);
    assert_eq!(room.leave("robot"), [news(&["a", "e"], &[], None)]);
}

#[test]
fn hidden_robots_do_not_exist() {
    let mut room =
        Room::guarded(&[("robot", "publish:r1"), ("viewer", "view:r2"), ("other", "view:r1")]);
    room.ask("robot", publish("r1", &["front"]));
    let code = ErrorCode::UnknownPeer;
    let words = room.assert_refused("viewer", call("nobody"), code, None);
    for hidden in ["robot", "other"] {
        let details = room.assert_refused("viewer", call(hidden), code, None);
        assert_eq!(details.replace(hidden, "nobody"), words);
    }
    assert_eq!(room.ask("other", call("robot")).len(), 2);
}

#[test]
fn a_session_has_the_cameras_and_the_control_of_the_token() {
    let mut room = Room::guarded(&[
        ("robot", "publish:r1"),
        ("driver", "view:r1 control:r1"),
        ("guest", "view:r1/front view:r1/rear control:r2"),
        ("blind", "control:r1"),
    ]);
    room.ask("robot", publish("r1", &["front", "rear", "arm"]));
    let cameras = |ids: &[&str]| Some(ids.iter().map(|id| id.parse().unwrap()).collect::<Vec<_>>());
    let wish = |wanted: Option<&[&str]>| {
        let cameras = wanted.and_then(cameras);
        let wish = SessionRequest { peer_id: peer("robot"), offer: None, cameras };
        PeerRequest::StartSession(wish)
    };
    for (who, wanted, got, control) in [
        ("driver", None, None, true),
        ("driver", Some(&["arm", "made-up"][..]), cameras(&["arm", "made-up"]), true),
        ("guest", None, cameras(&["front", "rear"]), false),
        ("guest", Some(&["arm", "rear", "made-up"]), cameras(&["rear"]), false),
    ] {
        room.1 += 1;
        let commands = room.ask(who, wish(wanted));
        let [_, Command::Send { to, message: BrokerMessage::StartSession(start) }] = &commands[..]
        else {
            panic!("{commands:?}")
        };
        assert_eq!((&to[..], &start.peer_id), (&[peer("robot")][..], &peer(who)));
        assert_eq!((&start.cameras, start.control), (&got, Some(control)), "{who} {wanted:?}");
    }
    for wanted in [&["arm"][..], &["made-up"], &[]] {
        room.assert_refused("guest", wish(Some(wanted)), ErrorCode::Forbidden, None);
    }
    room.assert_refused("blind", wish(None), ErrorCode::UnknownPeer, None);
}

/// A program that knows no cameras would send all that it has.
#[test]
fn a_producer_without_cameras_is_for_those_who_may_see_all() {
    let mut room =
        Room::guarded(&[("robot", "publish:r1"), ("some", "view:r1/front"), ("all", "view:r1/*")]);
    let status =
        PeerStatus { peer_id: None, roles: vec![Producer], meta: said(json!({"name": "r1"})) };
    room.ask("robot", PeerRequest::SetPeerStatus(status));
    room.assert_refused("some", call("robot"), ErrorCode::Forbidden, None);
    assert_eq!(room.ask("all", call("robot")).len(), 2);
}

#[test]
fn a_waiting_consumer_is_known_to_the_robots_that_it_may_view() {
    let mut room = Room::guarded(&[
        ("screen", "view:r1/front"),
        ("r1", "publish:r1"),
        ("r2", "publish:r2 view:*"),
        ("viewer", "view:* control:*"),
    ]);
    room.ask("r1", publish("r1", &["front", "rear"]));
    room.ask("r2", publish("r2", &["front"]));
    room.assert_commands("screen", roles(&[Consumer]), &[]);
    let known = vec![PeerInfo { id: peer("screen"), meta: None }];
    for (who, consumers) in [("r1", known), ("r2", vec![]), ("viewer", vec![])] {
        let list = to(who, BrokerMessage::ListConsumers { consumers });
        room.assert_commands(who, PeerRequest::ListConsumers, &[list]);
    }
    for stranger in ["r2", "viewer"] {
        room.assert_refused(stranger, call("screen"), ErrorCode::UnknownPeer, None);
    }
    let start = SessionStart {
        peer_id: peer("screen"),
        session_id: session("s1"),
        offer: None,
        cameras: Some(vec!["front".parse().unwrap()]),
        control: Some(false),
    };
    let commands = [started("screen", "r1", "s1"), to("r1", BrokerMessage::StartSession(start))];
    room.assert_commands("r1", call("screen"), &commands);
}
