//! The transforms on real pictures: how they lie, and that they keep their shape.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use gst::prelude::*;
use gst_app::{AppSink, AppSrc};
use rovercast_sender::camera::convert::{Input, Installed, transform};
use rovercast_sender::camera::encoder::{ENCODERS, Memory};
use rovercast_sender::config::{Crop, Flip, PictureConfig, Rotation};

struct Nothing;

impl Installed for Nothing {
    fn has_element(&self, _: &str) -> bool {
        false
    }
    fn has_property(&self, _: &str, _: &str) -> bool {
        false
    }
}

/// The luma of a picture, line by line.
fn picture(width: usize, height: usize, luma: impl Fn(usize, usize) -> u8) -> Vec<u8> {
    (0..width * height).map(|pixel| luma(pixel % width, pixel / width)).collect()
}

/// What comes out of the transform for a picture in grey.
fn transformed(
    picture: PictureConfig,
    (from_width, from_height): (u32, u32),
    luma: &[u8],
    (width, height): (u32, u32),
) -> Vec<u8> {
    gst::init().unwrap();
    let row = ENCODERS.iter().find(|row| row.factory == "x264enc").unwrap();
    let input = Input { memory: Memory::System, size: None };
    let elements = transform(&picture, row, (width, height), input, &Nothing);
    let launch = format!(
        "appsrc name=in format=time caps=video/x-raw,format=GRAY8,width={from_width},\
         height={from_height},framerate=30/1,pixel-aspect-ratio=1/1 \
         ! {elements} ! {} ! appsink name=out sync=false",
        row.input_caps(width, height)
    );
    let pipeline = gst::parse::launch(&launch).unwrap().downcast::<gst::Pipeline>().unwrap();
    let source = pipeline.by_name("in").unwrap().downcast::<AppSrc>().unwrap();
    let sink = pipeline.by_name("out").unwrap().downcast::<AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    source.push_buffer(gst::Buffer::from_mut_slice(luma.to_vec())).unwrap();
    source.end_of_stream().unwrap();
    let sample = sink.try_pull_sample(gst::ClockTime::from_seconds(20)).expect("a picture");
    let out =
        sample.buffer().unwrap().map_readable().unwrap()[..(width * height) as usize].to_vec();
    pipeline.set_state(gst::State::Null).unwrap();
    out
}

#[test]
fn pictures_are_turned_clockwise_and_then_flipped() {
    // Each corner has its own grey: upper left, upper right, lower left, lower right.
    let luma = picture(64, 64, |x, y| [[60, 100], [140, 180]][y / 32][x / 32]);
    for (rotate, flip, corners) in [
        (Rotation::None, Flip::None, [60, 100, 140, 180]),
        (Rotation::Quarter, Flip::None, [140, 60, 180, 100]),
        (Rotation::Half, Flip::None, [180, 140, 100, 60]),
        (Rotation::ThreeQuarters, Flip::None, [100, 180, 60, 140]),
        (Rotation::None, Flip::Horizontal, [100, 60, 180, 140]),
        (Rotation::None, Flip::Vertical, [140, 180, 60, 100]),
        (Rotation::Quarter, Flip::Horizontal, [60, 140, 100, 180]),
        (Rotation::Quarter, Flip::Vertical, [180, 100, 140, 60]),
        (Rotation::Half, Flip::Horizontal, [140, 180, 60, 100]),
        (Rotation::ThreeQuarters, Flip::Horizontal, [180, 100, 140, 60]),
    ] {
        let picture = PictureConfig { rotate, flip, ..PictureConfig::default() };
        let out = transformed(picture, (64, 64), &luma, (64, 64));
        let at = |x: usize, y: usize| out[y * 64 + x];
        let seen = [at(8, 8), at(56, 8), at(8, 56), at(56, 56)];
        for (seen, wanted) in seen.into_iter().zip(corners) {
            // Grey comes in full range and leaves in that of video.
            let near = seen.abs_diff(16 + (u32::from(wanted) * 219 / 255) as u8) <= 2;
            assert!(near || seen.abs_diff(wanted) <= 2, "{rotate:?} {flip:?}: {seen} {wanted}");
        }
    }
}

#[test]
fn pictures_keep_their_shape() {
    let bright = picture(128, 64, |_, _| 200);
    let out = transformed(PictureConfig::default(), (128, 64), &bright, (64, 64));
    let at = |x: usize, y: usize| out[y * 64 + x];
    assert!(at(32, 8) < 30 && at(32, 56) < 30, "borders above and below");
    assert!(at(2, 32) > 150 && at(61, 32) > 150, "the picture goes from side to side");

    let on_its_side = PictureConfig { rotate: Rotation::Quarter, ..PictureConfig::default() };
    let out = transformed(on_its_side, (128, 64), &bright, (64, 64));
    let at = |x: usize, y: usize| out[y * 64 + x];
    assert!(at(8, 32) < 30 && at(56, 32) < 30, "borders left and right");
    assert!(at(32, 2) > 150 && at(32, 61) > 150, "the picture goes from top to bottom");
}

#[test]
fn what_is_cropped_is_gone() {
    let luma = picture(64, 64, |x, y| if (16..48).contains(&x) && y >= 32 { 200 } else { 20 });
    let crop = Crop { left: 16, right: 16, top: 32, bottom: 0 };
    let picture = PictureConfig { crop, ..PictureConfig::default() };
    let out = transformed(picture, (64, 64), &luma, (32, 32));
    assert!(out.iter().all(|&sample| sample > 150));
}
