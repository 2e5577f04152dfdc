//! The WHEP sessions that run: who may refer to which, how many there may be, and the task that keeps
//! each one's peer. The media goes from robot to player; a session here is what PATCH and DELETE mean.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use rovercast_protocol::ids::{RobotId, SessionId};
use rovercast_protocol::signaling::{
    BrokerMessage, Candidate, ErrorCode, PeerBody, PeerMessage, PeerRequest, SessionEnd,
};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::say;
use super::sdp::Offer;
use crate::access::Grant;
use crate::limits::counted;
use crate::socket::Attached;
use crate::web::Refusal;

/// Requests with candidates that may wait for a session's task. Further ones are refused.
const PATCHES: usize = 16;

/// All of them.
#[derive(Debug)]
pub(crate) struct Sessions {
    max: usize,
    max_per_address: usize,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// Of each address as it is counted, those that are being made included.
    by_address: HashMap<IpAddr, usize>,
    count: usize,
    running: HashMap<String, Running>,
}

/// A session that runs. When this is dropped, it ends: so nobody keeps a copy while he waits.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    /// The robot that plays.
    pub robot: RobotId,
    /// The player's offer.
    pub offer: Arc<Offer>,
    /// Names this session and its only ICE generation, as an entity tag.
    pub etag: String,
    owner: Option<String>,
    candidates: mpsc::Sender<Vec<Candidate>>,
}

impl Running {
    /// Whether this is for who asks: only who began a session may change or end it.
    pub(crate) fn belongs_to(&self, grant: &Grant) -> bool {
        grant.is_open() || self.owner.as_deref() == grant.subject()
    }

    /// Passes candidates of the player on.
    pub(crate) fn add(&self, candidates: Vec<Candidate>) -> Result<(), Refusal> {
        self.candidates.try_send(candidates).map_err(|_| {
            let details = "the candidates come faster than they can be passed on: send less";
            Refusal::of(ErrorCode::RateLimited, details)
        })
    }
}

/// Room for one session. Its end is the session's.
#[derive(Debug)]
pub(crate) struct Seat {
    sessions: Arc<Sessions>,
    /// As it is counted.
    address: IpAddr,
    key: String,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut book = self.sessions.lock();
        book.running.remove(&self.key);
        book.count -= 1;
        if let Some(count) = book.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                book.by_address.remove(&self.address);
            }
        }
    }
}

impl Sessions {
    /// None yet, and room for so many.
    pub(crate) fn new(max: usize, max_per_address: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_address, book: Mutex::default() })
    }

    /// Takes room for a session.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Seat, Refusal> {
        let address = counted(address);
        let mut book = self.lock();
        if book.count >= self.max {
            let details = "the broker has as many WHEP sessions as it may: try again later, or raise \
                           whep.max_sessions";
            return Err(Refusal::of(ErrorCode::TooManySessions, details));
        }
        let from_here = book.by_address.entry(address).or_default();
        if *from_here >= self.max_per_address {
            let details = "your address has as many WHEP sessions as it may: DELETE one, or raise \
                           whep.max_sessions_per_address";
            let status = StatusCode::TOO_MANY_REQUESTS;
            return Err(Refusal::new(status, ErrorCode::TooManySessions, details));
        }
        *from_here += 1;
        book.count += 1;
        // Whoever knows it can end the session of a broker without keys: it cannot be guessed.
        let key = Uuid::new_v4().to_string();
        Ok(Seat { sessions: self.clone(), address, key })
    }

    /// Lets a session run, in a task of its own, until one of its ends is gone. Returns its name here,
    /// and what there is to say of it.
    pub(crate) fn start(
        self: &Arc<Self>,
        seat: Seat,
        peer: Attached,
        session_id: SessionId,
        robot: RobotId,
        offer: Offer,
        grant: &Grant,
    ) -> (String, Running) {
        let (candidates, patches) = mpsc::channel(PATCHES);
        let running = Running {
            robot,
            offer: Arc::new(offer),
            etag: format!("\"{}\"", Uuid::new_v4()),
            owner: grant.subject().map(str::to_owned),
            candidates,
        };
        let key = seat.key.clone();
        self.lock().running.insert(key.clone(), running.clone());
        tokio::spawn(keep(seat, peer, session_id, patches));
        (key, running)
    }

    /// The session of this name.
    pub(crate) fn find(&self, key: &str) -> Option<Running> {
        self.lock().running.get(key).cloned()
    }

    /// Ends the session of this name. Its task sees that nobody can refer to it any more.
    pub(crate) fn end(&self, key: &str) {
        self.lock().running.remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        // No code that holds the lock leaves things half done, should it panic.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the peer of a session for as long as that lasts.
async fn keep(
    _seat: Seat,
    mut peer: Attached,
    session_id: SessionId,
    mut patches: mpsc::Receiver<Vec<Candidate>>,
) {
    loop {
        tokio::select! {
            heard = peer.recv() => match heard {
                Some(text) if !ends(&text, &session_id) => {}
                _ => break,
            },
            patch = patches.recv() => match patch {
                Some(candidates) => candidates.into_iter().for_each(|candidate| {
                    let (session_id, body) = (session_id.clone(), PeerBody::Ice(candidate));
                    say(&peer, &PeerRequest::Peer(PeerMessage { session_id, body }));
                }),
                None => {
                    let end = SessionEnd { session_id: session_id.clone(), reason: None };
                    say(&peer, &PeerRequest::EndSession(end));
                    break;
                }
            },
        }
    }
    tracing::info!(session = %session_id, "a WHEP session has ended");
}

/// Whether this is the end of the session.
fn ends(text: &str, session_id: &SessionId) -> bool {
    matches!(
        BrokerMessage::parse(text),
        Ok(BrokerMessage::EndSession(SessionEnd { session_id: ended, .. })) if ended == *session_id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let sessions = Sessions::new(9, 1);
        let admit = |address: &str| sessions.admit(address.parse().unwrap());
        let one = admit("2001:db8::1").unwrap();
        assert_eq!(admit("2001:db8::2").unwrap_err().status.as_u16(), 429);
        let _other = admit("2001:db8:0:1::1").unwrap();
        drop(one);
        let _again = admit("2001:db8::2").unwrap();
    }

    #[test]
    fn there_is_room_for_so_many() {
        let sessions = Sessions::new(3, 2);
        let [here, there] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
        let refused = |address| sessions.admit(address).unwrap_err().status.as_u16();
        let first = sessions.admit(here).unwrap();
        let _second = sessions.admit(here).unwrap();
        assert_eq!(refused(here), 429, "too many from one address");
        let third = sessions.admit(there).unwrap();
        assert_eq!(refused(there), 503, "too many in all");
        drop(third);
        drop(first);
        let again = [sessions.admit(here).unwrap(), sessions.admit(there).unwrap()];
        assert_ne!(again[0].key, again[1].key);
        drop((again, _second));
        let book = sessions.lock();
        assert_eq!((book.count, book.by_address.len(), book.running.len()), (0, 0, 0));
    }
}
