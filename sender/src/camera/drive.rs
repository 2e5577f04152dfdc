//! A running encoder: what it is told while it runs, and whether its element took what it was told.

use std::sync::Mutex;

use gst::glib;
use gst::prelude::*;
use rovercast_peer::start::now;

use crate::camera::encoder::{Encoder, KeyFrame, Parameters};

/// Requests that come closer than this share a key frame.
const SHARED: gst::ClockTime = gst::ClockTime::from_mseconds(100);

/// The encoder's part of a launch line, for the version that is installed. It makes the element
/// once, to see what properties it has. The error is for people.
pub fn launch(row: &Encoder, parameters: Parameters) -> Result<String, String> {
    let element = gst::ElementFactory::make(row.factory).build().map_err(|_| missing(row))?;
    Ok(row.launch(parameters, has(&element)))
}

/// What to say of an encoder that is not installed.
pub fn missing(row: &Encoder) -> String {
    format!(
        "{} is not installed: install {} (of use only with its hardware)",
        row.factory, row.package
    )
}

/// Sets another bitrate, that of `parameters`, at once; the rest of them must be as they were.
/// The error is for people; the encoder goes on as before.
pub fn set_bitrate(
    row: &Encoder,
    element: &gst::Element,
    parameters: Parameters,
) -> Result<(), String> {
    let follows = |name: &str| {
        row.properties
            .iter()
            .any(|property| property.name == name && property.value.follows_bitrate())
    };
    for (name, text) in row.settings(parameters, has(element)) {
        if follows(name)
            && let Some(value) = wanted(element, name, &text)
        {
            element.set_property_from_value(name, &value);
        }
    }
    report(row, differences(row, element, parameters, follows))
}

/// Reads back every property that was set, before the element starts: GObject only logs a value
/// that is out of range, and leaves the old one. The error names those that did not take.
pub fn verify(row: &Encoder, element: &gst::Element, parameters: Parameters) -> Result<(), String> {
    report(row, differences(row, element, parameters, |_| true))
}

/// Asks for a key frame.
pub fn request_key_frame(row: &Encoder, element: &gst::Element) {
    if !ask_directly(row, element) {
        let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
        if let Some(pad) = element.static_pad("src") {
            pad.send_event(event);
        }
    }
}

/// Makes an encoder obey the events by which viewers ask for key frames, where it does not by
/// itself. To be called once, before it starts.
pub fn obey_events(row: &'static Encoder, element: &gst::Element) {
    if !ignores_events(row, element) {
        return;
    }
    let Some(pad) = element.static_pad("src") else { return };
    let (element, last) = (element.downgrade(), Mutex::new(None));
    pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        if !info.event().is_some_and(|event| gst_video::ForceKeyUnitEvent::is(event)) {
            return gst::PadProbeReturn::Ok;
        }
        let now = now();
        // The element shares key frames only among those that it is asked for by event.
        let due = last.lock().is_ok_and(|mut last| {
            let due = last.is_none_or(|last| now.saturating_sub(last) >= SHARED);
            if due {
                *last = Some(now);
            }
            due
        });
        if let (true, Some(element)) = (due, element.upgrade()) {
            ask_directly(row, &element);
        }
        gst::PadProbeReturn::Handled
    });
}

/// Which properties an element has.
pub fn has(element: &gst::Element) -> impl Fn(&str) -> bool {
    |name| element.find_property(name).is_some()
}

fn ignores_events(row: &Encoder, element: &gst::Element) -> bool {
    match row.key_frame {
        KeyFrame::Event => false,
        KeyFrame::Property(name) => element
            .find_property(name)
            .is_some_and(|property| property.value_type() == glib::Type::BOOL),
        KeyFrame::Control { until, .. } => {
            let (major, minor, micro, _) = gst::version();
            (major, minor, micro) < until
        }
    }
}

/// Asks without an event; false where the event is the way.
fn ask_directly(row: &Encoder, element: &gst::Element) -> bool {
    if !ignores_events(row, element) {
        return false;
    }
    match row.key_frame {
        KeyFrame::Event => {}
        KeyFrame::Property(name) => element.set_property(name, true),
        KeyFrame::Control { name, .. } => {
            let before: Option<gst::Structure> = element.property(CONTROLS);
            let press = gst::Structure::builder("controls").field(name, 1i32).build();
            element.set_property(CONTROLS, press);
            // Whoever opens the device again is to find the other controls, and no key pressed.
            if let Some(before) = before {
                element.set_property(CONTROLS, before);
            }
        }
    }
    true
}

/// The property with the controls of a V4L2 element.
const CONTROLS: &str = "extra-controls";

/// A text as a value of that property; none when it cannot be one: setting it would panic.
fn wanted(element: &gst::Element, name: &str, text: &str) -> Option<glib::Value> {
    let property = element.find_property(name)?;
    let value = glib::Value::deserialize_with_pspec(text, &property).ok()?;
    in_range(&property, &value).then_some(value)
}

/// Whether a property of a whole number takes a value; the others say so themselves.
fn in_range(property: &glib::ParamSpec, value: &glib::Value) -> bool {
    if let Some(range) = property.downcast_ref::<glib::ParamSpecUInt>() {
        value.get::<u32>().is_ok_and(|value| (range.minimum()..=range.maximum()).contains(&value))
    } else if let Some(range) = property.downcast_ref::<glib::ParamSpecInt>() {
        value.get::<i32>().is_ok_and(|value| (range.minimum()..=range.maximum()).contains(&value))
    } else {
        true
    }
}

/// What is otherwise than it should be.
fn differences(
    row: &Encoder,
    element: &gst::Element,
    parameters: Parameters,
    counts: impl Fn(&str) -> bool,
) -> Vec<String> {
    row.settings(parameters, has(element))
        .into_iter()
        .filter(|(name, _)| counts(name))
        .filter_map(|(name, text)| {
            let is = element.property_value(name);
            let same = wanted(element, name, &text)
                .is_some_and(|wanted| wanted.compare(&is) == Some(std::cmp::Ordering::Equal));
            let is = is.serialize().map_or_else(|_| "unknown".to_owned(), String::from);
            (!same).then(|| format!("{name}={text} (it is {is})"))
        })
        .collect()
}

fn report(row: &Encoder, refused: Vec<String>) -> Result<(), String> {
    if refused.is_empty() {
        Ok(())
    } else {
        Err(format!("{} did not take {}", row.factory, refused.join(", ")))
    }
}
