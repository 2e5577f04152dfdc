//! The views of a robot's cameras: made while a session is negotiated, kept for the next one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rovercast_protocol::ids::CameraId;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};

use crate::output::Output;
use crate::view::{View, ViewFailed};

/// Cameras shown of one robot.
const MAX_VIEWS: usize = 64;

/// All views there are.
#[derive(Debug)]
pub struct Views {
    output: Output,
    failures: mpsc::Sender<ViewFailed>,
    open: BTreeMap<CameraId, View>,
    /// Being made: decoders and windows take a while.
    opening: JoinSet<(CameraId, Result<View, String>)>,
    /// The X sinks catch errors of their set-up by a handler of the whole process.
    one_window_at_a_time: Arc<Mutex<()>>,
    /// Not opened again.
    failed: Vec<CameraId>,
}

impl Views {
    /// None yet. Those that fail are told to `failures`.
    pub fn new(output: Output, failures: mpsc::Sender<ViewFailed>) -> Self {
        Self {
            output,
            failures,
            open: BTreeMap::new(),
            opening: JoinSet::new(),
            one_window_at_a_time: Arc::default(),
            failed: Vec::new(),
        }
    }

    /// Starts to make the view of a camera, unless there is one, or it failed before.
    pub fn open(&mut self, camera: CameraId) {
        let full = self.open.len() + self.opening.len() >= MAX_VIEWS;
        if full || self.open.contains_key(&camera) || self.has_failed(&camera) {
            return;
        }
        let (output, failures) = (self.output.clone(), self.failures.clone());
        let one_at_a_time = self.one_window_at_a_time.clone();
        self.opening.spawn_blocking(move || {
            let turn = matches!(output, Output::Window).then(|| one_at_a_time.lock());
            let view = View::start(&camera, &output, failures);
            drop(turn);
            (camera, view)
        });
    }

    /// The next camera whose view is there. None while none is being made. Cancel-safe.
    pub async fn opened(&mut self) -> Option<CameraId> {
        loop {
            match self.opening.join_next().await? {
                // Two sessions in quick succession may both have asked for it.
                Ok((camera, Ok(view))) if self.open.contains_key(&camera) => {
                    spawn_blocking(move || view.stop());
                }
                Ok((camera, Ok(view))) => {
                    self.open.insert(camera.clone(), view);
                    return Some(camera);
                }
                Ok((camera, Err(reason))) => {
                    let _ = self.failures.try_send(ViewFailed { camera, reason });
                }
                Err(error) => tracing::error!("opening a view: {error}"),
            }
        }
    }

    /// The view of a camera.
    pub fn get(&self, camera: &CameraId) -> Option<&View> {
        self.open.get(camera)
    }

    /// All that are there.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&CameraId, &mut View)> {
        self.open.iter_mut()
    }

    /// Whether the view of a camera failed.
    pub fn has_failed(&self, camera: &CameraId) -> bool {
        self.failed.contains(camera)
    }

    /// Whether there are none, and none are being made.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.opening.is_empty()
    }

    /// Closes the view of a camera, for good.
    pub async fn close(&mut self, camera: CameraId) {
        if let Some(view) = self.open.remove(&camera) {
            stop(view).await;
        }
        self.failed.push(camera);
    }

    /// Closes all, also those that are still being made.
    pub async fn stop(mut self) {
        while self.opened().await.is_some() {}
        for (_, view) in self.open {
            stop(view).await;
        }
    }
}

async fn stop(view: View) {
    if spawn_blocking(move || view.stop()).await.is_err() {
        tracing::error!("stopping a view panicked");
    }
}
