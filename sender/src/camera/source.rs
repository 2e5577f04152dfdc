//! One attempt at a camera's source: its pipeline from the device to frames as the encoder wants
//! them.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gst::prelude::*;
use gst_app::{AppSink, AppSinkCallbacks, AppSrc};
use rovercast_protocol::telemetry::PictureFault;

use crate::camera::convert::Installed;
use crate::camera::counters::{Counters, Demand};
use crate::camera::encoder::Encoder;
use crate::camera::encoding::parameters;
use crate::camera::launch::{self, Contexts};
use crate::camera::origin::{self, Origin, WAITING_UNITS};
use crate::camera::registry::Registry;
use crate::camera::tap::{health_after, tap_frames};
use crate::camera::v4l2::{self, Capture, Chosen};
use crate::camera::{drive, plan, reason, rectify};
use crate::config::{CameraConfig, Source};

/// What a source reports while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEvent {
    /// It cannot go on; says why.
    Failed(String),
    /// It cannot be passed through; says why. A decoder is waited for.
    NeedsDecoder(String),
    /// A file came to its end and wants to start over.
    FileEnded,
    /// Something seems wrong with its pictures, or nothing does any more.
    Fault(Option<PictureFault>),
}

/// What a source needs of its camera.
pub struct SourcePlan {
    /// The camera's config.
    pub camera: CameraConfig,
    /// Who is to encode the frames.
    pub row: &'static Encoder,
    /// Whether it decodes what comes by [`SourcePipeline::entrance`], instead of opening a device.
    pub decodes: bool,
    /// What flows is counted here.
    pub counters: Arc<Counters>,
    /// What is wanted.
    pub demand: Arc<Demand>,
    /// What is shared with the encoder.
    pub contexts: Contexts,
    /// Takes a frame, on the thread that made it.
    pub on_frame: Box<dyn Fn(gst::Sample) + Send + Sync>,
    /// Takes a report, on any thread; does not block.
    pub on_event: Arc<dyn Fn(SourceEvent) + Send + Sync>,
}

/// A source that runs. Ends by [`SourcePipeline::stop`].
#[derive(Debug)]
pub struct SourcePipeline {
    pipeline: gst::Pipeline,
    tap: gst::Pad,
}

impl SourcePipeline {
    /// Builds and starts it. Blocks while the device opens. The error is for people.
    pub fn start(plan: SourcePlan) -> Result<Self, String> {
        if !plan.decodes {
            check(&plan.camera.source)?;
        }
        let line = if plan.decodes {
            decoder_line(&plan.camera, plan.row)?
        } else {
            launch_line(&plan.camera, plan.row)?
        };
        tracing::debug!(camera = %plan.camera.id, launch = %line, "source");
        let pipeline = launch::parse(&line)?;
        let tap = launch::element(&pipeline, plan::TAP)?
            .static_pad("src")
            .ok_or("the tap has no source pad")?;
        let frames: AppSink = launch::element(&pipeline, plan::FRAMES)?
            .downcast()
            .map_err(|_| "the source has no exit")?;
        let on_frame = plan.on_frame;
        let mut catch_up = entrance(&pipeline).map(CatchUp::new);
        frames.set_callbacks(
            AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    if !catch_up.as_mut().is_some_and(CatchUp::goes_on) {
                        catch_up = None;
                        on_frame(sample);
                    }
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        );
        let on_end = plan.on_event.clone();
        launch::watch(&pipeline, &plan.contexts, move |reason| on_end(SourceEvent::Failed(reason)));
        if let Source::Stereo { left, right } = &plan.camera.source {
            for (name, eye) in plan::STEREO_TAPS.into_iter().zip([left, right]) {
                let tap = launch::element(&pipeline, name)?.static_pad("src");
                let tap = tap.ok_or("the tap has no source pad")?;
                // What comes of both is counted and wanted behind them.
                let (counters, demand) = (Arc::default(), Demand::new(true, plan.camera.fps));
                tap_frames(&tap, eye, None, counters, demand, plan.on_event.clone());
            }
        }
        let health = health_after(&plan.camera);
        tap_frames(&tap, &plan.camera.source, health, plan.counters, plan.demand, plan.on_event);
        let this = Self { pipeline, tap };
        match launch::play(&this.pipeline) {
            Ok(()) => Ok(this),
            Err(reason) => {
                this.stop();
                Err(reason)
            }
        }
    }

    /// Where encoded video goes in, of one that decodes.
    pub fn entrance(&self) -> Option<AppSrc> {
        entrance(&self.pipeline)
    }

    /// Starts a file over; downstream notices nothing but the next frame.
    pub fn rewind(&self) -> Result<(), String> {
        let seek = gst::event::Seek::new(
            1.0,
            gst::SeekFlags::FLUSH,
            gst::SeekType::Set,
            gst::ClockTime::ZERO,
            gst::SeekType::None,
            gst::ClockTime::NONE,
        );
        let upstream = self.tap.parent_element().and_then(|tap| tap.static_pad("sink"));
        if upstream.is_some_and(|sink| sink.push_event(seek)) {
            Ok(())
        } else {
            Err("the file cannot be played from its start again: it is not seekable".to_owned())
        }
    }

    /// Frees the device. Blocks until it is free.
    pub fn stop(self) {
        launch::stop(&self.pipeline);
    }
}

fn entrance(pipeline: &gst::Pipeline) -> Option<AppSrc> {
    pipeline.by_name(plan::ENTRANCE)?.downcast().ok()
}

/// A decoder's way from the key frame that it begins with to the pictures of now. What comes out of
/// it meanwhile is old, and viewers may have seen it already.
struct CatchUp {
    entrance: AppSrc,
    pictures: u64,
}

impl CatchUp {
    fn new(entrance: AppSrc) -> Self {
        Self { entrance, pictures: 0 }
    }

    /// At each picture: whether it is still on its way. One that is too slow has to show what it has.
    fn goes_on(&mut self) -> bool {
        self.pictures += 1;
        let began_with = self.entrance.max_buffers().saturating_sub(WAITING_UNITS);
        if self.entrance.current_level_buffers() > 0 && self.pictures < 4 * began_with {
            return true;
        }
        // As many never wait again.
        self.entrance.set_max_buffers(WAITING_UNITS);
        false
    }
}

/// The launch line of a camera's source. Blocks while devices are asked what they offer. The error
/// is for people.
pub fn launch_line(camera: &CameraConfig, row: &Encoder) -> Result<String, String> {
    Ok(plan::source(camera, row, &origin_of(camera, row)?, &Registry))
}

/// A camera in one launch line, as [`plan::whole`] makes it; otherwise like [`launch_line`].
pub fn whole_line(camera: &CameraConfig, row: &Encoder) -> Result<String, String> {
    let encoder = drive::launch(row, parameters(camera))?;
    Ok(plan::whole(camera, row, &origin_of(camera, row)?, &encoder, &Registry))
}

fn origin_of(camera: &CameraConfig, row: &Encoder) -> Result<Origin, String> {
    check_lens(camera)?;
    let captures = captures(camera)?;
    let any = Chosen { capture: Capture::Raw, size: None };
    let capture = |device: &Path| captures.get(device).copied().unwrap_or(any);
    plan::origin(camera, row, capture, &Registry)
        .ok_or_else(|| "its stream comes encoded: this is not how it is opened".to_owned())
}

/// The launch line that decodes a camera's stream, for this encoder. The error is for people.
pub fn decoder_line(camera: &CameraConfig, row: &Encoder) -> Result<String, String> {
    check_lens(camera)?;
    Ok(plan::source(camera, row, &origin::decoder(&Registry), &Registry))
}

fn check_lens(camera: &CameraConfig) -> Result<(), String> {
    match camera.picture.lens {
        Some(_) => rectify::check(|element| Registry.has_element(element)),
        None => Ok(()),
    }
}

/// What the V4L2 devices of a camera are to be asked for.
fn captures(camera: &CameraConfig) -> Result<HashMap<PathBuf, Chosen>, String> {
    let (width, height) = plan::captured_size(camera);
    let (sources, width): (Vec<&Source>, u32) = match &camera.source {
        Source::Stereo { left, right } => (vec![left, right], width / 2),
        source => (vec![source], width),
    };
    let mut captures = HashMap::new();
    for source in sources {
        if let Source::V4l2 { device, format } = source {
            let offered = v4l2::offered(device)?;
            let capture = v4l2::choose(*format, &offered, (width, height, camera.fps))?;
            let size = v4l2::size(capture, &offered, (width, height));
            captures.insert(device.clone(), Chosen { capture, size });
        }
    }
    Ok(captures)
}

/// What can be told better before GStreamer fails on it.
pub(super) fn check(source: &Source) -> Result<(), String> {
    let (path, what): (&Path, _) = match source {
        Source::File { path } => (path, "file"),
        Source::V4l2 { device, .. } => (device, "device"),
        Source::Stereo { left, right } => return check(left).and_then(|()| check(right)),
        _ => return Ok(()),
    };
    match path.metadata() {
        Ok(_) => Ok(()),
        Err(error) if what == "device" && error.kind() == ErrorKind::NotFound => {
            Err(reason::not_there(&path.to_string_lossy()))
        }
        Err(error) => Err(format!("the {what} {} cannot be used: {error}", path.display())),
    }
}
