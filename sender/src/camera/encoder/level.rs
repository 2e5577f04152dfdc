//! The levels of H.264: which is the lowest for pictures and a bitrate. Pure.

use super::Parameters;

/// Name, macroblocks in a second, macroblocks in a frame, 1,000 bits per second.
const LEVELS: &[(&str, u32, u32, u32)] = &[
    ("1", 1_485, 99, 64),
    ("1.1", 3_000, 396, 192),
    ("1.2", 6_000, 396, 384),
    ("1.3", 11_880, 396, 768),
    ("2", 11_880, 396, 2_000),
    ("2.1", 19_800, 792, 4_000),
    ("2.2", 20_250, 1_620, 4_000),
    ("3", 40_500, 1_620, 10_000),
    ("3.1", 108_000, 3_600, 14_000),
    ("3.2", 216_000, 5_120, 20_000),
    ("4", 245_760, 8_192, 20_000),
    ("4.1", 245_760, 8_192, 50_000),
    ("4.2", 522_240, 8_704, 50_000),
    ("5", 589_824, 22_080, 135_000),
];

/// Above all of these.
const HIGHEST: &str = "5.1";

/// Macroblocks of 16x16 pixels in a picture.
pub(super) fn macroblocks(width: u32, height: u32) -> u32 {
    width.div_ceil(16) * height.div_ceil(16)
}

/// The lowest level that allows such a stream.
pub(super) fn h264(parameters: Parameters) -> &'static str {
    let Parameters { width, height, fps, bitrate_kbps, .. } = parameters;
    let frame = macroblocks(width, height);
    let rate = frame.saturating_mul(fps);
    // A frame may be no longer than this on either side.
    let side = width.max(height).div_ceil(16);
    LEVELS
        .iter()
        .find(|(_, max_rate, max_frame, max_kbps)| {
            rate <= *max_rate
                && frame <= *max_frame
                && bitrate_kbps <= *max_kbps
                && side * side <= 8 * max_frame
        })
        .map_or(HIGHEST, |level| level.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(width: u32, height: u32, fps: u32, bitrate_kbps: u32) -> &'static str {
        h264(Parameters { width, height, fps, bitrate_kbps, cores: 1 })
    }

    #[test]
    fn each_limit_raises_the_level() {
        assert_eq!(level(176, 144, 15, 50), "1");
        assert_eq!(level(176, 144, 15, 190), "1.1", "bitrate");
        assert_eq!(level(640, 480, 30, 1000), "3");
        assert_eq!(level(640, 480, 60, 1000), "3.1", "rate");
        assert_eq!(level(1280, 720, 60, 1000), "3.2");
        assert_eq!(level(1920, 1080, 30, 20_000), "4");
        assert_eq!(level(1920, 1080, 30, 25_000), "4.1");
        assert_eq!(level(1920, 64, 1, 50), "3.1", "a long side");
        assert_eq!(level(3840, 2160, 60, 50_000), "5.1");
    }
}
