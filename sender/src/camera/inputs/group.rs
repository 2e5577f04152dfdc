//! The access units since the last key frame: what a decoder needs that begins now. Pure.

use std::time::Duration;

/// A viewer who joins waits for a key frame, and so does one who missed something. Encoders that
/// serve viewers give one every second or two; longer than this nobody is to wait.
const LONGEST: Duration = Duration::from_secs(4);
/// More than that in this time is no camera that a viewer could follow.
const MOST_UNITS: usize = 1000;
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// A group of pictures, as far as it has come.
#[derive(Debug)]
pub struct Group<T> {
    units: Vec<T>,
    bytes: usize,
    /// When its key frame came; none before the first.
    since: Option<Duration>,
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self { units: Vec::new(), bytes: 0, since: None }
    }
}

impl<T> Group<T> {
    /// Takes a unit of so many bytes. A key frame begins a new group. Of one that is too large
    /// nothing is kept: without its beginning the rest is worth nothing.
    pub fn push(&mut self, unit: T, bytes: usize, key_frame: bool, now: Duration) {
        if key_frame {
            *self = Self { since: Some(now), ..Self::default() };
        }
        self.bytes += bytes;
        if self.since.is_some() && self.bytes <= MOST_BYTES && self.units.len() < MOST_UNITS {
            self.units.push(unit);
        } else {
            (self.units, self.bytes) = (Vec::new(), MOST_BYTES);
        }
    }

    /// Whether the next key frame should have come by now.
    pub fn is_long(&self, now: Duration) -> bool {
        let Some(since) = self.since else { return false };
        let full = self.bytes >= MOST_BYTES || self.units.len() >= MOST_UNITS;
        full || now.saturating_sub(since) > LONGEST
    }

    /// What it consists of, from its key frame on.
    pub fn take(&mut self) -> Vec<T> {
        std::mem::take(self).units
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_key_frame_begins_it() {
        let mut group = Group::default();
        group.push('a', 1, false, SECOND);
        assert!(!group.is_long(20 * SECOND), "there was no key frame yet");
        for (unit, key_frame) in [('b', true), ('c', false), ('d', true), ('e', false)] {
            group.push(unit, 1, key_frame, 20 * SECOND);
        }
        assert!(!group.is_long(24 * SECOND) && group.is_long(25 * SECOND));
        assert_eq!((group.take(), group.take()), (vec!['d', 'e'], vec![]));
    }

    #[test]
    fn of_too_much_nothing_is_kept_until_the_next() {
        for (count, bytes) in [(2, MOST_BYTES), (MOST_UNITS + 2, 1)] {
            let mut group = Group::default();
            for unit in 0..count {
                group.push(unit, bytes, unit == 0, SECOND);
            }
            assert!(group.is_long(SECOND) && group.units.is_empty());
            group.push(count, 1, true, SECOND);
            assert!(!group.is_long(SECOND) && group.take() == [count]);
        }
    }
}
