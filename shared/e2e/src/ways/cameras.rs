//! The cameras of a robot: one process that puts the pictures of all of them, each with the time of its
//! capture burnt in, into memory that whoever sends takes them from. They cost every way the same, and
//! free-run as cameras do: the first has the frame rate of the case, each further one [`APART`] less, so
//! that in every span of five seconds they meet in each phase.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use gst::prelude::*;
use gst_video::VideoFrameExt;
use rovercast_peer::start::now;
use rovercast_protocol::pixelclock::Luma;
use rovercast_sender::camera::burn::burn_clock;

use super::picture::{pipeline, play};
use super::{Case, Content, Places, part};
use crate::grid;
use crate::lab::{Folder, Program};

pub(super) const CAPTURE: &str = "cameras";

/// Frames per second between one camera and the next.
const APART: f64 = 0.2;
/// Pictures of a camera, which it captures in turn: noise that differs from one to the next.
const PICTURES: usize = 8;
/// So many pictures have room in the memory from which they are taken.
const ROOM: u32 = 16;
/// What the process prints when its pictures can be taken.
const CAPTURING: &str = "capturing";

/// Cameras that run.
#[derive(Debug)]
pub(super) struct Cameras {
    sockets: Folder,
    _process: Program,
}

impl Cameras {
    /// Starts them, at the robot.
    pub(super) fn start(case: Case, places: Places<'_>) -> anyhow::Result<Self> {
        let sockets = Folder::new("cameras")?;
        let mut process = part(places.robot, CAPTURE, case, &[&place(&sockets)])?;
        process.wait_for_text(CAPTURING)?;
        Ok(Self { sockets, _process: process })
    }

    /// Where their pictures are to be had: what [`line`] is given.
    pub(super) fn place(&self) -> String {
        place(&self.sockets)
    }
}

fn place(sockets: &Folder) -> String {
    sockets.path().display().to_string()
}

/// How many frames per second a camera of a case captures.
pub(super) fn frame_rate(case: Case, camera: usize) -> f64 {
    f64::from(case.fps) - camera as f64 * APART
}

/// The part of a launch line that takes the pictures of one camera.
pub(super) fn line(case: Case, place: &str, camera: usize) -> String {
    let Case { width, height, fps, .. } = case;
    format!(
        "shmsrc socket-path={} is-live=true do-timestamp=true \
         ! video/x-raw,format=I420,width={width},height={height},framerate={fps}/1,\
         pixel-aspect-ratio=1/1,interlace-mode=progressive",
        socket(place, camera).display()
    )
}

fn socket(place: &str, camera: usize) -> PathBuf {
    Path::new(place).join(camera.to_string())
}

/// Captures.
pub(super) fn capture(case: Case, place: &str) -> anyhow::Result<()> {
    let size = ROOM * case.width * case.height * 3 / 2;
    let lines = (0..case.cameras).map(|camera| {
        format!(
            "appsrc name=out{camera} ! shmsink socket-path={} shm-size={size} sync=false \
             wait-for-connection=false",
            socket(place, camera).display(),
        )
    });
    let pipeline = pipeline(&lines.collect::<Vec<_>>().join(" "))?;
    let mut cameras = Vec::new();
    for number in 0..case.cameras {
        let out = pipeline.by_name(&format!("out{number}")).and_downcast::<gst_app::AppSrc>();
        cameras.push((number, Camera::new(case)?, out.context("no way out")?));
    }
    pipeline.set_state(gst::State::Playing)?;
    println!("{CAPTURING}");
    let start = Instant::now();
    for (number, mut camera, out) in cameras {
        let interval = Duration::from_secs_f64(1.0 / frame_rate(case, number));
        std::thread::spawn(move || {
            for frame in 1.. {
                let due = start + interval * frame;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                // Refused only at the end.
                let _ = out.push_buffer(camera.capture());
            }
        });
    }
    play(&pipeline)
}

/// A camera. Its pictures are drawn before it begins: a real one takes no time of the processor.
struct Camera {
    content: Content,
    info: gst_video::VideoInfo,
    pictures: VecDeque<gst::Buffer>,
}

impl Camera {
    fn new(case: Case) -> anyhow::Result<Self> {
        let Case { width, height, content, .. } = case;
        let pattern = match content {
            Content::Smpte => "smpte",
            Content::Grid => "black",
        };
        let drawing = pipeline(&format!(
            "videotestsrc num-buffers={PICTURES} pattern={pattern} \
             ! video/x-raw,format=I420,width={width},height={height} \
             ! appsink name=drawn sync=false enable-last-sample=false"
        ))?;
        let drawn = drawing.by_name("drawn").and_downcast::<gst_app::AppSink>();
        let drawn = drawn.context("nothing is drawn")?;
        drawing.set_state(gst::State::Playing)?;
        let pictures = std::iter::from_fn(|| drawn.pull_sample().ok()?.buffer()?.copy_deep().ok());
        let pictures = pictures.collect();
        drawing.set_state(gst::State::Null)?;
        let format = gst_video::VideoFormat::I420;
        let info = gst_video::VideoInfo::builder(format, width, height).build()?;
        Ok(Self { content, info, pictures })
    }

    /// The next picture, with the time of now.
    fn capture(&mut self) -> gst::Buffer {
        let mut picture = self.pictures.pop_front().unwrap_or_default();
        let (buffer, now) = (picture.make_mut(), now());
        if self.content == Content::Grid {
            draw_grid(buffer, &self.info, now.useconds());
        }
        burn_clock(buffer, &self.info, now);
        self.pictures.push_back(picture.clone());
        picture
    }
}

fn draw_grid(buffer: &mut gst::BufferRef, info: &gst_video::VideoInfo, micros: u64) {
    let frame = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info);
    let Ok(mut frame) = frame else { return };
    let stride = usize::try_from(frame.plane_stride()[0]).unwrap_or(0);
    let (width, height) = (info.width() as usize, info.height() as usize);
    if let Ok(samples) = frame.plane_data_mut(0) {
        grid::draw(&mut Luma { samples, stride, width, height }, micros);
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::seen;
    use super::*;
    use crate::lab::gstreamer;

    #[test]
    fn pictures_are_whole_after_an_encoder_that_may_spend_little() {
        gstreamer();
        let case = Case { width: 640, height: 480, fps: 30, cameras: 1, content: Content::Grid };
        let pipeline = pipeline(
            "appsrc name=in format=time caps=video/x-raw,format=I420,width=640,height=480,framerate=30/1 \
             ! x264enc tune=zerolatency speed-preset=ultrafast bitrate=400 \
             ! avdec_h264 thread-type=slice ! appsink name=eye sync=false",
        );
        let pipeline = pipeline.unwrap();
        let into = pipeline.by_name("in").and_downcast::<gst_app::AppSrc>().unwrap();
        let eye = pipeline.by_name("eye").and_downcast::<gst_app::AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let mut camera = Camera::new(case).unwrap();
        assert_eq!(camera.pictures.len(), PICTURES);
        let mut before = None;
        for frame in 0..40 {
            let mut picture = camera.capture();
            picture.make_mut().set_pts(frame * 33 * gst::ClockTime::MSECOND);
            into.push_buffer(picture).unwrap();
            let seen = seen(&eye.pull_sample().unwrap(), case, 3).unwrap();
            let captured = seen.captured_us();
            assert_eq!(seen.camera, 3);
            // The first picture is much for such a bitrate.
            if frame >= 20 {
                assert!(captured.is_some() && captured > before, "{seen} after {before:?}");
            }
            before = captured;
        }
        pipeline.set_state(gst::State::Null).unwrap();
    }

    #[test]
    fn cameras_meet_in_every_phase_within_five_seconds() {
        let case = Case { width: 640, height: 480, fps: 30, cameras: 3, content: Content::Smpte };
        let frames: Vec<f64> = (0..3).map(|camera| frame_rate(case, camera) * 5.0).collect();
        assert_eq!(frames, [150.0, 149.0, 148.0]);
    }
}
