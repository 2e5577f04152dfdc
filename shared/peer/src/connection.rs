//! A webrtcbin in a pipeline of its own: its signals as events, its promises as async methods.
//!
//! GStreamer's callbacks only post events. Nothing of the other peer is passed on before its
//! DTLS certificate is checked. Ends by [`Connection::close`]; only one that never negotiated may be
//! dropped.

use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use gst_sdp::SDPMessageRef;
use gst_webrtc::{
    WebRTCPeerConnectionState, WebRTCRTPTransceiver, WebRTCRTPTransceiverDirection, WebRTCSDPType,
    WebRTCSessionDescription,
};
use rovercast_protocol::ids::CameraId;
use rovercast_protocol::signaling::Candidate;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::channel::{Channel, Channels};
use crate::fec::Agreement;
use crate::fingerprint::{self, Mismatch};
use crate::ice::{IceUrls, TransportPolicy};
use crate::negotiation::{self, Description, Refused, Section};
use crate::reports::Reports;
use crate::start::share_clock;
use crate::webrtcbin::{Said, answered, configure_ice, post_events, promise};

/// Events of our own webrtcbin that may wait. It makes few; when they overflow the newest is
/// dropped and the session's watchdog decides.
const EVENTS: usize = 256;

/// Candidates that are taken from one peer.
const MAX_CANDIDATES: usize = 256;

/// What can go wrong with a connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The other peer's SDP or candidate is refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The other peer is not who it said it is.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// GStreamer refuses something.
    #[error("WebRTC: {0}")]
    Gst(String),
}

impl From<glib::BoolError> for ConnectionError {
    fn from(error: glib::BoolError) -> Self {
        Self::Gst(error.message.to_string())
    }
}

impl From<gst::StateChangeError> for ConnectionError {
    fn from(_: gst::StateChangeError) -> Self {
        Self::Gst("the session's pipeline does not start".to_owned())
    }
}

/// What a connection reports.
#[derive(Debug)]
pub enum ConnectionEvent {
    /// A candidate of our own, for the other peer.
    Candidate(Candidate),
    /// There will be no further candidates of our own.
    Gathered,
    /// DTLS is up and the other peer is the promised one.
    Connected,
    /// ICE or DTLS failed or was closed; nothing comes any more.
    Ended(&'static str),
    /// A track of the other peer starts.
    Track(Track),
    /// A jitter buffer was made for packets with this SSRC.
    JitterBuffer(u32, glib::WeakRef<gst::Element>),
    /// A data channel is open.
    Channel(Channel),
    /// A message of the other peer, by a data channel.
    Message(Channel, Vec<u8>),
    /// The connection cannot go on.
    Failed(ConnectionError),
}

/// An incoming track, held back until it is linked and released.
#[derive(Debug)]
pub struct Track {
    /// webrtcbin's source pad: RTP.
    pub pad: gst::Pad,
    /// The media section that it belongs to.
    pub section: Section,
    blocker: gst::PadProbeId,
}

impl Track {
    /// What the packets carry, in SDP's terms: `H264`, `VP8`, `OPUS` …
    pub fn encoding(&self) -> Option<String> {
        self.pad.current_caps()?.structure(0)?.get("encoding-name").ok()
    }

    /// Lets the packets flow.
    pub fn release(self) {
        self.pad.remove_probe(self.blocker);
    }
}

/// How to connect.
#[derive(Clone, Default)]
pub struct ConnectionSettings {
    /// STUN and TURN servers.
    pub ice: IceUrls,
    /// Which paths may be taken.
    pub policy: TransportPolicy,
    /// The longest that a jitter buffer waits for a missing packet.
    pub jitter_buffer: Duration,
    /// So many packets by which lost ones are restored leave behind a hundred, to peers that take them;
    /// with 0 none. Ours restore what others offer in any case.
    pub fec_percent: u32,
}

/// One session's media connection.
#[derive(Debug)]
pub struct Connection {
    pipeline: gst::Pipeline,
    webrtc: gst::Element,
    events: mpsc::Receiver<Said>,
    events_tx: mpsc::Sender<Said>,
    channels: Channels,
    reports: Reports,
    agreement: Agreement,
    offered: Option<Vec<Section>>,
    remote: Option<Description>,
    remote_candidates: usize,
    verified: bool,
}

impl Connection {
    /// A connection that has not negotiated yet.
    pub fn new(name: &str, settings: &ConnectionSettings) -> Result<Self, ConnectionError> {
        let pipeline = gst::Pipeline::with_name(name);
        share_clock(&pipeline);
        let latency_ms = u32::try_from(settings.jitter_buffer.as_millis()).unwrap_or(u32::MAX);
        let webrtc = gst::ElementFactory::make("webrtcbin")
            .property_from_str("bundle-policy", "max-bundle")
            .property_from_str("ice-transport-policy", settings.policy.name())
            .property("latency", latency_ms)
            .build()?;
        pipeline.add(&webrtc)?;
        configure_ice(&webrtc, &settings.ice);
        let (events_tx, events) = mpsc::channel(EVENTS);
        let channels = Channels::new();
        let (reports, agreement) = (Reports::default(), Agreement::new(settings.fec_percent));
        post_events(&pipeline, &webrtc, &events_tx, channels.inlet(), agreement.fec());
        reports.watch(&webrtc);
        Ok(Self {
            pipeline,
            webrtc,
            events,
            events_tx,
            channels,
            reports,
            agreement,
            offered: None,
            remote: None,
            remote_candidates: 0,
            verified: false,
        })
    }

    /// The pipeline, to put elements beside webrtcbin.
    pub fn pipeline(&self) -> &gst::Pipeline {
        &self.pipeline
    }

    /// What the longest packet must have left in bytes: those that restore others are longer than these.
    pub fn overhead(&self) -> u32 {
        self.agreement.overhead()
    }

    /// Adds a track that sends: `payloader` is in the pipeline, `caps` are those of its RTP,
    /// with the `ssrc`. `section` is its place in an offer that will be answered; one for each of its
    /// media sections is to be added, in their order, here or by [`Connection::leave_out`].
    pub fn add_track(
        &mut self,
        payloader: &gst::Element,
        caps: &gst::Caps,
        section: Option<usize>,
    ) -> Result<(), ConnectionError> {
        let direction = WebRTCRTPTransceiverDirection::Sendonly;
        let (pad, transceiver) = self.request_track(section, direction, caps)?;
        transceiver.set_property("do-nack", true);
        let ssrc = caps.structure(0).and_then(|caps| caps.get("ssrc").ok());
        if let Some(ssrc) = ssrc {
            self.agreement.add_track(section, ssrc);
        }
        let source = payloader
            .static_pad("src")
            .ok_or_else(|| ConnectionError::Gst("the payloader has no source pad".to_owned()))?;
        source.link(&pad).map_err(|error| ConnectionError::Gst(error.to_string()))?;
        Ok(())
    }

    /// Lets nothing flow in a media section of an offer that will be answered. (webrtcbin would refuse
    /// it; and it cannot answer a bundle whose first section is refused.)
    pub fn leave_out(&self, section: usize, kind: &str) -> Result<(), ConnectionError> {
        let any = gst::Caps::builder("application/x-rtp").field("media", kind).build();
        let direction = WebRTCRTPTransceiverDirection::Inactive;
        self.request_track(Some(section), direction, &any).map(drop)
    }

    fn request_track(
        &self,
        section: Option<usize>,
        direction: WebRTCRTPTransceiverDirection,
        caps: &gst::Caps,
    ) -> Result<(gst::Pad, WebRTCRTPTransceiver), ConnectionError> {
        let name = section.map_or_else(|| "sink_%u".to_owned(), |index| format!("sink_{index}"));
        let pad = self
            .webrtc
            .request_pad_simple(&name)
            .ok_or_else(|| ConnectionError::Gst("webrtcbin takes no further track".to_owned()))?;
        let transceiver = pad.property::<WebRTCRTPTransceiver>("transceiver");
        transceiver.set_property("direction", direction);
        transceiver.set_property("codec-preferences", caps);
        Ok((pad, transceiver))
    }

    /// Offers all tracks and the data channels. Returns the SDP and what it says; `cameras` name its
    /// video sections.
    pub async fn offer(
        &mut self,
        cameras: &[CameraId],
    ) -> Result<(String, Vec<Section>), ConnectionError> {
        self.set_state(gst::State::Ready).await?;
        let opened = self.events_tx.clone();
        self.channels.make(&self.webrtc, move |channel| {
            let _ = opened.try_send(Said::Opened(channel));
        })?;
        self.set_state(gst::State::Paused).await?;
        let mut offer = self.create("create-offer", "offer").await?;
        negotiation::label_tracks(offer.sdp_mut(), cameras);
        self.agreement.offer(offer.sdp_mut());
        let text = offer.sdp().as_text()?;
        let sections = Description::parse(&text)?.sections;
        self.offered = Some(sections.clone());
        self.describe("set-local-description", &offer).await?;
        self.set_state(gst::State::Playing).await?;
        Ok((text, sections))
    }

    /// Takes the answer to our offer.
    pub async fn take_answer(&mut self, text: &str) -> Result<(), ConnectionError> {
        let Some(offered) = self.offered.take() else {
            return Err(Refused::NotExpected.into());
        };
        let description = Description::parse(text)?;
        description.answers(&offered)?;
        self.agreement.answered(&offered, &description.sections);
        self.set_remote(WebRTCSDPType::Answer, description).await
    }

    /// Takes an offer. Returns the answer.
    pub async fn answer(&mut self, text: &str) -> Result<String, ConnectionError> {
        let offer = Description::parse(text)?;
        let agreement = self.agreement.clone();
        let accept = |answer: &mut SDPMessageRef, offer: &[Section]| {
            negotiation::accept_extensions(answer, offer);
            agreement.accept(answer, offer);
        };
        self.answer_with(offer, accept).await
    }

    /// How many packets of a stream were restored, without being sent again; none if there is nothing that
    /// could.
    pub fn restored(&self, ssrc: u32) -> Option<u64> {
        self.agreement.fec().receiving.restored(ssrc)
    }

    /// Takes an offer for whose sections the tracks were added. Returns the answer, where these
    /// `cameras` name their sections.
    pub async fn answer_sending(
        &mut self,
        offer: Description,
        cameras: &[(usize, CameraId)],
    ) -> Result<String, ConnectionError> {
        let agreement = self.agreement.clone();
        let finish = |answer: &mut SDPMessageRef, offer: &[Section]| {
            negotiation::finish_answer(answer, cameras);
            agreement.grant(answer, offer);
        };
        let answer = self.answer_with(offer, finish).await?;
        let sections = Description::parse(&answer)?.sections;
        let refused = |index: usize| sections.get(index).is_none_or(|section| section.rejected);
        match cameras.iter().find(|(index, _)| refused(*index)) {
            Some((index, camera)) => {
                let why = format!("webrtcbin puts {camera} into no section {index}");
                Err(ConnectionError::Gst(why))
            }
            None => Ok(answer),
        }
    }

    async fn answer_with(
        &mut self,
        mut offer: Description,
        finish: impl FnOnce(&mut SDPMessageRef, &[Section]),
    ) -> Result<String, ConnectionError> {
        if self.remote.is_some() {
            return Err(Refused::NotExpected.into());
        }
        offer.is_offer()?;
        offer.share_transport();
        self.set_state(gst::State::Playing).await?;
        self.set_remote(WebRTCSDPType::Offer, offer).await?;
        let mut answer = self.create("create-answer", "answer").await?;
        if let Some(offer) = &self.remote {
            finish(answer.sdp_mut(), &offer.sections);
        }
        let text = answer.sdp().as_text()?;
        self.describe("set-local-description", &answer).await?;
        Ok(text)
    }

    /// The description that the other peer sent.
    pub fn remote(&self) -> Option<&Description> {
        self.remote.as_ref()
    }

    /// Takes a candidate of the other peer; empty ones, and too many, are ignored.
    pub fn add_candidate(&mut self, candidate: &Candidate) -> Result<(), ConnectionError> {
        self.remote_candidates += 1;
        if candidate.candidate.is_empty() || self.remote_candidates > MAX_CANDIDATES {
            return Ok(());
        }
        negotiation::check_candidate(&candidate.candidate)?;
        let (index, text) = (candidate.sdp_m_line_index, &candidate.candidate);
        self.webrtc.emit_by_name::<()>("add-ice-candidate", &[&index, text]);
        Ok(())
    }

    /// Sends a message by a data channel, unless it is not open, the other peer is not verified
    /// yet, or too much waits already: then it returns false.
    /// Messages travel as bytes: GStreamer hands texts on without a check that they are UTF-8.
    pub fn send(&self, channel: Channel, message: &[u8]) -> bool {
        self.verified && self.channels.send(channel, message)
    }

    /// Bytes that wait in a data channel; none while nothing can be sent by it.
    pub fn backlog(&self, channel: Channel) -> Option<u64> {
        self.channels.backlog(channel).filter(|_| self.verified)
    }

    /// When the other peer's last report on what it receives came (RTCP), by the shared clock. Such
    /// reports are encrypted: none comes from anybody else.
    pub fn last_report(&self) -> Option<gst::ClockTime> {
        self.reports.last()
    }

    /// The next event. Cancel-safe.
    pub async fn next(&mut self) -> ConnectionEvent {
        loop {
            let event = tokio::select! {
                biased;
                Some(said) = self.events.recv() => match self.interpret(said) {
                    Some(event) => event,
                    None => continue,
                },
                (channel, message) = self.channels.next() => {
                    ConnectionEvent::Message(channel, message)
                }
            };
            let needs_identity = matches!(
                event,
                ConnectionEvent::Connected
                    | ConnectionEvent::Channel(_)
                    | ConnectionEvent::Track(_)
                    | ConnectionEvent::Message(..)
            );
            if needs_identity && let Err(error) = self.verify() {
                return ConnectionEvent::Failed(error.into());
            }
            return event;
        }
    }

    /// Frees everything, and returns when it is freed.
    pub async fn close(self) {
        let closing = spawn_blocking(move || {
            if let Some(bus) = self.pipeline.bus() {
                bus.unset_sync_handler();
                bus.set_flushing(true);
            }
            // A change of state that is still under way must not raise it again.
            self.webrtc.set_locked_state(true);
            // webrtcbin's threads end only when it leaves the pipeline.
            let pads: Vec<gst::Pad> = self.webrtc.sink_pads();
            for pad in pads {
                if let Some(peer) = pad.peer() {
                    let _ = peer.unlink(&pad);
                }
                self.webrtc.release_request_pad(&pad);
            }
            let _ = self.webrtc.set_state(gst::State::Null);
            let _ = self.pipeline.remove(&self.webrtc);
            let _ = self.pipeline.set_state(gst::State::Null);
        });
        if closing.await.is_err() {
            tracing::error!("closing a connection panicked");
        }
    }

    fn interpret(&mut self, said: Said) -> Option<ConnectionEvent> {
        Some(match said {
            Said::Candidate(candidate) => ConnectionEvent::Candidate(candidate),
            Said::Gathered => ConnectionEvent::Gathered,
            Said::State(WebRTCPeerConnectionState::Connected) => ConnectionEvent::Connected,
            Said::State(WebRTCPeerConnectionState::Failed) => ConnectionEvent::Ended("failed"),
            Said::State(WebRTCPeerConnectionState::Closed) => ConnectionEvent::Ended("closed"),
            Said::State(_) => return None,
            Said::Pad(pad, blocker) => match self.section_of(&pad) {
                Some(section) => ConnectionEvent::Track(Track { pad, section, blocker }),
                None => ConnectionEvent::Failed(ConnectionError::Gst(
                    "a track belongs to no section of the SDP".to_owned(),
                )),
            },
            Said::JitterBuffer(ssrc, element) => ConnectionEvent::JitterBuffer(ssrc, element),
            Said::Channel(which, channel) => {
                self.channels.take(which, channel);
                ConnectionEvent::Channel(which)
            }
            Said::Opened(which) => ConnectionEvent::Channel(which),
            Said::Failed(reason) => ConnectionEvent::Failed(ConnectionError::Gst(reason)),
        })
    }

    fn section_of(&self, pad: &gst::Pad) -> Option<Section> {
        let transceiver = pad.property::<Option<WebRTCRTPTransceiver>>("transceiver")?;
        let index = usize::try_from(transceiver.mlineindex()).ok()?;
        self.remote.as_ref()?.sections.get(index).cloned()
    }

    /// Compares the certificate of the DTLS connection with the SDP, once.
    fn verify(&mut self) -> Result<(), Mismatch> {
        if self.verified {
            return Ok(());
        }
        let remote = self.remote.as_ref().ok_or(Mismatch::NoCertificate)?;
        let certificate = self.remote_certificate().ok_or(Mismatch::NoCertificate)?;
        fingerprint::check(&remote.fingerprints(), &certificate)?;
        self.verified = true;
        Ok(())
    }

    fn remote_certificate(&self) -> Option<String> {
        let transceiver: Option<WebRTCRTPTransceiver> =
            self.webrtc.emit_by_name("get-transceiver", &[&0i32]);
        let transceiver = transceiver?;
        let sending = transceiver.sender().and_then(|sender| sender.transport());
        let transport =
            sending.or_else(|| transceiver.receiver().and_then(|receiver| receiver.transport()))?;
        transport.remote_certificate().map(Into::into)
    }

    async fn set_state(&self, state: gst::State) -> Result<(), ConnectionError> {
        let pipeline = self.pipeline.clone();
        let changed = spawn_blocking(move || pipeline.set_state(state)).await;
        changed.map_err(|error| ConnectionError::Gst(error.to_string()))??;
        Ok(())
    }

    async fn set_remote(
        &mut self,
        kind: WebRTCSDPType,
        description: Description,
    ) -> Result<(), ConnectionError> {
        let session = WebRTCSessionDescription::new(kind, description.message.clone());
        self.remote = Some(description);
        self.describe("set-remote-description", &session).await
    }

    async fn create(
        &self,
        signal: &str,
        reply_field: &str,
    ) -> Result<WebRTCSessionDescription, ConnectionError> {
        let (promise, reply) = promise();
        self.webrtc.emit_by_name::<()>(signal, &[&None::<gst::Structure>, &promise]);
        let reply = answered(signal, reply).await?;
        reply
            .and_then(|reply| reply.get::<WebRTCSessionDescription>(reply_field).ok())
            .ok_or_else(|| ConnectionError::Gst(format!("{signal} made nothing")))
    }

    async fn describe(
        &self,
        signal: &str,
        session: &WebRTCSessionDescription,
    ) -> Result<(), ConnectionError> {
        let (promise, reply) = promise();
        self.webrtc.emit_by_name::<()>(signal, &[session, &promise]);
        answered(signal, reply).await.map(drop)
    }
}
