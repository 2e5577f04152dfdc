//! The clock in the pictures of test cameras, by which latency is measured from pixel to pixel.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gst_video::VideoFrameExt;
use rovercast_protocol::pixelclock::{self, Luma};

/// Burns the time of capture into an I420 picture; one that is too small stays as it is.
pub fn burn_clock(buffer: &mut gst::BufferRef, video: &gst_video::VideoInfo, now: gst::ClockTime) {
    let Ok(mut frame) = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, video) else {
        return;
    };
    let (width, height) = (video.width() as usize, video.height() as usize);
    if width.min(height) < pixelclock::MIN_SIZE {
        return;
    }
    let strides = [0, 1, 2].map(|plane| usize::try_from(frame.plane_stride()[plane]).unwrap_or(0));
    for plane in [1, 2] {
        let Ok(samples) = frame.plane_data_mut(plane) else { return };
        for (columns, rows) in pixelclock::areas(width, height) {
            for row in rows.start / 2..rows.end / 2 {
                let row = samples.get_mut(row * strides[plane as usize]..).unwrap_or_default();
                let cells = row.get_mut(columns.start / 2..columns.end / 2);
                cells.unwrap_or_default().fill(128);
            }
        }
    }
    let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time_of_day = Duration::from_millis((today.as_millis() % 86_400_000) as u64);
    if let Ok(samples) = frame.plane_data_mut(0) {
        Luma { samples, stride: strides[0], width, height }.draw(now.useconds(), time_of_day);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rovercast_protocol::pixelclock::Reading;

    #[test]
    fn the_clock_is_burnt_into_pictures_of_any_size() {
        gst::init().unwrap();
        for (width, height) in [(16, 16), (160, 158), (160, 160), (640, 272), (1922, 1082)] {
            let format = gst_video::VideoFormat::I420;
            let video = gst_video::VideoInfo::builder(format, width, height).build().unwrap();
            let mut buffer = gst::Buffer::from_mut_slice(vec![90u8; video.size()]);
            let buffer = buffer.get_mut().unwrap();
            burn_clock(buffer, &video, gst::ClockTime::from_useconds(77));
            let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &video).unwrap();
            let luma = Luma {
                samples: frame.plane_data(0).unwrap(),
                stride: frame.plane_stride()[0] as usize,
                width: width as usize,
                height: height as usize,
            };
            let small = width.min(height) < 160;
            assert_eq!(luma.read(), if small { Reading::Absent } else { Reading::Whole(77) });
        }
    }
}
