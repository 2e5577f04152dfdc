//! The media of one session: for each camera a subscription, a payloader and a track.

use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gst_app::AppSrc;
use gst_utils::{ConsumptionLink, StreamProducer, streamproducer::ConsumerSettings};
use rovercast_peer::connection::{Connection, ConnectionError};
use rovercast_peer::negotiation::Section;
use rovercast_peer::start::now;
use rovercast_protocol::clock::{RtpAnchor, VIDEO_CLOCK_HZ};
use rovercast_protocol::codec::Codec;
use rovercast_protocol::frame_times::MAX_BYTES;
use rovercast_protocol::ids::CameraId;
use rovercast_protocol::keyframes::KeyFrameGate;

use crate::camera::counters::{Counters, Demand, Watching};
use crate::session::placing::Place;
use crate::session::policy::KeyFrameRequests;
use crate::session::times::{self, Telling, Told};

/// How one codec travels in RTP.
struct Payload {
    /// The payloader's factory name.
    factory: &'static str,
    /// One for each codec: all tracks are in one bundle, and those with the same codec have the
    /// same parameters.
    payload_type: u32,
    /// Properties of the payloader.
    properties: &'static [(&'static str, &'static str)],
    /// What the SDP says beside the codec's name.
    parameters: &'static [(&'static str, &'static str)],
}

// The encoders repeat the parameter sets themselves. If the payloader did (config-interval) it would
// put them before every slice of a key frame, and depayloaders would take each slice for a frame of
// its own.
fn payload(codec: Codec) -> Payload {
    match codec {
        Codec::H264 => Payload {
            factory: "rtph264pay",
            payload_type: 96,
            properties: &[("aggregate-mode", "zero-latency")],
            parameters: &[("packetization-mode", "1")],
        },
        Codec::H265 => Payload {
            factory: "rtph265pay",
            payload_type: 98,
            properties: &[("aggregate-mode", "zero-latency")],
            parameters: &[],
        },
        Codec::Vp8 => Payload {
            factory: "rtpvp8pay",
            payload_type: 100,
            // By the pictures' numbers receivers know which of them are missing.
            properties: &[("picture-id-mode", "15-bit")],
            parameters: &[],
        },
    }
}

/// RTP packets, headers and extensions included, fit any path of the internet.
const MTU: u32 = 1200 - MAX_BYTES;

/// What may wait for a session's network thread. Older access units are dropped, up to the next
/// key frame.
const BACKLOG: gst::ClockTime = gst::ClockTime::from_mseconds(300);

/// The pictures of a camera.
#[derive(Debug)]
pub struct Feed {
    /// The camera's id.
    pub id: CameraId,
    /// How its access units are encoded.
    pub codec: Codec,
    /// Where they come from.
    pub stream: StreamProducer,
    /// Told while they are watched.
    pub demand: Arc<Demand>,
    /// What flows is counted there.
    pub counters: Arc<Counters>,
}

/// One camera in one session.
#[derive(Debug)]
pub struct SentTrack {
    camera: CameraId,
    stream: StreamProducer,
    demand: Arc<Demand>,
    counters: Arc<Counters>,
    watching: Option<Watching>,
    appsrc: AppSrc,
    /// Where the payloader's packets leave.
    packets: gst::Pad,
    telling: Telling,
    /// What of that is told by which extensions.
    told: Told,
    link: Option<ConsumptionLink>,
    timestamp_offset: u32,
}

impl SentTrack {
    /// Adds a camera to a connection that has not offered yet. Its stream carries whole access
    /// units of this codec, key frames with all that a decoder needs. Nothing flows before
    /// [`SentTrack::start`].
    pub fn add(
        connection: &mut Connection,
        feed: Feed,
        telling: Telling,
    ) -> Result<Self, ConnectionError> {
        let payload_type = payload(feed.codec).payload_type;
        Self::add_as(connection, feed, telling, telling.offered(), payload_type, None)
    }

    /// Adds a camera to a connection that will answer an offer, in its place there.
    pub fn add_answering(
        connection: &mut Connection,
        feed: Feed,
        telling: Telling,
        offer: &Section,
        place: Place,
    ) -> Result<Self, ConnectionError> {
        let (told, section) = (telling.asked(offer), Some(place.section));
        Self::add_as(connection, feed, telling, told, place.payload_type.into(), section)
    }

    fn add_as(
        connection: &mut Connection,
        feed: Feed,
        telling: Telling,
        told: Told,
        payload_type: u32,
        section: Option<usize>,
    ) -> Result<Self, ConnectionError> {
        let Feed { id: camera, codec, stream, demand, counters } = feed;
        let Payload { factory, properties, parameters, .. } = payload(codec);
        let (ssrc, timestamp_offset) = (rand::random::<u32>(), rand::random::<u32>());
        let appsrc = AppSrc::builder().format(gst::Format::Time).is_live(true).build();
        let payloader = gst::ElementFactory::make(factory)
            .property("mtu", MTU - connection.overhead())
            .property("pt", payload_type)
            .property("ssrc", ssrc)
            .property("timestamp-offset", timestamp_offset)
            .build()?;
        for (name, value) in properties {
            payloader.set_property_from_str(name, value);
        }
        connection.pipeline().add_many([appsrc.upcast_ref(), &payloader])?;
        appsrc.link(&payloader)?;
        let caps = gst::Caps::builder("application/x-rtp")
            .field("media", "video")
            .field("encoding-name", codec.encoding_name())
            .field("clock-rate", VIDEO_CLOCK_HZ as i32)
            .field("payload", payload_type as i32)
            .field("ssrc", ssrc);
        let caps = parameters.iter().fold(caps, |caps, (name, value)| caps.field(*name, *value));
        let caps = told.fields().fold(caps, |caps, (name, uri)| caps.field(name, uri)).build();
        connection.add_track(&payloader, &caps, section)?;
        close_gaps(&appsrc);
        limit_key_frames(&payloader);
        let packets = payloader
            .static_pad("src")
            .ok_or_else(|| ConnectionError::Gst("the payloader has no source pad".to_owned()))?;
        Ok(Self {
            camera,
            stream,
            demand,
            counters,
            watching: None,
            appsrc,
            packets,
            telling,
            told,
            link: None,
            timestamp_offset,
        })
    }

    /// Which camera it is.
    pub fn camera(&self) -> &CameraId {
        &self.camera
    }

    /// What the viewer is offered to be told of frames, or asked for itself.
    pub fn told(&self) -> Told {
        self.told
    }

    /// Lets the pictures flow, from a key frame that is asked for now, with those of their times that
    /// the viewer accepts.
    pub fn start(&mut self, accepted: Told) {
        let counters = self.counters.clone();
        times::tell(&self.appsrc, &self.packets, self.telling, accepted, counters);
        let settings = ConsumerSettings { max_time: BACKLOG, ..ConsumerSettings::default() };
        match self.stream.add_consumer_with(&self.appsrc, settings) {
            Ok(link) => self.link = Some(link),
            Err(error) => tracing::error!(camera = %self.camera, %error, "no subscription"),
        }
        self.watching = Some(self.demand.watch());
        request_key_frame(&self.stream);
    }

    /// Ends the subscription; the rest goes with the connection.
    pub fn stop(&mut self) {
        self.link = None;
        self.watching = None;
    }

    /// Where this track's RTP timestamps stand at a time of the shared clock.
    pub fn anchor(&self, now: gst::ClockTime) -> RtpAnchor {
        let ticks = now.nseconds() as u128 * VIDEO_CLOCK_HZ as u128 / 1_000_000_000;
        RtpAnchor {
            rtp: self.timestamp_offset.wrapping_add(ticks as u32),
            capture_us: now.useconds() as i64,
        }
    }
}

fn request_key_frame(stream: &StreamProducer) {
    if let Some(pad) = stream.appsink().static_pad("sink") {
        let request = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
        pad.push_event(request);
    }
}

/// Passes on the viewer's requests for key frames, but not all the time.
fn limit_key_frames(payloader: &gst::Element) {
    let Some(pad) = payloader.static_pad("src") else { return };
    let requests = Mutex::new(KeyFrameRequests::default());
    pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        let is_request = info.event().is_some_and(|event| gst_video::ForceKeyUnitEvent::is(event));
        let passes = || requests.lock().is_ok_and(|mut requests| requests.passes(now().into()));
        if is_request && !passes() { gst::PadProbeReturn::Handled } else { gst::PadProbeReturn::Ok }
    });
}

/// Where the subscription dropped something, the rest of the group of pictures goes too.
fn close_gaps(appsrc: &AppSrc) {
    let Some(pad) = appsrc.static_pad("src") else { return };
    let gate = Mutex::new(KeyFrameGate::default());
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let (Some(buffer), Ok(mut gate)) = (info.buffer(), gate.lock()) else {
            return gst::PadProbeReturn::Ok;
        };
        let flags = buffer.flags();
        let key_frame = !flags.contains(gst::BufferFlags::DELTA_UNIT);
        if gate.passes(flags.contains(gst::BufferFlags::DISCONT), key_frame) {
            gst::PadProbeReturn::Ok
        } else {
            gst::PadProbeReturn::Drop
        }
    });
}
