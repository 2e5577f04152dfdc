//! One robot, one publisher.

use super::*;

#[test]
fn without_keys_the_newcomer_replaces() {
    let mut room = Room::with(&["ear", "old", "new", "viewer"]);
    room.ask("ear", roles(&[Listener]));
    room.ask("old", publish("r1", &[]));
    room.ask("viewer", call("old"));
    let news = |name, roles: &[PeerRole]| {
        let (peer_id, roles) = (Some(peer(name)), roles.to_vec());
        let status = PeerStatus { peer_id, roles, meta: meta("r1", &[]) };
        to("ear", BrokerMessage::PeerStatusChanged(status))
    };
    let commands = [
        ended("viewer", "s1", EndReason::PeerLeft),
        news("old", &[]),
        Command::Replace(peer("old")),
        news("new", &[Producer]),
    ];
    room.assert_commands("new", publish("r1", &[]), &commands);
    // The old one is forgotten: whatever it says, or that it leaves, concerns nobody.
    room.assert_commands("old", publish("r1", &[]), &[]);
    assert_eq!(room.leave("old"), []);
    assert_eq!(room.0.robots[&robot("r1")], peer("new"));
    // What is said again replaces nobody.
    room.assert_commands("new", publish("r1", &[]), &[]);
}

#[test]
fn with_keys_the_same_subject_replaces_and_another_is_refused() {
    let mut room = Room::guarded(&[("old", "publish:r*")]);
    room.join("new", grant("old", "publish:r1"));
    room.join("thief", grant("thief", "publish:*"));
    room.ask("old", publish("r1", &[]));
    let details = room.assert_refused("thief", publish("r1", &[]), ErrorCode::RobotTaken, None);
    assert!(details.contains("r1") && !details.contains("old"), "{details}");
    room.assert_commands("new", publish("r1", &[]), &[Command::Replace(peer("old"))]);
    room.leave("new");
    room.assert_commands("thief", publish("r1", &[]), &[]);
}

#[test]
fn a_name_is_free_again_when_it_is_given_up() {
    let mut room = Room::guarded(&[("a", "publish:*"), ("b", "publish:*")]);
    room.ask("a", publish("r1", &[]));
    room.ask("a", publish("r2", &[]));
    room.assert_commands("b", publish("r1", &[]), &[]);
    room.ask("a", roles(&[]));
    room.assert_commands("b", publish("r2", &[]), &[]);
    room.leave("b");
    room.assert_commands("a", publish("r2", &[]), &[]);
    room.leave("a");
    assert!(room.is_empty());
}

#[test]
fn the_nameless_are_nobodys_rivals() {
    let mut room = Room::with(&["a", "b"]);
    for name in ["", "two words"] {
        for peer in ["a", "b"] {
            room.assert_commands(peer, publish(name, &[]), &[]);
        }
    }
    assert_eq!(room.0.population().producers, 2);
}

/// Who may watch one robot need not be let watch another.
#[test]
fn a_robot_that_changes_its_name_ends_its_sessions() {
    let mut room = Room::in_session();
    let ended = [ended("viewer", "s1", EndReason::Ended)];
    room.assert_commands("robot", publish("r2", &[]), &ended);
    room.1 = 2;
    room.ask("viewer", call("robot"));
    room.assert_commands("robot", publish("r2", &["front"]), &[]);
    room.assert_commands("viewer", ice("s2"), &[relay("robot")]);
}
