//! A twin: a bin with the face that a fixture describes. What it does is its [`Behaviour`].

use std::sync::{Arc, OnceLock};

use gst::glib::{ParamSpec, Value};
use gst::prelude::*;

use crate::behaviour::{decoder, encoder, picture};
use crate::fixture::{Element, Role};
use crate::properties::Values;

/// What a twin does behind its face.
pub(crate) trait Behaviour: Send + Sync {
    /// A property was written.
    fn changed(&self, _name: &str, _value: &Value) {}
    /// The device is opened: from NULL to READY.
    fn open(&self) -> Result<(), gst::ErrorMessage> {
        Ok(())
    }
    /// The stream is set up: from READY to PAUSED.
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        Ok(())
    }
    /// The stream is over: from PAUSED to READY.
    fn stop(&self) {}
    /// An action signal was emitted.
    fn act(&self, _signal: &str) {}
}

/// The state of one instance.
#[derive(Default)]
pub(crate) struct Twin {
    values: Values,
    behaviour: OnceLock<Arc<dyn Behaviour>>,
}

impl Twin {
    /// Puts the software into the bin. `bin` is the twin itself.
    pub(crate) fn build(&self, bin: &gst::Bin, face: &'static Element) {
        let built = match face.role() {
            Role::Encoder => encoder::build(bin, face),
            Role::Decoder => decoder::build(bin, face),
            Role::Converter => picture::build_converter(bin, face),
            Role::Source => picture::build_source(bin, face),
        };
        match built {
            Ok(behaviour) => {
                let _ = self.behaviour.set(behaviour);
            }
            // Without pads it is of no use, and whoever links it learns so.
            Err(error) => gst::error!(gst::CAT_RUST, obj = bin, "no twin: {error}"),
        }
    }

    /// Writes a property.
    pub(crate) fn set(&self, spec: &ParamSpec, value: &Value) {
        self.values.set(spec.name(), value);
        if let Some(behaviour) = self.behaviour.get() {
            behaviour.changed(spec.name(), value);
        }
    }

    /// Reads a property.
    pub(crate) fn get(&self, face: &Element, spec: &ParamSpec) -> Value {
        self.values.get(face, spec)
    }

    /// Emits an action signal.
    pub(crate) fn act(&self, signal: &str) {
        if let Some(behaviour) = self.behaviour.get() {
            behaviour.act(signal);
        }
    }

    /// Before the bin changes its state.
    pub(crate) fn change(
        &self,
        bin: &gst::Bin,
        transition: gst::StateChange,
    ) -> Result<(), gst::StateChangeError> {
        let Some(behaviour) = self.behaviour.get() else { return Err(gst::StateChangeError) };
        let done = match transition {
            gst::StateChange::NullToReady => behaviour.open(),
            gst::StateChange::ReadyToPaused => behaviour.start(),
            gst::StateChange::PausedToReady => {
                behaviour.stop();
                Ok(())
            }
            _ => Ok(()),
        };
        done.map_err(|message| {
            bin.post_error_message(message);
            gst::StateChangeError
        })
    }
}

/// Adds the elements, links them one to the next, and gives the bin the pads of its templates.
pub(crate) fn assemble(
    bin: &gst::Bin,
    chain: &[gst::Element],
    pads: &[(&str, &gst::Element)],
) -> Result<(), gst::glib::BoolError> {
    bin.add_many(chain)?;
    gst::Element::link_many(chain)?;
    for (name, element) in pads {
        let missing = || gst::glib::bool_error!("no {name} pad");
        let template = bin.pad_template(name).ok_or_else(missing)?;
        let target = element.static_pad(name).ok_or_else(missing)?;
        let pad = gst::GhostPad::builder_from_template_with_target(&template, &target)?.name(*name);
        bin.add_pad(&pad.build())?;
    }
    Ok(())
}
