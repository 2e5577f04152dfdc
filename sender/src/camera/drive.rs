//! shim
use crate::camera::encoder::{Encoder, Parameters};
use gst::prelude::*;
pub fn installed(row: &Encoder) -> Result<impl Fn(&str) -> bool + use<>, String> {
    let element = gst::ElementFactory::make(row.factory).build().map_err(|e| e.to_string())?;
    Ok(move |name: &str| element.find_property(name).is_some())
}
pub fn verify(_: &Encoder, _: &gst::Element, _: Parameters) -> Result<(), String> {
    Ok(())
}
pub fn set_bitrate(row: &Encoder, element: &gst::Element, kbps: u32) {
    if row.factory == "x264enc" {
        element.set_property("bitrate", kbps);
    }
}
pub fn request_key_frame(_: &Encoder, element: &gst::Element) {
    if let Some(pad) = element.static_pad("src") {
        pad.send_event(gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build());
    }
}
