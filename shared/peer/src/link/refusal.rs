//! Why there is no link, and how patient to be because of that. Pure.

use std::time::Duration;

use rovercast_protocol::signaling::{ErrorCode, ErrorMessage};
use serde::Deserialize;

/// A newer connection is the robot: who comes back at once would throw it out in turn, for ever.
const REPLACED: Duration = Duration::from_secs(30);

/// Somebody has to mend a token, but a renewed one should soon be used.
const DENIED: Duration = Duration::from_secs(5);

/// The broker, or what stands before it, has too much to do, or takes no more from this end.
const BUSY: Duration = Duration::from_secs(1);

/// How often attempts are told that all fail.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// How often it is told that the broker refuses for the same reason: somebody has to mend that, and has
/// been told.
const TELL_REFUSAL_EVERY: Duration = Duration::from_secs(600);

/// Why a connection ended, or did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// For people: what is wrong, and the remedy.
    pub(crate) reason: String,
    /// What the broker says is wrong; none when the network is to blame.
    pub(crate) code: Option<ErrorCode>,
}

impl Refusal {
    /// The network's fault, or that of nobody who could say so.
    pub(crate) fn lost(reason: String) -> Self {
        Self { reason, code: None }
    }

    /// An error about this end, on an open connection. None for one about a session, or without a code.
    pub(crate) fn of_error(error: &ErrorMessage) -> Option<Self> {
        let code = error.code.filter(|_| error.session_id.is_none())?;
        let reason = format!("the broker says: {}{}", error.details, remedy(code));
        Some(Self { reason, code: Some(code) })
    }

    /// Whether the connection on which it is said is over by it; `producer` tells whether this end
    /// publishes a robot.
    pub(crate) fn is_end(&self, producer: bool) -> bool {
        match self.code {
            Some(
                ErrorCode::Unauthorized
                | ErrorCode::TokenExpired
                | ErrorCode::RobotTaken
                | ErrorCode::Replaced
                | ErrorCode::TooSlow
                | ErrorCode::TooFast
                | ErrorCode::ShuttingDown,
            ) => true,
            // Without its role a robot has no use for the connection.
            Some(ErrorCode::Forbidden) => producer,
            _ => false,
        }
    }

    /// Whether it is why the connection ends if nothing but the end follows it. Otherwise it goes on.
    pub(crate) fn may_be_end(&self) -> bool {
        matches!(self.code, Some(ErrorCode::RateLimited | ErrorCode::TooLarge))
    }

    /// A handshake that was answered with anything but a WebSocket: with this HTTP status, and as
    /// much of the body as came at once.
    pub(crate) fn of_status(url: &str, status: u16, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Said {
            code: ErrorCode,
            details: String,
        }
        let said = serde_json::from_slice::<Said>(body).ok();
        let code = said.as_ref().map(|said| said.code).filter(|code| *code != ErrorCode::Other);
        let code = code.or(match status {
            401 => Some(ErrorCode::Unauthorized),
            403 => Some(ErrorCode::Forbidden),
            429 => Some(ErrorCode::RateLimited),
            502..=504 => Some(ErrorCode::TooManyConnections),
            _ => None,
        });
        let details = said.map(|said| format!(": {}", said.details)).unwrap_or_default();
        let remedy = match code {
            Some(code) => remedy(code),
            // What a server says to those who do not speak TLS.
            None if status == 400 && url.starts_with("ws://") => {
                "; if it is encrypted, write wss://"
            }
            None => "",
        };
        let reason = format!("the broker at {url} refuses (HTTP {status}){details}{remedy}");
        Self { reason, code }
    }

    /// The shortest that is waited before the next attempt; `was_up` says whether there was a link.
    pub(crate) fn least_wait(&self, was_up: bool) -> Duration {
        match self.code {
            // It was good until now: most likely there is a new one already, and what is watched ends
            // with the old one.
            Some(ErrorCode::TokenExpired) if was_up => Duration::ZERO,
            Some(ErrorCode::Replaced) => REPLACED,
            Some(
                ErrorCode::Unauthorized
                | ErrorCode::TokenExpired
                | ErrorCode::Forbidden
                | ErrorCode::RobotTaken,
            ) => DENIED,
            Some(
                ErrorCode::RateLimited
                | ErrorCode::TooLarge
                | ErrorCode::TooSlow
                | ErrorCode::TooFast
                | ErrorCode::TooManyConnections,
            ) => BUSY,
            _ => Duration::ZERO,
        }
    }
}

/// What of the failures is told, so that the log of a robot that cannot connect stays readable.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    last: Option<(Duration, Option<ErrorCode>)>,
}

impl Telling {
    /// Whether to tell that there is no link, for this reason; `was_up` says whether there was one.
    pub(crate) fn is_news(&mut self, now: Duration, code: Option<ErrorCode>, was_up: bool) -> bool {
        let every = if code.is_some() { TELL_REFUSAL_EVERY } else { TELL_EVERY };
        let told = |&(at, last)| last == code && now.saturating_sub(at) < every;
        let news = was_up || !self.last.as_ref().is_some_and(told);
        if news {
            self.last = Some((now, code));
        }
        news
    }
}

/// What to do about it, for people.
fn remedy(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Unauthorized => "; put a token that it takes into token_file",
        ErrorCode::TokenExpired => "; put a new token into token_file",
        ErrorCode::Forbidden => "; ask for a token that allows this",
        ErrorCode::RobotTaken => {
            "; give each robot an id of its own, or the token of the same name"
        }
        ErrorCode::Replaced => "; is the same robot.id in use twice? This one waits 30 s",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: ErrorCode) -> ErrorMessage {
        ErrorMessage { details: "d".to_owned(), code: Some(code), session_id: None }
    }

    #[test]
    fn only_what_ends_a_connection_does() {
        let of = |code| Refusal::of_error(&error(code)).unwrap();
        let ends = |code, producer| of(code).is_end(producer);
        assert!(ends(ErrorCode::Replaced, true) && ends(ErrorCode::TokenExpired, false));
        assert!(ends(ErrorCode::Forbidden, true), "a robot that may not publish");
        assert!(!ends(ErrorCode::Forbidden, false), "a viewer that may not see one robot");
        assert!(!ends(ErrorCode::UnknownPeer, true) && !ends(ErrorCode::Other, true));
        assert!(ends(ErrorCode::TooSlow, false) && ends(ErrorCode::TooFast, true));
        for code in [ErrorCode::RateLimited, ErrorCode::TooLarge] {
            assert!(!ends(code, true) && of(code).may_be_end(), "{code:?}: mostly it goes on");
        }
        assert!(!of(ErrorCode::UnknownPeer).may_be_end());
        let of_session = ErrorMessage {
            session_id: Some(rovercast_protocol::ids::SessionId("s".to_owned())),
            ..error(ErrorCode::Forbidden)
        };
        assert_eq!(Refusal::of_error(&of_session), None);
    }

    #[test]
    fn a_status_tells_as_much_as_a_body() {
        let of = |status, body: &str| Refusal::of_status("ws://x", status, body.as_bytes());
        let told = of(401, r#"{"code":"token-expired","details":"expired at noon"}"#);
        assert_eq!(told.code, Some(ErrorCode::TokenExpired));
        assert!(told.reason.contains("expired at noon") && told.reason.contains("token_file"));
        let plain = of(400, "this port speaks TLS: use https:// (or wss://).").reason;
        assert!(plain.ends_with("write wss://"), "{plain}");
        for (status, code) in [
            (401, Some(ErrorCode::Unauthorized)),
            (403, Some(ErrorCode::Forbidden)),
            (429, Some(ErrorCode::RateLimited)),
            (503, Some(ErrorCode::TooManyConnections)),
            (404, None),
        ] {
            for body in ["", "<html>", r#"{"code":"of-later","details":""}"#] {
                assert_eq!(of(status, body).code, code, "{status} {body}");
            }
        }
    }

    #[test]
    fn a_refusal_is_told_once() {
        let mut telling = Telling::default();
        let s = Duration::from_secs;
        let expired = Some(ErrorCode::TokenExpired);
        assert!(telling.is_news(s(0), expired, true), "the link is lost");
        let told = (1..3600).filter(|&now| telling.is_news(s(now), expired, false)).count();
        assert_eq!(told, 5, "in an hour");
        assert!(telling.is_news(s(3600), None, false), "now it is the network");
        let told = (3601..3721).filter(|&now| telling.is_news(s(now), None, false)).count();
        assert_eq!(told, 4, "in two minutes");
        assert!(telling.is_news(s(3721), None, true), "it was up in between");
    }

    #[test]
    fn patience_fits_the_reason() {
        let least_wait = |code, was_up| Refusal { reason: String::new(), code }.least_wait(was_up);
        let wait = |code| least_wait(code, false);
        assert_eq!(wait(Some(ErrorCode::Replaced)), Duration::from_secs(30));
        assert_eq!(wait(None), Duration::ZERO);
        assert_eq!(wait(Some(ErrorCode::ShuttingDown)), Duration::ZERO, "it is back in a moment");
        for code in [ErrorCode::TooSlow, ErrorCode::TooFast, ErrorCode::RateLimited] {
            assert_eq!(wait(Some(code)), BUSY, "{code:?}");
        }
        assert!(wait(Some(ErrorCode::TokenExpired)) > wait(Some(ErrorCode::RateLimited)));
        assert_eq!(least_wait(Some(ErrorCode::TokenExpired), true), Duration::ZERO, "renewed");
        assert_eq!(least_wait(Some(ErrorCode::Replaced), true), Duration::from_secs(30));
    }
}
