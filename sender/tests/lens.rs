//! The rectification of a lens as GStreamer and a real GL context do it.

use std::process::Command;

use anyhow::{Context, anyhow, ensure};
use gst::prelude::*;
use rovercast_sender::camera::rectify::{Rectification, check};
use rovercast_sender::config::Lens;

const WIDTH: usize = 640;
const HEIGHT: usize = 480;

/// Bends a lot, and differs in every direction: a picture upside down would not pass.
const LENS: Lens = Lens {
    width: 1280,
    height: 960,
    fx: 950.0,
    fy: 970.0,
    cx: 600.0,
    cy: 500.0,
    radial: [-0.28, 0.07, -0.004],
    tangential: [0.004, -0.006],
};

/// Where GL comes from; GStreamer reads it when it starts.
const GL_WINDOW: &str = "GST_GL_WINDOW";

/// The luma plane of a picture, with edges in all directions and areas in many greys.
fn picture() -> Vec<u8> {
    let pixel = |index: usize| {
        let (x, y) = ((index % WIDTH) as f64, (index / WIDTH) as f64);
        let waves = (x / 9.0).sin() + (y / 13.0).sin() + ((x + y) / 23.0).cos();
        (126.0 + waves * 30.0 + (x - y) / 20.0) as u8
    };
    (0..WIDTH * HEIGHT).map(pixel).collect()
}

/// The luma plane that comes out when `luma` goes through `fragment`.
fn through(fragment: &str, luma: &[u8]) -> anyhow::Result<Vec<u8>> {
    let launch = format!(
        "appsrc name=in format=time caps=video/x-raw,format=I420,width={WIDTH},height={HEIGHT},\
         framerate=30/1 ! {fragment} ! videoconvert ! video/x-raw,format=I420 \
         ! appsink name=out sync=false"
    );
    let pipeline = gst::parse::launch(&launch)?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| anyhow!("no pipeline"))?;
    let source = pipeline.by_name("in").and_then(|e| e.downcast::<gst_app::AppSrc>().ok());
    let sink = pipeline.by_name("out").and_then(|e| e.downcast::<gst_app::AppSink>().ok());
    let (source, sink) = source.zip(sink).context("no ends")?;
    pipeline.set_state(gst::State::Playing)?;
    let grey = vec![128; WIDTH * HEIGHT / 2];
    source.push_buffer(gst::Buffer::from_slice([luma, &grey].concat()))?;
    source.end_of_stream()?;
    let sample = sink.pull_sample();
    let error = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
    pipeline.set_state(gst::State::Null)?;
    let sample = sample.with_context(|| format!("no picture: {error:?}"))?;
    let buffer = sample.buffer().context("an empty sample")?.map_readable()?;
    Ok(buffer[..WIDTH * HEIGHT].to_vec())
}

/// The mean absolute difference.
fn difference(a: &[u8], b: &[u8]) -> f64 {
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.len() as f64
}

#[test]
fn the_shader_shows_what_the_arithmetic_says() -> anyhow::Result<()> {
    if std::env::var_os(GL_WINDOW).is_none() {
        // The one that needs neither a display nor a graphics processor.
        let test = Command::new(std::env::current_exe()?)
            .args(["--exact", "the_shader_shows_what_the_arithmetic_says", "--nocapture"])
            .env(GL_WINDOW, "egl-device")
            .output()?;
        let said = [test.stdout, test.stderr].concat();
        ensure!(test.status.success(), "{}", String::from_utf8_lossy(&said));
        return Ok(());
    }
    gst::init()?;
    check(|name| gst::ElementFactory::find(name).is_some()).map_err(|error| anyhow!(error))?;
    let rectification = Rectification::new(&LENS);
    let picture = picture();
    let expected = rectification.rectify_luma(&picture, WIDTH, WIDTH, HEIGHT);
    let rectified = through(&rectification.launch(), &picture)?;
    let (from_expected, from_picture) =
        (difference(&rectified, &expected), difference(&rectified, &picture));
    println!("from the arithmetic {from_expected:.3}, from the picture {from_picture:.3}");
    ensure!(from_expected < 1.0, "differs from the arithmetic by {from_expected}");
    ensure!(from_picture > 10.0, "differs from the picture by {from_picture}");
    Ok(())
}
