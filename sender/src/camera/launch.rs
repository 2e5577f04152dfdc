//! Pipelines from launch lines, and what their buses say.

use std::sync::{Arc, Mutex};

use gst::prelude::*;
use rovercast_peer::start::share_clock;

use crate::camera::convert::Installed;
use crate::camera::reason;
use crate::camera::registry::Registry;

/// Builds a pipeline on the shared clock. The error is for people.
pub fn parse(launch: &str) -> Result<gst::Pipeline, String> {
    let pipeline: gst::Pipeline = gst::parse::launch(launch)
        .map_err(|error| {
            let reason = reason::without_numbers(error.message(), is_element);
            format!("the pipeline cannot be built: {reason}")
        })?
        .downcast()
        .map_err(|_| {
            "the launch fragment must make elements that link one to another".to_owned()
        })?;
    share_clock(&pipeline);
    Ok(pipeline)
}

/// An element of it, by name.
pub fn element(pipeline: &gst::Pipeline, name: &str) -> Result<gst::Element, String> {
    pipeline.by_name(name).ok_or_else(|| format!("the pipeline has no element {name}"))
}

/// What elements of several pipelines share: the GPU that they work on. Frames that go from one
/// pipeline to another stay there.
#[derive(Debug, Clone, Default)]
pub struct Contexts(Arc<Mutex<Vec<gst::Context>>>);

/// The kinds of contexts that are shared.
const SHARED: [&str; 3] = ["gst.cuda.context", "gst.va.display.handle", "gst.vaapi.Display"];

impl Contexts {
    fn heed(&self, message: &gst::MessageRef) {
        let Ok(mut known) = self.0.lock() else { return };
        match message.view() {
            gst::MessageView::NeedContext(need) => {
                let context =
                    known.iter().find(|context| context.context_type() == need.context_type());
                let element = message.src().and_then(|src| src.downcast_ref::<gst::Element>());
                if let (Some(context), Some(element)) = (context, element) {
                    element.set_context(context);
                }
            }
            gst::MessageView::HaveContext(have) => {
                let context = have.context();
                let kind = context.context_type();
                if SHARED.contains(&kind) && known.iter().all(|known| known.context_type() != kind)
                {
                    known.push(context);
                }
            }
            _ => {}
        }
    }
}

/// Tells of what ends the pipeline: an error, or the end of its stream. Called on GStreamer's
/// threads.
pub fn watch(
    pipeline: &gst::Pipeline,
    contexts: &Contexts,
    on_end: impl Fn(String) + Send + Sync + 'static,
) {
    let Some(bus) = pipeline.bus() else { return };
    let contexts = contexts.clone();
    bus.set_sync_handler(move |_, message| {
        contexts.heed(message);
        match message.view() {
            gst::MessageView::Error(error) => on_end(complaint(error)),
            gst::MessageView::Eos(_) => on_end("the source has ended".to_owned()),
            _ => {}
        }
        gst::BusSyncReply::Drop
    });
}

/// What an element complains of, for people.
pub fn complaint(error: &gst::message::Error) -> String {
    let element = error.src().and_then(|src| src.downcast_ref::<gst::Element>());
    let v4l2 = element
        .filter(|element| element.factory().is_some_and(|factory| factory.name() == "v4l2src"));
    let device = v4l2.and_then(|source| source.property::<Option<String>>("device"));
    let (text, debug) = (error.error().to_string(), error.debug().unwrap_or_default());
    reason::of(device.as_deref(), &text, &debug, is_element)
}

fn is_element(kind: &str) -> bool {
    Registry.has_element(kind)
}

/// Sets it going. Blocks while devices open. The reason of a failure comes by the bus.
pub fn play(pipeline: &gst::Pipeline) -> Result<(), String> {
    match pipeline.set_state(gst::State::Playing) {
        Ok(_) => Ok(()),
        Err(_) => Err("the pipeline does not start".to_owned()),
    }
}

/// Ends it, and frees its devices. Blocks until they are free.
pub fn stop(pipeline: &gst::Pipeline) {
    if let Some(bus) = pipeline.bus() {
        bus.unset_sync_handler();
        bus.set_flushing(true);
    }
    let _ = pipeline.set_state(gst::State::Null);
}
