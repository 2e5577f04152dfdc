//! News of devices that are plugged in: so that a camera comes back at once, not at its next try.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gst::prelude::*;

/// Watches for cameras, for as long as it lives. Where nothing tells of devices (no udev) none is
/// heard of, and cameras come back by being tried again.
#[derive(Debug)]
pub struct Hotplug {
    monitor: gst::DeviceMonitor,
}

impl Hotplug {
    /// Starts to watch; `on_device` is called on a thread of GStreamer's, for every camera that
    /// appears later. Blocks while the cameras there are looked at.
    pub fn start(on_device: impl Fn() + Send + Sync + 'static) -> Option<Self> {
        let monitor = gst::DeviceMonitor::new();
        monitor.add_filter(Some("Video/Source"), None)?;
        // Those that are there are told of, too.
        let started = Arc::new(AtomicBool::new(false));
        let is_later = started.clone();
        monitor.bus().set_sync_handler(move |_, message| {
            if let gst::MessageView::DeviceAdded(added) = message.view()
                && is_later.load(Ordering::Relaxed)
            {
                tracing::info!("plugged in: {}", added.device().display_name());
                on_device();
            }
            gst::BusSyncReply::Drop
        });
        match monitor.start() {
            Ok(()) => {
                started.store(true, Ordering::Relaxed);
                Some(Self { monitor })
            }
            Err(_) => {
                tracing::info!("nothing here tells of devices: cameras come back when tried again");
                None
            }
        }
    }

    /// Ends it. Blocks.
    pub fn stop(self) {
        self.monitor.stop();
    }
}
