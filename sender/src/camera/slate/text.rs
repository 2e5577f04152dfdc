//! Text on a slate: bitmap fonts in whole multiples, and lines that fit.

use std::convert::Infallible;

use embedded_graphics::Drawable;
use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::iso_8859_1::{
    FONT_4X6, FONT_5X8, FONT_6X10, FONT_6X13_BOLD, FONT_8X13_BOLD, FONT_9X15_BOLD, FONT_9X18_BOLD,
    FONT_10X20,
};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::text::{Baseline, Text};

use crate::camera::slate::picture::{Colour, Picture};

/// The fonts, and how large their pixels may become: the smallest look coarse when blown up.
/// They show question marks for what is not in ISO 8859-1.
const FONTS: [(&MonoFont<'static>, usize); 8] = [
    (&FONT_4X6, 1),
    (&FONT_5X8, 1),
    (&FONT_6X10, 1),
    (&FONT_6X13_BOLD, 1),
    (&FONT_8X13_BOLD, 2),
    (&FONT_9X15_BOLD, 2),
    (&FONT_9X18_BOLD, usize::MAX),
    (&FONT_10X20, 1),
];

/// A font at a size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Face {
    font: &'static MonoFont<'static>,
    scale: usize,
}

impl Face {
    /// The largest of which `columns` characters fit into `width`, and one line into `height`, in
    /// pixels; the smallest where none does.
    pub(super) fn fitting(columns: usize, width: usize, height: usize) -> Self {
        let sized = |&(font, max_scale): &(&'static MonoFont<'static>, usize)| {
            let Size { width: across, height: down } = font.character_size;
            let scale = (width / (columns.max(1) * across as usize)).min(height / down as usize);
            Some(Self { font, scale: scale.min(max_scale) }).filter(|face| face.scale > 0)
        };
        let smallest = Self { font: FONTS[0].0, scale: 1 };
        FONTS.iter().filter_map(sized).max_by_key(Self::height).unwrap_or(smallest)
    }

    fn height(&self) -> usize {
        self.font.character_size.height as usize * self.scale
    }

    /// From one line to the next, in pixels.
    pub(super) fn line_height(&self) -> usize {
        self.height() + self.height() / 5
    }

    /// Characters that fit into `width` pixels.
    pub(super) fn columns(&self, width: usize) -> usize {
        width / (self.font.character_size.width as usize * self.scale)
    }

    /// How wide a line is, in pixels.
    pub(super) fn width_of(&self, line: &str) -> usize {
        line.chars().count() * self.font.character_size.width as usize * self.scale
    }

    /// Draws one line, its upper left corner at `left` and `top`.
    pub(super) fn draw(
        &self,
        picture: &mut Picture<'_>,
        left: usize,
        top: usize,
        line: &str,
        colour: Colour,
    ) {
        let mut canvas = Canvas { picture, left, top, scale: self.scale, colour };
        let style = MonoTextStyle::new(self.font, BinaryColor::On);
        let text = Text::with_baseline(line, Point::zero(), style, Baseline::Top);
        let Ok(_) = text.draw(&mut canvas);
    }
}

/// A part of a picture, in pixels that are squares of the picture's.
struct Canvas<'p, 'a> {
    picture: &'p mut Picture<'a>,
    left: usize,
    top: usize,
    scale: usize,
    colour: Colour,
}

impl OriginDimensions for Canvas<'_, '_> {
    fn size(&self) -> Size {
        let squares = |from: usize, to: usize| (to.saturating_sub(from) / self.scale) as u32;
        Size::new(
            squares(self.left, self.picture.width()),
            squares(self.top, self.picture.height()),
        )
    }
}

impl DrawTarget for Canvas<'_, '_> {
    type Color = BinaryColor;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<BinaryColor>>,
    {
        let (scale, colour) = (self.scale, self.colour);
        for Pixel(point, _) in pixels.into_iter().filter(|Pixel(_, colour)| colour.is_on()) {
            let (Ok(x), Ok(y)) = (usize::try_from(point.x), usize::try_from(point.y)) else {
                continue;
            };
            let (x, y) = (self.left + x * scale, self.top + y * scale);
            self.picture.change(x..x + scale, y..y + scale, |part, _, _, _| colour[part]);
        }
        Ok(())
    }
}

/// Breaks a text into at most `rows` lines of at most `columns` characters, between words where
/// that goes. Dots at the end of the last line stand for what is left out.
pub(super) fn wrap(text: &str, columns: usize, rows: usize) -> Vec<String> {
    if columns == 0 {
        return Vec::new();
    }
    let mut lines: Vec<Vec<char>> = Vec::new();
    // No more than can be shown, so that a text of any length costs the same.
    let shown = columns.saturating_mul(rows).saturating_add(1);
    for word in text.split_whitespace().take(shown) {
        let word: Vec<char> = word.chars().take(shown).collect();
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= columns => {
                line.push(' ');
                line.extend(word);
            }
            _ => lines.extend(word.chunks(columns).map(<[char]>::to_vec)),
        }
        if lines.len() > rows {
            break;
        }
    }
    if lines.len() > rows {
        lines.truncate(rows);
        if let Some(last) = lines.last_mut() {
            last.truncate(columns.saturating_sub(2));
            last.extend("..".chars().take(columns));
        }
    }
    lines.into_iter().map(String::from_iter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_end_in_dots() {
        assert_eq!(wrap("one two  three\nfour", 9, 3), ["one two", "three", "four"]);
        assert_eq!(wrap("one two three four", 9, 2), ["one two", "three.."]);
        assert_eq!(wrap("/dev/v4l/by-id/x is gone", 8, 9), ["/dev/v4l", "/by-id/x", "is gone"]);
        assert_eq!(wrap("abcdefgh", 4, 1), ["ab.."]);
        assert!(wrap("text", 4, 0).is_empty() && wrap(" ", 4, 2).is_empty());
    }

    #[test]
    fn no_line_is_longer_than_it_may() {
        let text = "A\u{e4}\u{1f916} sentence of words, some longer: /dev/v4l/by-path/platform. "
            .repeat(50);
        for columns in 0..40 {
            for rows in 0..6 {
                let lines = wrap(&text, columns, rows);
                assert!(lines.len() <= rows, "{rows}");
                let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
                assert!(longest <= columns, "{longest} of {columns}");
            }
        }
    }

    #[test]
    fn the_largest_face_that_fits_is_taken() {
        let face = Face::fitting(11, 1800, 180);
        assert_eq!((face.height(), face.width_of("SIGNAL LOST")), (180, 990));
        let face = Face::fitting(20, 640, 1000);
        assert!(face.width_of(&"x".repeat(20)) <= 640 && face.height() >= 36, "{}", face.height());
        assert_eq!(Face::fitting(1000, 10, 1).height(), 6);
    }
}
