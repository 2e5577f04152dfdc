//! The packets of a track on their way to the depayloader: those of whole pictures go on, and where
//! some are missing a key frame is asked for. What to do is decided by [`crate::frames`].

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use rovercast_peer::start::now;
use rovercast_protocol::codec::Codec;

use crate::frames::{Fate, Frames, Packet};

/// By which the end of the way tells its beginning that a key frame came through.
#[derive(Debug, Clone, Default)]
pub struct WholePictures(Arc<AtomicBool>);

impl WholePictures {
    /// A whole key frame has come out of the depayloader.
    pub fn has_key_frame(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Lets only whole pictures from `source` into the depayloader's `sink`. `rtt_us`: the path's round
/// trip in microseconds, 0 while it is not known.
pub fn only_whole_pictures(
    source: &gst::Pad,
    sink: &gst::Pad,
    codec: Codec,
    whole: WholePictures,
    rtt_us: Arc<AtomicU32>,
) {
    let (frames, held) = (Frames::default(), Vec::new());
    let entry = Entry { sink: sink.downgrade(), codec, whole, rtt_us, frames, held };
    // One thread comes by here: nobody ever waits.
    let entry = Mutex::new(entry);
    source.add_probe(gst::PadProbeType::BUFFER, move |_, info| match entry.lock() {
        Ok(mut entry) => entry.take(info),
        Err(_) => gst::PadProbeReturn::Drop,
    });
}

struct Entry {
    sink: glib::WeakRef<gst::Pad>,
    codec: Codec,
    whole: WholePictures,
    rtt_us: Arc<AtomicU32>,
    frames: Frames,
    /// Bounded by `frames`.
    held: Vec<gst::Buffer>,
}

impl Entry {
    fn take(&mut self, info: &mut gst::PadProbeInfo<'_>) -> gst::PadProbeReturn {
        let packet = info.buffer().and_then(|buffer| {
            let gap = buffer.flags().contains(gst::BufferFlags::DISCONT);
            Some((Packet::parse(&buffer.map_readable().ok()?, self.codec)?, gap))
        });
        let (Some((packet, gap)), Some(sink)) = (packet, self.sink.upgrade()) else {
            return gst::PadProbeReturn::Drop;
        };
        if self.whole.0.swap(false, Ordering::Relaxed) {
            self.frames.has_key_frame();
        }
        let rtt = Duration::from_micros(self.rtt_us.load(Ordering::Relaxed).into());
        let verdict = self.frames.take(&packet, gap, now().into(), rtt);
        if verdict.asks {
            let request = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true);
            sink.push_event(request.build());
        }
        match verdict.held {
            Fate::Held => {}
            Fate::Passed => self.pass(&sink),
            Fate::Dropped => self.held.clear(),
        }
        match verdict.packet {
            Fate::Held => {
                self.held.extend(info.take_buffer());
                gst::PadProbeReturn::Handled
            }
            Fate::Passed => {
                self.pass(&sink);
                gst::PadProbeReturn::Ok
            }
            Fate::Dropped => {
                self.held.clear();
                gst::PadProbeReturn::Drop
            }
        }
    }

    fn pass(&mut self, sink: &gst::Pad) {
        for buffer in self.held.drain(..) {
            // Should the depayloader refuse it, it refuses the next packet too, and upstream hears
            // of that one.
            let _ = sink.chain(buffer);
        }
    }
}
