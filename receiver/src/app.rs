//! The receiver's one event loop: a robot followed for as long as it takes.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{anyhow, bail};
use rovercast_peer::channel::Channel;
use rovercast_peer::connection::{
    Connection, ConnectionError, ConnectionEvent, ConnectionSettings, Track,
};
use rovercast_peer::ice::IceUrls;
use rovercast_peer::link::{Link, LinkEvent};
use rovercast_peer::negotiation::Section;
use rovercast_peer::start::now;
use rovercast_protocol::codec::Codec;
use rovercast_protocol::control;
use rovercast_protocol::ids::{CameraId, PeerId, RobotId, SessionId};
use rovercast_protocol::signaling::{
    BrokerMessage, EndReason, ErrorCode, PeerBody, PeerMessage, PeerRequest, PeerRole, PeerStatus,
    Sdp, SessionEnd, SessionRequest,
};
use rovercast_protocol::telemetry::RobotMessage;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::errand::Errand;
use crate::output::Output;
use crate::policy::{Action, Watch};
use crate::report::{CameraReport, Report, Reports, Spread};
use crate::robots::robot_id;
use crate::session::Session;
use crate::view::ViewFailed;
use crate::views::Views;

/// Failed views that may wait; more are of views that failed before.
const FAILURES: usize = 64;

/// A snapshot has to be there by then.
const SNAPSHOT: Duration = Duration::from_secs(30);

/// How often it is looked whether something has to be done.
const LOOK: Duration = Duration::from_millis(100);

/// What to receive, and where it goes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The broker's WebSocket.
    pub url: String,
    /// The robot.
    pub robot: RobotId,
    /// Its cameras; all when empty.
    pub cameras: Vec<CameraId>,
    /// Where pictures go.
    pub output: Output,
    /// The longest that a missing packet is waited for.
    pub jitter_buffer: Duration,
}

/// Receives until `shutdown` resolves. An error means that nothing can be shown any more.
pub async fn run(
    settings: Settings,
    reports: Reports,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    follow(settings, reports, None, shutdown).await
}

/// Has the robot take a JPEG of what a camera sees; shows nothing. Empty when `shutdown` resolves
/// first. The error is the robot's reason, or that it is not there.
pub async fn snapshot(
    settings: Settings,
    camera: CameraId,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<Vec<u8>> {
    let robot = settings.robot.clone();
    let (errand, taken) = Errand::new(camera);
    let mut outcome = Ok(Vec::new());
    let done = async {
        tokio::select! {
            taken = timeout(SNAPSHOT, taken) => outcome = match taken {
                Ok(Ok(Ok(jpeg))) => Ok(jpeg),
                Ok(Ok(Err(reason))) => Err(anyhow!(reason)),
                Ok(Err(_)) => Err(anyhow!("the receiver has ended")),
                Err(_) => Err(anyhow!(
                    "no snapshot within {} s: is robot {robot} on-line, and does it take snapshots?",
                    SNAPSHOT.as_secs()
                )),
            },
            () = shutdown => {}
        }
    };
    follow(settings, Reports::none(), Some(errand), done).await?;
    outcome
}

async fn follow(
    settings: Settings,
    reports: Reports,
    errand: Option<Errand>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let status = PeerStatus { peer_id: None, roles: vec![PeerRole::Listener], meta: None };
    let (link, mut link_events) = Link::start(settings.url.clone(), status);
    let (failures_tx, mut failures) = mpsc::channel(FAILURES);
    let views = Views::new(settings.output.clone(), failures_tx);
    let mut app = App {
        settings,
        reports,
        link,
        ice: IceUrls::default(),
        watch: Watch::default(),
        peers: Vec::new(),
        session: None,
        views,
        waiting: BTreeMap::new(),
        errand,
    };
    let mut look = interval(LOOK);
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_report = Instant::now();
    let mut shutdown = std::pin::pin!(shutdown);
    let outcome = loop {
        tokio::select! {
            Some(event) = link_events.recv() => app.on_link(event).await,
            event = next_of(&mut app.session) => app.on_connection(event).await,
            Some(opened) = app.views.opened() => app.on_opened(opened).await,
            Some(failure) = failures.recv() => {
                if let Err(error) = app.on_failed_view(failure).await {
                    break Err(error);
                }
            }
            _ = look.tick() => app.look().await,
            _ = second.tick() => {
                let now = Instant::now();
                app.report(now - last_report);
                last_report = now;
            }
            () = &mut shutdown => break Ok(()),
        }
    };
    app.end_session("the receiver stops").await;
    app.views.stop().await;
    outcome
}

/// The camera of a media section: producers that do not name theirs are known by the track's name.
fn camera(section: &Section) -> Option<CameraId> {
    let name = section.label.clone().or_else(|| section.mid.parse().ok());
    name.filter(|_| section.kind == "video" && !section.rejected)
}

fn codec(track: &Track) -> Option<Codec> {
    track.encoding()?.parse().ok()
}

async fn next_of(session: &mut Option<Session>) -> ConnectionEvent {
    match session {
        Some(session) => session.next().await,
        None => std::future::pending().await,
    }
}

struct App {
    settings: Settings,
    reports: Reports,
    link: Link,
    ice: IceUrls,
    watch: Watch,
    /// The robot's connections to the broker, the newest last.
    peers: Vec<PeerId>,
    session: Option<Session>,
    views: Views,
    /// Tracks whose view is not there yet.
    waiting: BTreeMap<CameraId, Track>,
    /// What the receiver is here for, when it is not here to show anything.
    errand: Option<Errand>,
}

impl App {
    async fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up(welcome) => {
                tracing::info!("connected to the broker at {}", self.settings.url);
                self.ice = IceUrls::from_servers(&welcome.ice_servers);
                self.link.send(PeerRequest::List);
            }
            LinkEvent::Down(reason) => {
                tracing::warn!("{reason}; trying again");
                self.peers.clear();
                self.watch.link_down(now().into(), rand());
                if !self.watch.is_connected() && self.session.is_some() {
                    self.close_connection().await;
                }
            }
            LinkEvent::Message(message) => self.on_message(message).await,
        }
    }

    async fn on_message(&mut self, message: BrokerMessage) {
        match message {
            BrokerMessage::List { producers } => {
                let robots =
                    producers.iter().filter(|info| self.is_robot(&info.id, info.meta.as_ref()));
                self.peers = robots.map(|info| info.id.clone()).collect();
                if self.peers.is_empty() {
                    tracing::info!("robot {} is not on-line; waiting for it", self.settings.robot);
                }
                self.follow_newest();
            }
            BrokerMessage::PeerStatusChanged(status) => {
                let Some(peer) = status.peer_id else { return };
                self.peers.retain(|known| *known != peer);
                if status.roles.contains(&PeerRole::Producer)
                    && self.is_robot(&peer, status.meta.as_ref())
                {
                    self.peers.push(peer);
                }
                self.follow_newest();
            }
            BrokerMessage::SessionStarted(started) => {
                self.on_session_started(started.session_id).await;
            }
            BrokerMessage::Peer(PeerMessage { session_id, body }) => {
                let current = self.session.as_mut().filter(|session| session.id == session_id);
                match (current, body) {
                    (Some(session), PeerBody::Ice(candidate)) => session.candidate(&candidate),
                    (Some(_), PeerBody::Sdp(Sdp::Offer { sdp })) => self.on_offer(&sdp).await,
                    _ => {}
                }
            }
            BrokerMessage::EndSession(end) => {
                let current = self.session.as_ref().map(|session| &session.id);
                if current != Some(&end.session_id) {
                    return;
                }
                if end.reason == Some(EndReason::PeerLeft) && self.watch.is_connected() {
                    // Its media may go on without the broker.
                    self.watch.orphaned();
                } else {
                    tracing::info!("the robot has ended the session");
                    self.drop_session().await;
                }
            }
            BrokerMessage::Error(error) => {
                tracing::warn!(code = ?error.code, "{}", error.details);
                if error.code == Some(ErrorCode::UnknownCamera)
                    && let Some(errand) = &mut self.errand
                {
                    errand.finish(Err(error.details.clone()));
                }
                // One about a session is about an earlier one, or the session's end follows.
                if error.session_id.is_none() {
                    self.watch.refused(now().into(), rand());
                }
            }
            _ => {}
        }
    }

    fn is_robot(&self, peer: &PeerId, meta: Option<&serde_json::Value>) -> bool {
        robot_id(peer, meta).as_ref() == Some(&self.settings.robot)
    }

    /// Follows the connection of the robot that came last: where there are two, the older one has
    /// most likely broken without the broker's knowing yet.
    fn follow_newest(&mut self) {
        self.watch.robot(self.peers.last().cloned());
    }

    /// The connection that was asked gives nothing: the next attempt is with another, if there is.
    fn ask_another(&mut self) {
        if self.peers.len() > 1 {
            self.peers.rotate_right(1);
            self.follow_newest();
        }
    }

    async fn on_session_started(&mut self, id: SessionId) {
        if self.session.is_some() || !self.watch.is_asked() {
            // An attempt that was given up before it was answered.
            return self.say_end(id);
        }
        let settings = ConnectionSettings {
            ice: self.ice.clone(),
            jitter_buffer: self.settings.jitter_buffer,
        };
        let name = id.to_string();
        match spawn_blocking(move || Connection::new(&name, &settings)).await {
            Ok(Ok(connection)) => self.session = Some(Session::new(id, connection)),
            Ok(Err(error)) => {
                tracing::error!("{error}");
                self.say_end(id);
                self.watch.ended(now().into(), rand());
            }
            Err(error) => tracing::error!("{error}"),
        }
    }

    async fn on_offer(&mut self, sdp: &str) {
        let Some(session) = &mut self.session else { return };
        match session.answer(sdp).await {
            Ok(sdp) => {
                let body = PeerBody::Sdp(Sdp::Answer { sdp });
                let session_id = session.id.clone();
                self.link.send(PeerRequest::Peer(PeerMessage { session_id, body }));
                if self.errand.is_some() {
                    return;
                }
                // Made now, while the connection comes up: decoders and windows take a while.
                let sections = session.connection.remote().map(|remote| &remote.sections);
                for section in sections.into_iter().flatten() {
                    if let (Some(camera), Some(codec)) = (camera(section), section.codec) {
                        self.views.open(camera, codec);
                    }
                }
            }
            Err(error) => self.fail(&error).await,
        }
    }

    async fn on_connection(&mut self, event: ConnectionEvent) {
        let Some(session) = &mut self.session else { return };
        match event {
            ConnectionEvent::Candidate(candidate) => {
                let (session_id, body) = (session.id.clone(), PeerBody::Ice(candidate));
                self.link.send(PeerRequest::Peer(PeerMessage { session_id, body }));
            }
            ConnectionEvent::Connected => {
                tracing::info!("connected to {}", self.settings.robot);
                self.watch.heard(now().into());
            }
            // The robot answers with everything that is worth knowing at the start.
            ConnectionEvent::Channel(Channel::Telemetry) => session.ping(),
            ConnectionEvent::Channel(Channel::Control) => {
                if let Some(errand) = &mut self.errand {
                    session.ask(&errand.begin());
                }
            }
            ConnectionEvent::Track(track) => self.on_track(track).await,
            ConnectionEvent::JitterBuffer(ssrc, element) => session.jitter_buffer(ssrc, element),
            ConnectionEvent::Message(Channel::Control, message) => {
                self.watch.heard(now().into());
                // What is not understood is of a later version, or nonsense.
                if let Ok(message) = serde_json::from_slice(&message) {
                    self.on_control(message);
                }
            }
            ConnectionEvent::Message(Channel::Telemetry, message) => {
                self.watch.heard(now().into());
                if let Some(RobotMessage::Telemetry(telemetry)) = session.message(&message) {
                    let robot = self.settings.robot.clone();
                    self.reports.send(Report::Telemetry { robot, telemetry });
                }
            }
            ConnectionEvent::Ended(why) => {
                tracing::warn!("the session with {} is over: {why}", self.settings.robot);
                self.end_session(why).await;
            }
            ConnectionEvent::Failed(error) => self.fail(&error).await,
        }
    }

    async fn on_track(&mut self, track: Track) {
        if self.errand.is_some() {
            return self.discard(track).await;
        }
        let camera = camera(&track.section);
        if let (Some(camera), Some(codec)) = (camera.clone(), codec(&track)) {
            // The section may have offered several codecs, and the view be made for another.
            self.views.open(camera.clone(), codec);
            if self.views.get(&camera, codec).is_some() {
                return self.attach(camera, track).await;
            }
            if self.views.is_opening(&camera) {
                if let Some(earlier) = self.waiting.insert(camera, track) {
                    self.discard(earlier).await;
                }
                return;
            }
        }
        let (mid, encoding) = (&track.section.mid, track.encoding().unwrap_or_default());
        tracing::warn!(?camera, %encoding, "track {mid} is not shown");
        self.discard(track).await;
    }

    /// What the robot says of its cameras' signals, and its answers.
    fn on_control(&mut self, message: control::RobotMessage) {
        if let Some(errand) = &mut self.errand {
            return errand.heard(message);
        }
        let robot = self.settings.robot.clone();
        match message {
            control::RobotMessage::SignalLost(signal) => {
                tracing::warn!("camera {}: signal lost: {}", signal.camera, signal.reason);
                self.reports.send(Report::SignalLost { robot, signal });
            }
            control::RobotMessage::SignalRestored(signal) => {
                let seconds = signal.lost_us as f64 / 1e6;
                tracing::warn!("camera {}: signal restored after {seconds:.1} s", signal.camera);
                self.reports.send(Report::SignalRestored { robot, signal });
            }
            // Nothing was asked.
            control::RobotMessage::Result(_) | control::RobotMessage::Snapshot(_) => {}
        }
    }

    async fn discard(&mut self, track: Track) {
        if let Some(session) = &self.session
            && let Err(error) = session.discard(track)
        {
            self.fail(&error).await;
        }
    }

    async fn on_opened(&mut self, camera: CameraId) {
        if let Some(track) = self.waiting.remove(&camera) {
            self.attach(camera, track).await;
        }
    }

    async fn attach(&mut self, camera: CameraId, track: Track) {
        let Some(codec) = codec(&track) else { return };
        let (Some(session), Some(view)) = (&mut self.session, self.views.get(&camera, codec))
        else {
            return;
        };
        let entrance = view.entrance(self.settings.jitter_buffer);
        if let Err(error) = session.attach(track, codec, camera, entrance, view.meter()) {
            self.fail(&error).await;
        }
    }

    /// A view that failed stays away; with the last one gone there is nothing left to do.
    async fn on_failed_view(&mut self, failure: ViewFailed) -> anyhow::Result<()> {
        let ViewFailed { camera, reason } = failure;
        tracing::error!(%camera, "{reason}");
        if let Some(track) = self.waiting.remove(&camera) {
            self.discard(track).await;
        }
        self.views.close(camera).await;
        if self.views.is_empty() {
            bail!("no camera can be shown any more: {reason}");
        }
        Ok(())
    }

    async fn look(&mut self) {
        if let Some(session) = &self.session
            && session.heard_us() > 0
            && self.watch.is_connected()
        {
            let heard_us = u64::try_from(session.heard_us()).unwrap_or(0);
            self.watch.heard(Duration::from_micros(heard_us));
        }
        for camera in self.views.free_stuck() {
            tracing::warn!(%camera, "the output takes no pictures; they are dropped");
        }
        match self.watch.action(now().into()) {
            Action::Wait => {}
            Action::Start(peer_id) => {
                self.watch.asked(now().into());
                let cameras = &self.settings.cameras;
                let cameras = (!cameras.is_empty()).then(|| cameras.clone());
                let request = SessionRequest { peer_id, offer: None, cameras };
                self.link.send(PeerRequest::StartSession(request));
            }
            Action::GiveUp(why) => {
                tracing::warn!("the session with {} is given up: {why}", self.settings.robot);
                let attempt = self.watch.is_asked();
                self.end_session(why).await;
                if attempt {
                    self.ask_another();
                }
            }
        }
    }

    /// Ends a session in which something is wrong. The robot is told no more than that it is over:
    /// other programs that produce take an error of one viewer for their own.
    async fn fail(&mut self, error: &ConnectionError) {
        tracing::error!("{error}");
        self.end_session(&error.to_string()).await;
    }

    async fn end_session(&mut self, why: &str) {
        if let Some(session) = &self.session {
            tracing::debug!(session = %session.id, "ending the session: {why}");
            self.say_end(session.id.clone());
        }
        self.drop_session().await;
    }

    fn say_end(&self, session_id: SessionId) {
        let reason = Some(EndReason::Ended);
        self.link.send(PeerRequest::EndSession(SessionEnd { session_id, reason }));
    }

    async fn drop_session(&mut self) {
        self.close_connection().await;
        self.watch.ended(now().into(), rand());
    }

    async fn close_connection(&mut self) {
        self.waiting.clear();
        if let Some(session) = self.session.take() {
            self.views.interrupted(session.connection.close()).await;
        }
    }

    fn report(&mut self, elapsed: Duration) {
        if let Some(session) = &self.session {
            session.ping();
        }
        let seconds = elapsed.as_secs_f64().max(0.001);
        for (camera, view) in self.views.iter_mut() {
            let meter = view.meter().clone();
            let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
            let (decoded, bytes) = (load(&meter.decoded), load(&meter.bytes));
            let (frames, received) = view.since_last_report(decoded, bytes);
            let shown = meter.take_shown();
            let session = self.session.as_ref();
            let network = session.map(|session| session.network(camera)).unwrap_or_default();
            let latencies = session.map(|session| session.latencies_us(camera, &shown));
            let offset = session.and_then(Session::offset);
            self.reports.send(Report::Camera(CameraReport {
                robot: self.settings.robot.clone(),
                camera: camera.clone(),
                connected: self.watch.is_connected(),
                width: meter.width.load(Ordering::Relaxed),
                height: meter.height.load(Ordering::Relaxed),
                fps: frames as f64 / seconds,
                bitrate_kbps: (received as f64 * 8.0 / 1000.0 / seconds) as u64,
                packets_lost: network.packets_lost,
                frames_decoded: decoded,
                frames_dropped: load(&meter.dropped),
                jitter_buffer_ms: network.jitter_buffer_ms,
                jitter_ms: network.jitter_ms,
                latency_ms: latencies.and_then(Spread::of_us),
                clock_error_ms: offset.map(|offset| offset.rtt_us as f64 / 2000.0),
            }));
        }
    }
}

fn rand() -> f64 {
    rand::random()
}
