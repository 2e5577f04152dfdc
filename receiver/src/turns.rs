//! Whose pictures a view takes when two sessions have some of its camera: those of the later one,
//! from its first key frame on. So the one before is shown until then, and never again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a session shows itself with to the views. Clones are the same session's.
#[derive(Debug, Clone)]
pub struct Turn {
    number: u64,
    shows: Arc<AtomicBool>,
}

impl Turn {
    /// Of the session with this number: a later one has a higher.
    pub fn new(number: u64) -> Self {
        Self { number, shows: Arc::default() }
    }

    /// A picture of this session is shown.
    pub fn set_shown(&self) {
        self.shows.store(true, Ordering::Relaxed);
    }

    /// Whether a picture of this session is shown, of any camera.
    pub fn shows(&self) -> bool {
        self.shows.load(Ordering::Relaxed)
    }
}

/// Whose turn it is in one view, by the sessions' numbers.
#[derive(Debug, Default)]
pub struct Turns(AtomicU64);

impl Turns {
    /// Whether it is this session's turn, or becomes so by this access unit.
    pub fn admit(&self, turn: &Turn, key_frame: bool) -> bool {
        if key_frame {
            self.0.fetch_max(turn.number, Ordering::Relaxed);
        }
        self.0.load(Ordering::Relaxed) == turn.number
    }

    /// Whether a later session has taken over from this one.
    pub fn is_over(&self, turn: &Turn) -> bool {
        self.0.load(Ordering::Relaxed) > turn.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_session_takes_over_with_a_key_frame_and_keeps_it() {
        let (turns, first, second) = (Turns::default(), Turn::new(1), Turn::new(2));
        assert!(!turns.admit(&first, false), "nothing can be decoded yet");
        assert!(turns.admit(&first, true));
        assert!(!turns.admit(&second, false), "it cannot be decoded yet");
        assert!(turns.admit(&first, false));
        assert!(!turns.is_over(&first));
        assert!(turns.admit(&second, true));
        assert!(turns.is_over(&first) && !turns.is_over(&second));
        assert!(!turns.admit(&first, true), "it is too late");
        assert!(turns.admit(&second, false));
    }

    #[test]
    fn clones_are_the_same_sessions() {
        let turn = Turn::new(1);
        turn.clone().set_shown();
        assert!(turn.shows() && !Turn::new(1).shows());
    }
}
