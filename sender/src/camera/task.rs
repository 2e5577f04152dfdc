//! A camera's life: opened, watched, and opened again for as long as it takes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gst::prelude::*;
use gst_utils::StreamProducer;
use rovercast_peer::start::now_us;
use rovercast_protocol::backoff::Backoff;
use rovercast_protocol::telemetry::CameraState;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::camera::pipeline::{CameraPipeline, Counters, PipelineEvent, on_buffers};
use crate::camera::plan;
use crate::config::CameraConfig;

const FIRST_RETRY: Duration = Duration::from_millis(250);
const SLOWEST_RETRY: Duration = Duration::from_secs(5);

/// A camera that gave nothing for this long is lost.
const STALL: Duration = Duration::from_secs(2);

/// A device may take this long to its first frame.
const OPENING: Duration = Duration::from_secs(10);

/// How often the frames are looked at.
const LOOK: Duration = Duration::from_millis(100);

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
}

/// A camera: what the rest of the sender sees of it. Its stream goes on under the same
/// [`StreamProducer`] however often the device is opened again.
#[derive(Debug)]
pub struct Camera {
    /// What the user wants of it.
    pub config: CameraConfig,
    /// Its access units, for any number of sessions.
    pub stream: StreamProducer,
    /// What flowed so far.
    pub counters: Arc<Counters>,
    /// How it is.
    pub status: watch::Receiver<Status>,
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Camera {
    /// Starts it. Failures of the device are its status, not an error here.
    pub fn start(config: CameraConfig) -> Self {
        let appsink = gst_app::AppSink::builder().name(plan::SINK).async_(false).build();
        let settings = gst_utils::streamproducer::ProducerSettings { sync: false };
        let stream = StreamProducer::with(&appsink, settings);
        // The end of one attempt is not the end of the sessions.
        stream.set_forward_events([]);
        let counters = Arc::new(Counters::default());
        if let Some(pad) = appsink.static_pad("sink") {
            let counters = counters.clone();
            on_buffers(&pad, move |buffer| {
                counters.encoded.fetch_add(1, Ordering::Relaxed);
                counters.bytes.fetch_add(buffer.size() as u64, Ordering::Relaxed);
            });
        }
        let starting = Status {
            state: CameraState::Starting,
            reason: None,
            encoder: None,
            since_us: now_us(),
        };
        let (status_tx, status) = watch::channel(starting);
        let (stop, stop_rx) = watch::channel(false);
        let life = Life {
            config: config.clone(),
            appsink: appsink.upcast(),
            counters: counters.clone(),
            status: status_tx,
        };
        let task = tokio::spawn(life.run(stop_rx));
        Self { config, stream, counters, status, task, stop }
    }

    /// Stops it, and returns when the device is free.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        if self.task.await.is_err() {
            tracing::error!(camera = %self.config.id, "stopping the camera panicked");
        }
    }
}

struct Life {
    config: CameraConfig,
    appsink: gst::Element,
    counters: Arc<Counters>,
    status: watch::Sender<Status>,
}

impl Life {
    async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut backoff = Backoff::new(FIRST_RETRY, SLOWEST_RETRY);
        loop {
            let Some(reason) = self.attempt(&mut stop, &mut backoff).await else { return };
            let lost = Status {
                state: CameraState::Lost,
                reason: Some(reason),
                encoder: None,
                since_us: now_us(),
            };
            if *self.status.borrow() != lost {
                let reason = lost.reason.as_deref().unwrap_or_default();
                tracing::warn!(camera = %self.config.id, "camera lost: {reason}; it is tried again");
            }
            self.status.send_if_modified(|status| {
                let changed = *status != lost;
                *status = lost;
                changed
            });
            tokio::select! {
                () = sleep(backoff.next(rand::random())) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// One attempt, to its end. Returns why it ended; nothing when the camera is to stop.
    async fn attempt(
        &self,
        stop: &mut watch::Receiver<bool>,
        backoff: &mut Backoff,
    ) -> Option<String> {
        let (events_tx, mut events) = mpsc::channel(8);
        let (config, appsink, counters) =
            (self.config.clone(), self.appsink.clone(), self.counters.clone());
        let started =
            spawn_blocking(move || CameraPipeline::start(&config, &appsink, &counters, events_tx));
        let pipeline = match started.await {
            Ok(Ok(pipeline)) => pipeline,
            Ok(Err(reason)) => return Some(told(&mut events).unwrap_or(reason)),
            Err(error) => return Some(error.to_string()),
        };
        let ended = tokio::select! {
            reason = self.watch(&pipeline, &mut events, backoff) => Some(reason),
            _ = stop.wait_for(|stop| *stop) => None,
        };
        if spawn_blocking(move || pipeline.stop()).await.is_err() {
            tracing::error!(camera = %self.config.id, "stopping the pipeline panicked");
        }
        ended
    }

    /// Watches a running pipeline until it has to end, and says why.
    async fn watch(
        &self,
        pipeline: &CameraPipeline,
        events: &mut mpsc::Receiver<PipelineEvent>,
        backoff: &mut Backoff,
    ) -> String {
        let mut look = interval(LOOK);
        // After a pause of the whole process the camera gets its time again.
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = self.counters.encoded.load(Ordering::Relaxed);
        let (mut seen_at, mut live) = (Instant::now(), false);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(PipelineEvent::Failed(reason)) => return reason,
                    Some(PipelineEvent::FileEnded) => {
                        if let Err(reason) = pipeline.rewind() {
                            return reason;
                        }
                    }
                    None => return "the pipeline is gone".to_owned(),
                },
                _ = look.tick() => {
                    let now = Instant::now();
                    let encoded = self.counters.encoded.load(Ordering::Relaxed);
                    let patience = if live { STALL } else { OPENING };
                    if encoded != seen {
                        (seen, seen_at) = (encoded, now);
                        if !live {
                            live = true;
                            backoff.reset();
                            self.live(pipeline.encoder());
                        }
                    } else if now.duration_since(seen_at) > patience {
                        return format!("no picture for {} s", patience.as_secs());
                    }
                }
            }
        }
    }

    fn live(&self, encoder: &'static str) {
        tracing::info!(camera = %self.config.id, encoder, "camera live");
        let live = Status {
            state: CameraState::Live,
            reason: None,
            encoder: Some(encoder),
            since_us: now_us(),
        };
        self.status.send_replace(live);
    }
}

/// What the bus said before the attempt failed.
fn told(events: &mut mpsc::Receiver<PipelineEvent>) -> Option<String> {
    match events.try_recv() {
        Ok(PipelineEvent::Failed(reason)) => Some(reason),
        _ => None,
    }
}
