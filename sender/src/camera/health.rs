//! Whether a camera's pictures are worth looking at: frozen, black, blinded. Pure.
//!
//! A look compares a few hundred brightness samples, a few times a second, and costs next to
//! nothing at any picture size. It says what seems wrong; nothing is done about it here.

mod samples;

use std::time::Duration;

use rovercast_protocol::telemetry::PictureFault;

pub use crate::camera::health::samples::{Layout, SAMPLES, Samples};

/// From one look to the next.
const INTERVAL: Duration = Duration::from_millis(200);
/// What lies between two looks further apart was seen by nobody: the process was paused, or the
/// camera gave nothing. It does not count as time in which a fault lasted.
const LONGEST_GAP: Duration = Duration::from_secs(2);

/// As many samples on each side may be out of the ordinary, without a picture being taken for
/// something else: hot pixels, a line of text that the camera writes into its picture.
const OUTLIERS: usize = SAMPLES / 64;

// Brightness is 16 to 235 in most formats and 0 to 255 in some; the limits suit both.

/// Nothing is brighter than this in a black picture, noise included,
const DARK: u8 = 56;
/// nor is its average.
const DARK_MEAN: u32 = 32;
/// All that is brighter is burnt out.
const SATURATED: u8 = 230;
/// Where less than this part of the picture is not burnt out, hardly anything is to be seen.
const UNSATURATED: usize = SAMPLES / 16;
/// What differs by no more than this, from the darkest to the brightest, is all one grey.
const SPREAD: u8 = 16;

/// Watches the pictures of one camera.
///
/// *Frozen* is a camera that gives the very same picture again and again, as a hung driver or
/// sensor does: no sample changes, not by one. Every sensor has noise, which survives MJPEG and
/// what H.264 of any use leaves of it, at the latest in the next key frame. So a parked robot's
/// camera is not frozen. Two things are not told apart by looking:
///
/// - Drawn pictures (screens, virtual cameras, test patterns) that stand still *are* the same
///   again and again, and so is a decoded H.264 stream of a scene without noise between two key
///   frames. Where that is usual, the check is to be off, or to hold for longer than the key frames
///   lie apart.
/// - A frozen picture that is encoded anew inside the camera may change a little with every key
///   frame, and then does not count as frozen: a missed fault is better than a false alarm.
///
/// A picture that is black or blinded is called that, whether or not it is frozen, too.
#[derive(Debug)]
pub struct Health {
    after: Duration,
    last: Option<(Duration, Samples)>,
    /// What the last look saw, and for how long that has been so.
    seen: Option<(PictureFault, Duration)>,
}

impl Health {
    /// A fault counts when it has lasted for `after`.
    pub fn new(after: Duration) -> Self {
        Self { after, last: None, seen: None }
    }

    /// Whether it is time for a look. Asked first, so that nobody takes samples for nothing.
    pub fn is_due(&self, at: Duration) -> bool {
        // A clock that went back must not keep the eyes shut.
        self.last.as_ref().is_none_or(|(last, _)| at < *last || at - *last >= INTERVAL)
    }

    /// Looks at the picture of the time `at`. Returns the fault that counts by now; the first look
    /// without it ends it.
    pub fn look(&mut self, samples: Samples, at: Duration) -> Option<PictureFault> {
        let before = self.last.as_ref();
        let frozen = before.is_some_and(|(_, before)| *before == samples);
        let gap = before.map_or(Duration::ZERO, |(last, _)| at.saturating_sub(*last));
        let watched = if gap <= LONGEST_GAP { gap } else { Duration::ZERO };
        let fault = of_one(&samples).or(frozen.then_some(PictureFault::Frozen));
        self.seen = fault.map(|fault| match self.seen {
            Some((same, lasted)) if same == fault => (fault, lasted + watched),
            // Two pictures are the same: the first of them was so, too.
            _ if fault == PictureFault::Frozen => (fault, watched),
            _ => (fault, Duration::ZERO),
        });
        self.last = Some((at, samples));
        self.seen.filter(|(_, lasted)| *lasted >= self.after).map(|(fault, _)| fault)
    }
}

/// What a single picture tells.
fn of_one(samples: &Samples) -> Option<PictureFault> {
    let mut sorted = *samples.brightness();
    sorted.sort_unstable();
    let (darkest, brightest) = (sorted[OUTLIERS], sorted[SAMPLES - 1 - OUTLIERS]);
    let mean = sorted.iter().map(|&sample| u32::from(sample)).sum::<u32>() / SAMPLES as u32;
    if brightest <= DARK && mean <= DARK_MEAN {
        Some(PictureFault::Black)
    } else if brightest - darkest <= SPREAD || sorted[UNSATURATED] >= SATURATED {
        Some(PictureFault::Blinded)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use PictureFault::{Black, Blinded, Frozen};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    const AFTER: Duration = Duration::from_secs(5);

    /// A camera before whose eye a scene stands still.
    struct Camera {
        health: Health,
        noise: StdRng,
        at: Duration,
    }

    impl Camera {
        fn new() -> Self {
            let noise = StdRng::seed_from_u64(1);
            Self { health: Health::new(AFTER), noise, at: Duration::from_secs(1000) }
        }

        /// A picture of 64 x 36 pixels by brightness, with noise of at most `noise` either way.
        fn picture(&mut self, noise: i32, scene: impl Fn(i32, i32) -> i32) -> Samples {
            let pixels: Vec<u8> = (0..64 * 36)
                .map(|index| {
                    let noise = self.noise.random_range(-noise..=noise);
                    (scene(index % 64, index / 64) + noise).clamp(16, 235) as u8
                })
                .collect();
            Samples::of(Layout::of("I420").unwrap(), &pixels, 64, 64, 36)
        }

        /// What is said of a picture 200 ms after the last.
        fn look(&mut self, samples: Samples) -> Option<PictureFault> {
            self.at += INTERVAL;
            assert!(self.health.is_due(self.at));
            self.health.look(samples, self.at)
        }

        /// Everything said in so many seconds, without repetitions.
        fn watch(
            &mut self,
            seconds: u32,
            noise: i32,
            scene: impl Fn(i32, i32) -> i32,
        ) -> Vec<Option<PictureFault>> {
            let mut said: Vec<_> = (0..seconds * 5)
                .map(|_| {
                    let picture = self.picture(noise, &scene);
                    self.look(picture)
                })
                .collect();
            said.dedup();
            said
        }
    }

    /// A room: brighter to the right, with a dark and a light thing in it.
    fn room(x: i32, y: i32) -> i32 {
        match (x, y) {
            (10..20, 5..30) => 40,
            (40..50, 10..20) => 220,
            _ => 60 + x * 2 + y,
        }
    }

    #[test]
    fn a_scene_that_stands_still_is_not_frozen_as_long_as_there_is_noise() {
        assert_eq!(Camera::new().watch(60, 1, room), [None]);
    }

    #[test]
    fn the_same_picture_again_and_again_is_frozen_until_it_moves() {
        let mut camera = Camera::new();
        assert_eq!(camera.watch(5, 0, room), [None], "not long enough");
        assert_eq!(camera.watch(60, 0, room), [Some(Frozen)]);
        assert_eq!(camera.watch(1, 2, room), [None], "ends at the first good look");
        assert_eq!(camera.watch(5, 0, room), [None], "and starts anew");
    }

    #[test]
    fn a_single_change_interrupts() {
        let mut camera = Camera::new();
        for _ in 0..10 {
            assert_eq!(camera.watch(4, 0, room), [None]);
            assert_eq!(
                camera.watch(4, 0, |x, y| room(x, y) + i32::from((x, y) == (33, 17))),
                [None]
            );
        }
    }

    #[test]
    fn a_fade_to_black_ends_in_black() {
        let mut camera = Camera::new();
        for light in (0..=20).rev() {
            let picture = camera.picture(2, |x, y| 16 + (room(x, y) - 16) * light / 20);
            assert_eq!(camera.look(picture), None);
        }
        assert_eq!(camera.watch(20, 3, |_, _| 16), [None, Some(Black)]);
        assert_eq!(camera.watch(20, 0, |_, _| 16), [Some(Black)], "not frozen, too");
        assert_eq!(camera.watch(1, 2, room), [None]);
    }

    #[test]
    fn a_few_hot_pixels_do_not_brighten_the_dark() {
        let dark = |x: i32, y: i32| if y == 17 && x < 16 { 235 } else { 18 };
        assert_eq!(Camera::new().watch(6, 2, dark), [None, Some(Black)]);
        let lamps = |x: i32, y: i32| if y < 18 && x < 8 { 235 } else { 18 };
        assert_eq!(Camera::new().watch(6, 2, lamps), [None], "a night with lights");
    }

    #[test]
    fn overexposed_and_covered_are_blinded() {
        let sun = |x: i32, y: i32| if y > 33 { 40 + x } else { 235 };
        assert_eq!(Camera::new().watch(6, 2, sun), [None, Some(Blinded)]);
        assert_eq!(Camera::new().watch(6, 4, |x, _| 100 + x / 16), [None, Some(Blinded)]);
        let sky = |x: i32, y: i32| if y > 18 { 40 + x } else { 235 };
        assert_eq!(Camera::new().watch(6, 2, sky), [None], "half a picture is something");
    }

    #[test]
    fn one_fault_after_another_counts_anew() {
        let mut camera = Camera::new();
        assert_eq!(camera.watch(6, 2, |_, _| 16), [None, Some(Black)]);
        assert_eq!(camera.watch(6, 2, |_, _| 235), [None, Some(Blinded)]);
    }

    #[test]
    fn time_in_which_nobody_looked_does_not_count() {
        let mut camera = Camera::new();
        assert_eq!(camera.watch(2, 0, room), [None]);
        camera.at += Duration::from_secs(3600);
        assert_eq!(camera.watch(3, 0, room), [None], "a paused process");
        assert_eq!(camera.watch(1, 0, room), [None, Some(Frozen)], "what was seen does");
        camera.at -= Duration::from_secs(100);
        assert_eq!(camera.watch(1, 0, room), [Some(Frozen)], "a clock that goes back");
    }

    #[test]
    fn slow_cameras_are_looked_at_as_often_as_they_give_pictures() {
        let mut camera = Camera::new();
        let mut said = Vec::new();
        for _ in 0..12 {
            camera.at += Duration::from_millis(800);
            let picture = camera.picture(0, room);
            said.push(camera.look(picture));
        }
        assert_eq!(said.iter().filter(|said| said.is_none()).count(), 5);
        assert_eq!(said.last(), Some(&Some(Frozen)));
    }

    #[test]
    fn five_looks_a_second_are_enough() {
        let mut camera = Camera::new();
        let mut looks = 0;
        for frame in 0..600 {
            let at = camera.at + Duration::from_secs(10) * frame / 600;
            if camera.health.is_due(at) {
                let picture = camera.picture(1, room);
                camera.health.look(picture, at);
                looks += 1;
            }
        }
        assert!((46..=50).contains(&looks), "{looks}");
    }
}
