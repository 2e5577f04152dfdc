//! The views of a robot's cameras: made while a session is negotiated, kept for the next one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rovercast_protocol::codec::Codec;
use rovercast_protocol::ids::CameraId;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use crate::decode::{DecodeSettings, Decoders};
use crate::output::Output;
use crate::view::{OnAccessUnit, View, ViewFailed};

/// All outputs are to be closed by then.
const STOPPING: Duration = Duration::from_millis(1000);

/// Cameras shown of one robot.
const MAX_VIEWS: usize = 64;

/// All views there are.
#[derive(Debug)]
pub struct Views {
    output: Output,
    decoders: Arc<Decoders>,
    failures: mpsc::Sender<ViewFailed>,
    open: BTreeMap<CameraId, View>,
    /// Being made: decoders and windows take a while.
    opening: JoinSet<(CameraId, Result<View, String>)>,
    /// For which codec each of those is wanted.
    wanted: BTreeMap<CameraId, Codec>,
    /// The X sinks catch errors of their set-up by a handler of the whole process.
    one_window_at_a_time: Arc<Mutex<()>>,
    /// Not opened again.
    failed: Vec<CameraId>,
}

impl Views {
    /// None yet. Those that fail are told to `failures`.
    pub fn new(
        output: Output,
        settings: &DecodeSettings,
        failures: mpsc::Sender<ViewFailed>,
    ) -> Self {
        Self {
            output,
            decoders: Arc::new(Decoders::new(settings)),
            failures,
            open: BTreeMap::new(),
            opening: JoinSet::new(),
            wanted: BTreeMap::new(),
            one_window_at_a_time: Arc::default(),
            failed: Vec::new(),
        }
    }

    /// Starts to make the view of a camera for this codec, unless there is one, or it failed before.
    /// One for another codec gives way.
    pub fn open(&mut self, camera: CameraId, codec: Codec) {
        let full = self.open.len() + self.opening.len() >= MAX_VIEWS;
        let known = self.open.contains_key(&camera) || self.is_opening(&camera);
        if self.failed.contains(&camera) || (full && !known) || self.get(&camera, codec).is_some() {
            return;
        }
        // One that is being made already is looked at when it is there.
        if self.wanted.insert(camera.clone(), codec).is_none() {
            let before = self.open.remove(&camera);
            self.make(camera, codec, before);
        }
    }

    fn make(&mut self, camera: CameraId, codec: Codec, before: Option<View>) {
        let (output, failures) = (self.output.clone(), self.failures.clone());
        let decoders = self.decoders.clone();
        let one_at_a_time = self.one_window_at_a_time.clone();
        self.opening.spawn_blocking(move || {
            if let Some(before) = before {
                before.stop();
            }
            let turn = matches!(output, Output::Windows).then(|| one_at_a_time.lock());
            let view = View::start(&camera, codec, &output, &decoders, failures);
            drop(turn);
            (camera, view)
        });
    }

    /// The next camera whose view is there. None while none is being made. Cancel-safe.
    pub async fn opened(&mut self) -> Option<CameraId> {
        loop {
            match self.opening.join_next().await? {
                Ok((camera, Ok(view))) => {
                    let codec = self.wanted.get(&camera).copied().unwrap_or(view.codec());
                    if codec == view.codec() {
                        self.wanted.remove(&camera);
                        self.open.insert(camera.clone(), view);
                        return Some(camera);
                    }
                    self.make(camera, codec, Some(view));
                }
                Ok((camera, Err(reason))) => {
                    self.wanted.remove(&camera);
                    let _ = self.failures.try_send(ViewFailed { camera, reason });
                }
                Err(error) => tracing::error!("opening a view: {error}"),
            }
        }
    }

    /// Has each view call what `tap` gives for it, for every access unit.
    pub fn set_taps(&self, tap: impl Fn(&CameraId, &View) -> Option<OnAccessUnit>) {
        self.open.iter().for_each(|(camera, view)| view.set_tap(tap(camera, view)));
    }

    /// The view of a camera that decodes this codec.
    pub fn get(&self, camera: &CameraId, codec: Codec) -> Option<&View> {
        self.open.get(camera).filter(|view| view.codec() == codec)
    }

    /// All that are there.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&CameraId, &mut View)> {
        self.open.iter_mut()
    }

    /// Whether the view of a camera is being made.
    pub fn is_opening(&self, camera: &CameraId) -> bool {
        self.wanted.contains_key(camera)
    }

    /// Lets outputs go of pictures that they have been taking for too long, and of decoders that
    /// hang; to be called ten times a second. Returns the cameras of such outputs.
    pub fn free_stuck(&self) -> Vec<&CameraId> {
        let stuck = self.open.iter().filter(|(_, view)| view.unstick());
        stuck.map(|(camera, _)| camera).collect()
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

    /// Closes all, also those that are still being made. What an output does not let go of in
    /// time is left to the end of the process.
    pub async fn stop(mut self) {
        let stopping = async {
            while self.opened().await.is_some() {}
            let stops = self.open.into_values().map(stop);
            futures_util::future::join_all(stops).await;
        };
        if timeout(STOPPING, stopping).await.is_err() {
            tracing::warn!("not every output could be closed in time");
        }
    }
}

async fn stop(view: View) {
    if spawn_blocking(move || view.stop()).await.is_err() {
        tracing::error!("stopping a view panicked");
    }
}
