//! When to have a session, and when to give one up for a new one. Pure.

use std::time::Duration;

use rovercast_protocol::backoff::Backoff;
use rovercast_protocol::ids::PeerId;

/// An attempt that shows no life by then is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Without a word of the robot for this long, a session that the broker does not know any more is
/// given up. Telemetry alone comes every second.
const ORPHAN_SILENCE: Duration = Duration::from_millis(1500);

/// The same for a session that nothing else speaks against.
const SILENCE: Duration = Duration::from_secs(5);

/// A session that lived for this long was a good one: the next is tried soon.
const GOOD: Duration = Duration::from_secs(5);

const FIRST_RETRY: Duration = Duration::from_millis(100);
const SLOWEST_RETRY: Duration = Duration::from_secs(5);

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Wait,
    /// Ask this peer for a session.
    Start(PeerId),
    /// End the session that there is.
    GiveUp(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Idle { retry_at: Duration },
    Asked { since: Duration },
    Connected { since: Duration, heard: Duration, orphan: bool },
}

/// Follows the robot and the session with it.
#[derive(Debug)]
pub struct Watch {
    robot: Option<PeerId>,
    state: State,
    backoff: Backoff,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            robot: None,
            state: State::Idle { retry_at: Duration::ZERO },
            backoff: Backoff::new(FIRST_RETRY, SLOWEST_RETRY),
        }
    }
}

impl Watch {
    /// The robot is on-line under this peer id, or off-line.
    pub fn robot(&mut self, peer: Option<PeerId>) {
        if peer.is_some() && peer != self.robot {
            // It has come back: what failed before says nothing about now.
            self.backoff.reset();
            if let State::Idle { retry_at } = &mut self.state {
                *retry_at = Duration::ZERO;
            }
        }
        let moved = peer != self.robot;
        if let State::Connected { orphan, .. } = &mut self.state {
            *orphan |= moved;
        }
        self.robot = peer;
    }

    /// The link to the broker is down: who is on-line is not known.
    pub fn link_down(&mut self, now: Duration, random: f64) {
        self.robot = None;
        match &mut self.state {
            // Negotiation needs the broker; media does not.
            State::Asked { .. } => self.ended(now, random),
            State::Connected { orphan, .. } => *orphan = true,
            State::Idle { .. } => {}
        }
    }

    /// A session was asked for.
    pub fn asked(&mut self, now: Duration) {
        self.state = State::Asked { since: now };
    }

    /// Something of the robot arrived in this session: media or a message.
    pub fn heard(&mut self, now: Duration) {
        match &mut self.state {
            State::Connected { since, heard, .. } => {
                *heard = now.max(*heard);
                if now.saturating_sub(*since) > GOOD {
                    self.backoff.reset();
                }
            }
            state => *state = State::Connected { since: now, heard: now, orphan: false },
        }
    }

    /// The robot refused, where it was asked.
    pub fn refused(&mut self, now: Duration, random: f64) {
        if self.is_asked() {
            self.ended(now, random);
        }
    }

    /// Whether a session is asked for that has not shown life.
    pub fn is_asked(&self) -> bool {
        matches!(self.state, State::Asked { .. })
    }

    /// Whether a session is alive.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected { .. })
    }

    /// The broker says that the other side has left it.
    pub fn orphaned(&mut self) {
        if let State::Connected { orphan, .. } = &mut self.state {
            *orphan = true;
        }
    }

    /// The session is over.
    pub fn ended(&mut self, now: Duration, random: f64) {
        self.state = State::Idle { retry_at: now + self.backoff.next(random) };
    }

    /// What to do at this time.
    pub fn action(&self, now: Duration) -> Action {
        match (&self.state, &self.robot) {
            (State::Idle { retry_at }, Some(robot)) if now >= *retry_at => {
                Action::Start(robot.clone())
            }
            (State::Asked { since }, _) if now.saturating_sub(*since) > CONNECT_TIMEOUT => {
                Action::GiveUp("it did not connect in time")
            }
            (State::Connected { heard, orphan, .. }, robot) => {
                let silent = now.saturating_sub(*heard);
                if *orphan && robot.is_some() && silent > ORPHAN_SILENCE {
                    Action::GiveUp("the broker does not know it any more, and it is silent")
                } else if silent > SILENCE && (robot.is_some() || *orphan) {
                    Action::GiveUp("nothing has come for long")
                } else {
                    Action::Wait
                }
            }
            _ => Action::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> Option<PeerId> {
        Some(PeerId(name.to_owned()))
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn connected() -> Watch {
        let mut watch = Watch::default();
        watch.robot(peer("a"));
        assert_eq!(watch.action(ms(0)), Action::Start(PeerId("a".into())));
        watch.asked(ms(0));
        watch.heard(ms(100));
        watch
    }

    #[test]
    fn nothing_is_asked_of_a_robot_that_is_not_there() {
        assert_eq!(Watch::default().action(ms(0)), Action::Wait);
    }

    #[test]
    fn running_media_outlives_the_broker() {
        let mut watch = connected();
        watch.link_down(ms(1000), 0.0);
        for now in (1000..60_000).step_by(500) {
            watch.heard(ms(now));
            assert_eq!(watch.action(ms(now + 400)), Action::Wait);
        }
        watch.robot(peer("b"));
        watch.heard(ms(60_000));
        assert_eq!(watch.action(ms(61_000)), Action::Wait, "the robot has only reconnected");
    }

    #[test]
    fn a_robot_that_restarted_is_called_again_soon() {
        let mut watch = connected();
        watch.orphaned();
        watch.robot(None);
        assert_eq!(watch.action(ms(2000)), Action::Wait, "there is nobody to call");
        watch.robot(peer("b"));
        assert!(matches!(watch.action(ms(2000)), Action::GiveUp(_)));
        watch.ended(ms(2000), 0.0);
        assert_eq!(watch.action(ms(2100)), Action::Start(PeerId("b".into())));
    }

    #[test]
    fn silence_ends_a_session_late_when_nothing_else_speaks_against_it() {
        let watch = connected();
        assert_eq!(watch.action(ms(5000)), Action::Wait);
        assert!(matches!(watch.action(ms(5200)), Action::GiveUp(_)));
    }

    #[test]
    fn attempts_time_out_and_are_repeated_with_backoff() {
        let mut watch = Watch::default();
        watch.robot(peer("a"));
        watch.asked(ms(0));
        assert_eq!(watch.action(ms(9_000)), Action::Wait);
        assert!(matches!(watch.action(ms(10_001)), Action::GiveUp(_)));
        let mut now = ms(10_001);
        let mut waits = Vec::new();
        for _ in 0..8 {
            watch.ended(now, 1.0);
            let from = now;
            while watch.action(now) == Action::Wait {
                now += ms(50);
            }
            waits.push((now - from).as_millis());
            watch.asked(now);
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
            watch.asked(now);
            watch.heard(now + ms(200));
            now += ms(300);
            watch.ended(now, 1.0);
        }
        assert!(sessions < 14, "{sessions}");
    }

    #[test]
    fn a_robot_that_comes_back_is_not_kept_waiting_by_old_failures() {
        let mut watch = Watch::default();
        watch.robot(peer("a"));
        for _ in 0..8 {
            watch.ended(ms(0), 1.0);
        }
        watch.robot(None);
        watch.robot(peer("b"));
        assert_eq!(watch.action(ms(0)), Action::Start(PeerId("b".into())));
    }
}
