//! When to have a session, when to make another beside it, and which of the two to give up. Pure.
//!
//! There are at most two sessions: the *current* one, whose pictures are shown, and a *pending* one,
//! which is to take its place. Nothing ends a session but its own end, long silence, or a picture
//! of its successor: one that is silent may come to life again, and then stays.

use std::time::Duration;

use rovercast_protocol::backoff::{Backoff, patience};
use rovercast_protocol::ids::PeerId;

/// A session in which nothing has come for this long, not even answers to pings, is in doubt. Pings
/// are five a second.
const SILENCE: Duration = Duration::from_millis(400);

/// The same when something else speaks against it, too: the robot has another connection to the
/// broker, or this host another address.
const SILENCE_AFTER_CHANGE: Duration = Duration::from_millis(300);

/// A change of addresses concerns what happens within this time.
const JUST_NOW: Duration = Duration::from_secs(5);

/// So long is kept what may come to life again, though nothing can take its place.
const GIVEN_UP: Duration = Duration::from_secs(30);

/// A successor that is connected but shows nothing takes the place of a silent session then: its
/// cameras may all be off.
const NO_PICTURE: Duration = Duration::from_secs(2);

/// An attempt to connect may take this long, or four times what the last success took, times
/// [`patience`].
const CONNECTING: Duration = Duration::from_millis(2500);
const LEAST_CONNECTING: Duration = Duration::from_millis(1000);
const MOST_CONNECTING: Duration = Duration::from_secs(10);

/// A session that lived for this long was a good one.
const GOOD: Duration = Duration::from_secs(5);

/// For so long after a good session attempts follow each other quickly: pictures are to be back as
/// soon as the network is.
const RECOVERING: Duration = Duration::from_secs(120);

const FIRST_RETRY: Duration = Duration::from_millis(100);
const SLOWEST_RETRY: Duration = Duration::from_secs(5);

/// Which of the two sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The one whose pictures are shown.
    Current,
    /// The one that is to take its place.
    Pending,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Wait,
    /// Ask this peer for a session.
    Start(PeerId),
    /// The pending session takes the place of the current one, which ends.
    Promote,
    /// End this session.
    GiveUp(Slot, &'static str),
}

/// What is known of a session.
#[derive(Debug, Clone)]
struct Facts {
    /// The robot's connection to the broker that it was asked of.
    peer: PeerId,
    asked: Duration,
    connected: Option<Duration>,
    /// When something came by it last.
    heard: Duration,
    /// A picture of it is shown.
    shows: bool,
}

/// Follows the robot and the sessions with it.
#[derive(Debug)]
pub struct Watch {
    robot: Option<PeerId>,
    current: Option<Facts>,
    pending: Option<Facts>,
    retry_at: Duration,
    backoff: Backoff,
    /// Attempts in a row that did not connect.
    late: u32,
    /// How long the last successful attempt took.
    usual: Option<Duration>,
    /// When something came last by a session that had lived for long.
    good: Option<Duration>,
    /// When this host's addresses changed last.
    moved: Option<Duration>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            robot: None,
            current: None,
            pending: None,
            retry_at: Duration::ZERO,
            backoff: Backoff::new(FIRST_RETRY, SLOWEST_RETRY),
            late: 0,
            usual: None,
            good: None,
            moved: None,
        }
    }
}

impl Watch {
    /// The robot is on-line under this peer id, or off-line.
    pub fn robot(&mut self, peer: Option<PeerId>) {
        if peer.is_some() && peer != self.robot {
            // It has come back: what failed before says nothing about now.
            self.backoff.reset();
            (self.retry_at, self.late) = (Duration::ZERO, 0);
        }
        self.robot = peer;
    }

    /// The link to the broker is down: who is on-line is not known, and what is not connected
    /// never will be. Returns whether the pending session is over.
    pub fn link_down(&mut self, now: Duration, random: f64) -> bool {
        self.robot = None;
        let hopeless = self.pending.as_ref().is_some_and(|pending| pending.connected.is_none());
        if hopeless {
            self.ended(Slot::Pending, now, random);
        }
        hopeless
    }

    /// This host has other addresses than before.
    pub fn moved(&mut self, now: Duration) {
        (self.moved, self.late) = (Some(now), 0);
    }

    /// A session was asked for.
    pub fn asked(&mut self, peer: PeerId, now: Duration) {
        self.pending = Some(Facts { peer, asked: now, connected: None, heard: now, shows: false });
    }

    /// Something came by this session at this time: media, a message, or the connection itself.
    pub fn heard(&mut self, slot: Slot, at: Duration) {
        let facts = match slot {
            Slot::Current => self.current.as_mut(),
            Slot::Pending => self.pending.as_mut(),
        };
        let Some(facts) = facts else { return };
        facts.heard = at.max(facts.heard);
        if facts.connected.is_none() {
            facts.connected = Some(at);
            self.usual = Some(at.saturating_sub(facts.asked));
        }
        self.late = 0;
        if facts.connected.is_some_and(|connected| at.saturating_sub(connected) > GOOD) {
            self.good = Some(at);
            self.backoff.reset();
        }
    }

    /// A picture of the pending session is shown.
    pub fn pending_shows(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.shows = true;
        }
    }

    /// The pending session has become the current one.
    pub fn promoted(&mut self) {
        self.current = self.pending.take();
    }

    /// The robot refused, where it was asked.
    pub fn refused(&mut self, now: Duration, random: f64) {
        if self.is_asked() {
            self.good = None;
            self.ended(Slot::Pending, now, random);
        }
    }

    /// A session is over.
    pub fn ended(&mut self, slot: Slot, now: Duration, random: f64) {
        let ended = match slot {
            Slot::Current => self.current.take(),
            Slot::Pending => self.pending.take(),
        };
        if ended.is_some_and(|ended| ended.connected.is_none()) {
            self.late += 1;
        }
        let wait = if self.is_recovering(now) {
            FIRST_RETRY.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
        } else {
            self.backoff.next(random)
        };
        self.retry_at = now + wait;
    }

    /// Whether a session is asked for that has not connected.
    pub fn is_asked(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.connected.is_none())
    }

    /// Whether there is a session by which something came lately.
    pub fn is_connected(&self, now: Duration) -> bool {
        self.current.as_ref().is_some_and(|current| !self.is_silent(current, now))
    }

    /// Whether a session was lost, or is about to be: then the network may be in trouble.
    pub fn is_in_trouble(&self, now: Duration) -> bool {
        !self.is_connected(now) && self.is_recovering(now)
    }

    /// What to do at this time.
    pub fn action(&self, now: Duration) -> Action {
        if let Some(pending) = &self.pending {
            return self.of_pending(pending, now);
        }
        if let Some(current) = &self.current {
            if !self.is_silent(current, now) {
                return Action::Wait;
            }
            if now.saturating_sub(current.heard) > GIVEN_UP {
                return Action::GiveUp(Slot::Current, "nothing has come for long");
            }
        }
        match &self.robot {
            Some(robot) if now >= self.retry_at => Action::Start(robot.clone()),
            _ => Action::Wait,
        }
    }

    fn of_pending(&self, pending: &Facts, now: Duration) -> Action {
        if pending.connected.is_some() && (pending.shows || self.current.is_none()) {
            return Action::Promote;
        }
        if self.is_connected(now) {
            return Action::GiveUp(Slot::Pending, "the one before it is alive again");
        }
        match pending.connected {
            None if now.saturating_sub(pending.asked) > self.connecting(now) => {
                Action::GiveUp(Slot::Pending, "it did not connect in time")
            }
            Some(_) if self.is_silent(pending, now) => {
                Action::GiveUp(Slot::Pending, "it has gone silent, too")
            }
            Some(connected) if now.saturating_sub(connected) > NO_PICTURE => Action::Promote,
            _ => Action::Wait,
        }
    }

    fn connecting(&self, now: Duration) -> Duration {
        let usual = self.usual.filter(|_| self.is_recovering(now));
        let unit = usual.map_or(CONNECTING, |usual| (usual * 4).max(LEAST_CONNECTING));
        (unit * patience(self.late)).min(MOST_CONNECTING)
    }

    fn is_silent(&self, session: &Facts, now: Duration) -> bool {
        let robot_moved = self.robot.as_ref().is_some_and(|robot| *robot != session.peer);
        let host_moved = self.moved.is_some_and(|moved| now.saturating_sub(moved) < JUST_NOW);
        let moved = robot_moved || host_moved;
        let patience = if moved { SILENCE_AFTER_CHANGE } else { SILENCE };
        now.saturating_sub(session.heard) > patience
    }

    fn is_recovering(&self, now: Duration) -> bool {
        self.good.is_some_and(|good| now.saturating_sub(good) < RECOVERING)
    }
}

#[cfg(test)]
mod tests;
