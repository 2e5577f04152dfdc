//! What Rovercast is measured beside: `webrtcsink` and `webrtcsrc` as they are published, with the
//! congestion control that they use, in one GStreamer plugin. No program that is shipped sees it.
//!
//! A bench loads it by its path (`gst::Plugin::load_file`). In `GST_PLUGIN_PATH` it gives nothing:
//! a registry that is read from its cache has none of the elements.

mod plugin;
