//! Whose pictures a view takes when two sessions have some of its camera: those of the later one,
//! from its first key frame on. So the one before is shown until then, and never again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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

    /// Whether a picture of this session is shown, of any camera.
    pub fn shows(&self) -> bool {
        self.shows.load(Ordering::Relaxed)
    }
}

/// Whose turn it is in one view, by the sessions' numbers.
#[derive(Debug, Default)]
pub struct Turns(Mutex<u64>);

impl Turns {
    /// Runs `push` when it is this session's turn, or becomes so by a key frame; no other session
    /// pushes meanwhile. `push` says whether a picture was taken, and so does the answer; none when
    /// it is another's turn.
    pub fn take(&self, turn: &Turn, key_frame: bool, push: impl FnOnce() -> bool) -> Option<bool> {
        // A push that panicked leaves nothing half done here.
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if turn.number > *current && key_frame {
            *current = turn.number;
        }
        let taken = (turn.number == *current).then(push);
        if taken == Some(true) {
            turn.shows.store(true, Ordering::Relaxed);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_session_takes_over_with_a_key_frame_and_keeps_it() {
        let (turns, first, second) = (Turns::default(), Turn::new(1), Turn::new(2));
        assert_eq!(turns.take(&first, true, || true), Some(true));
        assert_eq!(turns.take(&second, false, || true), None, "it cannot be decoded yet");
        assert_eq!(turns.take(&first, false, || true), Some(true));
        assert!(first.shows() && !second.shows());
        assert_eq!(turns.take(&second, true, || false), Some(false));
        assert!(!second.shows(), "the picture was not taken");
        assert_eq!(turns.take(&first, true, || true), None, "it is too late");
        assert_eq!(turns.take(&second, false, || true), Some(true));
        assert!(second.shows());
    }
}
