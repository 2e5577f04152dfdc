//! One decoder at work, in a pipeline of its own: so nothing of it is left when it is replaced,
//! and its errors are told apart from those of the output.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use gst::prelude::*;
use rovercast_peer::start::share_clock;
use rovercast_protocol::codec::Codec;

use super::expendable::within;
use super::table::{Row, way};

/// A driver that has not opened, or has not come back with the first access units, by then hangs.
pub(super) const OPENING: Duration = Duration::from_secs(5);

/// A decoder with what it needs before and behind it. Ends by [`Chain::retire`].
#[derive(Debug)]
pub(crate) struct Chain {
    row: &'static Row,
    pipeline: gst::Pipeline,
    inlet: gst::Pad,
    outlet: gst::Pad,
    fault: Arc<OnceLock<String>>,
    pictures: Arc<AtomicU64>,
    alone: Mutex<()>,
}

/// An access unit on its way into a decoder.
#[derive(Debug)]
pub(crate) struct Unit {
    /// What it and those that follow are; absent while that stays the same.
    pub(crate) announced: Option<(gst::Caps, gst::Segment)>,
    /// The access unit.
    pub(crate) buffer: gst::Buffer,
}

/// An access unit that was not taken.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// The view stops, was interrupted, or has another decoder by now.
    Interrupted,
    /// The decoder fails, or cannot agree with the output.
    Failed(String),
    /// The driver hangs with it.
    Hangs,
}

impl Chain {
    /// Makes it ready for access units. May hang in a driver. `needs_key_frame` is set when it
    /// cannot go on without one. The error says why not.
    pub(super) fn open(
        row: &'static Row,
        codec: Codec,
        needs_key_frame: &Arc<AtomicBool>,
    ) -> Result<Arc<Self>, String> {
        let say = |error: gst::glib::BoolError| error.to_string();
        let element = gst::ElementFactory::make(row.factory).build().map_err(say)?;
        let launch = row.launch(way(codec), |name| element.find_property(name).is_some());
        tracing::debug!("decoder: {launch}");
        let bin = gst::parse::bin_from_description(&launch, false)
            .map_err(|error| error.message().to_owned())?;
        let pipeline = gst::Pipeline::new();
        share_clock(&pipeline);
        pipeline.add(&bin).map_err(say)?;
        // Of its own elements only: some are bins, whose insides are not linked yet.
        let pad = |name: &str| {
            let mut pads =
                bin.children().into_iter().filter_map(|element| element.static_pad(name));
            pads.find(|pad| !pad.is_linked()).ok_or(format!("it has no {name} pad"))
        };
        let (entry, outlet) = (pad("sink")?, pad("src")?);
        let inlet = inlet(needs_key_frame);
        inlet.link_full(&entry, gst::PadLinkCheck::empty()).map_err(|error| error.to_string())?;
        let pictures = Arc::new(AtomicU64::new(0));
        let counted = pictures.clone();
        outlet.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        });
        let fault = Arc::new(OnceLock::new());
        watch_bus(&pipeline, &fault);
        let alone = Mutex::default();
        let chain = Arc::new(Self { row, pipeline, inlet, outlet, fault, pictures, alone });
        if chain.pipeline.set_state(gst::State::Playing).is_err() {
            chain.retire();
            return Err(chain.fault().unwrap_or("it does not start").to_owned());
        }
        Ok(chain)
    }

    /// Which decoder it is.
    pub(crate) fn row(&self) -> &'static Row {
        self.row
    }

    /// Held by whoever decodes: two sessions may have access units, while one gives way to the other.
    pub(crate) fn alone(&self) -> MutexGuard<'_, ()> {
        self.alone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pictures that it has given.
    pub(crate) fn pictures(&self) -> u64 {
        self.pictures.load(Ordering::Relaxed)
    }

    /// What it complained of first.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }

    /// Its pictures go there from now on.
    pub(super) fn link(&self, exit: &gst::Pad) -> Result<(), String> {
        // The other pipeline is no relative of this one, which checks would object to.
        let linked = self.outlet.link_full(exit, gst::PadLinkCheck::empty());
        linked.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Its pictures go nowhere.
    pub(super) fn unlink(&self) {
        if let Some(exit) = self.outlet.peer() {
            let _ = self.outlet.unlink(&exit);
        }
    }

    /// An event from the view, for decoder and output.
    pub(super) fn tell(&self, event: gst::Event) {
        self.inlet.push_event(event);
    }

    /// Takes an access unit, and returns when it is decoded, or on its way to be.
    ///
    /// Drivers do much of their opening with the first access units: until there is a picture, one
    /// that hangs is left behind.
    pub(crate) fn take(self: &Arc<Self>, unit: Unit) -> Result<(), Refusal> {
        if !self.row.hardware || self.pictures() > 0 {
            return self.push(unit);
        }
        let (chain, hung) = (self.clone(), self.clone());
        // With a picture it is for the output to come back.
        let shows = || self.pictures() > 0;
        let taken = within(OPENING, shows, move || chain.push(unit), move |_| hung.retire());
        taken.unwrap_or(Err(Refusal::Hangs))
    }

    /// Asks it to let go of the access unit that it hangs with.
    pub(crate) fn give_up(&self) {
        self.tell(gst::event::FlushStart::new());
    }

    fn push(&self, unit: Unit) -> Result<(), Refusal> {
        if let Some((caps, segment)) = unit.announced {
            self.tell(gst::event::StreamStart::new(self.inlet.name().as_str()));
            self.tell(gst::event::Caps::new(&caps));
            self.tell(gst::event::Segment::new(&segment));
        }
        match self.inlet.push(unit.buffer) {
            Ok(_) => Ok(()),
            Err(gst::FlowError::Flushing | gst::FlowError::Eos | gst::FlowError::NotLinked) => {
                Err(Refusal::Interrupted)
            }
            Err(gst::FlowError::NotNegotiated) => {
                let reason = "it cannot take this stream, or the output cannot take its pictures";
                Err(Refusal::Failed(self.fault().unwrap_or(reason).to_owned()))
            }
            Err(error) => {
                Err(Refusal::Failed(self.fault().map_or_else(|| error.to_string(), str::to_owned)))
            }
        }
    }

    /// Frees it. May hang in a driver.
    pub(crate) fn retire(&self) {
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
            bus.set_flushing(true);
        }
        let _ = self.pipeline.set_state(gst::State::Null);
        let _ = self.inlet.set_active(false);
    }
}

/// A pad of no element: sessions, which are in pipelines of their own, push into the decoder by it.
fn inlet(needs_key_frame: &Arc<AtomicBool>) -> gst::Pad {
    let needs_key_frame = needs_key_frame.clone();
    let inlet = gst::Pad::builder(gst::PadDirection::Src)
        .name("inlet")
        .event_function(move |_, _, event| {
            if gst_video::UpstreamForceKeyUnitEvent::parse(&event).is_ok() {
                needs_key_frame.store(true, Ordering::Relaxed);
            }
            true
        })
        .query_function(|pad, parent, query| match query.view_mut() {
            // Decoders hold pictures back where nobody tells them that they are live.
            gst::QueryViewMut::Latency(latency) => {
                latency.set(true, gst::ClockTime::ZERO, gst::ClockTime::NONE);
                true
            }
            _ => gst::Pad::query_default(pad, parent, query),
        })
        .build();
    // Only a pad with a parent can refuse.
    let _ = inlet.set_active(true);
    inlet
}

fn watch_bus(pipeline: &gst::Pipeline, fault: &Arc<OnceLock<String>>) {
    let Some(bus) = pipeline.bus() else { return };
    let fault = fault.clone();
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(error) = message.view() {
            let _ = fault.set(error.error().to_string());
        }
        gst::BusSyncReply::Drop
    });
}
