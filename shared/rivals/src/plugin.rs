//! The plugin's entry: it registers the published plugins as they are.

use gst::glib;

fn register(_plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gstrsrtp::plugin_register_static()?;
    gstrswebrtc::plugin_register_static()
}

gst::plugin_define!(
    rovercast_rivals,
    "webrtcsink and webrtcsrc, to be measured",
    register,
    "0.1.0",
    "MPL-2.0",
    "rovercast",
    "rovercast",
    "https://gstreamer.freedesktop.org",
    "2026-01-01"
);
