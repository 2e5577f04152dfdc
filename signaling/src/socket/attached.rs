//! A peer that lives in this program: what another one does over a WebSocket, without the socket.

use std::sync::Arc;
use std::time::Instant;

use super::connection::expiry;
use super::farewell::last_word;
use super::post::text_of;
use super::{Hub, Seat};
use crate::metrics::Ended;

/// A peer of a [`Hub`], for as long as this lives. It is not pinged, and nothing limits how much it
/// says: that is for those to do who speak through it.
#[derive(Debug)]
pub(crate) struct Attached {
    hub: Arc<Hub>,
    seat: Seat,
    /// Why it is over, once it is.
    ended: Option<Ended>,
}

impl Attached {
    pub(super) fn new(hub: Arc<Hub>, seat: Seat) -> Self {
        Self { hub, seat, ended: None }
    }

    /// The next message of the broker, as it would stand in a frame; `None` when the broker has
    /// ended the peer. Nothing is lost when this is dropped while it waits. Whoever does not call
    /// it is dropped as one that does not read.
    pub(crate) async fn recv(&mut self) -> Option<String> {
        if self.ended.is_none() {
            let ended = tokio::select! {
                biased;
                Some(waiting) = self.seat.queue.recv() => return Some(waiting.text.to_string()),
                ended = &mut self.seat.end => ended.unwrap_or(Ended::Left),
                () = expiry(&self.seat.who.grant) => Ended::TokenExpired,
            };
            self.ended = Some(ended);
            let why = last_word(ended, &self.hub.settings).and_then(|error| text_of(&error));
            return why.map(|text| text.to_string());
        }
        None
    }

    /// Says something to the broker: JSON, as it would stand in a frame.
    pub(crate) fn say(&self, text: String) {
        if self.ended.is_none() {
            self.hub.request(&self.seat.who, text.into(), Instant::now());
        }
    }
}

#[cfg(test)]
impl Attached {
    /// Its id.
    pub(super) fn peer_id(&self) -> &rovercast_protocol::ids::PeerId {
        &self.seat.who.peer_id
    }

    /// Whether it was ended for this.
    pub(super) fn is_ended(&self, why: Ended) -> bool {
        self.ended == Some(why)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // It may have been ended without having heard of it.
        let ended = self.ended.or_else(|| self.seat.end.try_recv().ok());
        if self.seat.open.is_some() {
            self.hub.leave(&self.seat.who, ended.unwrap_or(Ended::Left));
        }
    }
}
