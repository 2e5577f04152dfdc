//! The robot's cameras together: started, reloaded, asked and told of, and stopped.

use std::sync::Arc;
use std::time::Duration;

use rovercast_protocol::control::{Refusal, RefusalCode};
use rovercast_protocol::ids::CameraId;
use rovercast_protocol::telemetry::CameraFigures;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};

use crate::camera::hotplug::Hotplug;
use crate::camera::probe::Probe;
use crate::camera::snapshot;
use crate::camera::task::Camera;
use crate::config::{CameraConfig, Source};
use crate::control::{Answer, Reply, Request, What, refused};
use crate::metrics;
use crate::session::media::Feed;
use crate::session::task::SessionCamera;
use crate::telemetry::Meter;

/// Snapshots that may be under way at once; further ones are refused. Each decodes a picture.
const SNAPSHOTS: usize = 4;

/// The robot's cameras, in the order of the config.
#[derive(Debug)]
pub struct Fleet {
    cameras: Vec<(Camera, Meter)>,
    /// Those that the config has no more, while sessions still carry them.
    retired: Vec<(Camera, Meter)>,
    /// Those that are being stopped: a device may take its time.
    stopping: JoinSet<()>,
    snapshots: Arc<Semaphore>,
    probe: Probe,
    changed: watch::Sender<()>,
    appeared: watch::Sender<()>,
    /// What hears of devices that are plugged in.
    hotplug: Option<JoinHandle<()>>,
}

impl Fleet {
    /// Starts every camera. `changed` is told whenever the status of one changes.
    pub fn start(
        configs: &[CameraConfig],
        probe: Probe,
        changed: watch::Sender<()>,
    ) -> anyhow::Result<Self> {
        let mut this = Self {
            cameras: Vec::new(),
            retired: Vec::new(),
            stopping: JoinSet::new(),
            snapshots: Arc::new(Semaphore::new(SNAPSHOTS)),
            probe,
            changed,
            appeared: watch::Sender::new(()),
            hotplug: None,
        };
        for config in configs {
            let camera = this.start_one(config.clone())?;
            this.cameras.push((camera, Meter::default()));
        }
        this.watch_devices();
        Ok(this)
    }

    fn start_one(&self, config: CameraConfig) -> anyhow::Result<Camera> {
        let camera = Camera::start(config, self.probe.clone()).map_err(anyhow::Error::msg)?;
        let (mut status, changed) = (camera.status.clone(), self.changed.clone());
        tokio::spawn(async move {
            while status.changed().await.is_ok() {
                changed.send_replace(());
            }
        });
        Ok(camera)
    }

    /// Where a camera can be plugged in, that is heard of.
    fn watch_devices(&mut self) {
        let pluggable =
            |source: &Source| matches!(source, Source::V4l2 { .. } | Source::Stereo { .. });
        let any = self.cameras.iter().any(|(camera, _)| pluggable(&camera.config.source));
        if !any || self.hotplug.is_some() {
            return;
        }
        let appeared = self.appeared.clone();
        self.hotplug = Some(tokio::spawn(async move {
            let on_device = {
                let appeared = appeared.clone();
                move || {
                    appeared.send_replace(());
                }
            };
            let hotplug = spawn_blocking(move || Hotplug::start(on_device)).await;
            if let Ok(Some(hotplug)) = hotplug {
                appeared.closed().await;
                let _ = spawn_blocking(move || hotplug.stop()).await;
            }
        }));
    }

    /// Told whenever a device was plugged in.
    pub fn devices(&self) -> watch::Receiver<()> {
        self.appeared.subscribe()
    }

    /// A device was plugged in: it may belong to any camera.
    pub fn device_appeared(&self) {
        self.cameras.iter().for_each(|(camera, _)| camera.device_appeared());
    }

    /// The cameras' ids.
    pub fn ids(&self) -> Vec<CameraId> {
        self.cameras.iter().map(|(camera, _)| camera.config.id.clone()).collect()
    }

    /// What a session needs of those that it chose.
    pub fn of_session(&self, chosen: &[CameraId]) -> Vec<SessionCamera> {
        let cameras = self.cameras.iter().map(|(camera, _)| camera);
        cameras
            .filter(|camera| chosen.contains(&camera.config.id))
            .map(|camera| SessionCamera {
                feed: Feed {
                    id: camera.config.id.clone(),
                    codec: camera.config.codec,
                    stream: camera.stream().clone(),
                    demand: camera.demand.clone(),
                    counters: camera.counters.clone(),
                },
                status: camera.status.clone(),
                claim: camera.claim(),
            })
            .collect()
    }

    /// Reads what flowed since the last reading, so long ago.
    pub fn read_meters(&mut self, elapsed: Duration) {
        for (camera, meter) in &mut self.cameras {
            meter.read(camera, elapsed);
        }
    }

    /// The figures of all cameras: their states now, their rates as last read.
    pub fn figures(&self) -> Vec<CameraFigures> {
        self.cameras.iter().map(|(camera, meter)| meter.figures(camera)).collect()
    }

    /// The same with what flowed through them so far.
    pub fn metrics(&self) -> Vec<metrics::Camera> {
        let all = self.cameras.iter().map(|(camera, meter)| metrics::Camera {
            figures: meter.figures(camera),
            counters: camera.counters.clone(),
        });
        all.collect()
    }

    /// Answers a request; the answer may come later.
    pub fn answer(&self, request: Request) {
        let Request { camera: id, what, reply } = request;
        let Some((camera, _)) = self.cameras.iter().find(|(camera, _)| camera.config.id == id)
        else {
            let details = format!("the robot has no camera {id}");
            let _ = reply.send(Err(Refusal { code: RefusalCode::UnknownCamera, details }));
            return;
        };
        match what {
            What::Change(change) => camera.change(change, reply),
            What::KeyFrame => drop(reply.send(camera.request_key_frame())),
            What::Snapshot => {
                let snapshot = self.snapshot(camera);
                tokio::spawn(async move { reply.send(snapshot.await) });
            }
        }
    }

    fn snapshot(&self, camera: &Camera) -> impl Future<Output = Answer> + use<> {
        let permit = self.snapshots.clone().try_acquire_owned();
        let key_frame = permit.is_ok().then(|| camera.key_frame());
        async move {
            let busy = || refused("too many snapshots at once: try again");
            let key_frame = key_frame.ok_or_else(busy)?.await?;
            let jpeg = spawn_blocking(move || {
                let _permit = permit;
                snapshot::jpeg(&key_frame)
            });
            let jpeg = jpeg.await.unwrap_or_else(|error| Err(error.to_string()));
            jpeg.map(Reply::Snapshot).map_err(refused)
        }
    }

    /// Brings the cameras to another config. Those that stay the same go on untouched; those that
    /// change keep their sessions. Those that are no more are retired: sessions that carry them see
    /// a slate. So is one whose codec is another, and a new one takes its place; returns these.
    pub fn reload(&mut self, configs: &[CameraConfig]) -> Vec<CameraId> {
        let mut before = std::mem::take(&mut self.cameras);
        for config in configs {
            let fits = |(camera, _): &(Camera, Meter)| {
                camera.config.id == config.id && camera.config.codec == config.codec
            };
            let kept = before.iter().position(fits).map(|index| before.remove(index));
            let back = self.retired.iter().position(fits).filter(|_| kept.is_none());
            let same = kept.as_ref().is_some_and(|(camera, _)| camera.config == *config);
            match kept.or_else(|| back.map(|index| self.retired.remove(index))) {
                Some((mut camera, meter)) => {
                    if !same {
                        tracing::info!(camera = %config.id, "the camera gets its new config");
                        camera.reconfigure(config.clone());
                    }
                    self.cameras.push((camera, meter));
                }
                None => {
                    tracing::info!(camera = %config.id, "a new camera");
                    match self.start_one(config.clone()) {
                        Ok(camera) => self.cameras.push((camera, Meter::default())),
                        Err(error) => tracing::error!(camera = %config.id, "{error:#}"),
                    }
                }
            }
        }
        let ids = self.ids();
        let gone: Vec<CameraId> =
            before.iter().map(|(camera, _)| camera.config.id.clone()).collect();
        for (camera, meter) in before {
            tracing::info!(camera = %camera.config.id, "the camera is removed");
            camera.retire();
            self.retired.push((camera, meter));
        }
        self.watch_devices();
        gone.into_iter().filter(|id| ids.contains(id)).collect()
    }

    /// Stops those that are retired and in no session any more.
    pub fn free_retired(&mut self) {
        while self.stopping.try_join_next().is_some() {}
        for (camera, _) in self.retired.extract_if(.., |(camera, _)| !camera.is_claimed()) {
            self.stopping.spawn(async move {
                let id = camera.config.id.clone();
                camera.stop().await;
                tracing::info!(camera = %id, "the camera is no more");
            });
        }
    }

    /// Stops all of them, side by side, within `ending`. Nobody may be told of devices any more.
    pub fn stop(mut self, ending: &mut JoinSet<()>) {
        for (camera, _) in self.cameras.into_iter().chain(self.retired) {
            ending.spawn(camera.stop());
        }
        if let Some(hotplug) = self.hotplug {
            ending.spawn(async move { drop(hotplug.await) });
        }
        ending.spawn(async move { while self.stopping.join_next().await.is_some() {} });
    }
}
