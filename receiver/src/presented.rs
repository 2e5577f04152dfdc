//! When pictures are presented, for outputs that do not say so themselves: when a sink gets them.

use std::sync::Arc;

use gst::prelude::*;
use rovercast_peer::start::now_us;

use crate::meter::Meter;

/// Tells the meter of every picture that one of the pipeline's sinks gets, also of those sinks that
/// are made later, as `autovideosink` does.
pub fn watch_sinks(pipeline: &gst::Pipeline, meter: &Arc<Meter>) {
    let elements = pipeline.iterate_recurse();
    elements.into_iter().flatten().for_each(|element| watch(&element, meter));
    let meter = meter.clone();
    pipeline.connect_deep_element_added(move |_, _, element| watch(element, &meter));
}

fn watch(element: &gst::Element, meter: &Arc<Meter>) {
    let sink = element.element_flags().contains(gst::ElementFlags::SINK);
    let Some(pad) = element.static_pad("sink").filter(|_| sink && !element.is::<gst::Bin>()) else {
        return;
    };
    let meter = meter.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(pts) = info.buffer().and_then(|picture| picture.pts()) {
            meter.presented(pts.nseconds(), now_us());
        }
        gst::PadProbeReturn::Ok
    });
}
