//! How much of a picture an encoder left: PSNR and SSIM of its brightness. Pure.

/// The brightness of a picture of 8 bits per sample.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// Row by row.
    pub samples: &'a [u8],
    /// From one row to the next, in bytes.
    pub stride: usize,
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
}

impl<'a> Plane<'a> {
    fn rows(self) -> impl Iterator<Item = &'a [u8]> {
        self.samples.chunks(self.stride).take(self.height).map(move |row| &row[..self.width])
    }
}

/// The peak signal-to-noise ratio: 10 log10(255^2 / mean squared error), in dB. Infinite where
/// both are the same. Both must be of one size.
pub fn psnr(a: Plane<'_>, b: Plane<'_>) -> f64 {
    let squares: u64 = a
        .rows()
        .zip(b.rows())
        .flat_map(|(a, b)| a.iter().zip(b))
        .map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2))
        .sum();
    let mean = squares as f64 / (a.width * a.height) as f64;
    10.0 * (255.0 * 255.0 / mean).log10()
}

/// A window's side, and the step from one window to the next.
const WINDOW: usize = 8;
const STEP: usize = 4;

/// The structural similarity (Wang et al., 2004), 1 where both are the same: the mean over windows
/// of 8x8 pixels, every 4 pixels, all pixels of a window with the same weight, of
///
/// (2 m_a m_b + C1) (2 s_ab + C2) / ((m_a^2 + m_b^2 + C1) (s_a^2 + s_b^2 + C2))
///
/// with means m, variances s^2 and the covariance s_ab; C1 = (0.01 * 255)^2, C2 = (0.03 * 255)^2.
/// Both must be of one size, of at least one window.
pub fn ssim(a: Plane<'_>, b: Plane<'_>) -> f64 {
    const C1: f64 = 6.5025;
    const C2: f64 = 58.5225;
    let (mut sum, mut windows) = (0.0, 0u32);
    for y in (0..=a.height - WINDOW).step_by(STEP) {
        for x in (0..=a.width - WINDOW).step_by(STEP) {
            let [mut sum_a, mut sum_b, mut aa, mut bb, mut ab] = [0u32; 5];
            for row in y..y + WINDOW {
                let line_a = &a.samples[row * a.stride + x..][..WINDOW];
                let line_b = &b.samples[row * b.stride + x..][..WINDOW];
                for (&a, &b) in line_a.iter().zip(line_b) {
                    let (a, b) = (u32::from(a), u32::from(b));
                    sum_a += a;
                    sum_b += b;
                    aa += a * a;
                    bb += b * b;
                    ab += a * b;
                }
            }
            let mean = |sum: u32| f64::from(sum) / (WINDOW * WINDOW) as f64;
            let (mean_a, mean_b) = (mean(sum_a), mean(sum_b));
            let variances = mean(aa) - mean_a * mean_a + mean(bb) - mean_b * mean_b;
            let covariance = mean(ab) - mean_a * mean_b;
            sum += (2.0 * mean_a * mean_b + C1) * (2.0 * covariance + C2)
                / ((mean_a * mean_a + mean_b * mean_b + C1) * (variances + C2));
            windows += 1;
        }
    }
    sum / f64::from(windows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(samples: &[u8]) -> Plane<'_> {
        Plane { samples, stride: 20, width: 16, height: samples.len() / 20 }
    }

    fn picture() -> Vec<u8> {
        (0..20 * 16u32).map(|index| (index * index % 199) as u8).collect()
    }

    #[test]
    fn the_same_is_perfect() {
        let samples = picture();
        assert_eq!(psnr(plane(&samples), plane(&samples)), f64::INFINITY);
        assert!((ssim(plane(&samples), plane(&samples)) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_lies_outside_the_picture_does_not_count() {
        let samples = picture();
        let mut other = samples.clone();
        other.chunks_mut(20).for_each(|row| row[16..].fill(255));
        assert_eq!(psnr(plane(&samples), plane(&other)), f64::INFINITY);
        assert!((ssim(plane(&samples), plane(&other)) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn errors_are_as_large_as_they_are() {
        let samples = picture();
        let brighter: Vec<u8> = samples.iter().map(|sample| sample + 10).collect();
        let is = psnr(plane(&samples), plane(&brighter));
        assert!((is - 28.13).abs() < 0.01, "20 log10(255 / 10), not {is}");
        // Its structure is the same; turned upside down in brightness it is the opposite.
        assert!(ssim(plane(&samples), plane(&brighter)) > 0.95);
        let negative: Vec<u8> = samples.iter().map(|sample| 199 - sample).collect();
        assert!(ssim(plane(&samples), plane(&negative)) < -0.5);
        // Two flat planes: (2 m_a m_b + C1) / (m_a^2 + m_b^2 + C1).
        let (dark, bright) = (vec![50; 320], vec![100; 320]);
        let is = ssim(plane(&dark), plane(&bright));
        assert!((is - 10006.5025 / 12506.5025).abs() < 1e-9, "{is}");
    }
}
