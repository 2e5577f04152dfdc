//! Pictures' colors as SDL takes them: BT.601 in the range of television. Others, of HD pictures
//! above all, are converted sample by sample. Pure.

/// How a picture's samples stand for colors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coding {
    /// The weight of red in luma.
    pub red: f64,
    /// The weight of blue in luma.
    pub blue: f64,
    /// Whether samples use all of 0 to 255.
    pub full_range: bool,
}

/// What SDL takes.
pub const BT601: Coding = Coding { red: 0.299, blue: 0.114, full_range: false };
/// What HD pictures mostly have.
pub const BT709: Coding = Coding { red: 0.2126, blue: 0.0722, full_range: false };

/// What pictures for ultra HD have.
pub const BT2020: Coding = Coding { red: 0.2627, blue: 0.0593, full_range: false };
/// What the first HD pictures had.
pub const SMPTE240M: Coding = Coding { red: 0.212, blue: 0.087, full_range: false };

/// The bits after the point in what follows: as many as let everything be done in 16 bits, of which
/// a processor takes many at a time.
const BITS: u32 = 7;

/// Chroma samples of a row that are converted together.
const TOGETHER: usize = 32;

/// From one coding to that of SDL, in units of 1/128. Chroma never depends on luma.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conversion {
    /// Luma from luma, from the two chromas, and its offset.
    luma: [i16; 4],
    /// Each chroma from both.
    chroma: [[i16; 2]; 2],
}

impl Conversion {
    /// What makes pictures of this coding such as SDL takes; nothing where they are.
    pub fn from(coding: Coding) -> Option<Self> {
        if coding == BT601 {
            return None;
        }
        // Samples to color differences of 0 to 1: y, b - y and r - y.
        let (luma, chroma) = if coding.full_range { (255.0, 255.0) } else { (219.0, 224.0) };
        let black = if coding.full_range { 0.0 } else { 16.0 };
        let (b_y, r_y) = (2.0 * (1.0 - coding.blue) / chroma, 2.0 * (1.0 - coding.red) / chroma);
        // The green's share: g - y = -(kb (b - y) + kr (r - y)) / kg.
        let green = 1.0 - coding.red - coding.blue;
        let (g_b, g_r) = (-coding.blue / green, -coding.red / green);
        // y' - y of the other coding, as shares of b - y and r - y.
        let (kb, kr) = (BT601.blue, BT601.red);
        let kg = 1.0 - kb - kr;
        let (y_b, y_r) = (kb + kg * g_b, kr + kg * g_r);
        let unit = f64::from(1 << BITS);
        let fixed = |value: f64| (value * unit).round() as i16;
        let (to_b, to_r) = (112.0 / (1.0 - kb), 112.0 / (1.0 - kr));
        Some(Self {
            luma: [
                fixed(219.0 / luma),
                fixed(219.0 * y_b * b_y),
                fixed(219.0 * y_r * r_y),
                fixed(16.0 - black * 219.0 / luma + 0.5),
            ],
            chroma: [
                [fixed(to_b * (1.0 - y_b) * b_y), fixed(-to_b * y_r * r_y)],
                [fixed(-to_r * y_b * b_y), fixed(to_r * (1.0 - y_r) * r_y)],
            ],
        })
    }

    /// Converts two rows of luma and the row of chroma that belongs to them.
    pub fn rows(&self, luma: [&mut [u8]; 2], blue: &mut [u8], red: &mut [u8]) {
        let [upper, lower] = luma.map(|row| row.chunks_mut(2 * TOGETHER));
        let chroma = blue.chunks_mut(TOGETHER).zip(red.chunks_mut(TOGETHER));
        for ((upper, lower), (blue, red)) in upper.zip(lower).zip(chroma) {
            self.chunk([upper, lower], blue, red);
        }
    }

    fn chunk(&self, luma: [&mut [u8]; 2], blue: &mut [u8], red: &mut [u8]) {
        let [ly, lb, lr, offset] = self.luma;
        let [[bb, br], [rb, rr]] = self.chroma;
        let half = 1 << (BITS - 1);
        let mut shifts = [0i16; 2 * TOGETHER];
        for ((blue, red), shifts) in blue.iter_mut().zip(red).zip(shifts.chunks_exact_mut(2)) {
            let (b, r) = (i16::from(*blue) - 128, i16::from(*red) - 128);
            shifts.fill(lb * b + lr * r + offset);
            *blue = byte(((bb * b + br * r + half) >> BITS) + 128);
            *red = byte(((rb * b + rr * r + half) >> BITS) + 128);
        }
        for row in luma {
            for (y, shift) in row.iter_mut().zip(shifts) {
                *y = byte((ly * i16::from(*y)).saturating_add(shift) >> BITS);
            }
        }
    }
}

fn byte(value: i16) -> u8 {
    value.clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All codings but SDL's.
    fn all() -> Vec<Coding> {
        let ranges = [BT601, BT709, BT2020, SMPTE240M]
            .into_iter()
            .flat_map(|coding| [false, true].map(|full_range| Coding { full_range, ..coding }));
        ranges.filter(|coding| *coding != BT601).collect()
    }

    /// The red, green and blue (0 to 1) that samples stand for.
    fn rgb(coding: Coding, [y, b, r]: [u8; 3]) -> [f64; 3] {
        let (black, luma, chroma) =
            if coding.full_range { (0.0, 255.0, 255.0) } else { (16.0, 219.0, 224.0) };
        let y = (f64::from(y) - black) / luma;
        let (b, r) = ((f64::from(b) - 128.0) / chroma, (f64::from(r) - 128.0) / chroma);
        let (red, blue) = (y + 2.0 * (1.0 - coding.red) * r, y + 2.0 * (1.0 - coding.blue) * b);
        let green = (y - coding.red * red - coding.blue * blue) / (1.0 - coding.red - coding.blue);
        [red, green, blue]
    }

    #[test]
    fn converted_pictures_have_the_same_colors() {
        for coding in all() {
            let conversion = Conversion::from(coding).unwrap();
            for sample in
                [[16, 128, 128], [235, 128, 128], [81, 90, 200], [145, 54, 60], [60, 180, 120]]
            {
                let (mut upper, mut lower) = ([sample[0]; 2], [sample[0]; 2]);
                let (mut blue, mut red) = ([sample[1]], [sample[2]]);
                conversion.rows([&mut upper, &mut lower], &mut blue, &mut red);
                assert_eq!(upper, lower);
                let (before, after) =
                    (rgb(coding, sample), rgb(BT601, [upper[0], blue[0], red[0]]));
                for (before, after) in before.into_iter().zip(after) {
                    assert!(
                        (before - after).abs() < 0.012,
                        "{coding:?} {sample:?}: {before} {after}"
                    );
                }
            }
        }
    }

    #[test]
    fn no_sample_is_too_much() {
        for conversion in all().into_iter().filter_map(Conversion::from) {
            for (y, b, r) in [0, 1, 127, 128, 255]
                .into_iter()
                .flat_map(|y| [(0, 0), (0, 255), (255, 0), (255, 255)].map(|(b, r)| (y, b, r)))
            {
                let (mut upper, mut lower, mut blue, mut red) =
                    ([y; 200], [y; 200], [b; 100], [r; 100]);
                conversion.rows([&mut upper, &mut lower], &mut blue, &mut red);
                assert!(upper.iter().all(|converted| *converted == upper[0]), "every sample alike");
                assert!(red.iter().all(|converted| *converted == red[0]), "every sample alike");
            }
        }
    }

    #[test]
    fn what_sdl_takes_is_left_alone() {
        assert_eq!(Conversion::from(BT601), None);
    }
}
