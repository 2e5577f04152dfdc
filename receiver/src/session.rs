//! One session with a robot: its tracks to their views, its messages to the report.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use rovercast_peer::channel::Channel;
use rovercast_peer::connection::{Connection, ConnectionError, Track};
use rovercast_peer::start::now_us;
use rovercast_protocol::clock::{Offset, OffsetEstimator};
use rovercast_protocol::codec::Codec;
use rovercast_protocol::control;
use rovercast_protocol::ids::{CameraId, SessionId};
use rovercast_protocol::signaling::Candidate;
use rovercast_protocol::telemetry::{Clock, Ping, RobotMessage, ViewerMessage};

use crate::decode;
use crate::jitter_buffer;
use crate::meter::Meter;
use crate::packets::{self, Notes};
use crate::playout::{self, Playout};
use crate::turns::Turn;
use crate::view::Entrance;
use crate::whole::{WholePictures, only_whole_pictures};

/// Jitter buffers that are followed: tracks, their retransmissions, and some to spare. What a
/// peer makes up beyond that is not followed.
const MAX_JITTER_BUFFERS: usize = 256;

/// So many pings follow each other without a pause: the robot's clock is known well from the first
/// pictures on.
const FIRST_PINGS: usize = 4;

/// A session that exists at the broker.
#[derive(Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// When its pictures are shown.
    pub turn: Turn,
    /// The media connection.
    pub connection: Connection,
    /// Tracks whose view is not there yet.
    pub waiting: BTreeMap<CameraId, Track>,
    tracks: Vec<ReceivedTrack>,
    jitter_buffers: HashMap<u32, glib::WeakRef<gst::Element>>,
    clock: OffsetEstimator,
    /// When the last ping was sent that followed no other, in microseconds of this host's clock; 0
    /// once it is answered.
    asked_us: AtomicI64,
    /// What the robot told last of its clock.
    told: Option<Clock>,
    heard_us: Arc<AtomicI64>,
    rtt_us: Arc<AtomicU32>,
}

#[derive(Debug)]
struct ReceivedTrack {
    camera: CameraId,
    mid: String,
    notes: Notes,
    playout: Option<Playout>,
}

/// What the network did to one camera in this session.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct NetworkFigures {
    /// Packets that never came, also not when asked for again.
    pub packets_lost: u64,
    /// Packets that came when they were asked for again.
    pub packets_recovered: u64,
    /// Packets that were restored from others.
    pub packets_restored: u64,
    /// The longest that a packet is waited for, in milliseconds.
    pub jitter_buffer_ms: u32,
    /// How unevenly packets come, in milliseconds (RFC 3550, section 6.4.1).
    pub jitter_ms: f64,
}

impl Session {
    /// A session whose offer is still to come.
    pub fn new(id: SessionId, turn: Turn, connection: Connection) -> Self {
        Self {
            id,
            turn,
            connection,
            waiting: BTreeMap::new(),
            tracks: Vec::new(),
            jitter_buffers: HashMap::new(),
            clock: OffsetEstimator::default(),
            asked_us: AtomicI64::new(0),
            told: None,
            heard_us: Arc::new(AtomicI64::new(0)),
            rtt_us: Arc::default(),
        }
    }

    /// Takes the robot's offer, returns the answer.
    pub async fn answer(&mut self, offer: &str) -> Result<String, ConnectionError> {
        self.connection.answer(offer).await
    }

    /// Takes a candidate of the robot.
    pub fn candidate(&mut self, candidate: &Candidate) {
        if let Err(error) = self.connection.add_candidate(candidate) {
            tracing::warn!("{error}");
        }
    }

    /// When something came last, on this host's clock; none before the first.
    pub fn heard(&self) -> Option<Duration> {
        let heard_us = self.heard_us.load(Ordering::Relaxed);
        u64::try_from(heard_us).ok().filter(|us| *us > 0).map(Duration::from_micros)
    }

    /// The other host's clock, once it is known.
    pub fn offset(&self) -> Option<Offset> {
        self.clock.offset(now_us())
    }

    /// Follows the jitter buffer of an SSRC.
    pub fn jitter_buffer(&mut self, ssrc: u32, element: glib::WeakRef<gst::Element>) {
        if self.jitter_buffers.len() < MAX_JITTER_BUFFERS {
            if let Some(buffer) = element.upgrade() {
                jitter_buffer::prepare(&buffer, self.connection.restored(ssrc).is_some());
            }
            self.jitter_buffers.insert(ssrc, element);
        }
    }

    /// Looks how long missing packets are to be waited for; to be called some times a second.
    pub fn look(&mut self, now: Duration, settings: &playout::Settings) {
        let ping_rtt_us = self.offset().map(|offset| offset.rtt_us.unsigned_abs());
        let rtt_us = u32::try_from(ping_rtt_us.unwrap_or(0)).unwrap_or(u32::MAX);
        self.rtt_us.store(rtt_us, Ordering::Relaxed);
        for track in &mut self.tracks {
            let ssrc = track.notes.ssrc.load(Ordering::Relaxed);
            let buffer = self.jitter_buffers.get(&ssrc).and_then(glib::WeakRef::upgrade);
            let Some(buffer) = buffer else { continue };
            let counts = jitter_buffer::counts(&buffer, ping_rtt_us.map(Duration::from_micros));
            let playout = track.playout.get_or_insert_with(|| Playout::new(settings.clone()));
            jitter_buffer::set_waiting(&buffer, &playout.look(now, &counts));
        }
    }

    /// Asks for the robot's clock, which also says that we are here.
    pub fn ping(&self) {
        let sent_us = now_us();
        self.asked_us.store(sent_us, Ordering::Relaxed);
        self.say_ping(sent_us);
    }

    fn say_ping(&self, sent_us: i64) {
        let ping = ViewerMessage::Ping(Ping { sent_us });
        if let Ok(json) = serde_json::to_vec(&ping) {
            self.connection.send(Channel::Telemetry, &json);
        }
    }

    /// Asks something of a camera. False when that cannot be said now.
    pub fn ask(&self, request: &control::ViewerMessage) -> bool {
        serde_json::to_vec(request).is_ok_and(|json| self.connection.send(Channel::Control, &json))
    }

    /// Takes a telemetry message of the robot; returns it when it concerns others.
    pub fn message(&mut self, message: &[u8]) -> Option<RobotMessage> {
        let received_us = now_us();
        self.heard_us.fetch_max(received_us, Ordering::Relaxed);
        if self.clock.exchanges() == 0 {
            self.ping();
        }
        match serde_json::from_slice(message).ok()? {
            RobotMessage::Pong(pong) => {
                self.clock.exchange(pong.ping_sent_us, pong.received_us, pong.sent_us, received_us);
                // One more, at once: it finds everybody awake, and takes half as long.
                let (asked_us, relaxed) = (pong.ping_sent_us, Ordering::Relaxed);
                let first = self.asked_us.compare_exchange(asked_us, 0, relaxed, relaxed).is_ok();
                if first || self.clock.exchanges() < FIRST_PINGS {
                    self.say_ping(now_us());
                }
                self.set_clocks();
                None
            }
            RobotMessage::Clock(clock) => {
                self.told = Some(clock);
                self.set_clocks();
                None
            }
            message @ RobotMessage::Telemetry(_) => Some(message),
        }
    }

    /// Brings what is known of the robot's clock to every track.
    fn set_clocks(&self) {
        let offset = self.offset();
        for ReceivedTrack { mid, notes, .. } in &self.tracks {
            notes.clock.set_offset(offset);
            if let Some(told) = &self.told {
                let track = told.tracks.iter().find(|track| track.mid == *mid);
                notes.clock.learn(told.epoch_us, track.map(|track| track.anchor));
            }
        }
    }

    /// Leads a track with this codec into a view.
    pub fn attach(
        &mut self,
        track: Track,
        codec: Codec,
        camera: CameraId,
        entrance: Entrance,
        meter: &Arc<Meter>,
    ) -> Result<(), ConnectionError> {
        let way = decode::way(codec);
        let depayloader = gst::ElementFactory::make(way.depayloader).build()?;
        let appsink = gst_app::AppSink::builder()
            .caps(&gst::Caps::from_str(way.access_units)?)
            .sync(false)
            .async_(false)
            .max_buffers(1)
            .build();
        let whole = WholePictures::default();
        enter(&appsink, entrance, meter.clone(), whole.clone());
        let pipeline = self.connection.pipeline();
        pipeline.add_many([&depayloader, appsink.upcast_ref()])?;
        depayloader.link(&appsink)?;
        appsink.sync_state_with_parent()?;
        depayloader.sync_state_with_parent()?;
        let sink = depayloader
            .static_pad("sink")
            .ok_or_else(|| ConnectionError::Gst("the depayloader has no sink pad".to_owned()))?;
        let notes = Notes { heard_us: self.heard_us.clone(), ..Notes::default() };
        packets::note(&track.pad, &track.section, notes.clone(), meter.clone());
        only_whole_pictures(&track.pad, &sink, codec, whole, self.rtt_us.clone());
        track.pad.link(&sink).map_err(|error| ConnectionError::Gst(error.to_string()))?;
        let mid = track.section.mid.clone();
        self.tracks.push(ReceivedTrack { camera, mid, notes, playout: None });
        self.set_clocks();
        track.release();
        Ok(())
    }

    /// Takes a track to nowhere: one whose pad is not linked would end the connection.
    pub fn discard(&self, track: Track) -> Result<(), ConnectionError> {
        let sink = gst::ElementFactory::make("fakesink")
            .property("sync", false)
            .property("async", false)
            .build()?;
        self.connection.pipeline().add(&sink)?;
        sink.sync_state_with_parent()?;
        if let Some(pad) = sink.static_pad("sink") {
            track.pad.link(&pad).map_err(|error| ConnectionError::Gst(error.to_string()))?;
        }
        track.release();
        Ok(())
    }

    /// What the network did to a camera.
    pub fn network(&self, camera: &CameraId) -> NetworkFigures {
        let track = self.tracks.iter().find(|track| track.camera == *camera);
        let Some(track) = track else { return NetworkFigures::default() };
        let ssrc = track.notes.ssrc.load(Ordering::Relaxed);
        let buffer = self.jitter_buffers.get(&ssrc).and_then(glib::WeakRef::upgrade);
        let Some(buffer) = buffer else { return NetworkFigures::default() };
        let counts = jitter_buffer::counts(&buffer, None);
        NetworkFigures {
            packets_lost: counts.lost,
            packets_recovered: counts.recovered,
            packets_restored: self.connection.restored(ssrc).unwrap_or(0),
            jitter_buffer_ms: buffer.property("latency"),
            jitter_ms: counts.jitter.as_secs_f64() * 1e3,
        }
    }
}

fn enter(appsink: &gst_app::AppSink, entrance: Entrance, meter: Arc<Meter>, whole: WholePictures) {
    let mut entrance = entrance;
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        if let Some(unit) = sample.buffer() {
            if let Some(pts) = unit.pts() {
                meter.delivered(pts.nseconds(), now_us());
            }
            if !unit.flags().contains(gst::BufferFlags::DELTA_UNIT) {
                whole.has_key_frame();
            }
        }
        if !entrance.push(&sample)
            && let Some(pad) = sink.static_pad("sink")
        {
            pad.push_event(gst_video::UpstreamForceKeyUnitEvent::builder().build());
        }
        Ok(gst::FlowSuccess::Ok)
    });
    appsink.set_callbacks(callbacks.build());
}
