//! The receiver's one event loop: a robot followed for as long as it takes.

mod figures;
mod media;
mod signalling;

use std::collections::BTreeSet;
use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::anyhow;
use rovercast_peer::addresses;
use rovercast_peer::ice::{IceUrls, TransportPolicy};
use rovercast_peer::link::{Link, Target};
use rovercast_peer::start::{now, now_us};
use rovercast_protocol::ids::{CameraId, PeerId, RobotId};
use rovercast_protocol::signaling::{
    EndReason, PeerRequest, PeerRole, PeerStatus, SessionEnd, SessionRequest,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::decode::DecodeSettings;
use crate::errand::Errand;
use crate::output::Output;
use crate::playout;
use crate::policy::{Action, Slot, Watch};
use crate::record::{self, State};
use crate::recording::Recordings;
use crate::report::{Report, Reports};
use crate::sessions::Sessions;
use crate::views::Views;
use crate::window::{Recording, Way};

/// Failed views that may wait; more are of views that failed before.
const FAILURES: usize = 64;

/// A snapshot has to be there by then.
const SNAPSHOT: Duration = Duration::from_secs(30);

/// How often it is looked whether something has to be done.
const LOOK: Duration = Duration::from_millis(50);

/// How often robots are pinged: by the answers a silent network is told from silent cameras.
const PING: Duration = Duration::from_millis(200);

/// All sessions are to be closed by then when the receiver stops.
const STOPPING: Duration = Duration::from_millis(1500);

/// What to receive, and where it goes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The broker.
    pub broker: Target,
    /// Which paths pictures may take.
    pub policy: TransportPolicy,
    /// The robot.
    pub robot: RobotId,
    /// Its cameras; all when empty.
    pub cameras: Vec<CameraId>,
    /// Where pictures go.
    pub output: Output,
    /// What decodes them.
    pub decode: DecodeSettings,
    /// How to record, when that is wanted.
    pub record: record::Settings,
    /// How missing packets are waited for.
    pub playout: playout::Settings,
}

impl Settings {
    /// All cameras of a robot, with the defaults of everything else.
    pub fn new(broker: impl Into<Target>, robot: RobotId, output: Output) -> Self {
        let (broker, policy) = (broker.into(), TransportPolicy::All);
        let decode = DecodeSettings::default();
        let playout = playout::Settings::default();
        let record = record::Settings::default();
        Self { broker, policy, robot, cameras: Vec::new(), output, decode, record, playout }
    }
}

/// Receives until `shutdown` resolves. An error means that nothing can be shown any more.
/// Records while `recording` is true.
pub async fn run(
    settings: Settings,
    reports: Reports,
    recording: watch::Receiver<bool>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    follow(settings, reports, recording, None, shutdown).await
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
    let (_never, recording) = watch::channel(false);
    follow(settings, Reports::none(), recording, Some(errand), done).await?;
    outcome
}

async fn follow(
    settings: Settings,
    reports: Reports,
    mut recording: watch::Receiver<bool>,
    errand: Option<Errand>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let mut recordings = Recordings::new(settings.record.clone(), settings.robot.clone());
    if *recording.borrow_and_update() {
        recordings.begin()?;
    }
    let status = PeerStatus { peer_id: None, roles: vec![PeerRole::Listener], meta: None };
    let (link, mut link_events) = Link::start(settings.broker.clone(), status);
    let (failures_tx, mut failures) = mpsc::channel(FAILURES);
    let views = Views::new(settings.output.clone(), &settings.decode, failures_tx);
    let mut app = App {
        settings,
        reports,
        recordings,
        link,
        ice: IceUrls::default(),
        watch: Watch::default(),
        linked: false,
        peers: Vec::new(),
        sessions: Sessions::default(),
        views,
        addresses: addresses::present().unwrap_or_default(),
        errand,
    };
    let (mut look, mut ping, mut second) = (every(LOOK), every(PING), every(SECOND));
    let mut last_report = Instant::now();
    let mut shutdown = std::pin::pin!(shutdown);
    let outcome = loop {
        tokio::select! {
            Some(event) = link_events.recv() => app.on_link(event).await,
            (slot, event) = app.sessions.next() => app.on_connection(slot, event).await,
            Some(opened) = app.views.opened() => app.on_opened(opened),
            Some(failure) = failures.recv() => {
                if let Err(error) = app.on_failed_view(failure).await {
                    break Err(error);
                }
            }
            Ok(()) = recording.changed() => {
                let wanted = *recording.borrow_and_update();
                app.record(wanted);
            }
            _ = look.tick() => app.look(),
            _ = ping.tick() => app.ping(),
            _ = second.tick() => {
                let now = Instant::now();
                app.report(now - last_report);
                last_report = now;
            }
            () = &mut shutdown => break Ok(()),
        }
    };
    app.stop().await;
    outcome
}

const SECOND: Duration = Duration::from_secs(1);

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

struct App {
    settings: Settings,
    reports: Reports,
    recordings: Recordings,
    link: Link,
    ice: IceUrls,
    watch: Watch,
    /// Whether there is a link to the broker.
    linked: bool,
    /// The robot's connections to the broker, the newest last.
    peers: Vec<PeerId>,
    sessions: Sessions,
    views: Views,
    /// Of this host.
    addresses: BTreeSet<IpAddr>,
    /// What the receiver is here for, when it is not here to show anything.
    errand: Option<Errand>,
}

impl App {
    /// Tells the policy what has come by each session, and does what it says.
    fn look(&mut self) {
        let at: Duration = now().into();
        for (slot, session) in self.sessions.iter() {
            if let Some(heard) = session.heard() {
                self.watch.heard(slot, heard);
            }
            if slot == Slot::Pending && session.turn.shows() {
                self.watch.pending_shows();
            }
        }
        for slot in [Slot::Current, Slot::Pending] {
            if let Some(session) = self.sessions.get_mut(slot) {
                session.look(at, &self.settings.playout);
            }
        }
        for camera in self.views.free_stuck() {
            tracing::warn!(%camera, "the output takes no pictures; they are dropped");
        }
        self.link.doubt(self.watch.is_in_trouble(at));
        if let Some(wall) = self.settings.output.wall() {
            wall.way(self.way());
        }
        match self.watch.action(at) {
            Action::Wait => {}
            Action::Start(peer) => self.start(peer),
            Action::Promote => self.promote(),
            Action::GiveUp(slot, why) => {
                let robot = &self.settings.robot;
                match slot {
                    Slot::Current => tracing::warn!("the session with {robot} is given up: {why}"),
                    Slot::Pending => tracing::info!("an attempt with {robot} is given up: {why}"),
                }
                if self.watch.is_asked() && !self.watch.is_connected(at) {
                    self.ask_another();
                }
                self.end(slot, why);
            }
        }
    }

    /// Begins or ends a recording.
    fn record(&mut self, wanted: bool) {
        if !wanted {
            self.recordings.end();
        } else if let Err(error) = self.recordings.begin() {
            tracing::error!("nothing is recorded: {error:#}");
            if let Some(wall) = self.settings.output.wall() {
                wall.note(format!("nothing is recorded: {error:#}"), true);
            }
        }
        self.views.set_taps(|camera, view| self.recordings.tap(camera, view.meter()));
        self.show_recording();
    }

    fn show_recording(&self) {
        let Some(wall) = self.settings.output.wall() else { return };
        wall.recording(self.recordings.state().map(|State { since, warning, .. }| {
            let lasted = since.elapsed().unwrap_or_default();
            let lasted_us = i64::try_from(lasted.as_micros()).unwrap_or(i64::MAX);
            Recording { since_us: now_us().saturating_sub(lasted_us), warning }
        }));
    }

    /// Tells whoever wants to know.
    fn tell(&self, report: &Report) {
        self.recordings.tell(report);
        self.reports.send(report);
    }

    /// How far we have come on the way to the robot.
    fn way(&self) -> Way {
        match (self.watch.is_connected(now().into()), self.linked, self.peers.is_empty()) {
            (true, ..) => Way::Connected,
            (_, false, _) => Way::NoBroker,
            (_, _, true) => Way::Offline,
            _ => Way::Connecting,
        }
    }

    fn start(&mut self, peer_id: PeerId) {
        if !self.sessions.has_room() {
            return;
        }
        self.watch.asked(peer_id.clone(), now().into());
        let cameras = &self.settings.cameras;
        let cameras = (!cameras.is_empty()).then(|| cameras.clone());
        self.link.send(PeerRequest::StartSession(SessionRequest { peer_id, offer: None, cameras }));
    }

    fn promote(&mut self) {
        self.watch.promoted();
        if let Some(before) = self.sessions.promote() {
            tracing::info!("another session with {} takes over", self.settings.robot);
            self.say_end(before.id.clone());
            self.sessions.close(before);
        }
    }

    /// The connection that was asked gives nothing: the next attempt is with another, if there is.
    fn ask_another(&mut self) {
        if self.peers.len() > 1 {
            self.peers.rotate_right(1);
            self.follow_newest();
        }
    }

    fn ping(&mut self) {
        self.sessions.iter().for_each(|(_, session)| session.ping());
        if let Some(present) = addresses::present()
            && present != self.addresses
        {
            tracing::info!("this host has other addresses now");
            self.addresses = present;
            self.watch.moved(now().into());
        }
    }

    /// Ends a session, and says so.
    fn end(&mut self, slot: Slot, why: &str) {
        if let Some(session) = self.sessions.get(slot) {
            tracing::debug!(session = %session.id, "ending the session: {why}");
            self.say_end(session.id.clone());
        }
        self.drop_session(slot);
    }

    fn say_end(&self, session_id: rovercast_protocol::ids::SessionId) {
        let reason = Some(EndReason::Ended);
        self.link.send(PeerRequest::EndSession(SessionEnd { session_id, reason }));
    }

    fn drop_session(&mut self, slot: Slot) {
        if let Some(session) = self.sessions.take(slot) {
            self.sessions.close(session);
        }
        self.watch.ended(slot, now().into(), rand());
    }

    async fn stop(mut self) {
        for slot in [Slot::Pending, Slot::Current] {
            if self.sessions.get(slot).is_some() {
                self.end(slot, "the receiver stops");
            }
        }
        // First the views: a session may be waiting for an output in the middle of a push.
        self.views.stop().await;
        if timeout(STOPPING, self.sessions.closed()).await.is_err() {
            tracing::warn!("not every session could be closed in time");
        }
        self.recordings.stop().await;
    }
}

fn rand() -> f64 {
    rand::random()
}
