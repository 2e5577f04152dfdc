//! Who came, who was refused and who talked to whom: one line of the log each, with the target
//! `audit`. Neither tokens nor credentials nor SDP are ever in one, and what a peer chose itself is
//! cut and escaped, so that no line can be forged.

use std::fmt::{self, Write};
use std::net::IpAddr;

use rovercast_protocol::ids::{PeerId, RobotId};
use rovercast_protocol::signaling::ErrorCode;
use tracing::field::display;

use crate::access::Grant;
use crate::broker::{Note, Session};
use crate::metrics::Ended;

/// Whose connection it is.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) peer_id: PeerId,
    pub(crate) grant: Grant,
    pub(crate) address: IpAddr,
}

/// A peer is connected.
pub(crate) fn joined(who: &Who) {
    let Who { peer_id, address, .. } = who;
    tracing::info!(target: "audit", event = "join", peer = %peer_id, subject = %who.subject(), %address);
}

/// Its connection is over.
pub(crate) fn left(who: &Who, why: Ended) {
    let Who { peer_id, address, .. } = who;
    let reason = why.name();
    tracing::info!(
        target: "audit", event = "leave", peer = %peer_id, subject = %who.subject(), %address, reason
    );
}

/// A request of a peer was refused.
pub(crate) fn refused(who: &Who, code: ErrorCode) {
    let Who { peer_id, address, .. } = who;
    tracing::info!(
        target: "audit", event = "refusal", peer = %peer_id, subject = %who.subject(), %address, %code
    );
}

/// A handshake or an HTTP request was refused.
pub(crate) fn turned_away(address: IpAddr, code: ErrorCode) {
    tracing::info!(target: "audit", event = "refusal", %address, %code);
}

/// Something that the broker noted while it did what `who` asked, or because `who` left; nobody when
/// the broker stops. What became of others on the way is not said to be theirs: of a peer that was
/// dropped there is the line of its own that it left.
pub(crate) fn noted(who: Option<&Who>, note: &Note) {
    let subject = who.map(Who::subject).map(display);
    let address = who.map(|who| display(who.address));
    match note {
        Note::Roles { peer, roles, robot } => {
            let robot = named(robot.as_ref());
            tracing::info!(
                target: "audit", event = "roles", %peer, subject, address, ?roles, %robot
            );
        }
        Note::Replaced { peer, old, robot } => {
            tracing::warn!(
                target: "audit", event = "replace", %peer, subject, address, %robot, %old,
                "a newer connection publishes this robot in place of an older one"
            );
        }
        Note::SessionStarted(Session { id, producer, consumer, robot }) => {
            let robot = named(robot.as_ref());
            tracing::info!(
                target: "audit", event = "session-start", session = %id, %producer, %consumer,
                by = who.map(|who| display(&who.peer_id)), subject, address, %robot
            );
        }
        Note::SessionEnded { session: Session { id, producer, consumer, robot }, by, reason } => {
            let robot = named(robot.as_ref());
            let own = who.is_some_and(|who| by.as_ref() == Some(&who.peer_id));
            let (subject, address) = (subject.filter(|_| own), address.filter(|_| own));
            tracing::info!(
                target: "audit", event = "session-end", session = %id, %producer, %consumer,
                by = by.as_ref().map(display), subject, address, %robot, ?reason
            );
        }
    }
}

impl Who {
    fn subject(&self) -> Harmless<'_> {
        Harmless(self.grant.subject().unwrap_or_default())
    }
}

fn named(robot: Option<&RobotId>) -> &str {
    robot.map_or("", RobotId::as_str)
}

/// So many characters of a foreign text are shown.
const SHOWN: usize = 80;

/// A text of somebody else, on one line and not too long.
struct Harmless<'a>(&'a str);

impl fmt::Display for Harmless<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars().take(SHOWN).flat_map(char::escape_debug) {
            f.write_char(character)?;
        }
        if self.0.chars().nth(SHOWN).is_some() { f.write_char('…') } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_its_line() {
        let shown = |text: &str| Harmless(text).to_string();
        assert_eq!(shown("ops@example.org"), "ops@example.org");
        assert_eq!(
            shown("a\n2026 INFO audit: event=\"join\"\u{1b}[2J\u{202e}"),
            "a\\n2026 INFO audit: event=\\\"join\\\"\\u{1b}[2J\\u{202e}"
        );
        assert_eq!(shown(&"x".repeat(81)), format!("{}…", "x".repeat(80)));
        assert_eq!(shown(&"x".repeat(80)), "x".repeat(80));
    }
}
