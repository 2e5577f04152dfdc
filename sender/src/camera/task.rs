//! A camera's life: its encoder kept, its source opened, watched and opened again for as long as
//! it takes. What is to be done is the supervisor's to say.

mod device;
mod encoder;
mod handle;
mod requests;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rovercast_peer::start::now;
use rovercast_protocol::telemetry::{CameraState, PictureFault};
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use crate::camera::counters::{Counters, Demand};
use crate::camera::encoding::Encoding;
use crate::camera::inputs::streams::Origin;
use crate::camera::launch::Contexts;
use crate::camera::output::{Feed, Output};
use crate::camera::probe::Probe;
use crate::camera::pulse::Pulse;
use crate::camera::seam::{Attempt, Seam};
use crate::camera::source::{SourceEvent, SourcePipeline};
use crate::camera::supervisor::{Command, Input, LOOK, Supervisor};
use crate::camera::worker::{PATIENCE, Workers};
use crate::config::CameraConfig;

use device::{Running, SourceSlot};
pub use handle::{Camera, Claim, Status};
use handle::{Request, status_of};

/// A slate is sent so often: a viewer who joins sees it at once, and it costs next to nothing.
const SLATE: Duration = Duration::from_millis(200);

/// Events of the camera's pipelines that may wait. Of more the newest are lost: the first that
/// ends an attempt is all that counts, and what is missed by it the supervisor sees for itself.
const EVENTS: usize = 16;

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
        let state_before = self.status.borrow().state;
        let away = matches!(status.state, CameraState::Lost | CameraState::Stalled);
        if away && state_before == CameraState::Live {
            self.counters.losses.fetch_add(1, Ordering::Relaxed);
        }
        if state_before != status.state {
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

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Where nobody can stop it any more it is to stop, too.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
