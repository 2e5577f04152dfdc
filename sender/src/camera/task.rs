//! A camera's life: its encoder kept, its source opened, watched and opened again for as long as
//! it takes. What is to be done is the supervisor's to say.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gst_utils::StreamProducer;
use rovercast_peer::start::now;
use rovercast_protocol::control::Refusal;
use rovercast_protocol::telemetry::{CameraState, PictureFault};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

use crate::camera::card;
use crate::camera::coded::{CodedPlan, CodedSource};
use crate::camera::counters::{Counters, Demand};
use crate::camera::encoding::Encoding;
use crate::camera::inputs::network;
use crate::camera::inputs::streams::Origin;
use crate::camera::launch::Contexts;
use crate::camera::output::{Feed, Output};
use crate::camera::probe::Probe;
use crate::camera::pulse::Pulse;
use crate::camera::seam::{Attempt, Seam};
use crate::camera::source::{SourceEvent, SourcePipeline, SourcePlan};
use crate::camera::supervisor::{Command, Expectations, Input, LOOK, Supervisor};
use crate::camera::worker::{PATIENCE, Workers};
use crate::config::{CameraConfig, Source};
use crate::control::{Answer, Change, Reply, refused};

/// A slate is sent so often: a viewer who joins sees it at once, and it costs next to nothing.
const SLATE: Duration = Duration::from_millis(200);

/// As many attempts that nobody waits for any more may be under way; then none is begun.
const MAX_STRAGGLERS: usize = 4;

/// An encoder that hangs will hardly stop, and viewers wait for the next one.
const STUCK_PATIENCE: Duration = Duration::from_secs(2);

/// Requests that may wait for the camera; of more the newest are refused.
const REQUESTS: usize = 16;

/// Events of the camera's pipelines that may wait. Of more the newest are lost: the first that
/// ends an attempt is all that counts, and what is missed by it the supervisor sees for itself.
const EVENTS: usize = 16;

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

const BUSY: &str = "the camera has too much to do: try again";

/// What viewers are told of a camera that the config has no more.
const REMOVED: &str = "removed from the robot's config";

/// Where a key frame will come, once there is one.
type Promise = Result<oneshot::Receiver<gst::Sample>, Refusal>;

/// What is asked of a camera's task.
enum Request {
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

fn expectations(config: &CameraConfig) -> Expectations {
    // A network's hiccups are no stalls.
    let fps = if coded_origin(&config.source).is_some() { 5.min(config.fps) } else { config.fps };
    Expectations { fps, listens: network::waits(&config.source) }
}

/// The origin of a source that comes encoded.
fn coded_origin(source: &Source) -> Option<Arc<Origin>> {
    network::comes_encoded(source).then(|| Arc::new(Origin::new(source.clone())))
}

fn status_of(
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
fn seen(status: &Status) -> Result<(), Refusal> {
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

/// A source that is open.
enum Running {
    Raw(SourcePipeline),
    /// One that comes encoded, with its decoder where it cannot be passed through.
    Coded(CodedSource, Option<SourcePipeline>),
}

impl Running {
    /// Frees it. Blocks until it is free.
    fn stop(self) {
        match self {
            Self::Raw(pipeline) => pipeline.stop(),
            Self::Coded(source, decoder) => {
                source.stop();
                if let Some(decoder) = decoder {
                    decoder.stop();
                }
            }
        }
    }
}

enum SourceSlot {
    Closed,
    /// Being opened; whether it is to be closed at once.
    Opening {
        unwanted: bool,
    },
    Open(Running),
    Closing,
}

/// What the camera's pipelines tell its task.
enum Event {
    Opened(Attempt, Result<Running, String>),
    Decoder(Attempt, Result<SourcePipeline, String>),
    /// It was to be closed while it was being opened, and is still not open.
    StillOpening(Attempt),
    Closed(Attempt),
    Source(Attempt, SourceEvent),
    EncoderFailed(Feed, String),
}

struct Life {
    config: CameraConfig,
    probe: Probe,
    output: Arc<Output>,
    seam: Arc<Seam>,
    counters: Arc<Counters>,
    demand: Arc<Demand>,
    status: watch::Sender<Status>,
    supervisor: Supervisor,
    events: mpsc::Sender<Event>,
    attempt: Attempt,
    source: SourceSlot,
    contexts: Contexts,
    /// Or why there is none.
    encoding: Result<Encoding, String>,
    /// What of an encoded source outlives an attempt.
    coded: Option<Arc<Origin>>,
    /// The feed of a source whose stream is passed through.
    through: Option<Feed>,
    /// The last picture before the slate.
    last: Option<gst::Sample>,
    feed: Feed,
    slate: Option<gst::Sample>,
    fault: Option<PictureFault>,
    pulse: Pulse,
    workers: Workers,
    /// Attempts that were left to themselves and have not ended.
    stragglers: usize,
    stop: watch::Receiver<bool>,
}

impl Life {
    async fn run(
        mut self,
        commands: Vec<Command>,
        mut requests: mpsc::Receiver<Request>,
        mut wanted: watch::Receiver<Option<Box<CameraConfig>>>,
        mut events: mpsc::Receiver<Event>,
        mut stop: watch::Receiver<bool>,
    ) {
        if self.coded.is_none() {
            self.start_encoder().await;
        }
        // Where there is no encoder, the attempt to open the source tells.
        if let Some(input) = self.carry_out(commands).await {
            self.handle(input).await;
        }
        let (mut look, mut slate) = (ticks(LOOK), ticks(SLATE));
        loop {
            tokio::select! {
                Some(event) = events.recv() => self.on_event(event).await,
                Some(request) = requests.recv() => self.on_request(request).await,
                Ok(()) = wanted.changed() => {
                    let newest = wanted.borrow_and_update().clone();
                    match newest {
                        Some(config) => self.reconfigure(*config).await,
                        None => self.retire().await,
                    }
                }
                _ = look.tick() => {
                    self.look_at_encoder().await;
                    self.look_at_slate().await;
                    let seen = self.counters.seen.load(Ordering::Relaxed);
                    self.handle(Input::Look(seen)).await;
                }
                _ = slate.tick(), if self.slate.is_some() => self.push_slate(),
                () = stopped(&mut stop) => break,
            }
        }
        self.end(&mut events).await;
    }

    async fn handle(&mut self, input: Input) {
        let mut input = Some(input);
        while let Some(happened) = input {
            let commands = self.supervisor.handle(happened, now().into(), rand::random());
            input = self.carry_out(commands).await;
        }
    }

    /// Returns what comes of it at once.
    async fn carry_out(&mut self, commands: Vec<Command>) -> Option<Input> {
        let mut at_once = None;
        // First, so that a slate tells the state of now, and viewers never learn of it later.
        self.tell();
        for command in commands {
            match command {
                Command::Open => at_once = self.open(),
                Command::Close => at_once = self.close(),
                Command::ShowSlate => self.show_slate().await,
                // Until the first key frame of a stream that is passed through the slate stays.
                Command::ShowCamera if self.through.is_some() => {}
                Command::ShowCamera => {
                    (self.slate, self.last) = (None, None);
                    self.seam.pass(self.attempt);
                }
            }
        }
        at_once
    }

    fn tell(&self) {
        let encoder = self.encoding.as_ref().ok().map(|encoding| encoding.row().factory);
        let status = status_of(&self.supervisor, encoder, self.fault);
        let state_changed = self.status.borrow().state != status.state;
        if state_changed {
            let (camera, reason) = (&self.config.id, status.reason.as_deref().unwrap_or_default());
            match status.state {
                CameraState::Live => {
                    tracing::info!(%camera, encoder = status.encoder.unwrap_or("none"), "camera live");
                }
                CameraState::Lost => {
                    tracing::warn!(%camera, "camera lost: {reason}; it is tried again")
                }
                CameraState::Stalled => tracing::warn!(%camera, "camera stalled: {reason}"),
                CameraState::Failed => tracing::error!(%camera, "camera failed: {reason}"),
                CameraState::Off => tracing::info!(%camera, "camera off"),
                CameraState::Starting | CameraState::Unknown => {}
            }
        }
        self.status.send_if_modified(|told| {
            let changed = *told != status;
            *told = status;
            changed
        });
    }

    // --- the source ---------------------------------------------------------------------------

    fn open(&mut self) -> Option<Input> {
        if let (None, Err(reason)) = (&self.coded, &self.encoding) {
            return Some(Input::NoEncoder(reason.clone()));
        }
        if let Some(reason) = self.workers.refusal() {
            return Some(Input::Failed(reason));
        }
        if self.stragglers >= MAX_STRAGGLERS {
            let reason = format!("{MAX_STRAGGLERS} attempts to open it have not ended yet");
            return Some(Input::Failed(reason));
        }
        self.attempt += 1;
        self.fault = None;
        let opening: Box<dyn FnOnce() -> Result<Running, String> + Send> = match self.coded.clone()
        {
            Some(origin) => {
                let plan = self.coded_plan(origin);
                Box::new(|| CodedSource::start(plan).map(|source| Running::Coded(source, None)))
            }
            None => {
                let plan = self.source_plan(false)?;
                Box::new(|| SourcePipeline::start(plan).map(Running::Raw))
            }
        };
        self.source = SourceSlot::Opening { unwanted: false };
        let (attempt, events, workers) = (self.attempt, self.events.clone(), self.workers.clone());
        tokio::spawn(async move {
            // However long it takes: to connect may take minutes.
            let opened = workers.run(Duration::MAX, opening, stop_late);
            let event = Event::Opened(attempt, opened.await.unwrap_or_else(Err));
            if let Err(unheard) = events.send(event).await
                && let Event::Opened(_, opened) = unheard.0
            {
                let _ = workers.run(PATIENCE, || stop_late(opened), |()| ()).await;
            }
        });
        None
    }

    /// What opens a raw source, or the decoder of a coded one. None without an encoder.
    fn source_plan(&self, decodes: bool) -> Option<SourcePlan> {
        let row = self.encoding.as_ref().ok()?.row();
        let attempt = self.attempt;
        // A camera that was never lost needs no slate to be taken away first.
        if !self.supervisor.shows_slate() {
            self.seam.pass(attempt);
        }
        let seam = self.seam.clone();
        Some(SourcePlan {
            camera: self.config.clone(),
            row,
            decodes,
            counters: self.counters.clone(),
            demand: self.demand.clone(),
            contexts: self.contexts.clone(),
            on_frame: Box::new(move |sample| seam.frame(attempt, sample)),
            on_event: self.on_source_event(),
        })
    }

    fn coded_plan(&mut self, origin: Arc<Origin>) -> CodedPlan {
        self.feed.0 += 1;
        let feed = self.feed;
        self.through = Some(feed);
        self.output.prefer(Some(feed));
        CodedPlan {
            camera: self.config.clone(),
            origin,
            runtime: Handle::current(),
            output: self.output.clone(),
            feed,
            counters: self.counters.clone(),
            on_event: self.on_source_event(),
        }
    }

    fn on_source_event(&self) -> Arc<dyn Fn(SourceEvent) + Send + Sync> {
        let (attempt, events) = (self.attempt, self.events.clone());
        Arc::new(move |event| {
            let _ = events.try_send(Event::Source(attempt, event));
        })
    }

    /// The stream of a coded source cannot be passed through.
    async fn open_decoder(&mut self, reason: &str) {
        tracing::warn!(camera = %self.config.id, "the stream is decoded and encoded: {reason}");
        self.through = None;
        self.output.prefer(None);
        match &self.encoding {
            Ok(encoding) => encoding.feed_into(&self.output),
            Err(_) => self.start_encoder().await,
        }
        if let Err(reason) = &self.encoding {
            return self.handle(Input::NoEncoder(reason.clone())).await;
        }
        let Some(plan) = self.source_plan(true) else { return };
        let (attempt, events, workers) = (self.attempt, self.events.clone(), self.workers.clone());
        tokio::spawn(async move {
            let opened = workers.run(PATIENCE, || SourcePipeline::start(plan), stop_decoder_late);
            let event = Event::Decoder(attempt, opened.await.unwrap_or_else(Err));
            if let Err(unheard) = events.send(event).await
                && let Event::Decoder(_, opened) = unheard.0
            {
                let _ = workers.run(PATIENCE, || stop_decoder_late(opened), |()| ()).await;
            }
        });
    }

    async fn on_decoder(&mut self, attempt: Attempt, opened: Result<SourcePipeline, String>) {
        match (opened, &mut self.source) {
            (Ok(decoder), SourceSlot::Open(Running::Coded(source, slot)))
                if attempt == self.attempt =>
            {
                if let Some(entrance) = decoder.entrance() {
                    source.decode_by(entrance);
                }
                *slot = Some(decoder);
            }
            // What it was for is gone.
            (Ok(decoder), _) => {
                let _ = self.workers.run(PATIENCE, || decoder.stop(), |()| ()).await;
            }
            (Err(reason), _) if attempt == self.attempt => {
                self.handle(Input::Failed(reason)).await;
            }
            (Err(_), _) => {}
        }
    }

    fn close(&mut self) -> Option<Input> {
        match std::mem::replace(&mut self.source, SourceSlot::Closing) {
            SourceSlot::Open(running) => self.free(running),
            SourceSlot::Opening { .. } => {
                self.source = SourceSlot::Opening { unwanted: true };
                let (events, attempt) = (self.events.clone(), self.attempt);
                tokio::spawn(async move {
                    sleep(PATIENCE).await;
                    let _ = events.send(Event::StillOpening(attempt)).await;
                });
            }
            SourceSlot::Closing => {}
            SourceSlot::Closed => {
                self.source = SourceSlot::Closed;
                return Some(self.closed());
            }
        }
        None
    }

    /// Nobody holds the source any more.
    fn closed(&self) -> Input {
        Input::Closed(self.counters.seen.load(Ordering::Relaxed))
    }

    fn free(&mut self, running: Running) {
        self.source = SourceSlot::Closing;
        let (events, camera) = (self.events.clone(), self.config.id.clone());
        let (workers, attempt) = (self.workers.clone(), self.attempt);
        tokio::spawn(async move {
            if let Err(reason) = workers.run(PATIENCE, || running.stop(), |()| ()).await {
                tracing::error!(%camera, "closing the source: {reason}");
            }
            let _ = events.send(Event::Closed(attempt)).await;
        });
    }

    /// Ends what came of an attempt that nobody waits for any more.
    fn stop_straggler(&mut self, opened: Result<Running, String>) {
        self.stragglers = self.stragglers.saturating_sub(1);
        let workers = self.workers.clone();
        tokio::spawn(async move {
            let _ = workers.run(PATIENCE, || stop_late(opened), |()| ()).await;
        });
    }

    async fn on_event(&mut self, event: Event) {
        match event {
            Event::Opened(attempt, opened) => {
                let unwanted = match self.source {
                    SourceSlot::Opening { unwanted } if attempt == self.attempt => unwanted,
                    _ => return self.stop_straggler(opened),
                };
                self.source = SourceSlot::Closed;
                match opened {
                    Ok(running) if unwanted => self.free(running),
                    Ok(running) => {
                        self.source = SourceSlot::Open(running);
                        self.handle(Input::Opened).await;
                    }
                    // Where it is unwanted, this is the end that was waited for.
                    Err(_) if unwanted => self.handle(self.closed()).await,
                    Err(reason) => self.handle(Input::Failed(reason)).await,
                }
            }
            Event::StillOpening(attempt) => {
                if attempt == self.attempt
                    && let SourceSlot::Opening { unwanted: true } = self.source
                {
                    let camera = &self.config.id;
                    tracing::warn!(%camera, "opening the source takes long: it is left to itself");
                    self.stragglers += 1;
                    self.source = SourceSlot::Closed;
                    self.handle(self.closed()).await;
                }
            }
            Event::Closed(attempt) => {
                if attempt == self.attempt
                    && let SourceSlot::Closing = self.source
                {
                    self.source = SourceSlot::Closed;
                    self.handle(self.closed()).await;
                }
            }
            Event::Decoder(attempt, opened) => self.on_decoder(attempt, opened).await,
            Event::Source(attempt, _) if attempt != self.attempt => {}
            Event::Source(_, SourceEvent::NeedsDecoder(reason)) => self.open_decoder(&reason).await,
            Event::Source(_, SourceEvent::Failed(reason)) => {
                self.handle(Input::Failed(reason)).await;
            }
            Event::Source(_, SourceEvent::Fault(fault)) => {
                self.fault = fault;
                match fault {
                    Some(fault) => {
                        tracing::warn!(camera = %self.config.id, ?fault, "the pictures look wrong");
                    }
                    None => {
                        tracing::info!(camera = %self.config.id, "the pictures look right again")
                    }
                }
                self.tell();
            }
            Event::Source(_, SourceEvent::FileEnded) => {
                if let SourceSlot::Open(Running::Raw(pipeline)) = &self.source
                    && let Err(reason) = pipeline.rewind()
                {
                    self.handle(Input::Failed(reason)).await;
                }
            }
            Event::EncoderFailed(feed, reason) => {
                if self.encoding.as_ref().is_ok_and(|encoding| encoding.feed() == feed) {
                    self.restart_encoder(&reason).await;
                }
            }
        }
    }

    // --- the encoder --------------------------------------------------------------------------

    /// Finds an encoder that works, and starts it, or notes why there is none.
    async fn start_encoder(&mut self) {
        self.encoding = self.started_encoder().await;
        if self.took_encoder() && self.supervisor.shows_slate() {
            self.show_slate().await;
        }
    }

    /// Leads frames to a new encoder, where there is one.
    fn took_encoder(&mut self) -> bool {
        let Ok(encoding) = &self.encoding else { return false };
        encoding.feed_into(&self.output);
        self.seam.lead_to(Some(encoding.input().clone()));
        // Those of before may be of another size or memory.
        (self.slate, self.last) = (None, None);
        true
    }

    async fn started_encoder(&mut self) -> Result<Encoding, String> {
        let (probe, mut stop) = (self.probe.clone(), self.stop.clone());
        if let Some(reason) = self.workers.refusal() {
            return Err(reason);
        }
        let row = tokio::select! {
            row = probe.choose(&self.config) => row?,
            () = stopped(&mut stop) => return Err("the camera is being stopped".to_owned()),
        };
        self.feed.0 += 1;
        let feed = self.feed;
        let (config, output, counters) =
            (self.config.clone(), self.output.clone(), self.counters.clone());
        let (contexts, events) = (self.contexts.clone(), self.events.clone());
        let on_end = move |reason| {
            let _ = events.try_send(Event::EncoderFailed(feed, reason));
        };
        let start =
            move || Encoding::start(&config, row, feed, &output, &counters, &contexts, on_end);
        let stop_late = |started: Result<Encoding, String>| {
            if let Ok(encoding) = started {
                encoding.stop();
            }
        };
        let started = self.workers.run(PATIENCE, start, stop_late).await.unwrap_or_else(Err);
        started.map_err(|reason| format!("{}: {reason}", row.factory))
    }

    async fn stop_encoder(&mut self, patience: Duration) {
        self.seam.lead_to(None);
        let encoding = std::mem::replace(&mut self.encoding, Err("it is being changed".to_owned()));
        let Ok(encoding) = encoding else { return };
        self.output.end(encoding.feed());
        if let Err(reason) = self.workers.run(patience, || encoding.stop(), |()| ()).await {
            tracing::error!(camera = %self.config.id, "stopping the encoder: {reason}");
        }
    }

    async fn restart_encoder(&mut self, reason: &str) {
        tracing::error!(camera = %self.config.id, "the encoder is started anew: {reason}");
        self.stop_encoder(STUCK_PATIENCE).await;
        self.start_encoder().await;
        if let (None, Err(reason)) = (self.through, &self.encoding) {
            self.handle(Input::NoEncoder(reason.clone())).await;
        }
    }

    /// An encoder that hangs says nothing; that is seen by what does not come out of it.
    async fn look_at_encoder(&mut self) {
        let offered = self.counters.offered.load(Ordering::Relaxed);
        let encoded = self.counters.encoded.load(Ordering::Relaxed);
        if self.pulse.is_stuck(offered, encoded, now().into()) && self.encoding.is_ok() {
            self.pulse = Pulse::default();
            self.restart_encoder("it takes frames and gives nothing").await;
        }
    }

    // --- the slate ----------------------------------------------------------------------------

    async fn show_slate(&mut self) {
        if let Some(last) = self.seam.cut() {
            self.last = card::keep(&last);
        }
        match &self.encoding {
            Ok(encoding) if self.coded.is_some() => encoding.feed_into(&self.output),
            Err(_) if self.coded.is_some() => {
                self.encoding = self.started_encoder().await;
                self.took_encoder();
            }
            _ => {}
        }
        let row = match &self.encoding {
            Ok(encoding) => encoding.row(),
            Err(reason) => {
                return tracing::debug!(camera = %self.config.id, "no slate: {reason}");
            }
        };
        let card = card::Plan {
            camera: self.config.clone(),
            row,
            state: self.supervisor.told(),
            reason: self.supervisor.reason().unwrap_or_default().to_owned(),
            age: Duration::from(now()).saturating_sub(self.supervisor.since()),
            last: self.last.clone(),
        };
        let drawn = self.workers.run(PATIENCE, || card.draw(), drop).await.unwrap_or_else(Err);
        match drawn {
            Ok(slate) => self.slate = Some(slate),
            Err(reason) => tracing::warn!(camera = %self.config.id, "no slate: {reason}"),
        }
        self.push_slate();
    }

    /// Where a stream is passed through, its first key frame takes the place of the slate, and of
    /// the encoder that made it.
    async fn look_at_slate(&mut self) {
        let live = self.supervisor.told() == CameraState::Live;
        let passes = self.through.is_some_and(|feed| self.output.passes(feed));
        if live && passes && self.encoding.is_ok() {
            self.slate = None;
            self.stop_encoder(PATIENCE).await;
        }
    }

    fn push_slate(&self) {
        if let Some(slate) = self.slate.as_ref().filter(|_| self.demand.is_wanted()) {
            self.seam.slate(slate);
        }
    }

    // --- requests -----------------------------------------------------------------------------

    async fn on_request(&mut self, request: Request) {
        match request {
            Request::KeyFrame => self.output.request_key_frame(),
            Request::DeviceAppeared => self.handle(Input::DeviceAppeared).await,
            Request::KeyFrameOfCamera(reply) => {
                let _ = reply.send(self.promise_key_frame());
            }
            Request::Change(change, reply) => {
                let changed = self.change_rates(change).map_err(refused);
                let done = changed.is_ok();
                let _ = reply.send(changed.map(|()| Reply::Done));
                if let Some(enabled) = change.enabled.filter(|_| done) {
                    self.enable(enabled).await;
                }
            }
        }
    }

    fn promise_key_frame(&self) -> Promise {
        seen(&self.status.borrow())?;
        if self.slate.is_some() {
            return Err(refused("the camera has no picture yet: try again"));
        }
        let promised = self.output.next_key_frame().ok_or_else(|| refused(BUSY))?;
        self.output.request_key_frame();
        Ok(promised)
    }

    /// The error is for people; nothing has changed then.
    fn change_rates(&mut self, Change { bitrate_kbps, fps, .. }: Change) -> Result<(), String> {
        if self.through.is_some() && (bitrate_kbps.is_some() || fps.is_some()) {
            return Err("the camera's stream is passed on as it comes: change its rates at its \
                        source"
                .to_owned());
        }
        if let Some(bitrate_kbps) = bitrate_kbps {
            if let Ok(encoding) = &mut self.encoding {
                encoding.set_bitrate(bitrate_kbps)?;
            }
            self.config.bitrate_kbps = bitrate_kbps;
        }
        if let Some(fps) = fps {
            // The encoder reckons with no more than the config's.
            self.demand.set_fps(fps.min(self.config.fps));
        }
        Ok(())
    }

    async fn enable(&mut self, enabled: bool) {
        if enabled && self.encoding.is_err() && self.coded.is_none() {
            self.start_encoder().await;
        }
        self.handle(Input::Enable(enabled)).await;
    }

    async fn reconfigure(&mut self, config: CameraConfig) {
        let enabled = config.enabled;
        self.config = config;
        self.demand.set_always(!self.config.on_demand);
        self.demand.set_fps(self.config.fps);
        self.seam.cut();
        self.stop_encoder(PATIENCE).await;
        self.coded = coded_origin(&self.config.source);
        self.through = None;
        if self.coded.is_none() {
            self.start_encoder().await;
        }
        // The device is opened once. Where there is no encoder, the attempt to open it tells.
        let changed = Input::Changed(expectations(&self.config));
        let enable = Input::Enable(enabled);
        let inputs = if enabled { [changed, enable] } else { [enable, changed] };
        for input in inputs {
            self.handle(input).await;
        }
    }

    async fn retire(&mut self) {
        self.handle(Input::Retire(REMOVED.to_owned())).await;
        // Another camera may listen at the same port.
        self.coded = None;
    }

    /// Frees everything, as far as it does not hang.
    async fn end(mut self, events: &mut mpsc::Receiver<Event>) {
        self.seam.cut();
        if let Some(Input::Closed(_)) = self.close() {
            return self.stop_encoder(PATIENCE).await;
        }
        let closed = async {
            while let Some(event) = events.recv().await {
                self.on_last_event(event);
                if let SourceSlot::Closed = self.source {
                    break;
                }
            }
        };
        if timeout(2 * PATIENCE, closed).await.is_err() {
            tracing::error!(camera = %self.config.id, "the source is left behind: it hangs");
        }
        self.stop_encoder(PATIENCE).await;
    }

    /// As [`Self::on_event`], of a camera that is only to be closed.
    fn on_last_event(&mut self, event: Event) {
        match event {
            Event::Opened(attempt, Ok(running)) if attempt == self.attempt => self.free(running),
            Event::Opened(attempt, Err(_)) | Event::Closed(attempt) if attempt == self.attempt => {
                self.source = SourceSlot::Closed;
            }
            Event::Opened(_, opened) => self.stop_straggler(opened),
            _ => {}
        }
    }
}

/// Ends what came of an attempt too late.
fn stop_late(opened: Result<Running, String>) {
    if let Ok(running) = opened {
        running.stop();
    }
}

fn stop_decoder_late(opened: Result<SourcePipeline, String>) {
    if let Ok(decoder) = opened {
        decoder.stop();
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Where nobody can stop it any more it is to stop, too.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
