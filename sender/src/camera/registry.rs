//! What is installed on this computer, as GStreamer's registry knows it.

use gst::prelude::*;

use crate::camera::convert::Installed;

/// GStreamer's registry.
#[derive(Debug, Clone, Copy)]
pub struct Registry;

impl Installed for Registry {
    fn has_element(&self, factory: &str) -> bool {
        gst::ElementFactory::find(factory).is_some()
    }

    fn has_property(&self, factory: &str, property: &str) -> bool {
        let element = gst::ElementFactory::make(factory).build();
        element.is_ok_and(|element| element.find_property(property).is_some())
    }
}
