//! Brightness samples of a raw picture: a fixed grid, whatever its size and format.

/// Across and down.
const GRID: (usize, usize) = (32, 18);

/// How many there are.
pub const SAMPLES: usize = GRID.0 * GRID.1;

/// Where the brightness of a pixel stands in the first plane of a raw format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// From one pixel to the next, in bytes.
    step: usize,
    /// Of the brightness within a pixel; of green, which has the most of it, where there is none.
    offset: usize,
}

impl Layout {
    /// That of a raw format by GStreamer's name for it; `None` for formats that are not known
    /// here, and those of more than 8 bits.
    pub fn of(format: &str) -> Option<Self> {
        let (step, offset) = match format {
            "I420" | "YV12" | "NV12" | "NV21" | "NV16" | "NV24" | "Y41B" | "Y42B" | "Y444"
            | "GRAY8" => (1, 0),
            "YUY2" | "YVYU" => (2, 0),
            "UYVY" | "VYUY" => (2, 1),
            "RGB" | "BGR" => (3, 1),
            "RGBx" | "BGRx" | "RGBA" | "BGRA" => (4, 1),
            "xRGB" | "xBGR" | "ARGB" | "ABGR" => (4, 2),
            _ => return None,
        };
        Some(Self { step, offset })
    }
}

/// The brightness of a grid of points in a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Samples([u8; SAMPLES]);

impl Samples {
    /// Takes them from the first plane of a picture of `width` times `height` pixels, with
    /// `stride` bytes from row to row. Points that the plane lacks are black.
    pub fn of(layout: Layout, plane: &[u8], stride: usize, width: usize, height: usize) -> Self {
        let mut samples = [0; SAMPLES];
        for (row, samples) in samples.chunks_exact_mut(GRID.0).enumerate() {
            let y = height * (2 * row + 1) / (2 * GRID.1);
            let line = plane.get(y.saturating_mul(stride)..).unwrap_or_default();
            for (column, sample) in samples.iter_mut().enumerate() {
                let x = width * (2 * column + 1) / (2 * GRID.0);
                *sample = line.get(x * layout.step + layout.offset).copied().unwrap_or_default();
            }
        }
        Self(samples)
    }

    /// Row by row.
    pub(super) fn brightness(&self) -> &[u8; SAMPLES] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_spread_over_the_whole_picture() {
        let (width, height, stride) = (1920, 1080, 2000);
        let plane: Vec<u8> = (0..stride * height)
            .map(|index| if index % stride < width { index / stride / 5 } else { 255 } as u8)
            .collect();
        let samples = Samples::of(Layout::of("NV12").unwrap(), &plane, stride, width, height);
        for (row, samples) in samples.0.chunks_exact(GRID.0).enumerate() {
            assert!(samples.iter().all(|&sample| usize::from(sample) == 6 + 12 * row), "{row}");
        }
    }

    #[test]
    fn brightness_is_found_in_every_format() {
        let formats: [(&str, &[u8]); 10] = [
            ("I420", &[200]),
            ("GRAY8", &[200]),
            ("YUY2", &[200, 1, 200, 2]),
            ("YVYU", &[200, 1, 200, 2]),
            ("UYVY", &[1, 200, 2, 200]),
            ("RGB", &[1, 200, 2]),
            ("BGR", &[1, 200, 2]),
            ("BGRx", &[1, 200, 2, 3]),
            ("xRGB", &[1, 2, 200, 3]),
            ("ABGR", &[1, 2, 200, 3]),
        ];
        for (format, pixels) in formats {
            let layout = Layout::of(format).unwrap();
            let plane = pixels.repeat(64 * 36);
            let samples = Samples::of(layout, &plane, 64 * layout.step, 64, 36);
            assert_eq!(samples.0, [200; SAMPLES], "{format}");
        }
        assert_eq!(Layout::of("P010_10LE"), None);
    }

    #[test]
    fn no_size_reaches_outside() {
        for (width, height, stride) in
            [(16, 16, 16), (1, 1, 1), (0, 0, 0), (8192, 8192, usize::MAX)]
        {
            let samples = Samples::of(Layout::of("RGBA").unwrap(), &[9; 64], stride, width, height);
            assert!(samples.0.iter().all(|&sample| sample == 9 || sample == 0));
        }
    }
}
