//! A camera as the rest of the sender sees it.

use std::sync::Arc;
use std::time::Duration;

use gst_utils::StreamProducer;
use rovercast_peer::start::now;
use rovercast_protocol::control::Refusal;
use rovercast_protocol::telemetry::{CameraState, PictureFault};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::camera::counters::{Counters, Demand};
use crate::camera::launch::Contexts;
use crate::camera::output::{Feed, Output};
use crate::camera::probe::Probe;
use crate::camera::pulse::Pulse;
use crate::camera::seam::Seam;
use crate::camera::supervisor::Supervisor;
use crate::camera::task::device::{SourceSlot, coded_origin, expectations};
use crate::camera::task::{EVENTS, Life};
use crate::camera::worker::Workers;
use crate::config::CameraConfig;
use crate::control::{Answer, Change, Reply, refused};

/// Requests that may wait for the camera; of more the newest are refused.
const REQUESTS: usize = 16;

/// How a camera is, at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whether it delivers.
    pub state: CameraState,
    /// Why it does not.
    pub reason: Option<String>,
    /// The encoder in use.
    pub encoder: Option<&'static str>,
    /// Since when it is in this state: the shared clock, microseconds.
    pub since_us: i64,
    /// What seems wrong with its pictures.
    pub fault: Option<PictureFault>,
}

/// A key frame that is not there by then does not come.
const KEY_FRAME: Duration = Duration::from_secs(5);

const STOPPING: &str = "the camera is being stopped";

pub(super) const BUSY: &str = "the camera has too much to do: try again";

/// Where a key frame will come, once there is one.
pub(super) type Promise = Result<oneshot::Receiver<gst::Sample>, Refusal>;

/// What is asked of a camera's task.
pub(super) enum Request {
    Change(Change, oneshot::Sender<Answer>),
    KeyFrame,
    KeyFrameOfCamera(oneshot::Sender<Promise>),
    DeviceAppeared,
}

/// Kept by whoever may still want a camera's stream: it goes on as long.
#[derive(Debug, Clone)]
pub struct Claim(Arc<()>);

/// A camera: what the rest of the sender sees of it. Its stream goes on however often its source,
/// its encoder or its config change.
#[derive(Debug)]
pub struct Camera {
    /// What the user wants of it.
    pub config: CameraConfig,
    /// What flowed so far.
    pub counters: Arc<Counters>,
    /// What is wanted of it.
    pub demand: Arc<Demand>,
    /// How it is.
    pub status: watch::Receiver<Status>,
    output: Arc<Output>,
    requests: mpsc::Sender<Request>,
    /// The newest config; none when it is no more.
    wanted: watch::Sender<Option<Box<CameraConfig>>>,
    claim: Claim,
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Camera {
    /// Starts it. Failures of device and encoder are its status; an error here is GStreamer's.
    pub fn start(config: CameraConfig, probe: Probe) -> Result<Self, String> {
        let counters = Arc::new(Counters::default());
        let output = Arc::new(Output::start(config.id.as_str(), &counters)?);
        let demand = Demand::new(!config.on_demand, config.fps);
        let (requests, requests_rx) = mpsc::channel(REQUESTS);
        let (wanted, wanted_rx) = watch::channel(Some(Box::new(config.clone())));
        let (stop, stop_rx) = watch::channel(false);
        let (events, events_rx) = mpsc::channel(EVENTS);
        let enabled = config.enabled;
        let (supervisor, commands) = Supervisor::new(expectations(&config), enabled, now().into());
        let (status_tx, status) = watch::channel(status_of(&supervisor, None, None));
        let life = Life {
            config: config.clone(),
            probe,
            seam: Arc::new(Seam::new(counters.clone())),
            output: output.clone(),
            counters: counters.clone(),
            demand: demand.clone(),
            status: status_tx,
            supervisor,
            events,
            attempt: 0,
            source: SourceSlot::Closed,
            contexts: Contexts::default(),
            encoding: Err("none was looked for yet".to_owned()),
            coded: coded_origin(&config.source),
            through: None,
            last: None,
            feed: Feed::default(),
            slate: None,
            fault: None,
            pulse: Pulse::default(),
            workers: Workers::default(),
            stragglers: 0,
            stop: stop_rx.clone(),
        };
        let task = tokio::spawn(life.run(commands, requests_rx, wanted_rx, events_rx, stop_rx));
        let claim = Claim(Arc::default());
        Ok(Self { config, counters, demand, status, output, requests, wanted, claim, task, stop })
    }

    /// Its access units, for any number of sessions.
    pub fn stream(&self) -> &StreamProducer {
        self.output.stream()
    }

    /// Changes it, and says so, or why not.
    pub fn change(&self, change: Change, reply: oneshot::Sender<Answer>) {
        match self.requests.try_reserve() {
            Ok(permit) => permit.send(Request::Change(change, reply)),
            Err(_) => drop(reply.send(Err(refused(BUSY)))),
        }
    }

    /// Gives it another config, with the same id and codec; sessions go on. What was changed at run
    /// time is forgotten.
    pub fn reconfigure(&mut self, config: CameraConfig) {
        self.config = config.clone();
        self.wanted.send_replace(Some(Box::new(config)));
    }

    /// Closes its device for good, unless it is [reconfigured](Self::reconfigure). Viewers are told,
    /// and see a slate.
    pub fn retire(&self) {
        self.wanted.send_replace(None);
    }

    /// A claim to its stream.
    pub fn claim(&self) -> Claim {
        self.claim.clone()
    }

    /// Whether anybody has a claim to its stream.
    pub fn is_claimed(&self) -> bool {
        Arc::strong_count(&self.claim.0) > 1
    }

    /// Asks for a key frame.
    pub fn request_key_frame(&self) -> Answer {
        let sent = self.requests.try_send(Request::KeyFrame);
        sent.map(|()| Reply::Done).map_err(|_| refused(BUSY))
    }

    /// Tells it that some device was plugged in: it may be its own.
    pub fn device_appeared(&self) {
        let _ = self.requests.try_send(Request::DeviceAppeared);
    }

    /// The next key frame of what it sees, encoded for this if for nothing else. While it is not
    /// live there is none: a slate is no picture of what it sees.
    pub fn key_frame(&self) -> impl Future<Output = Result<gst::Sample, Refusal>> + use<> {
        let watching = self.demand.watch();
        let (reply, promise) = oneshot::channel();
        let asked = self.requests.try_send(Request::KeyFrameOfCamera(reply));
        let status = self.status.clone();
        async move {
            let _watching = watching;
            asked.map_err(|_| refused(BUSY))?;
            let key_frame = timeout(KEY_FRAME, async {
                let promised = promise.await.map_err(|_| refused(STOPPING))??;
                promised.await.map_err(|_| refused(STOPPING))
            });
            let key_frame =
                key_frame.await.map_err(|_| refused("the camera gives no key frame"))??;
            // It may have been lost meanwhile.
            seen(&status.borrow())?;
            Ok(key_frame)
        }
    }

    /// Stops it, and returns when the device is free.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        if self.task.await.is_err() {
            tracing::error!(camera = %self.config.id, "stopping the camera panicked");
        }
        if spawn_blocking(move || self.output.stop()).await.is_err() {
            tracing::error!("stopping a camera's output panicked");
        }
    }
}

pub(super) fn status_of(
    supervisor: &Supervisor,
    encoder: Option<&'static str>,
    fault: Option<PictureFault>,
) -> Status {
    Status {
        state: supervisor.told(),
        reason: supervisor.reason().map(str::to_owned),
        encoder,
        since_us: supervisor.since().as_micros() as i64,
        // A camera that gives no pictures has no wrong ones.
        fault: fault.filter(|_| supervisor.told() == CameraState::Live),
    }
}

/// Whether there is anything to see by a camera.
pub(super) fn seen(status: &Status) -> Result<(), Refusal> {
    let state = match status.state {
        CameraState::Live => return Ok(()),
        CameraState::Starting => "is being opened",
        CameraState::Stalled => "is stalled",
        CameraState::Lost => "is lost",
        CameraState::Off => "is off",
        CameraState::Failed | CameraState::Unknown => "has failed",
    };
    let reason = status.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    Err(refused(format!("the camera {state}{reason}")))
}
