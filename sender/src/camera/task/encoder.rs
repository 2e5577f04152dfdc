//! The encoder of a camera, which is kept, and the slate that it is fed while the source is away.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rovercast_peer::start::now;
use rovercast_protocol::telemetry::CameraState;

use crate::camera::card;
use crate::camera::encoding::Encoding;
use crate::camera::pulse::Pulse;
use crate::camera::supervisor::Input;
use crate::camera::task::{Event, Life, stopped};
use crate::camera::worker::PATIENCE;

/// An encoder that hangs will hardly stop, and viewers wait for the next one.
const STUCK_PATIENCE: Duration = Duration::from_secs(2);

impl Life {
    /// Finds an encoder that works, and starts it, or notes why there is none.
    pub(super) async fn start_encoder(&mut self) {
        self.encoding = self.started_encoder().await;
        if self.took_encoder() && self.supervisor.shows_slate() {
            self.show_slate().await;
        }
    }

    /// Leads frames to a new encoder, where there is one.
    pub(super) fn took_encoder(&mut self) -> bool {
        let Ok(encoding) = &self.encoding else { return false };
        encoding.feed_into(&self.output);
        self.seam.lead_to(Some(encoding.input().clone()));
        // Those of before may be of another size or memory.
        (self.slate, self.last) = (None, None);
        true
    }

    pub(super) async fn started_encoder(&mut self) -> Result<Encoding, String> {
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

    pub(super) async fn stop_encoder(&mut self, patience: Duration) {
        self.seam.lead_to(None);
        let encoding = std::mem::replace(&mut self.encoding, Err("it is being changed".to_owned()));
        let Ok(encoding) = encoding else { return };
        self.output.end(encoding.feed());
        if let Err(reason) = self.workers.run(patience, || encoding.stop(), |()| ()).await {
            tracing::error!(camera = %self.config.id, "stopping the encoder: {reason}");
        }
    }

    pub(super) async fn restart_encoder(&mut self, reason: &str) {
        tracing::error!(camera = %self.config.id, "the encoder is started anew: {reason}");
        self.counters.encoder_restarts.fetch_add(1, Ordering::Relaxed);
        self.stop_encoder(STUCK_PATIENCE).await;
        self.start_encoder().await;
        if let (None, Err(reason)) = (self.through, &self.encoding) {
            self.handle(Input::NoEncoder(reason.clone())).await;
        }
    }

    /// An encoder that hangs says nothing; that is seen by what does not come out of it.
    pub(super) async fn look_at_encoder(&mut self) {
        let offered = self.counters.offered.load(Ordering::Relaxed);
        let encoded = self.counters.encoded.load(Ordering::Relaxed);
        if self.pulse.is_stuck(offered, encoded, now().into()) && self.encoding.is_ok() {
            self.pulse = Pulse::default();
            self.restart_encoder("it takes frames and gives nothing").await;
        }
    }

    pub(super) async fn show_slate(&mut self) {
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
    pub(super) async fn look_at_slate(&mut self) {
        let live = self.supervisor.told() == CameraState::Live;
        let passes = self.through.is_some_and(|feed| self.output.passes(feed));
        if live && passes && self.encoding.is_ok() {
            self.slate = None;
            self.stop_encoder(PATIENCE).await;
        }
    }

    pub(super) fn push_slate(&self) {
        if let Some(slate) = self.slate.as_ref().filter(|_| self.demand.is_wanted()) {
            self.seam.slate(slate);
        }
    }
}
