//! A camera's encoder. It is kept while sources come and go: what it is fed always looks the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gst::prelude::*;
use gst_app::{AppSink, AppSinkCallbacks, AppSrc};

use crate::camera::counters::Counters;
use crate::camera::encoder::{self, Encoder, Parameters};
use crate::camera::launch::{self, Contexts};
use crate::camera::output::{Feed, Output};
use crate::camera::{drive, plan};
use crate::config::CameraConfig;

/// An encoder that runs.
#[derive(Debug)]
pub struct Encoding {
    pipeline: gst::Pipeline,
    input: AppSrc,
    encoder: gst::Element,
    row: &'static Encoder,
    parameters: Parameters,
    feed: Feed,
    /// Whether anything has come out of it.
    begun: Arc<AtomicBool>,
}

impl Encoding {
    /// Builds and starts it. `on_end` is told, on a thread of GStreamer's, when it cannot go on.
    /// The error is for people.
    pub fn start(
        camera: &CameraConfig,
        row: &'static Encoder,
        feed: Feed,
        output: &Arc<Output>,
        counters: &Arc<Counters>,
        contexts: &Contexts,
        on_end: impl Fn(String) + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let parameters = parameters(camera);
        let line = {
            let element =
                gst::ElementFactory::make(row.factory).build().map_err(|_| drive::missing(row))?;
            plan::encoding(row, parameters, drive::has(&element))
        };
        tracing::debug!(camera = %camera.id, launch = %line, "encoder");
        let pipeline = launch::parse(&line)?;
        let encoder = launch::element(&pipeline, encoder::ELEMENT)?;
        drive::verify(row, &encoder, parameters)?;
        drive::obey_events(row, &encoder);
        let input: AppSrc = launch::element(&pipeline, plan::FRAMES)?
            .downcast()
            .map_err(|_| "the encoder has no entrance")?;
        let taken = counters.clone();
        if let Some(pad) = input.static_pad("src") {
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                taken.taken.fetch_add(1, Ordering::Relaxed);
                gst::PadProbeReturn::Ok
            });
        }
        let units: AppSink = launch::element(&pipeline, plan::UNITS)?
            .downcast()
            .map_err(|_| "the encoder has no exit")?;
        let (to, begun) = (output.clone(), Arc::new(AtomicBool::new(false)));
        let begins = begun.clone();
        units.set_callbacks(
            AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    begins.store(true, Ordering::Relaxed);
                    to.push(feed, &sample);
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        );
        launch::watch(&pipeline, contexts, on_end);
        let this = Self { pipeline, input, encoder, row, parameters, feed, begun };
        match launch::play(&this.pipeline) {
            Ok(()) => Ok(this),
            Err(reason) => {
                this.stop();
                Err(reason)
            }
        }
    }

    /// From its next key frame on, its access units leave by `output`, and no others.
    pub fn feed_into(&self, output: &Output) {
        let (row, encoder, begun) = (self.row, self.encoder.downgrade(), self.begun.clone());
        output.expect(self.feed, move || {
            // The first frame is a key frame anyway; asked for one before that, GStreamer 1.22 takes
            // it for so late that it never grants another.
            let begun = begun.load(Ordering::Relaxed);
            if let Some(encoder) = encoder.upgrade().filter(|_| begun) {
                drive::request_key_frame(row, &encoder);
            }
        });
        output.request_key_frame();
    }

    /// Its row in the table.
    pub fn row(&self) -> &'static Encoder {
        self.row
    }

    /// Which feed of the output it is.
    pub fn feed(&self) -> Feed {
        self.feed
    }

    /// Where frames go in.
    pub fn input(&self) -> &AppSrc {
        &self.input
    }

    /// Changes what it may spend, in units of 1,000 bits per second.
    /// The error is for people; it goes on as before.
    pub fn set_bitrate(&mut self, bitrate_kbps: u32) -> Result<(), String> {
        let parameters = Parameters { bitrate_kbps, ..self.parameters };
        drive::set_bitrate(self.row, &self.encoder, parameters)?;
        self.parameters = parameters;
        Ok(())
    }

    /// Ends it. Blocks.
    pub fn stop(self) {
        launch::stop(&self.pipeline);
    }
}

/// What an encoder is told of its camera.
pub fn parameters(camera: &CameraConfig) -> Parameters {
    let CameraConfig { width, height, fps, bitrate_kbps, .. } = *camera;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Parameters { width, height, fps, bitrate_kbps, cores }
}
