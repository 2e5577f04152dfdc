//! The plugin's entry: which twins it registers.

use std::collections::BTreeSet;

use gst::glib;

use crate::{PLATFORMS, fixture, named, slot};

fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    // Else a cached registry would keep the twins of another platform.
    plugin.add_dependency_simple(Some(PLATFORMS), None, None, gst::PluginDependencyFlags::empty());
    let mut registered = BTreeSet::new();
    for (number, element) in fixture::elements().enumerate() {
        let wanted = element.platforms.iter().any(|platform| named(PLATFORMS, platform));
        if wanted && registered.insert(&element.factory) {
            let kind = slot::kind(number)
                .ok_or_else(|| glib::bool_error!("no slot for {}", element.factory))?;
            let rank = gst::Rank::from(element.rank);
            gst::Element::register(Some(plugin), &element.factory, rank, kind)?;
        }
    }
    Ok(())
}

// The version is that of the elements which most fixtures describe: programs ask for it.
gst::plugin_define!(
    rovercast_twins,
    "Twins of hardware elements, for tests",
    register,
    "1.22.0",
    "MIT/X11",
    "rovercast",
    "rovercast",
    "https://gstreamer.freedesktop.org",
    "2025-01-01"
);
