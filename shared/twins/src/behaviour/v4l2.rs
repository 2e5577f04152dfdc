//! What a Raspberry Pi's encoder asks of pictures, beyond its templates. No element.

/// The picture sizes of the Raspberry Pi's encoder, in pixels.
const SIZES: std::ops::RangeInclusive<i32> = 32..=1920;

/// The transfer function, third in a colorimetry's numbers, that it does not take: that of sRGB,
/// which a camera of libcamera names unless it is told otherwise.
const REFUSED_TRANSFER: &str = "7";

/// The macroblocks of the largest picture of each H.264 level.
const LEVELS: [(&str, i32); 16] = [
    ("1", 99),
    ("1b", 99),
    ("1.1", 396),
    ("1.2", 396),
    ("1.3", 396),
    ("2", 396),
    ("2.1", 792),
    ("2.2", 1620),
    ("3", 1620),
    ("3.1", 3600),
    ("3.2", 5120),
    ("4", 8192),
    ("4.1", 8192),
    ("4.2", 8704),
    ("5", 22080),
    ("5.1", 36864),
];

/// Whether it takes pictures like these.
pub(crate) fn check_pictures(
    pictures: &gst::StructureRef,
    width: i32,
    height: i32,
) -> Result<(), String> {
    let fits = |side: i32| SIZES.contains(&side) && side % 2 == 0;
    if !fits(width) || !fits(height) {
        return Err(format!("Device does not support pictures of {width}x{height}"));
    }
    if let Ok(colours) = pictures.get::<&str>("colorimetry")
        && (colours == "sRGB" || colours.split(':').nth(2) == Some(REFUSED_TRANSFER))
    {
        return Err(format!("Device does not support {colours} colorimetry"));
    }
    if pictures.get::<&str>("interlace-mode").is_ok_and(|mode| mode != "progressive") {
        return Err("Device does not support interlaced pictures".to_owned());
    }
    Ok(())
}

/// Whether pictures of this size may be of this level.
pub(crate) fn check_level(level: &str, width: i32, height: i32) -> Result<(), String> {
    let blocks = ((width + 15) / 16) * ((height + 15) / 16);
    let most = LEVELS.iter().find(|(name, _)| *name == level).map(|(_, most)| *most);
    match most {
        Some(most) if blocks > most => {
            Err(format!("Failed to start: level {level} does not hold {width}x{height}"))
        }
        Some(_) => Ok(()),
        None => Err(format!("no level {level}")),
    }
}
