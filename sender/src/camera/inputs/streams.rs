//! Opens encoded sources: a bin that gets a pad `src` as soon as there is video.
//!
//! What to do with a stream is decided in `network`; here it is done.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;
use rovercast_peer::start::now;
use tokio::runtime::Handle;

use crate::camera::inputs::network::{self, Caps, END, From, Media, ORIGIN, Step, Wanted};
use crate::camera::inputs::rtmp::{Publication, Receiving, RtmpListener};
use crate::config::Source;

/// The name of the bin.
pub const INPUT: &str = "rovercast-input";

/// RTMP access units that may wait for the parser, as far as they are not taken at once: the
/// newest go then, up to the next key frame.
const WAITING_UNITS: u64 = 15;

/// SRT senders that call are told of no more often than this.
const CALLERS: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// An encoded source, and what of it outlives an attempt to use it: an RTMP server goes on
/// listening.
#[derive(Debug)]
pub struct Origin {
    source: Source,
    rtmp: Mutex<Option<RtmpListener>>,
}

/// One attempt at a source. Whoever sends by RTMP waits for the next attempt from the moment that
/// this is dropped.
#[derive(Debug)]
pub struct Input {
    /// What gives the video. It goes into a pipeline and is brought to NULL with that; failures
    /// and ends are messages on the pipeline's bus.
    pub bin: gst::Bin,
    /// The end of receiving; nobody calls it.
    _receiving: Option<Receiving>,
}

impl Origin {
    /// Opens nothing yet.
    pub fn new(source: Source) -> Self {
        Self { source, rtmp: Mutex::new(None) }
    }

    /// Makes the bin for one attempt. As soon as there is video, and before any of it flows, `on`
    /// gets the bin's new pad `src` and what comes out of it, to link it. `on` is called once at
    /// most, by a thread that streams, and must not block. Servers listen on `runtime`.
    ///
    /// The error is for people. A source that does not come encoded is an error, too.
    pub fn open(
        &self,
        wanted: Wanted<'_>,
        runtime: &Handle,
        on: impl Fn(&gst::Pad, Media) + Send + Sync + 'static,
    ) -> Result<Input, String> {
        let opening = network::opening(&self.source, wanted)
            .ok_or("this source does not come as an encoded stream")?;
        tracing::debug!(launch = opening.launch, "input");
        let bin = gst::parse::bin_from_description_with_name(&opening.launch, false, INPUT)
            .map_err(|error| format!("the source cannot be opened: {}", error.message()))?;
        let origin = bin.by_name(ORIGIN).ok_or("the source has no origin")?;
        for (property, secret) in &opening.secrets {
            origin.set_property_from_str(property, secret);
        }
        let end = bin.by_name(END).unwrap_or_else(|| origin.clone());
        let taker = Arc::new(Taker {
            bin: bin.downgrade(),
            on: Box::new(on),
            hope: AtomicBool::new(false),
            delivered: AtomicBool::new(false),
        });
        if let Source::Rtsp { .. } = self.source {
            select_video(&origin);
        }
        if let Source::Srt { listen, .. } = self.source {
            tell_callers(&origin, listen);
        }
        taker.watch(&end);
        let receiving = match &self.source {
            Source::Rtmp { listen, key } => {
                let mut listener = self.rtmp.lock().unwrap_or_else(PoisonError::into_inner);
                let listener = match &mut *listener {
                    Some(listener) => listener,
                    none => none.insert(RtmpListener::bind(*listen, key.clone(), runtime)?),
                };
                let appsrc = origin.downcast().map_err(|_| "the source takes no pictures")?;
                Some(feed(listener, appsrc))
            }
            _ => None,
        };
        Ok(Input { bin, _receiving: receiving })
    }
}

/// Audio and the like need not even be sent, nor a second picture.
fn select_video(rtspsrc: &gst::Element) {
    let selected = AtomicBool::new(false);
    rtspsrc.connect("select-stream", false, move |arguments| {
        let caps = arguments.get(2).and_then(|value| value.get::<gst::Caps>().ok());
        let video = caps.is_some_and(|caps| {
            caps.structure(0).and_then(|caps| caps.get::<&str>("media").ok()) == Some("video")
        });
        Some((video && !selected.swap(true, Ordering::Relaxed)).to_value())
    });
}

/// Whoever calls is told of: one with a wrong passphrase is refused by the library without a word.
/// Whoever calls again and again shall not fill the log.
fn tell_callers(srtsrc: &gst::Element, listen: SocketAddr) {
    let told = Mutex::new(None);
    srtsrc.set_property("authentication", true);
    srtsrc.connect("caller-connecting", false, move |_| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| now() >= told + CALLERS) {
            *told = Some(now());
            tracing::info!(
                %listen,
                "an SRT sender calls: where no pictures follow, its passphrase is wrong"
            );
        }
        Some(true.to_value())
    });
}

fn step(caps: &gst::Caps, from: From) -> Step {
    let Some(first) = caps.structure(0) else { return Step::Leave };
    let text = |field| first.get::<&str>(field).ok();
    network::step(Caps {
        name: first.name(),
        media: text("media"),
        encoding: text("encoding-name"),
        from,
    })
}

type OnVideo = dyn Fn(&gst::Pad, Media) + Send + Sync;

/// Follows the stream through the elements that it takes.
struct Taker {
    bin: gst::glib::WeakRef<gst::Bin>,
    on: Box<OnVideo>,
    /// There may be video.
    hope: AtomicBool,
    delivered: AtomicBool,
}

impl Taker {
    /// Takes what comes out of an element.
    fn watch(self: &Arc<Self>, element: &gst::Element) {
        let factory = element.factory();
        let from = factory.map_or(From::Other, |factory| From::factory(&factory.name()));
        for pad in element.src_pads() {
            self.on_caps(&pad, from);
        }
        let taker = self.clone();
        element.connect_pad_added(move |_, pad| {
            if pad.direction() == gst::PadDirection::Src {
                taker.on_caps(pad, from);
            }
        });
        let taker = self.clone();
        element.connect_no_more_pads(move |_| {
            if !taker.hope.load(Ordering::Relaxed) {
                taker.fail("the source sends no video");
            }
        });
    }

    /// The caps tell how to go on. They come before any data does.
    fn on_caps(self: &Arc<Self>, pad: &gst::Pad, from: From) {
        if let Some(caps) = pad.current_caps() {
            return self.take(pad, &caps, from);
        }
        self.hope.store(true, Ordering::Relaxed);
        let taker = self.clone();
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
            let caps = info.event().and_then(|event| match event.view() {
                gst::EventView::Caps(caps) => Some(caps.caps_owned()),
                _ => None,
            });
            let Some(caps) = caps else { return gst::PadProbeReturn::Ok };
            taker.take(pad, &caps, from);
            gst::PadProbeReturn::Remove
        });
    }

    fn take(self: &Arc<Self>, pad: &gst::Pad, caps: &gst::Caps, from: From) {
        let done = match step(caps, from) {
            Step::Leave => return,
            Step::Apart(_) if self.delivered.load(Ordering::Relaxed) => return,
            Step::Apart(launch) => self.apart(pad, launch),
            Step::Deliver(..) if self.delivered.swap(true, Ordering::Relaxed) => return,
            Step::Deliver(launch, media) => self.deliver(pad, launch, media),
        };
        match done {
            Ok(()) => self.hope.store(true, Ordering::Relaxed),
            Err(error) => self.fail(&format!("the source cannot be taken apart: {error}")),
        }
    }

    fn apart(self: &Arc<Self>, pad: &gst::Pad, launch: &str) -> Result<(), gst::glib::Error> {
        let element = gst::parse::launch(launch)?;
        self.watch(&element);
        self.add(&element, pad)
    }

    fn deliver(&self, pad: &gst::Pad, launch: &str, media: Media) -> Result<(), gst::glib::Error> {
        let chain = gst::parse::bin_from_description(launch, true)?;
        let (Some(bin), Some(end)) = (self.bin.upgrade(), chain.static_pad("src")) else {
            return Ok(());
        };
        // What is behind it is there before it is.
        let add = || {
            bin.add(&chain)?;
            let src = gst::GhostPad::builder_with_target(&end)?.name("src").build();
            src.set_active(true)?;
            bin.add_pad(&src)?;
            Ok(src)
        };
        let src = add().map_err(|error: gst::glib::BoolError| unexpected(&error.to_string()))?;
        (self.on)(src.upcast_ref(), media);
        link(chain.upcast_ref(), pad)
    }

    fn add(&self, element: &gst::Element, pad: &gst::Pad) -> Result<(), gst::glib::Error> {
        let Some(bin) = self.bin.upgrade() else { return Ok(()) };
        bin.add(element).map_err(|error| unexpected(&error.to_string()))?;
        link(element, pad)
    }

    fn fail(&self, reason: &str) {
        if let Some(bin) = self.bin.upgrade() {
            gst::element_error!(bin, gst::StreamError::Failed, ("{reason}"));
        }
    }
}

fn link(element: &gst::Element, pad: &gst::Pad) -> Result<(), gst::glib::Error> {
    let linked =
        element.sync_state_with_parent().map_err(|error| error.to_string()).and_then(|()| {
            let sink = element.static_pad("sink").ok_or("an element takes nothing")?;
            pad.link(&sink).map(drop).map_err(|error| error.to_string())
        });
    linked.map_err(|error| unexpected(&error))
}

fn unexpected(error: &str) -> gst::glib::Error {
    gst::glib::Error::new(gst::CoreError::Failed, error)
}

/// Gives what RTMP senders send to `appsrc`. Times begin at zero with each attempt: they order the
/// pictures, and nobody takes them for this host's clock.
fn feed(listener: &RtmpListener, appsrc: gst_app::AppSrc) -> Receiving {
    let state = Mutex::new(Feed { first_ms: None, decodable: false });
    listener.receive(move |publication| {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        match publication {
            Publication::Config(record) => {
                state.decodable = false;
                let caps = gst::Caps::builder("video/x-h264")
                    .field("stream-format", "avc")
                    .field("alignment", "au")
                    .field("codec_data", gst::Buffer::from_slice(record.to_vec()))
                    .build();
                appsrc.set_caps(Some(&caps));
            }
            Publication::Unit(unit) => {
                let room = appsrc.current_level_buffers() < WAITING_UNITS;
                state.decodable = room && (state.decodable || unit.key_frame);
                if !state.decodable {
                    return;
                }
                let first_ms = *state.first_ms.get_or_insert(unit.dts_ms);
                let since =
                    |ms: u32| gst::ClockTime::from_mseconds(u64::from(ms.wrapping_sub(first_ms)));
                let mut buffer = gst::Buffer::from_slice(unit.data.to_vec());
                if let Some(buffer) = buffer.get_mut() {
                    buffer.set_dts(since(unit.dts_ms));
                    buffer.set_pts(since(unit.pts_ms));
                    if !unit.key_frame {
                        buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
                    }
                }
                // Refused only when the attempt is over.
                let _ = appsrc.push_buffer(buffer);
            }
            Publication::Ended(reason) => {
                gst::element_error!(appsrc, gst::ResourceError::Read, ("{reason}"));
            }
        }
    })
}

struct Feed {
    first_ms: Option<u32>,
    /// Nothing is missing since the last key frame.
    decodable: bool,
}
