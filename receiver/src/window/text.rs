//! Text as pictures: set in a font that the program brings along, smoothed, on one line. Pure.

use ab_glyph::{Font, FontRef, InvalidFont, PxScale, ScaleFont, point};

/// How thick letters are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Weight {
    /// As in a book.
    Regular,
    /// What has to be seen first.
    Bold,
}

/// A line of text, as how much of each pixel it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// In pixels.
    pub width: u32,
    /// In pixels; the same for all text of a size, so that baselines agree.
    pub height: u32,
    /// Row by row from the upper left: 0 not at all, 255 all of it.
    pub coverage: Vec<u8>,
}

/// The fonts.
#[derive(Debug)]
pub struct Type {
    regular: FontRef<'static>,
    bold: FontRef<'static>,
}

impl Type {
    /// The fonts that the program brings along.
    pub fn load() -> Result<Self, InvalidFont> {
        let font = FontRef::try_from_slice;
        let regular = font(dejavu::sans_condensed::regular())?;
        Ok(Self { regular, bold: font(dejavu::sans_condensed::bold())? })
    }

    /// How wide text of this size (pixels from the top of the highest to the bottom of the lowest
    /// letter) is.
    pub fn width(&self, text: &str, size: u32, weight: Weight) -> f32 {
        let font = self.font(weight).as_scaled(PxScale::from(size as f32));
        text.chars().map(|character| font.h_advance(font.glyph_id(character))).sum()
    }

    /// Text of this size, cut off with an ellipsis where it would be wider than `widest`.
    pub fn line(&self, text: &str, size: u32, weight: Weight, widest: u32) -> Line {
        let text = self.cut(text, size, weight, widest as f32);
        let font = self.font(weight).as_scaled(PxScale::from(size as f32));
        let width = (self.width(&text, size, weight).ceil() as u32).min(widest).max(1);
        let height = size.max(1);
        let mut line = Line { width, height, coverage: vec![0; (width * height) as usize] };
        let mut x = 0.0;
        for character in text.chars() {
            let id = font.glyph_id(character);
            let glyph = id.with_scale_and_position(font.scale(), point(x, font.ascent()));
            x += font.h_advance(id);
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let (left, top) = (outline.px_bounds().min.x as i64, outline.px_bounds().min.y as i64);
            outline.draw(|column, row, covered| {
                line.cover(left + i64::from(column), top + i64::from(row), covered);
            });
        }
        line
    }

    /// Text in lines no wider than `widest`, broken between words; at most so many lines.
    pub fn wrap(
        &self,
        text: &str,
        size: u32,
        weight: Weight,
        widest: u32,
        lines: usize,
    ) -> Vec<String> {
        let mut wrapped: Vec<String> = Vec::new();
        for word in text.split_whitespace() {
            let room = wrapped.len() < lines;
            match wrapped.last_mut() {
                Some(line) => {
                    let longer = format!("{line} {word}");
                    if !room || self.width(&longer, size, weight) <= widest as f32 {
                        *line = longer;
                    } else {
                        wrapped.push(word.to_owned());
                    }
                }
                None => wrapped.push(word.to_owned()),
            }
        }
        wrapped
    }

    fn cut(&self, text: &str, size: u32, weight: Weight, widest: f32) -> String {
        if self.width(text, size, weight) <= widest {
            return text.to_owned();
        }
        let mut left = widest - self.width("…", size, weight);
        let fits = |character: &char| {
            left -= self.width(character.encode_utf8(&mut [0; 4]), size, weight);
            left >= 0.0
        };
        let mut cut: String = text.chars().take_while(fits).collect();
        cut.truncate(cut.trim_end().len());
        cut.push('…');
        cut
    }

    fn font(&self, weight: Weight) -> &FontRef<'static> {
        match weight {
            Weight::Regular => &self.regular,
            Weight::Bold => &self.bold,
        }
    }
}

impl Line {
    fn cover(&mut self, x: i64, y: i64, covered: f32) {
        let (width, height) = (i64::from(self.width), i64::from(self.height));
        if (0..width).contains(&x) && (0..height).contains(&y) {
            let covered = (covered.clamp(0.0, 1.0) * 255.0) as u8;
            let pixel = &mut self.coverage[(y * width + x) as usize];
            *pixel = (*pixel).max(covered);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_ink_and_the_size_asked_for() {
        let font = Type::load().unwrap();
        let line = font.line("LIVE 84 ms", 20, Weight::Bold, 1000);
        assert_eq!(line.height, 20);
        assert_eq!(line.width, font.width("LIVE 84 ms", 20, Weight::Bold).ceil() as u32);
        let ink = line.coverage.iter().filter(|covered| **covered > 200).count();
        assert!(ink > 100, "{ink}");
        assert!(line.coverage.iter().any(|covered| (1..200).contains(covered)), "smoothed");
    }

    #[test]
    fn what_is_too_wide_is_cut_off() {
        let font = Type::load().unwrap();
        let line = font.line(&"wide ".repeat(50), 16, Weight::Regular, 100);
        assert!(line.width <= 100, "{}", line.width);
        assert!(font.cut("wide words", 16, Weight::Regular, 60.0).ends_with('…'));
        assert_eq!(font.cut("words", 16, Weight::Regular, 60.0), "words");
        assert_eq!(font.line("x", 0, Weight::Regular, 0).coverage.len(), 1);
    }

    #[test]
    fn words_are_wrapped_into_so_many_lines() {
        let font = Type::load().unwrap();
        let text = "the camera has been unplugged and is looked for";
        let lines = font.wrap(text, 16, Weight::Regular, 120, 3);
        assert_eq!(lines.join(" "), text);
        assert_eq!(lines.len(), 3);
        assert!(font.width(&lines[0], 16, Weight::Regular) <= 120.0);
        assert!(font.wrap("", 16, Weight::Regular, 120, 3).is_empty());
    }

    #[test]
    fn the_font_has_the_signs_that_are_used() {
        let font = Type::load().unwrap();
        for sign in "●–…≤×°·".chars() {
            assert_ne!(font.bold.glyph_id(sign).0, 0, "{sign}");
            assert_ne!(font.regular.glyph_id(sign).0, 0, "{sign}");
        }
    }
}
