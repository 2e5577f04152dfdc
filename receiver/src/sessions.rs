//! The session whose pictures are shown, the one that is to take its place, and those that are
//! being closed. Which of them there should be is decided in [`crate::policy`].

use rovercast_peer::connection::ConnectionEvent;
use rovercast_protocol::ids::SessionId;
use tokio::task::JoinSet;

use crate::policy::Slot;
use crate::session::Session;
use crate::turns::Turn;

/// Sessions that may be closing. More only pile up where closing hangs; then no other begins.
const MAX_CLOSING: usize = 8;

/// All sessions there are.
#[derive(Debug, Default)]
pub struct Sessions {
    current: Option<Session>,
    pending: Option<Session>,
    closing: JoinSet<()>,
    begun: u64,
}

impl Sessions {
    /// The session in a slot.
    pub fn get(&self, slot: Slot) -> Option<&Session> {
        match slot {
            Slot::Current => self.current.as_ref(),
            Slot::Pending => self.pending.as_ref(),
        }
    }

    /// The session in a slot, to be changed.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Session> {
        match slot {
            Slot::Current => self.current.as_mut(),
            Slot::Pending => self.pending.as_mut(),
        }
    }

    /// Where the session with this id is.
    pub fn find(&self, id: &SessionId) -> Option<Slot> {
        let is = |slot: &Slot| self.get(*slot).is_some_and(|session| session.id == *id);
        [Slot::Current, Slot::Pending].into_iter().find(is)
    }

    /// Those that there are.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Session)> {
        let slots = [(Slot::Current, &self.current), (Slot::Pending, &self.pending)];
        slots.into_iter().filter_map(|(slot, session)| Some((slot, session.as_ref()?)))
    }

    /// The session whose figures count: the current one, or the only one.
    pub fn main(&self) -> Option<&Session> {
        self.current.as_ref().or(self.pending.as_ref())
    }

    /// Whether another may begin.
    pub fn has_room(&mut self) -> bool {
        while self.closing.try_join_next().is_some() {}
        self.pending.is_none() && self.closing.len() < MAX_CLOSING
    }

    /// The turn of the session that begins next.
    pub fn next_turn(&mut self) -> Turn {
        self.begun += 1;
        Turn::new(self.begun)
    }

    /// One begins.
    pub fn begin(&mut self, session: Session) {
        self.pending = Some(session);
    }

    /// The pending session becomes the current one. Returns the one before.
    pub fn promote(&mut self) -> Option<Session> {
        std::mem::replace(&mut self.current, self.pending.take())
    }

    /// Takes the session out of a slot.
    pub fn take(&mut self, slot: Slot) -> Option<Session> {
        match slot {
            Slot::Current => self.current.take(),
            Slot::Pending => self.pending.take(),
        }
    }

    /// Frees all of a session that was taken out, beside everything else.
    pub fn close(&mut self, session: Session) {
        self.closing.spawn(session.connection.close());
    }

    /// The next event of any connection. Cancel-safe.
    pub async fn next(&mut self) -> (Slot, ConnectionEvent) {
        tokio::select! {
            event = next_of(&mut self.current) => (Slot::Current, event),
            event = next_of(&mut self.pending) => (Slot::Pending, event),
        }
    }

    /// Returns when all that is closing is closed.
    pub async fn closed(&mut self) {
        while self.closing.join_next().await.is_some() {}
    }
}

async fn next_of(session: &mut Option<Session>) -> ConnectionEvent {
    match session {
        Some(session) => session.connection.next().await,
        None => std::future::pending().await,
    }
}
