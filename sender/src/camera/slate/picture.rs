//! A raw picture to draw on: I420 or NV12, in place. Knows planes, not what is drawn.

use std::ops::Range;

/// The chroma of grey.
pub const NEUTRAL: u8 = 128;

/// Luma, Cb and Cr.
pub type Colour = [u8; 3];

/// A picture of 8 bits per sample, its chroma halved both ways. Samples that its planes lack are
/// left out of everything that is drawn.
#[derive(Debug)]
pub struct Picture<'a> {
    width: usize,
    height: usize,
    planes: Vec<Plane<'a>>,
}

#[derive(Debug)]
struct Plane<'a> {
    samples: &'a mut [u8],
    stride: usize,
    /// The parts of a colour, in the order in which their samples follow each other.
    parts: &'static [usize],
    /// Pixels from one sample of a part to its next, both ways.
    step: usize,
}

impl<'a> Picture<'a> {
    /// A picture of `width` times `height` pixels in three planes: Y, U and V, with the bytes
    /// from each row to the next.
    pub fn i420(
        planes: [&'a mut [u8]; 3],
        strides: [usize; 3],
        width: usize,
        height: usize,
    ) -> Self {
        let [y, u, v] = planes;
        let planes = vec![
            Plane { samples: y, stride: strides[0], parts: &[0], step: 1 },
            Plane { samples: u, stride: strides[1], parts: &[1], step: 2 },
            Plane { samples: v, stride: strides[2], parts: &[2], step: 2 },
        ];
        Self { width, height, planes }
    }

    /// A picture of `width` times `height` pixels in two planes: Y, and U and V by turns, with the
    /// bytes from each row to the next.
    pub fn nv12(
        planes: [&'a mut [u8]; 2],
        strides: [usize; 2],
        width: usize,
        height: usize,
    ) -> Self {
        let [y, uv] = planes;
        let planes = vec![
            Plane { samples: y, stride: strides[0], parts: &[0], step: 1 },
            Plane { samples: uv, stride: strides[1], parts: &[1, 2], step: 2 },
        ];
        Self { width, height, planes }
    }

    /// In pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// In pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Sets every sample of an area to what `new` makes of the part of the colour that it is (an
    /// index of [`Colour`]), the pixel's column and row, and the old sample.
    pub fn change(
        &mut self,
        columns: Range<usize>,
        rows: Range<usize>,
        new: impl Fn(usize, usize, usize, u8) -> u8,
    ) {
        let columns = columns.start..columns.end.min(self.width);
        let rows = rows.start..rows.end.min(self.height);
        for Plane { samples, stride, parts, step } in &mut self.planes {
            let (first, end) = (columns.start / *step, columns.end.div_ceil(*step));
            for y in rows.start / *step..rows.end.div_ceil(*step) {
                let row = samples.get_mut(y.saturating_mul(*stride)..).unwrap_or_default();
                let length = row.len().min(*stride).min(end * parts.len());
                let row = row.get_mut(first * parts.len()..length).unwrap_or_default();
                for (x, pixel) in (first..).zip(row.chunks_mut(parts.len())) {
                    for (&part, sample) in parts.iter().zip(pixel) {
                        *sample = new(part, x * *step, y * *step, *sample);
                    }
                }
            }
        }
    }
}
