//! Pictures whose content is known: a grid of dark and bright cells that follows from the time of
//! capture, with noise in it as camera pictures have. So whoever sees a picture, at any size, can say
//! which of its cells are of another one. Few cells change from one frame to the next, so that an
//! encoder gets by with little. Pure; works on the luma plane alone.

use rovercast_protocol::pixelclock::{self, Luma};

/// Cells across and down.
const COLUMNS: usize = 20;
const ROWS: usize = 15;

const DARK: u8 = 80;
const BRIGHT: u8 = 176;

/// A cell stays as it is for so long, and then turns out the same or the other way. Each has its own
/// time for that: at 30 frames per second every sixth gets another chance with each frame.
const TURN_US: u64 = 200_000;

/// The noise is up to this much brighter or darker.
const NOISE: u8 = 6;

/// Draws the grid of this time.
pub fn draw(luma: &mut Luma<&mut [u8]>, micros: u64) {
    let &mut Luma { stride, width, height, .. } = luma;
    let mut noise = mixed(micros);
    for (y, row) in luma.samples.chunks_mut(stride).take(height).enumerate() {
        let levels: [u8; COLUMNS] =
            std::array::from_fn(|column| level(micros, column, y * ROWS / height) - NOISE);
        for (x, samples) in row[..width].chunks_mut(8).enumerate() {
            // Xorshift (Marsaglia, 2003): fast, and random enough to be incompressible.
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            for (index, (sample, noise)) in samples.iter_mut().zip(noise.to_le_bytes()).enumerate()
            {
                *sample = levels[(x * 8 + index) * COLUMNS / width] + noise % (2 * NOISE + 1);
            }
        }
    }
}

/// How many cells are not those of this time. Cells that the clock covers do not count, nor does
/// what lies near the edge of a cell.
pub fn wrong_cells(luma: &Luma<&[u8]>, micros: u64) -> usize {
    let &Luma { width, height, .. } = luma;
    let covered = pixelclock::areas(width, height);
    let cells = (0..ROWS).flat_map(|row| (0..COLUMNS).map(move |column| (column, row)));
    let wrong = cells.filter(|&(column, row)| {
        let (left, right) = (column * width / COLUMNS, (column + 1) * width / COLUMNS);
        let (top, bottom) = (row * height / ROWS, (row + 1) * height / ROWS);
        let hidden = covered.iter().any(|(columns, rows)| {
            columns.start < right && left < columns.end && rows.start < bottom && top < rows.end
        });
        let (side, rise) = ((right - left) / 4, (bottom - top) / 4);
        let inner = (top + rise..bottom - rise)
            .flat_map(|y| luma.samples[y * luma.stride..][left + side..right - side].iter());
        let (sum, count) = inner.fold((0, 0), |(sum, count), &s| (sum + usize::from(s), count + 1));
        let bright = sum > count * usize::from(DARK.midpoint(BRIGHT));
        !hidden && bright != (level(micros, column, row) == BRIGHT)
    });
    wrong.count()
}

fn level(micros: u64, column: usize, row: usize) -> u8 {
    let cell = mixed((row * COLUMNS + column) as u64);
    let turn = (micros + cell % TURN_US) / TURN_US;
    if mixed(turn ^ cell) & 1 == 1 { BRIGHT } else { DARK }
}

/// A number in which every bit depends on every bit of `value` (SplitMix64; Steele et al., 2014).
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRIDE: usize = 650;

    fn picture(micros: u64) -> Vec<u8> {
        let mut samples = vec![0; STRIDE * 480];
        draw(
            &mut Luma { samples: &mut samples[..], stride: STRIDE, width: 640, height: 480 },
            micros,
        );
        samples
    }

    fn wrong(samples: &[u8], micros: u64) -> usize {
        wrong_cells(&Luma { samples, stride: STRIDE, width: 640, height: 480 }, micros)
    }

    #[test]
    fn a_picture_is_known_by_its_time() {
        for micros in [0, 1, 33_333, (1 << 48) - 1] {
            assert_eq!(wrong(&picture(micros), micros), 0);
            // All have had their chance: about half of them are as they were.
            assert!((80..200).contains(&wrong(&picture(micros), micros ^ 1 << 30)));
        }
    }

    #[test]
    fn a_slice_of_the_picture_before_shows_wherever_it_is() {
        for top in [80, 200, 320] {
            let mut samples = picture(1_000_000);
            let (from, to) = (top * STRIDE, (top + 120) * STRIDE);
            samples[from..to].copy_from_slice(&picture(1_033_333)[from..to]);
            assert!(wrong(&samples, 1_000_000) > 0, "{top}");
        }
    }

    #[test]
    fn a_smaller_picture_is_known_as_well() {
        let samples = picture(77);
        let half: Vec<u8> =
            (0..240 * 320usize).map(|at| samples[at / 320 * 2 * STRIDE + at % 320 * 2]).collect();
        let half = Luma { samples: &half[..], stride: 320, width: 320, height: 240 };
        assert_eq!(wrong_cells(&half, 77), 0);
    }

    #[test]
    fn what_the_clock_covers_does_not_count() {
        let mut samples = picture(5);
        let mut luma = Luma { samples: &mut samples[..], stride: STRIDE, width: 640, height: 480 };
        luma.draw(5, std::time::Duration::from_secs(12345));
        assert_eq!(wrong(&samples, 5), 0);
    }
}
