//! One attempt at a camera: its GStreamer pipeline from device to access units.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gst::prelude::*;
use gst_video::VideoFrameExt;
use rovercast_peer::start::{now, share_clock};
use rovercast_protocol::pixelclock::{self, Luma};
use tokio::sync::mpsc;

use crate::camera::encoder::{self, Encoder};
use crate::camera::frames::{RateLimit, capture_time};
use crate::camera::plan;
use crate::config::{CameraConfig, Source};

/// What a pipeline reports while it runs.
#[derive(Debug)]
pub enum PipelineEvent {
    /// It cannot go on; says why.
    Failed(String),
    /// A file came to its end and wants to start over.
    FileEnded,
}

/// What flowed since the camera exists, through all its pipelines.
#[derive(Debug, Default)]
pub struct Counters {
    /// Raw frames that the source gave, without those above the wanted rate.
    pub captured: AtomicU64,
    /// Raw frames that reached the encoder.
    pub taken: AtomicU64,
    /// Access units that came out.
    pub encoded: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
}

impl Counters {
    /// Raw frames that the encoder was too busy for.
    pub fn dropped(&self) -> u64 {
        let captured = self.captured.load(Ordering::Relaxed);
        // One frame may be on its way.
        captured.saturating_sub(self.taken.load(Ordering::Relaxed) + 1)
    }
}

/// A running pipeline. Ends by [`CameraPipeline::stop`].
#[derive(Debug)]
pub struct CameraPipeline {
    pipeline: gst::Pipeline,
    appsink: gst::Element,
    tap: gst::Pad,
    encoder: &'static Encoder,
}

impl CameraPipeline {
    /// Builds and starts it, with `appsink` at its end. Blocks while the device opens.
    /// The error is for people.
    pub fn start(
        config: &CameraConfig,
        appsink: &gst::Element,
        counters: &Arc<Counters>,
        events: mpsc::Sender<PipelineEvent>,
    ) -> Result<Self, String> {
        check_source(&config.source)?;
        let installed = |name: &str| gst::ElementFactory::find(name).is_some();
        let encoder = encoder::choose(&config.encoder, installed)?;
        let pipeline = build(config, encoder)?;
        share_clock(&pipeline);
        watch_bus(&pipeline, events.clone());

        let element = |name: &str| pipeline.by_name(name).ok_or(format!("no element {name}"));
        let pad = |name: &str, pad: &str| {
            element(name)?.static_pad(pad).ok_or(format!("{name} has no pad {pad}"))
        };
        let tap = pad(plan::TAP, "src")?;
        tap_frames(&tap, config, counters, events);
        let taken = counters.clone();
        on_buffers(&pad(plan::QUEUE, "src")?, move |_| {
            taken.taken.fetch_add(1, Ordering::Relaxed);
        });

        pipeline.add(appsink).map_err(|error| error.to_string())?;
        let this = Self { appsink: appsink.clone(), tap, encoder, pipeline };
        let output = this.pipeline.by_name(plan::OUTPUT).ok_or("no output")?;
        let started = output.link(appsink).map_err(|error| error.to_string()).and_then(|()| {
            // The bus tells the reason; this stands where it does not.
            let stuck = |_| "the pipeline does not start".to_owned();
            this.pipeline.set_state(gst::State::Playing).map_err(stuck)
        });
        match started {
            Ok(_) => Ok(this),
            Err(reason) => {
                this.stop();
                Err(reason)
            }
        }
    }

    /// The encoder in use.
    pub fn encoder(&self) -> &'static str {
        self.encoder.factory
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
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
            bus.set_flushing(true);
        }
        let _ = self.pipeline.set_state(gst::State::Null);
        let _ = self.pipeline.remove(&self.appsink);
    }
}

/// What can be told better before GStreamer fails on it.
fn check_source(source: &Source) -> Result<(), String> {
    let (path, what): (&Path, _) = match source {
        Source::File { path } => (path, "file"),
        Source::V4l2 { device, .. } => (device, "device"),
        _ => return Ok(()),
    };
    match path.metadata() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("the {what} {} cannot be used: {error}", path.display())),
    }
}

fn build(config: &CameraConfig, encoder: &Encoder) -> Result<gst::Pipeline, String> {
    let properties = gst::ElementFactory::make(encoder.factory)
        .build()
        .map_err(|error| format!("{}: {error}", encoder.factory))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let launch =
        plan::launch(config, encoder, cores, |name| properties.find_property(name).is_some());
    tracing::debug!(camera = %config.id, %launch, "pipeline");
    gst::parse::launch(&launch)
        .map_err(|error| format!("the pipeline cannot be built: {}", error.message()))?
        .downcast()
        .map_err(|_| "the launch fragment must make elements that link one to another".to_owned())
}

fn watch_bus(pipeline: &gst::Pipeline, events: mpsc::Sender<PipelineEvent>) {
    let Some(bus) = pipeline.bus() else { return };
    bus.set_sync_handler(move |_, message| {
        let failed = match message.view() {
            gst::MessageView::Error(error) => Some(error.error().to_string()),
            gst::MessageView::Eos(_) => Some("the source has ended".to_owned()),
            _ => None,
        };
        if let Some(reason) = failed {
            // One reason is enough; the queue has room for it.
            let _ = events.try_send(PipelineEvent::Failed(reason));
        }
        gst::BusSyncReply::Drop
    });
}

/// Stamps frames with the shared clock, drops those above the rate, burns the clock into test
/// pictures, and turns the end of a file into an event instead of the end of everything.
fn tap_frames(
    tap: &gst::Pad,
    config: &CameraConfig,
    counters: &Arc<Counters>,
    events: mpsc::Sender<PipelineEvent>,
) {
    let counters = counters.clone();
    let burns_clock = matches!(config.source, Source::Test { .. });
    let loops = matches!(config.source, Source::File { .. });
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    let mut limit = RateLimit::new(config.fps);
    let mut video = None;
    let kinds = gst::PadProbeType::BUFFER
        | gst::PadProbeType::EVENT_DOWNSTREAM
        | gst::PadProbeType::EVENT_FLUSH;
    let state = std::sync::Mutex::new(move |info: &mut gst::PadProbeInfo<'_>| {
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let now = now();
                let stamped = buffer.pts().and_then(|pts| segment.to_running_time(pts));
                let at = capture_time(stamped.map(Into::into), now.into());
                if !limit.passes(at) {
                    return gst::PadProbeReturn::Drop;
                }
                counters.captured.fetch_add(1, Ordering::Relaxed);
                let buffer = buffer.make_mut();
                buffer.set_pts(gst::ClockTime::from_nseconds(at.as_nanos() as u64));
                buffer.set_dts(None);
                if let Some(video) = video.as_ref().filter(|_| burns_clock) {
                    burn_clock(buffer, video, now);
                }
            }
            Some(gst::PadProbeData::Event(event)) => match event.view() {
                gst::EventView::Caps(caps) => {
                    video = gst_video::VideoInfo::from_caps(caps.caps()).ok();
                }
                gst::EventView::Segment(new) => {
                    if let Some(time) = new.segment().downcast_ref::<gst::ClockTime>() {
                        segment = time.clone();
                    }
                    let seqnum = event.seqnum();
                    // From here on a buffer's time is the shared clock's.
                    let plain = gst::FormattedSegment::<gst::ClockTime>::new();
                    *event = gst::event::Segment::builder(&plain).seqnum(seqnum).build();
                }
                gst::EventView::Eos(_) if loops => {
                    let _ = events.try_send(PipelineEvent::FileEnded);
                    return gst::PadProbeReturn::Drop;
                }
                // The seek to a file's start concerns the source alone.
                gst::EventView::FlushStart(_) | gst::EventView::FlushStop(_) if loops => {
                    return gst::PadProbeReturn::Drop;
                }
                _ => {}
            },
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
    tap.add_probe(kinds, move |_, info| match state.lock() {
        Ok(mut on_data) => on_data(info),
        Err(_) => gst::PadProbeReturn::Drop,
    });
}

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

/// Looks at every buffer that passes a pad.
pub fn on_buffers(pad: &gst::Pad, look: impl Fn(&gst::BufferRef) + Send + Sync + 'static) {
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer() {
            look(buffer);
        }
        gst::PadProbeReturn::Ok
    });
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
