//! The clock burnt into the pictures of test cameras: readable by people, and by programs.
//!
//! The same 64 bits stand along the top and along the bottom edge of the picture, as cells that
//! are black or white and large enough to survive an encoder; a picture whose two strips differ is
//! made of two frames, that is: torn. Works on the luma plane alone (8 bits per sample, as in I420
//! and NV12), in place.

use std::ops::Range;
use std::time::Duration;

/// Pictures smaller than this in width or height carry no clock.
pub const MIN_SIZE: usize = 160;

/// Cells across: an 8-bit mark, 48 bits of microseconds, an 8-bit checksum.
const CELLS: usize = 64;
const MARK: u64 = 0b1010_0110;
const TIME_BITS: u32 = 48;
const BLACK: u8 = 16;
const WHITE: u8 = 235;

/// The height of a strip is this part of the picture's.
const STRIPS_PER_HEIGHT: usize = 24;

/// What a picture says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Both strips show this time, in microseconds (modulo 2^48).
    Whole(u64),
    /// The strips differ, or only one is readable: parts of more than one frame.
    Torn,
    /// No clock is in the picture.
    Absent,
}

/// The luma plane of a picture.
#[derive(Debug)]
pub struct Luma<T> {
    /// The samples, row by row.
    pub samples: T,
    /// From one row to the next, in samples.
    pub stride: usize,
    /// Samples in a row that show.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl<T: AsRef<[u8]>> Luma<T> {
    fn carries_clock(&self) -> bool {
        self.width >= MIN_SIZE
            && self.height >= MIN_SIZE
            && self.stride >= self.width
            && self.samples.as_ref().len() >= self.stride * (self.height - 1) + self.width
    }

    fn strip_height(&self) -> usize {
        self.height / STRIPS_PER_HEIGHT
    }

    /// Reads the clock.
    pub fn read(&self) -> Reading {
        if !self.carries_clock() {
            return Reading::Absent;
        }
        let half = self.strip_height() / 2;
        let (top, bottom) = (self.read_strip(half), self.read_strip(self.height - 1 - half));
        match (top, bottom) {
            (Some(top), Some(bottom)) if top == bottom => Reading::Whole(top),
            (None, None) => Reading::Absent,
            _ => Reading::Torn,
        }
    }

    /// The time along one row, if mark and checksum are right.
    fn read_strip(&self, row: usize) -> Option<u64> {
        let row = &self.samples.as_ref()[row * self.stride..][..self.width];
        let word = (0..CELLS).fold(0u64, |word, cell| {
            let centre = (2 * cell + 1) * self.width / (2 * CELLS);
            word << 1 | u64::from(row[centre] > (BLACK + WHITE) / 2)
        });
        let micros = word >> 8 & ((1 << TIME_BITS) - 1);
        (word == word_of(micros)).then_some(micros)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Luma<T> {
    /// Burns in `micros` for programs and `time_of_day` (since midnight) for people. A picture that
    /// is too small stays as it is.
    pub fn draw(&mut self, micros: u64, time_of_day: Duration) {
        if !self.carries_clock() {
            return;
        }
        let strip = self.strip_height();
        let word = word_of(micros & ((1 << TIME_BITS) - 1));
        for cell in 0..CELLS {
            let white = word >> (CELLS - 1 - cell) & 1 == 1;
            let columns = cell * self.width / CELLS..(cell + 1) * self.width / CELLS;
            self.fill(columns.clone(), 0..strip, white);
            self.fill(columns, self.height - strip..self.height, white);
        }
        self.draw_digits(time_of_day);
    }

    fn draw_digits(&mut self, time: Duration) {
        let seconds = time.as_secs();
        let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
        let text =
            format!("{hours:02}:{minutes:02}:{:02}.{:03}", seconds % 60, time.subsec_millis());
        let digits = Digits::of(self.width, self.height);
        let (columns, rows) = digits.background();
        self.fill(columns, rows, false);
        let Digits { left, top, scale } = digits;
        for (index, glyph) in text.bytes().map(glyph).enumerate() {
            for (y, bits) in glyph.iter().enumerate() {
                for x in (0..5).filter(|x| bits >> (4 - x) & 1 == 1) {
                    let (x, y) = (left + (index * 6 + x) * scale, top + y * scale);
                    self.fill(x..x + scale, y..y + scale, true);
                }
            }
        }
    }

    fn fill(&mut self, columns: Range<usize>, rows: Range<usize>, white: bool) {
        let stride = self.stride;
        let samples = self.samples.as_mut();
        for row in rows {
            samples[row * stride..][columns.clone()].fill(if white { WHITE } else { BLACK });
        }
    }
}

/// Columns and rows of a picture that the clock covers. They are grey in its colour planes, if it
/// is to be read by people or after a conversion to RGB.
pub fn areas(width: usize, height: usize) -> [(Range<usize>, Range<usize>); 3] {
    let (strip, digits) = (height / STRIPS_PER_HEIGHT, Digits::of(width, height));
    [(0..width, 0..strip), (0..width, height - strip..height), digits.background()]
}

/// Where the time of day stands.
struct Digits {
    left: usize,
    top: usize,
    scale: usize,
}

impl Digits {
    /// HH:MM:SS.mmm
    const COUNT: usize = 12;

    fn of(width: usize, height: usize) -> Self {
        let scale = (width.min(height) / MIN_SIZE).max(1);
        let left = width.saturating_sub(Self::COUNT * 6 * scale) / 2;
        Self { left, top: height / STRIPS_PER_HEIGHT * 2, scale }
    }

    /// One dot more on each side than the digits.
    fn background(&self) -> (Range<usize>, Range<usize>) {
        let Self { left, top, scale } = *self;
        (left - scale..left + Self::COUNT * 6 * scale, top - scale..top + 8 * scale)
    }
}

fn word_of(micros: u64) -> u64 {
    let word = MARK << TIME_BITS | micros;
    let checksum = word.to_be_bytes().iter().fold(0x5a_u8, |sum, byte| sum.rotate_left(3) ^ byte);
    word << 8 | u64::from(checksum)
}

/// Five columns by seven rows.
fn glyph(digit: u8) -> [u8; 7] {
    match digit {
        b'0' => [0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e],
        b'1' => [0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e],
        b'2' => [0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f],
        b'3' => [0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e],
        b'4' => [0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02],
        b'5' => [0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e],
        b'6' => [0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e],
        b'7' => [0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08],
        b'8' => [0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e],
        b'9' => [0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c],
        b':' => [0x00, 0x04, 0x04, 0x00, 0x04, 0x04, 0x00],
        _ => [0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0c],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize) -> Luma<Vec<u8>> {
        Luma { samples: vec![128; (width + 8) * height], stride: width + 8, width, height }
    }

    #[test]
    fn reads_what_was_drawn_at_every_size() {
        let wide_and_flat = [(3840, 160), (8192, 160), (160, 8192)];
        let usual = [(160, 160), (320, 240), (640, 480), (1280, 720), (1918, 1078)];
        for (width, height) in usual.into_iter().chain(wide_and_flat) {
            let mut picture = picture(width, height);
            for micros in [0, 1, 0x1234_5678_9abc, (1 << TIME_BITS) - 1] {
                picture.draw(micros, Duration::from_millis(86_399_999));
                assert_eq!(picture.read(), Reading::Whole(micros), "{width}x{height}");
            }
        }
    }

    #[test]
    fn two_halves_of_different_frames_are_torn() {
        let (mut first, mut second) = (picture(640, 480), picture(640, 480));
        first.draw(1_000_000, Duration::ZERO);
        second.draw(1_033_333, Duration::ZERO);
        let half = first.samples.len() / 2;
        first.samples[half..].copy_from_slice(&second.samples[half..]);
        assert_eq!(first.read(), Reading::Torn);
    }

    #[test]
    fn a_picture_without_clock_has_none() {
        assert_eq!(picture(640, 480).read(), Reading::Absent);
        let mut small = picture(100, 100);
        small.draw(1, Duration::ZERO);
        assert_eq!(small.read(), Reading::Absent);
        let short = Luma { samples: vec![0u8; 10], stride: 640, width: 640, height: 480 };
        assert_eq!(short.read(), Reading::Absent);
    }
}
