//! A key frame as a JPEG picture.

use gst::prelude::*;
use gst_app::{AppSink, AppSrc};

use crate::camera::launch;

/// A decoder that has not given the picture by then does not work.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(3);

/// Decodes a key frame, with the best decoder that there is, and encodes it as JPEG. Blocks. The
/// error is for people.
pub fn jpeg(key_frame: &gst::Sample) -> Result<Vec<u8>, String> {
    let pipeline = launch::parse(
        "appsrc name=in format=time ! decodebin ! videoconvert ! jpegenc ! appsink name=out sync=false",
    )?;
    let from = launch::element(&pipeline, "in")?.downcast::<AppSrc>();
    let to = launch::element(&pipeline, "out")?.downcast::<AppSink>();
    let (Ok(from), Ok(to)) = (from, to) else { return Err("no way to decode".to_owned()) };
    launch::play(&pipeline)?;
    let pushed = from.push_sample(key_frame).and_then(|_| from.end_of_stream());
    let picture = pushed.ok().and_then(|_| to.try_pull_sample(PATIENCE));
    launch::stop(&pipeline);
    let picture = picture.ok_or("the key frame cannot be decoded")?;
    let map = picture.buffer().and_then(|buffer| buffer.map_readable().ok());
    Ok(map.ok_or("the picture cannot be read")?.to_vec())
}
