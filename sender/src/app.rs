//! The sender's one event loop: the broker's requests in, sessions and telemetry out.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rovercast_metrics::server::Server;
use rovercast_peer::connection::ConnectionSettings;
use rovercast_peer::ice::IceUrls;
use rovercast_peer::link::{Link, LinkEvent};
use rovercast_peer::start::epoch;
use rovercast_protocol::frame_times::Epoch;
use rovercast_protocol::ids::SessionId;
use rovercast_protocol::signaling::{
    BrokerMessage, CameraMeta, EndReason, ErrorCode, ErrorMessage, Meta, PeerBody, PeerMessage,
    PeerRequest, PeerRole, PeerStatus, ProducerMeta, SessionEnd, SessionStart,
};
use rovercast_protocol::telemetry::{HostFigures, RobotMessage, Telemetry};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::camera::probe::Probe;
use crate::config::Config;
use crate::control::{self, socket::Socket};
use crate::fleet::Fleet;
use crate::metrics::{Metrics, Reason};
use crate::session::policy::{choose_cameras, may_control};
use crate::session::task::{Session, SessionPlan, Signal};
use crate::session::times::Telling;
use crate::telemetry::Host;

/// Ends of sessions that may wait; the sessions wait with them.
const ENDED: usize = 64;

/// Everything is to be freed by then when the sender stops.
const STOPPING: Duration = Duration::from_millis(1500);

/// How often it is looked whether the network seems to be in trouble.
const LOOK: Duration = Duration::from_millis(250);

/// Runs a robot until `shutdown` resolves, then ends its sessions and frees its cameras.
/// Each of `reloads` takes the place of the config.
pub async fn run(
    config: Config,
    probe: Probe,
    mut reloads: mpsc::Receiver<Config>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let socket = match &config.control.socket {
        Some(path) => Some(Socket::open(path).await?),
        None => None,
    };
    let metrics = match config.metrics.address {
        Some(address) => Some(Server::bind(address).await?),
        None => None,
    };
    let (link, mut link_events) = Link::start(config.signaling.target(), status(&config)?);
    let (changed_tx, mut changed) = watch::channel(());
    let fleet = Fleet::start(&config.camera, probe, changed_tx)?;
    let mut devices = fleet.devices();
    let (ended_tx, mut ended) = mpsc::channel(ENDED);
    let (requests_tx, mut requests) = mpsc::channel::<control::Request>(control::REQUESTS);
    let mut app = App {
        config,
        requests: requests_tx,
        fleet,
        sessions: HashMap::new(),
        ice: IceUrls::default(),
        link,
        ended: ended_tx,
        telemetry: watch::Sender::new(Arc::from([])),
        telemetry_seq: 0,
        host: HostFigures::default(),
        epoch: epoch(),
        metrics: Arc::default(),
    };
    app.publish_telemetry();
    let (stop_socket, socket_stopped) = oneshot::channel::<()>();
    let socket = socket.map(|socket| {
        let (requests, telemetry) = (app.requests.clone(), app.telemetry.subscribe());
        tokio::spawn(socket.serve(requests, telemetry, async {
            let _ = socket_stopped.await;
        }))
    });
    let (stop_metrics, metrics_stopped) = oneshot::channel::<()>();
    if let Some(server) = metrics {
        server.announce();
        tokio::spawn(server.serve(app.metrics.clone(), async {
            let _ = metrics_stopped.await;
        }));
    }
    let mut host_figures = watch_host();
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_tick = Instant::now();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            Some(event) = link_events.recv() => app.on_link(event),
            Some((id, reason)) = ended.recv() => {
                app.sessions.remove(&id);
                app.metrics.session_ended(reason);
                app.count_sessions();
            }
            Some(request) = requests.recv() => app.fleet.answer(request),
            Some(config) = reloads.recv() => app.reload(config),
            Ok(()) = devices.changed() => app.fleet.device_appeared(),
            Ok(()) = changed.changed() => app.publish_telemetry(),
            _ = tick.tick() => {
                let now = Instant::now();
                app.host = host_figures.borrow_and_update().clone();
                app.fleet.read_meters(now - last_tick);
                app.fleet.free_retired();
                last_tick = now;
                app.publish_telemetry();
            }
            _ = look.tick() => {
                app.link.doubt(app.sessions.values().any(Session::is_in_doubt));
            }
            () = &mut shutdown => break,
        }
    }
    // Nobody takes them any more.
    drop((stop_socket, stop_metrics, devices, requests));
    if let Some(socket) = socket {
        let _ = timeout(STOPPING, socket).await;
    }
    // Sessions report their end as they finish; nobody else listens now.
    ended.close();
    app.stop().await;
    Ok(())
}

/// As what the robot registers with the broker.
fn status(config: &Config) -> anyhow::Result<PeerStatus> {
    let meta = Meta::of(&meta(config))?;
    Ok(PeerStatus { peer_id: None, roles: vec![PeerRole::Producer], meta: Some(meta) })
}

/// What the robot says of itself to viewers.
fn meta(config: &Config) -> ProducerMeta {
    let camera = |camera: &crate::config::CameraConfig| CameraMeta {
        id: camera.id.clone(),
        label: camera.label().to_owned(),
        width: camera.width,
        height: camera.height,
        fps: camera.fps,
        codec: camera.codec.name().to_owned(),
    };
    ProducerMeta {
        name: config.robot.id.clone(),
        kind: "robot".to_owned(),
        cameras: config.camera.iter().map(camera).collect(),
    }
}

/// Reads the host's figures once a second, away from the event loop: some sensors are slow.
fn watch_host() -> watch::Receiver<HostFigures> {
    let (figures_tx, figures) = watch::channel(HostFigures::default());
    tokio::task::spawn_blocking(move || {
        let mut host = Host::new();
        while !figures_tx.is_closed() {
            std::thread::sleep(Duration::from_secs(1));
            figures_tx.send_replace(host.read());
        }
    });
    figures
}

struct App {
    config: Config,
    requests: mpsc::Sender<control::Request>,
    fleet: Fleet,
    sessions: HashMap<SessionId, Session>,
    ice: IceUrls,
    link: Link,
    ended: mpsc::Sender<(SessionId, Reason)>,
    telemetry: watch::Sender<Arc<[u8]>>,
    telemetry_seq: u64,
    host: HostFigures,
    epoch: Epoch,
    metrics: Arc<Metrics>,
}

impl App {
    fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up(welcome) => {
                tracing::info!(peer_id = %welcome.peer_id, "registered with the broker");
                self.ice = IceUrls::from_servers(&welcome.ice_servers);
                self.metrics.linked.store(true, Ordering::Relaxed);
            }
            LinkEvent::Down(reason) => {
                self.metrics.linked.store(false, Ordering::Relaxed);
                // Sessions need no broker once they are connected.
                tracing::warn!(sessions = self.sessions.len(), "{reason}; trying again");
            }
            LinkEvent::IceServers(servers) => self.ice = IceUrls::from_servers(&servers),
            LinkEvent::Message(BrokerMessage::StartSession(start)) => self.start_session(start),
            LinkEvent::Message(BrokerMessage::EndSession(end)) => {
                let Some(session) = self.sessions.get(&end.session_id) else { return };
                // Of the way to the broker, at either end, connected sessions have no need.
                if matches!(end.reason, Some(EndReason::PeerLeft | EndReason::BrokerStops)) {
                    session.signal(Signal::LeftBroker);
                } else {
                    session.stop();
                }
            }
            LinkEvent::Message(BrokerMessage::Peer(PeerMessage { session_id, body })) => {
                let signal = match body {
                    PeerBody::Sdp(sdp) => Signal::Sdp(sdp),
                    PeerBody::Ice(candidate) => Signal::Candidate(candidate),
                };
                if let Some(session) = self.sessions.get(&session_id) {
                    session.signal(signal);
                }
            }
            LinkEvent::Message(BrokerMessage::Error(error)) => {
                tracing::info!(code = ?error.code, session = ?error.session_id, "broker: {}", error.details);
            }
            LinkEvent::Message(_) => {}
        }
    }

    fn start_session(&mut self, start: SessionStart) {
        let available = self.fleet.ids();
        let id = start.session_id;
        if self.sessions.contains_key(&id) {
            return self.refuse(id, ErrorCode::Internal, "this session exists already");
        }
        if self.sessions.len() >= self.config.sessions.max {
            let details =
                "the robot has as many viewers as it may: try again later, or raise sessions.max";
            return self.refuse(id, ErrorCode::TooManySessions, details);
        }
        let Some(chosen) = choose_cameras(start.cameras.as_deref(), &available) else {
            return self.refuse(
                id,
                ErrorCode::UnknownCamera,
                "the robot has none of these cameras",
            );
        };
        tracing::info!(session = %id, viewer = %start.peer_id, cameras = chosen.len(), "session starts");
        let plan = SessionPlan {
            id: id.clone(),
            offer: start.offer,
            cameras: self.fleet.of_session(&chosen),
            settings: ConnectionSettings {
                ice: self.ice.clone(),
                policy: self.config.signaling.ice_transport_policy,
                fec_percent: self.config.sessions.fec_percent,
                ..Default::default()
            },
            telling: Telling {
                epoch: self.epoch,
                playout_delay: self.config.sessions.playout_delay,
            },
            telemetry: self.telemetry.subscribe(),
            control: may_control(self.config.sessions.control_cameras, start.control),
            requests: self.requests.clone(),
            link: self.link.clone(),
            ended: self.ended.clone(),
        };
        self.sessions.insert(id, Session::start(plan));
        self.metrics.session_started();
        self.count_sessions();
    }

    fn count_sessions(&self) {
        self.metrics.sessions.store(self.sessions.len() as u64, Ordering::Relaxed);
    }

    /// Takes another config. Sessions go on, but those with a camera whose codec is another: it was
    /// agreed upon when they began, so that their viewers must ask for new ones.
    fn reload(&mut self, config: Config) {
        let config = self.reloadable(config);
        let recoded = self.fleet.reload(&config.camera);
        for session in self.sessions.values() {
            if recoded.iter().any(|camera| session.carries(camera)) {
                session.stop();
            }
        }
        match status(&config) {
            Ok(status) => self.link.set_status(status),
            Err(error) => tracing::error!("reloading: {error:#}"),
        }
        self.config = config;
        self.publish_telemetry();
        tracing::info!("the config is reloaded");
    }

    /// What of a config can be taken while the robot runs; the rest stays as it is.
    fn reloadable(&self, config: Config) -> Config {
        let Config { robot, signaling, control, metrics, .. } = &self.config;
        let stays = [
            ("robot.id", config.robot != *robot),
            ("signaling", config.signaling != *signaling),
            ("control.socket", config.control != *control),
            ("metrics.address", config.metrics != *metrics),
        ];
        for (key, _) in stays.into_iter().filter(|(_, differs)| *differs) {
            tracing::warn!("{key} stays as it is until the sender is started again");
        }
        let (robot, signaling) = (robot.clone(), signaling.clone());
        Config { robot, signaling, control: control.clone(), metrics: metrics.clone(), ..config }
    }

    fn refuse(&self, session_id: SessionId, code: ErrorCode, details: &str) {
        tracing::info!(session = %session_id, ?code, "session refused: {details}");
        self.metrics.session_ended(Reason::of(code));
        let error = ErrorMessage {
            details: details.to_owned(),
            code: Some(code),
            session_id: Some(session_id.clone()),
        };
        self.link.send(PeerRequest::Error(error));
        let reason = Some(EndReason::Ended);
        self.link.send(PeerRequest::EndSession(SessionEnd { session_id, reason }));
    }

    fn publish_telemetry(&mut self) {
        self.metrics.set_cameras(self.fleet.metrics());
        self.telemetry_seq += 1;
        let message = RobotMessage::Telemetry(Telemetry {
            seq: self.telemetry_seq,
            host: self.host.clone(),
            cameras: self.fleet.figures(),
        });
        match serde_json::to_vec(&message) {
            Ok(json) => {
                self.telemetry.send_replace(json.into());
            }
            Err(error) => tracing::error!(%error, "telemetry"),
        }
    }

    /// Ends every session and camera, side by side.
    async fn stop(self) {
        let mut ending = JoinSet::new();
        for session in self.sessions.into_values() {
            ending.spawn(session.finish());
        }
        self.fleet.stop(&mut ending);
        let all = async { while ending.join_next().await.is_some() {} };
        if timeout(STOPPING, all).await.is_err() {
            tracing::warn!("not everything could be freed in time");
        }
    }
}
