//! A decoder that takes access units and gives no pictures. Pure.

/// It must have taken more than this many: a slate comes five times a second only.
const UNITS: u32 = 15;

/// And for this long, in microseconds.
const SILENT_US: i64 = 1_000_000;

/// Watches over one decoder. Only access units that follow each other without a gap from a key
/// frame on count: no decoder can make pictures of others.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    units: u32,
    since_us: i64,
    pictures: u64,
}

impl Silence {
    /// The decoder, which has given so many pictures up to now, is to take another access unit; a
    /// key frame comes after a gap, or first of all, where `anew` is said. True when it has been
    /// silent for too long.
    pub(crate) fn too_long(&mut self, anew: bool, pictures: u64, now_us: i64) -> bool {
        if anew || self.units == 0 || pictures != self.pictures {
            (self.units, self.since_us, self.pictures) = (0, now_us, pictures);
        }
        self.units += 1;
        self.units > UNITS && now_us - self.since_us > SILENT_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units that follow each other at this rate until it is too much, at most 1000.
    fn units_until(silence: &mut Silence, fps: i64, pictures: impl Fn(u64) -> u64) -> Option<u64> {
        (0..1000).find(|&unit| {
            silence.too_long(unit == 0, pictures(unit), unit as i64 * 1_000_000 / fps)
        })
    }

    #[test]
    fn a_second_of_silence_is_too_long() {
        assert_eq!(units_until(&mut Silence::default(), 30, |_| 0), Some(31));
        assert_eq!(units_until(&mut Silence::default(), 5, |_| 0), Some(15));
        assert_eq!(units_until(&mut Silence::default(), 240, |_| 0), Some(241));
    }

    #[test]
    fn pictures_that_come_late_are_pictures() {
        assert_eq!(units_until(&mut Silence::default(), 30, |unit| unit.saturating_sub(4)), None);
        assert_eq!(units_until(&mut Silence::default(), 30, |unit| unit / 25), None);
    }

    #[test]
    fn one_that_falls_silent_later_is_noticed() {
        let silent = units_until(&mut Silence::default(), 30, |unit| unit.min(500));
        assert_eq!(silent, Some(531));
    }

    #[test]
    fn after_a_gap_it_has_the_whole_time_again() {
        let mut silence = Silence::default();
        for second in 0..20 {
            for unit in 0..30 {
                let now_us = second * 1_000_000 + unit * 33_000;
                assert!(!silence.too_long(unit == 0, 0, now_us));
            }
        }
    }
}
