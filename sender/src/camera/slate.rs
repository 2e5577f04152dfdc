//! The slate: what viewers see while a camera gives no pictures. Pure.
//!
//! It says at a glance that nothing here is live (warning tape around the picture, the picture
//! dimmed), then why, and since when. It is drawn in place, over I420 and NV12 alike.

pub mod picture;
mod text;

use rovercast_protocol::telemetry::CameraState;

pub use crate::camera::slate::picture::Picture;
use crate::camera::slate::picture::{Colour, NEUTRAL};
use crate::camera::slate::text::{Face, wrap};

/// Pictures that are narrower carry no text and no frame.
pub const MIN_WIDTH: usize = 64;
/// Pictures that are lower carry no text and no frame.
pub const MIN_HEIGHT: usize = 48;

/// What a slate says.
#[derive(Debug, Clone, Copy)]
pub struct Card<'a> {
    /// The camera's name for people.
    pub label: &'a str,
    /// How the camera is: the large words.
    pub state: CameraState,
    /// Why, for people; may be empty, and is cut where it is too long.
    pub reason: &'a str,
    /// Since when: the time of day, as text.
    pub since: &'a str,
}

const BLACK: u8 = 16;
/// What the camera had no picture for.
const EMPTY: Colour = [36, NEUTRAL, NEUTRAL];
/// The two colours of the tape: amber and black.
const TAPE: [Colour; 2] = [[176, 40, 160], [BLACK, NEUTRAL, NEUTRAL]];
const TEXT: Colour = [235, NEUTRAL, NEUTRAL];

/// The tape takes this part of the picture's shorter side, at each edge.
const TAPES_PER_SIDE: usize = 16;
/// The headline is at most this part of the picture's height, and any other line that one.
const HEADLINES_PER_HEIGHT: usize = 6;
const LINES_PER_HEIGHT: usize = 18;
/// As low as other lines may be for the rule above; smaller is hard to read.
const READABLE_HEIGHT: usize = 10;
/// Characters that a line should have room for.
const COLUMNS: usize = 22;
/// Lines of a reason at most.
const REASON_LINES: usize = 3;

/// Draws the slate over `picture`, which holds the camera's `last` picture or nothing of use. To
/// be called once for each picture: a second call dims what the first has drawn.
pub fn draw(picture: &mut Picture<'_>, last: bool, card: &Card<'_>) {
    let (width, height) = (picture.width(), picture.height());
    picture.change(0..width, 0..height, |part, _, _, old| match part {
        _ if !last => EMPTY[part],
        0 => BLACK + old.saturating_sub(BLACK) / 3,
        _ => NEUTRAL / 2 + old / 2,
    });
    if width < MIN_WIDTH || height < MIN_HEIGHT {
        return;
    }
    let tape = (width.min(height) / TAPES_PER_SIDE).max(2);
    frame(picture, tape);

    let margin = tape + tape / 2;
    let lines = lines(card, width - 2 * margin, height - 2 * margin);
    let total: usize = lines.iter().map(|(face, _)| face.line_height()).sum();
    let mut top = (height - total) / 2;
    let band = top.saturating_sub(tape / 2).max(tape)..(top + total + tape / 2).min(height - tape);
    picture.change(tape..width - tape, band, |part, _, _, old| match part {
        0 => BLACK + old.saturating_sub(BLACK) / 4,
        _ => NEUTRAL,
    });
    for (face, line) in lines {
        let left = (width - face.width_of(&line).min(width)) / 2;
        face.draw(picture, left, top, &line, TEXT);
        top += face.line_height();
    }
}

/// Warning tape along all edges.
fn frame(picture: &mut Picture<'_>, tape: usize) {
    let (width, height) = (picture.width(), picture.height());
    let edges = [
        (0..width, 0..tape),
        (0..width, height - tape..height),
        (0..tape, tape..height - tape),
        (width - tape..width, tape..height - tape),
    ];
    for (columns, rows) in edges {
        picture.change(columns, rows, |part, x, y, _| TAPE[(x + y) / (2 * tape) % 2][part]);
    }
}

/// The lines from top to bottom, so chosen that they fit into `width` and `height`.
fn lines(card: &Card<'_>, width: usize, height: usize) -> Vec<(Face, String)> {
    let outer = height * TAPES_PER_SIDE / (TAPES_PER_SIDE - 3);
    let headline = headline(card.state);
    let large = Face::fitting(headline.len(), width, outer / HEADLINES_PER_HEIGHT);
    let small = Face::fitting(COLUMNS, width, (outer / LINES_PER_HEIGHT).max(READABLE_HEIGHT));
    let columns = small.columns(width);
    let rows = height.saturating_sub(large.line_height()) / small.line_height();

    let since = Some(format!("since {}", card.since)).filter(|text| text.len() <= columns);
    let since = since.unwrap_or_else(|| card.since.to_owned());
    // What matters most is kept where there is little room.
    let reason_rows = rows.saturating_sub(2).min(REASON_LINES);
    let mut texts = wrap(card.label, columns, rows.min(1));
    texts.extend(wrap(card.reason, columns, reason_rows));
    texts.extend(wrap(&since, columns, rows.saturating_sub(1).min(1)));

    let headline = wrap(headline, large.columns(width), 1).into_iter();
    let texts = texts.into_iter().map(|text| (small, text));
    headline.map(|text| (large, text)).chain(texts).collect()
}

fn headline(state: CameraState) -> &'static str {
    match state {
        CameraState::Lost | CameraState::Failed => "SIGNAL LOST",
        CameraState::Off => "CAMERA OFF",
        _ => "NO PICTURE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: Card<'static> = Card {
        label: "Front \u{1f4f7}",
        state: CameraState::Lost,
        reason: "the device /dev/v4l/by-id/usb-Camera_1 cannot be used: No such file or directory",
        since: "14:03:22",
    };
    /// What no sample of the test picture, and nothing that is drawn, is made of.
    const GUARD: u8 = 253;

    /// A picture with padding behind each row, as one buffer for each plane.
    struct Buffers {
        planes: Vec<Vec<u8>>,
        strides: Vec<usize>,
        /// Bytes of each plane's rows that show.
        shown: Vec<usize>,
        size: (usize, usize),
    }

    impl Buffers {
        fn new(width: usize, height: usize, padding: usize, nv12: bool) -> Self {
            let (half, rows) = (width.div_ceil(2), height.div_ceil(2));
            let planes = if nv12 {
                vec![(width, height), (2 * half, rows)]
            } else {
                vec![(width, height), (half, rows), (half, rows)]
            };
            let (strides, shown) = planes.iter().map(|(shown, _)| (shown + padding, shown)).unzip();
            let plane = |&(shown, rows): &(usize, usize)| {
                let mut samples = vec![GUARD; rows * (shown + padding)];
                for (y, row) in samples.chunks_mut(shown + padding).enumerate() {
                    for (x, sample) in row[..shown].iter_mut().enumerate() {
                        *sample = 16 + ((x * 7 / 3 + y * y / 50) % 220) as u8;
                    }
                }
                samples
            };
            Self {
                planes: planes.iter().map(plane).collect(),
                strides,
                shown,
                size: (width, height),
            }
        }

        fn draw(&mut self, last: bool, card: &Card<'_>) {
            let (strides, (width, height)) = (&self.strides, self.size);
            let mut picture = match &mut self.planes[..] {
                [y, uv] => Picture::nv12([y, uv], [strides[0], strides[1]], width, height),
                [y, u, v] => {
                    Picture::i420([y, u, v], [strides[0], strides[1], strides[2]], width, height)
                }
                _ => panic!("two or three planes"),
            };
            draw(&mut picture, last, card);
        }

        fn row(&self, y: usize) -> &[u8] {
            &self.planes[0][y * self.strides[0]..][..self.size.0]
        }
    }

    /// How alike two rows of samples are: 1 when one is the other, brighter or darker.
    fn correlation(a: &[u8], b: &[u8]) -> f64 {
        let mean = |row: &[u8]| row.iter().map(|&v| f64::from(v)).sum::<f64>() / row.len() as f64;
        let (mean_a, mean_b) = (mean(a), mean(b));
        let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| f(f64::from(a) - mean_a, f64::from(b) - mean_b)).sum()
        };
        sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
    }

    #[test]
    fn any_size_and_stride_is_drawn_within_its_planes() {
        let sides = [16, 17, 47, 48, 64, 65, 161, 360];
        let pairs = sides.iter().flat_map(|&width| sides.map(|height| (width, height)));
        let far = [(8192, 16), (16, 8192), (8192, 48), (64, 8192), (1281, 721)];
        for (width, height) in pairs.chain(far) {
            for (padding, nv12, last) in [(0, false, true), (5, true, true), (3, false, false)] {
                let mut buffers = Buffers::new(width, height, padding, nv12);
                buffers.draw(last, &CARD);
                for ((plane, stride), shown) in
                    buffers.planes.iter().zip(&buffers.strides).zip(&buffers.shown)
                {
                    for row in plane.chunks(*stride) {
                        let (drawn, padding) = row.split_at(*shown);
                        assert!(padding.iter().all(|&byte| byte == GUARD), "{width}x{height}");
                        assert!(drawn.iter().all(|&byte| byte < GUARD), "{width}x{height}");
                    }
                }
            }
        }
    }

    #[test]
    fn planes_that_are_too_short_are_drawn_as_far_as_they_go() {
        let (mut y, mut uv) = ([0; 1000], [0; 7]);
        for (width, height, stride) in [(160, 120, 160), (8192, 8192, 100), (160, 120, usize::MAX)]
        {
            let mut picture = Picture::nv12([&mut y, &mut uv], [stride, 0], width, height);
            draw(&mut picture, true, &CARD);
        }
        assert_ne!(y[999], 0, "the last byte belongs to a row");
    }

    #[test]
    fn the_last_picture_shows_through_and_is_much_darker() {
        let original = Buffers::new(640, 480, 0, false);
        let mut slate = Buffers::new(640, 480, 0, false);
        slate.draw(true, &CARD);
        let (before, after) = (&original.row(100)[40..600], &slate.row(100)[40..600]);
        assert!(correlation(before, after) > 0.99);
        let brightness = |row: &[u8]| row.iter().map(|&y| u32::from(y) - 16).sum::<u32>();
        assert!((28..36).contains(&(brightness(after) * 100 / brightness(before))));
        let chroma = |buffers: &Buffers| buffers.planes[1][50 * 320 + 200].abs_diff(NEUTRAL);
        assert!(chroma(&original) > 20 && chroma(&slate) <= chroma(&original) / 2 + 1);
    }

    #[test]
    fn text_stands_out_at_every_size() {
        for (width, height) in [(64, 48), (160, 120), (640, 480), (480, 640), (1920, 1080)] {
            for last in [true, false] {
                let mut slate = Buffers::new(width, height, 0, false);
                slate.draw(last, &CARD);
                // The band is there in the middle, whatever is above and below.
                let rows = (height * 2 / 5..height * 3 / 5)
                    .map(|y| &slate.row(y)[width / 8..width * 7 / 8]);
                let band: Vec<u8> = rows.flatten().copied().collect();
                let bright = band.iter().filter(|&&y| y == TEXT[0]).count() * 100 / band.len();
                assert!((4..50).contains(&bright), "{width}x{height}: {bright} %");
                assert!(band.iter().all(|&y| y == TEXT[0] || y < 50), "{width}x{height}");
            }
        }
    }

    #[test]
    fn what_matters_most_is_kept_where_there_is_little_room() {
        let texts = |width, height| -> Vec<String> {
            lines(&CARD, width, height).into_iter().map(|(_, text)| text).collect()
        };
        let all = texts(1800, 1000);
        assert_eq!(all[..2], ["SIGNAL LOST", "Front \u{1f4f7}"]);
        assert_eq!((all.len(), all[all.len() - 1].as_str()), (5, "since 14:03:22"));
        let few = texts(54, 38);
        assert_eq!(few[..3], ["SIGNAL LOST", "Front \u{1f4f7}", "the device"]);
        assert_eq!(few[3..], ["/dev/v4l/by..", "14:03:22"]);
        assert_eq!(texts(54, 20), ["SIGNAL LOST", "Front \u{1f4f7}"]);
    }

    #[test]
    fn both_layouts_show_the_same() {
        let (mut planar, mut packed) =
            (Buffers::new(321, 241, 0, false), Buffers::new(321, 241, 0, true));
        planar.draw(false, &CARD);
        packed.draw(false, &CARD);
        let [cb, cr] = [0, 1].map(|first| -> Vec<u8> {
            packed.planes[1].iter().skip(first).step_by(2).copied().collect()
        });
        assert_eq!(planar.planes, [packed.planes[0].clone(), cb, cr]);
    }
}
