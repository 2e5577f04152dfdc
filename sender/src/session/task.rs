//! A session from its start to its end, as one task.

use std::sync::Arc;
use std::time::Duration;

use rovercast_peer::channel::Channel;
use rovercast_peer::connection::{
    Connection, ConnectionError, ConnectionEvent, ConnectionSettings,
};
use rovercast_peer::link::Link;
use rovercast_peer::negotiation::Refused;
use rovercast_peer::start::{now, now_us};
use rovercast_protocol::ids::{CameraId, SessionId};
use rovercast_protocol::signaling::{
    Candidate, EndReason, ErrorCode, ErrorMessage, PeerBody, PeerMessage, PeerRequest, Sdp,
    SessionEnd,
};
use rovercast_protocol::telemetry::{Clock, Pong, RobotMessage, TrackClock, ViewerMessage};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::camera::task::{Claim, Status};
use crate::control::Request;
use crate::metrics::Reason;
use crate::session::desk::Desk;
use crate::session::making::{Answering, Made, make};
use crate::session::media::{Feed, SentTrack};
use crate::session::placing::NoPlace;
use crate::session::policy::{LOOK_EVERY, Liveness};
use crate::session::times::{Telling, Told};

/// A session that has not connected by then is given up.
const NEGOTIATION: Duration = Duration::from_secs(10);

/// Messages of the viewer that may wait; a viewer that floods loses its session.
const SIGNALS: usize = 64;

/// What the viewer says by way of the broker.
#[derive(Debug)]
pub enum Signal {
    /// Its SDP.
    Sdp(Sdp),
    /// A candidate.
    Candidate(Candidate),
    /// It is not connected to the broker any more; its media may go on.
    LeftBroker,
}

/// A session that runs.
#[derive(Debug)]
pub struct Session {
    cameras: Vec<CameraId>,
    signals: mpsc::Sender<Signal>,
    stop: watch::Sender<bool>,
    in_doubt: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

/// What a session needs of a camera.
#[derive(Debug)]
pub struct SessionCamera {
    /// Its pictures.
    pub feed: Feed,
    /// How it is.
    pub status: watch::Receiver<Status>,
    /// Kept for as long as the session may want the stream.
    pub claim: Claim,
}

/// What a session is made of.
pub struct SessionPlan {
    /// Its id.
    pub id: SessionId,
    /// The viewer's own offer; without one the robot offers.
    pub offer: Option<String>,
    /// Its cameras.
    pub cameras: Vec<SessionCamera>,
    /// How to connect.
    pub settings: ConnectionSettings,
    /// What is told of frames.
    pub telling: Telling,
    /// The robot's telemetry, serialized: each viewer gets the newest.
    pub telemetry: watch::Receiver<Arc<[u8]>>,
    /// Whether the viewer may control its cameras, or why not.
    pub control: Result<(), &'static str>,
    /// The way to the cameras' owner.
    pub requests: mpsc::Sender<Request>,
    /// The way to the viewer.
    pub link: Link,
    /// Told when the session has ended and everything of it is freed, and why it has.
    pub ended: mpsc::Sender<(SessionId, Reason)>,
}

impl Session {
    /// Starts it.
    pub fn start(plan: SessionPlan) -> Self {
        let (signals, signals_rx) = mpsc::channel(SIGNALS);
        let (stop, stop_rx) = watch::channel(false);
        let (in_doubt_tx, in_doubt) = watch::channel(false);
        let cameras = plan.cameras.iter().map(|camera| camera.feed.id.clone()).collect();
        let task = tokio::spawn(run(plan, signals_rx, stop_rx, in_doubt_tx));
        Self { cameras, signals, stop, in_doubt, task }
    }

    /// Passes on what the viewer said. One that says more than can be taken loses its session.
    pub fn signal(&self, signal: Signal) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.signals.try_send(signal) {
            tracing::warn!("a viewer floods its session, which ends");
            self.stop();
        }
    }

    /// Whether it carries this camera.
    pub fn carries(&self, camera: &CameraId) -> bool {
        self.cameras.contains(camera)
    }

    /// Whether nothing comes of the viewer, though it should: then the network may be in trouble.
    pub fn is_in_doubt(&self) -> bool {
        *self.in_doubt.borrow()
    }

    /// Asks it to end; it reports when it has.
    pub fn stop(&self) {
        let _ = self.stop.send(true);
    }

    /// Ends it and waits until everything of it is freed.
    pub async fn finish(self) {
        self.stop();
        if self.task.await.is_err() {
            tracing::error!("ending a session panicked");
        }
    }
}

/// Why a session ends.
pub(super) enum End {
    /// The viewer or the broker ended it, or the robot stops.
    Asked,
    /// The viewer is gone.
    Gone(&'static str),
    /// Something is wrong; the viewer is told.
    Failed(ErrorCode, String),
}

impl End {
    fn reason(&self) -> Reason {
        match self {
            Self::Asked => Reason::Asked,
            Self::Gone(_) => Reason::Gone,
            Self::Failed(code, _) => Reason::of(*code),
        }
    }
}

impl From<NoPlace> for End {
    fn from(no_place: NoPlace) -> Self {
        Self::Failed(no_place.code(), no_place.to_string())
    }
}

impl From<ConnectionError> for End {
    fn from(error: ConnectionError) -> Self {
        let code = match &error {
            ConnectionError::Refused(Refused::Candidate) => ErrorCode::BadCandidate,
            ConnectionError::Refused(_) => ErrorCode::BadSdp,
            ConnectionError::Mismatch(_) => ErrorCode::FingerprintMismatch,
            ConnectionError::Gst(_) => ErrorCode::Internal,
        };
        Self::Failed(code, error.to_string())
    }
}

async fn run(
    plan: SessionPlan,
    signals: mpsc::Receiver<Signal>,
    mut stop: watch::Receiver<bool>,
    in_doubt: watch::Sender<bool>,
) {
    let SessionPlan {
        id,
        offer,
        cameras,
        settings,
        telling,
        telemetry,
        control,
        requests,
        link,
        ended,
    } = plan;
    let statuses: Vec<_> =
        cameras.iter().map(|camera| (camera.feed.id.clone(), camera.status.clone())).collect();
    let _claims: Vec<Claim> = cameras.iter().map(|camera| camera.claim.clone()).collect();
    let desk = Desk::new(statuses, control.map(|()| requests));
    let made = tokio::task::spawn_blocking({
        let name = id.to_string();
        move || make(&name, &settings, offer.as_deref(), cameras, telling)
    });
    let end = match made.await {
        Ok(Ok(Made { connection, tracks, answering })) => {
            let mut live = Live {
                id: id.clone(),
                connection,
                tracks,
                telling,
                desk,
                mids: Vec::new(),
                link: link.clone(),
                in_doubt,
            };
            let end = tokio::select! {
                end = live.run(answering, signals, telemetry) => end,
                _ = stop.wait_for(|stop| *stop) => End::Asked,
            };
            say_end(&link, &id, &end);
            live.close().await;
            let _ = ended.send((id, end.reason())).await;
            return;
        }
        Ok(Err(end)) => end,
        Err(error) => End::Failed(ErrorCode::Internal, error.to_string()),
    };
    say_end(&link, &id, &end);
    let _ = ended.send((id, end.reason())).await;
}

fn say_end(link: &Link, id: &SessionId, end: &End) {
    match end {
        End::Asked => tracing::info!(session = %id, "session ended"),
        End::Gone(why) => tracing::info!(session = %id, "session ended: {why}"),
        End::Failed(code, details) => {
            tracing::warn!(session = %id, ?code, "session ended: {details}");
            let (details, session_id) = (details.clone(), Some(id.clone()));
            link.send(PeerRequest::Error(ErrorMessage { details, code: Some(*code), session_id }));
        }
    }
    let reason = Some(EndReason::Ended);
    link.send(PeerRequest::EndSession(SessionEnd { session_id: id.clone(), reason }));
}

struct Live {
    id: SessionId,
    connection: Connection,
    tracks: Vec<SentTrack>,
    telling: Telling,
    desk: Desk,
    /// The tracks' names in the SDP, in their order.
    mids: Vec<String>,
    link: Link,
    in_doubt: watch::Sender<bool>,
}

impl Live {
    async fn run(
        &mut self,
        answering: Option<Answering>,
        mut signals: mpsc::Receiver<Signal>,
        mut telemetry: watch::Receiver<Arc<[u8]>>,
    ) -> End {
        let answered = answering.is_some();
        let negotiated = match answering {
            Some(answering) => self.answer(answering).await,
            None => self.offer().await,
        };
        if let Err(error) = negotiated {
            return error.into();
        }
        let deadline = Instant::now() + NEGOTIATION;
        let mut connected = false;
        let mut liveness = Liveness::default();
        let mut tick = interval(Duration::from_secs(1));
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.connection.next() => match event {
                    ConnectionEvent::Candidate(candidate) => self.say(PeerBody::Ice(candidate)),
                    // Who brings it to the viewer may wait for the last one.
                    ConnectionEvent::Gathered if answered => {
                        let (candidate, sdp_m_line_index) = (String::new(), 0);
                        self.say(PeerBody::Ice(Candidate { candidate, sdp_m_line_index }));
                    }
                    ConnectionEvent::Connected if !connected => {
                        connected = true;
                        tracing::info!(session = %self.id, "session connected");
                        self.start_tracks(answered);
                    }
                    ConnectionEvent::Channel(Channel::Control) => self.desk.say(&self.connection),
                    ConnectionEvent::Message(Channel::Control, message) => {
                        liveness.heard(now().into());
                        self.desk.heard(&message);
                        self.desk.say(&self.connection);
                    }
                    ConnectionEvent::Message(Channel::Telemetry, message) => {
                        // A message that is not understood is of a later version, or nonsense.
                        if let Ok(ViewerMessage::Ping(ping)) = serde_json::from_slice(&message) {
                            let received_us = now_us();
                            if liveness.pinged(now().into()) {
                                // The channel is open: what it would learn within a second, now.
                                self.tell_clocks();
                                self.connection.send(Channel::Telemetry, &telemetry.borrow().clone());
                            }
                            let ping_sent_us = ping.sent_us;
                            let pong = Pong { ping_sent_us, received_us, sent_us: now_us() };
                            self.tell(&RobotMessage::Pong(pong));
                        }
                    }
                    ConnectionEvent::Ended(why) => return End::Gone(why),
                    ConnectionEvent::Failed(error) => return error.into(),
                    ConnectionEvent::Connected
                    | ConnectionEvent::Gathered
                    | ConnectionEvent::Channel(Channel::Telemetry)
                    | ConnectionEvent::Track(_)
                    | ConnectionEvent::JitterBuffer(..) => {}
                },
                signal = signals.recv() => match signal {
                    Some(Signal::Sdp(Sdp::Answer { sdp })) => {
                        if let Err(error) = self.connection.take_answer(&sdp).await {
                            return error.into();
                        }
                    }
                    Some(Signal::Sdp(Sdp::Offer { .. })) => {
                        return End::Failed(ErrorCode::BadSdp, LATE_OFFER.to_owned());
                    }
                    Some(Signal::Candidate(candidate)) => {
                        if let Err(error) = self.connection.add_candidate(&candidate) {
                            self.complain(error);
                        }
                    }
                    // Who offered by WHEP leaves the broker only when that ends the connection; a viewer
                    // that goes says so.
                    Some(Signal::LeftBroker)
                        if connected
                            && (liveness.pings() || answered && liveness.reports()) =>
                    {
                        tracing::info!(session = %self.id, "the viewer has left the broker; media goes on");
                    }
                    Some(Signal::LeftBroker) => return End::Gone("the viewer has left"),
                    None => return End::Asked,
                },
                () = self.desk.news() => self.desk.say(&self.connection),
                Ok(()) = telemetry.changed() => {
                    let newest = telemetry.borrow_and_update().clone();
                    self.connection.send(Channel::Telemetry, &newest);
                }
                _ = tick.tick() => self.tell_clocks(),
                _ = look.tick() => {
                    let now = now().into();
                    if let Some(at) = self.connection.last_report() {
                        liveness.reported(at.into());
                    }
                    if liveness.is_gone(now) {
                        return End::Gone("the viewer has gone silent");
                    }
                    self.in_doubt.send_replace(liveness.is_in_doubt(now));
                }
                () = sleep_until(deadline), if !connected => {
                    let details = format!("no connection within {} s", NEGOTIATION.as_secs());
                    return End::Failed(ErrorCode::NegotiationTimeout, details);
                }
            }
        }
    }

    async fn offer(&mut self) -> Result<(), ConnectionError> {
        let cameras: Vec<CameraId> =
            self.tracks.iter().map(|track| track.camera().clone()).collect();
        let (sdp, sections) = self.connection.offer(&cameras).await?;
        let video = sections.into_iter().filter(|section| section.label.is_some());
        self.mids = video.map(|section| section.mid).collect();
        self.say(PeerBody::Sdp(Sdp::Offer { sdp }));
        Ok(())
    }

    async fn answer(&mut self, answering: Answering) -> Result<(), ConnectionError> {
        let Answering { offer, sections } = answering;
        let cameras: Vec<(usize, CameraId)> = sections
            .iter()
            .zip(&self.tracks)
            .map(|(section, track)| (*section, track.camera().clone()))
            .collect();
        self.mids = sections.iter().map(|section| offer.sections[*section].mid.clone()).collect();
        let sdp = self.connection.answer_sending(offer, &cameras).await?;
        self.say(PeerBody::Sdp(Sdp::Answer { sdp }));
        Ok(())
    }

    fn start_tracks(&mut self, answered: bool) {
        let remote = self.connection.remote().map_or(&[][..], |remote| &remote.sections);
        for (mid, track) in self.mids.iter().zip(&mut self.tracks) {
            let section = remote.iter().find(|section| section.mid == *mid);
            let told = track.told();
            let accepted = match section {
                // An offer is asked for no more than it has.
                Some(_) if answered => told,
                Some(answer) => told.accepted_by(answer),
                None => Told::default(),
            };
            track.start(accepted);
        }
    }

    fn say(&self, body: PeerBody) {
        self.link.send(PeerRequest::Peer(PeerMessage { session_id: self.id.clone(), body }));
    }

    fn complain(&self, error: ConnectionError) {
        if let End::Failed(code, details) = error.into() {
            let session_id = Some(self.id.clone());
            let error = ErrorMessage { details, code: Some(code), session_id };
            self.link.send(PeerRequest::Error(error));
        }
    }

    fn tell_clocks(&self) {
        let now = now();
        let tracks = self.mids.iter().zip(&self.tracks);
        let tracks = tracks
            .map(|(mid, track)| TrackClock { mid: mid.clone(), anchor: track.anchor(now) })
            .collect();
        let epoch_us = Some(self.telling.epoch);
        self.tell(&RobotMessage::Clock(Clock { tracks, epoch_us }));
    }

    fn tell(&self, message: &RobotMessage) {
        if let Ok(json) = serde_json::to_vec(message) {
            self.connection.send(Channel::Telemetry, &json);
        }
    }

    async fn close(mut self) {
        self.tracks.iter_mut().for_each(SentTrack::stop);
        self.connection.close().await;
    }
}

/// What a viewer is told that offers in the midst of a session.
const LATE_OFFER: &str =
    "a session is negotiated once: make the offer when you ask for the session";
