//! The source of a camera: opened, closed and freed, as its supervisor says.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::camera::coded::{CodedPlan, CodedSource};
use crate::camera::inputs::network;
use crate::camera::inputs::streams::Origin;
use crate::camera::seam::Attempt;
use crate::camera::source::{SourceEvent, SourcePipeline, SourcePlan};
use crate::camera::supervisor::{Expectations, Input};
use crate::camera::task::{Event, Life};
use crate::camera::worker::PATIENCE;
use crate::config::{CameraConfig, Source};

/// As many attempts that nobody waits for any more may be under way; then none is begun.
const MAX_STRAGGLERS: usize = 4;

/// A source that is open.
pub(super) enum Running {
    Raw(SourcePipeline),
    /// One that comes encoded, with its decoder where it cannot be passed through.
    Coded(CodedSource, Option<SourcePipeline>),
}

impl Running {
    /// Frees it. Blocks until it is free.
    pub(super) fn stop(self) {
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

pub(super) enum SourceSlot {
    Closed,
    /// Being opened; whether it is to be closed at once.
    Opening {
        unwanted: bool,
    },
    Open(Running),
    Closing,
}

impl Life {
    pub(super) fn open(&mut self) -> Option<Input> {
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
    pub(super) fn source_plan(&self, decodes: bool) -> Option<SourcePlan> {
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

    pub(super) fn coded_plan(&mut self, origin: Arc<Origin>) -> CodedPlan {
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

    pub(super) fn on_source_event(&self) -> Arc<dyn Fn(SourceEvent) + Send + Sync> {
        let (attempt, events) = (self.attempt, self.events.clone());
        Arc::new(move |event| {
            let _ = events.try_send(Event::Source(attempt, event));
        })
    }

    /// The stream of a coded source cannot be passed through.
    pub(super) async fn open_decoder(&mut self, reason: &str) {
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

    pub(super) async fn on_decoder(
        &mut self,
        attempt: Attempt,
        opened: Result<SourcePipeline, String>,
    ) {
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

    pub(super) fn close(&mut self) -> Option<Input> {
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
    pub(super) fn closed(&self) -> Input {
        Input::Closed(self.counters.seen.load(Ordering::Relaxed))
    }

    pub(super) fn free(&mut self, running: Running) {
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
    pub(super) fn stop_straggler(&mut self, opened: Result<Running, String>) {
        self.stragglers = self.stragglers.saturating_sub(1);
        let workers = self.workers.clone();
        tokio::spawn(async move {
            let _ = workers.run(PATIENCE, || stop_late(opened), |()| ()).await;
        });
    }
}

pub(super) fn expectations(config: &CameraConfig) -> Expectations {
    // A network's hiccups are no stalls.
    let fps = if coded_origin(&config.source).is_some() { 5.min(config.fps) } else { config.fps };
    Expectations { fps, listens: network::waits(&config.source) }
}

/// The origin of a source that comes encoded.
pub(super) fn coded_origin(source: &Source) -> Option<Arc<Origin>> {
    network::comes_encoded(source).then(|| Arc::new(Origin::new(source.clone())))
}

/// Ends what came of an attempt too late.
pub(super) fn stop_late(opened: Result<Running, String>) {
    if let Ok(running) = opened {
        running.stop();
    }
}

fn stop_decoder_late(opened: Result<SourcePipeline, String>) {
    if let Ok(decoder) = opened {
        decoder.stop();
    }
}
