use super::*;

fn peer(name: &str) -> Option<PeerId> {
    Some(PeerId(name.to_owned()))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn start(watch: &Watch, now: Duration) -> bool {
    matches!(watch.action(now), Action::Start(_))
}

fn gives_up(watch: &Watch, now: Duration) -> Option<Slot> {
    match watch.action(now) {
        Action::GiveUp(slot, why) => {
            assert!(!why.is_empty());
            Some(slot)
        }
        _ => None,
    }
}

/// Connected with robot "a" at 100 ms, and for longer than a good session needs; something came
/// last at 10 s.
fn connected() -> Watch {
    let mut watch = Watch::default();
    watch.robot(peer("a"));
    assert!(start(&watch, ms(0)));
    watch.asked(PeerId("a".into()), ms(0));
    assert_eq!(watch.action(ms(50)), Action::Wait);
    watch.heard(Slot::Pending, ms(100));
    assert_eq!(watch.action(ms(100)), Action::Promote);
    watch.promoted();
    watch.heard(Slot::Current, ms(10_000));
    watch
}

#[test]
fn nothing_is_asked_of_a_robot_that_is_not_there() {
    assert_eq!(Watch::default().action(ms(0)), Action::Wait);
}

#[test]
fn running_media_outlives_the_broker_and_a_new_connection_of_the_robot() {
    let mut watch = connected();
    assert!(!watch.link_down(ms(10_000), 0.0));
    for now in (10_000..60_000).step_by(200) {
        watch.heard(Slot::Current, ms(now));
        assert_eq!(watch.action(ms(now + 200)), Action::Wait);
    }
    watch.robot(peer("b"));
    watch.heard(Slot::Current, ms(60_000));
    assert_eq!(watch.action(ms(60_250)), Action::Wait, "the robot has only reconnected");
}

#[test]
fn a_silent_session_is_kept_until_another_shows_a_picture() {
    let mut watch = connected();
    assert_eq!(watch.action(ms(10_400)), Action::Wait);
    assert!(start(&watch, ms(10_401)));
    watch.asked(PeerId("a".into()), ms(10_401));
    watch.heard(Slot::Pending, ms(10_900));
    assert_eq!(watch.action(ms(10_950)), Action::Wait, "it is connected, but shows nothing");
    watch.pending_shows();
    assert_eq!(watch.action(ms(10_960)), Action::Promote);
    watch.promoted();
    assert!(watch.is_connected(ms(10_960)));
    assert_eq!(watch.action(ms(11_000)), Action::Wait);
}

#[test]
fn one_that_comes_to_life_again_stays() {
    let mut watch = connected();
    watch.asked(PeerId("a".into()), ms(10_700));
    watch.heard(Slot::Current, ms(10_800));
    assert_eq!(gives_up(&watch, ms(10_850)), Some(Slot::Pending));
    // Also when the other is connected already.
    watch.heard(Slot::Pending, ms(10_860));
    watch.heard(Slot::Current, ms(10_860));
    assert_eq!(gives_up(&watch, ms(10_870)), Some(Slot::Pending));
    watch.ended(Slot::Pending, ms(10_870), 0.5);
    assert_eq!(watch.action(ms(11_000)), Action::Wait);
}

#[test]
fn a_robot_whose_cameras_are_all_off_is_followed_too() {
    let mut watch = connected();
    watch.asked(PeerId("a".into()), ms(11_000));
    for now in (11_200..13_100).step_by(100) {
        watch.heard(Slot::Pending, ms(now));
        assert_eq!(watch.action(ms(now)), Action::Wait, "{now}");
    }
    watch.heard(Slot::Pending, ms(13_300));
    assert_eq!(watch.action(ms(13_300)), Action::Promote);
}

#[test]
fn a_change_of_addresses_makes_silence_count_sooner() {
    let mut watch = connected();
    watch.robot(peer("b"));
    assert!(start(&watch, ms(10_350)));
    let mut watch = connected();
    watch.moved(ms(10_100));
    assert!(start(&watch, ms(10_350)));
    watch.heard(Slot::Current, ms(20_000));
    assert_eq!(watch.action(ms(20_350)), Action::Wait, "that was long ago");
}

#[test]
fn while_the_network_is_away_attempts_follow_each_other_and_none_is_slow_to_notice_its_return() {
    let mut watch = connected();
    let (mut now, mut longest, mut attempts) = (ms(10_650), ms(0), 0);
    while now < ms(70_000) {
        if gives_up(&watch, now) == Some(Slot::Current) {
            watch.ended(Slot::Current, now, 1.0);
            now += ms(100);
        }
        assert!(start(&watch, now), "{now:?}");
        watch.asked(PeerId("a".into()), now);
        let from = now;
        while gives_up(&watch, now) != Some(Slot::Pending) {
            now += ms(50);
        }
        longest = longest.max(now - from);
        attempts += 1;
        watch.ended(Slot::Pending, now, 1.0);
        now += ms(100);
    }
    assert!(attempts >= 20 && longest > ms(3_500), "{attempts} {longest:?}");
}

#[test]
fn what_nothing_comes_from_is_given_up_in_the_end() {
    let mut watch = connected();
    watch.link_down(ms(11_000), 0.0);
    assert_eq!(watch.action(ms(39_000)), Action::Wait);
    assert_eq!(gives_up(&watch, ms(40_100)), Some(Slot::Current));
}

#[test]
fn first_attempts_time_out_and_are_repeated_with_backoff() {
    let mut watch = Watch::default();
    watch.robot(peer("a"));
    watch.asked(PeerId("a".into()), ms(0));
    assert_eq!(watch.action(ms(2_400)), Action::Wait);
    assert_eq!(gives_up(&watch, ms(2_600)), Some(Slot::Pending));
    let mut now = ms(2_600);
    let mut waits = Vec::new();
    for _ in 0..8 {
        watch.ended(Slot::Pending, now, 1.0);
        let from = now;
        while watch.action(now) == Action::Wait {
            now += ms(50);
        }
        waits.push((now - from).as_millis());
        watch.asked(PeerId("a".into()), now);
    }
    assert!(waits.is_sorted() && waits[0] <= 150 && waits[7] >= 4_000, "{waits:?}");
}

#[test]
fn what_fails_just_after_connecting_is_not_tried_all_the_time() {
    let mut watch = Watch::default();
    watch.robot(peer("a"));
    let (mut now, mut sessions) = (ms(0), 0);
    while now < ms(30_000) {
        if watch.action(now) == Action::Wait {
            now += ms(50);
            continue;
        }
        sessions += 1;
        watch.asked(PeerId("a".into()), now);
        watch.heard(Slot::Pending, now + ms(200));
        watch.promoted();
        now += ms(300);
        watch.ended(Slot::Current, now, 1.0);
    }
    assert!(sessions < 14, "{sessions}");
}

#[test]
fn a_robot_that_refuses_is_not_asked_all_the_time() {
    let mut watch = connected();
    watch.ended(Slot::Current, ms(10_000), 1.0);
    let (mut now, mut refusals) = (ms(10_000), 0);
    while now < ms(40_000) {
        now += ms(50);
        if start(&watch, now) {
            watch.asked(PeerId("a".into()), now);
            watch.refused(now, 1.0);
            refusals += 1;
        }
    }
    assert!(refusals < 14, "{refusals}");
}

#[test]
fn a_robot_that_comes_back_is_not_kept_waiting_by_old_failures() {
    let mut watch = Watch::default();
    watch.robot(peer("a"));
    for _ in 0..8 {
        watch.ended(Slot::Current, ms(0), 1.0);
    }
    watch.robot(None);
    watch.robot(peer("b"));
    assert_eq!(watch.action(ms(0)), Action::Start(PeerId("b".into())));
}

/// Whatever happens in whatever order: what is asked of the caller can be done, and a session that
/// something comes by is never given up but for its successor's pictures.
#[test]
fn no_order_of_events_breaks_the_rules() {
    for seed in 0..500u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut watch = Watch::default();
        let (mut current, mut pending) = (None::<Duration>, None::<(Duration, bool)>);
        let mut now = ms(0);
        for _ in 0..400 {
            now += ms(random(400));
            match random(9) {
                0 => watch.robot(peer(["a", "b"][random(2) as usize])),
                1 => watch.robot(None),
                2 => {
                    let over = watch.link_down(now, 0.5);
                    pending = pending.filter(|_| !over);
                }
                3 | 4 if current.is_some() => {
                    watch.heard(Slot::Current, now);
                    current = Some(now);
                }
                5 if pending.is_some() => {
                    watch.heard(Slot::Pending, now);
                    pending = pending.map(|(asked, _)| (asked, true));
                }
                6 if pending.is_some_and(|(_, connected)| connected) => watch.pending_shows(),
                7 => watch.moved(now),
                8 if pending.is_some_and(|(_, connected)| !connected) => {
                    watch.refused(now, 0.5);
                    pending = None;
                }
                _ => {}
            }
            match watch.action(now) {
                Action::Wait => {}
                Action::Start(peer) => {
                    assert!(pending.is_none());
                    watch.asked(peer, now);
                    pending = Some((now, false));
                }
                Action::Promote => {
                    assert!(pending.is_some_and(|(_, connected)| connected));
                    watch.promoted();
                    (current, pending) = (Some(now), None);
                }
                Action::GiveUp(Slot::Pending, _) => {
                    assert!(pending.take().is_some());
                    watch.ended(Slot::Pending, now, 0.5);
                }
                Action::GiveUp(Slot::Current, _) => {
                    let heard = current.take().unwrap();
                    assert!(now - heard > GIVEN_UP);
                    watch.ended(Slot::Current, now, 0.5);
                }
            }
        }
    }
}
