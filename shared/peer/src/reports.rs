//! When the other peer last reported what it receives (RTCP). Players that know nothing of our data
//! channels say so, and nothing else, for as long as they are there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gst::prelude::*;

use crate::start::now;

/// The time of the last report.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reports {
    /// Of the shared clock, in nanoseconds; 0 before the first.
    last_ns: Arc<AtomicU64>,
}

impl Reports {
    /// Notes what comes by a webrtcbin: behind its decryption, so that nobody else counts.
    pub(crate) fn watch(&self, webrtc: &gst::Element) {
        let rtpbin = webrtc.downcast_ref::<gst::Bin>().and_then(|bin| bin.by_name("rtpbin"));
        let Some(rtpbin) = rtpbin else { return };
        let last_ns = self.last_ns.clone();
        rtpbin.connect_pad_added(move |_, pad| {
            if !pad.name().starts_with("recv_rtcp_sink") {
                return;
            }
            let last_ns = last_ns.clone();
            let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
            pad.add_probe(kinds, move |_, _| {
                last_ns.store(now().nseconds(), Ordering::Relaxed);
                gst::PadProbeReturn::Ok
            });
        });
    }

    /// When it came; none before the first.
    pub(crate) fn last(&self) -> Option<gst::ClockTime> {
        let last_ns = self.last_ns.load(Ordering::Relaxed);
        (last_ns != 0).then(|| gst::ClockTime::from_nseconds(last_ns))
    }
}
