//! The robot's cameras together: started, reloaded, asked and told of, and stopped.

use std::time::Duration;

use rovercast_protocol::ids::CameraId;
use rovercast_protocol::telemetry::CameraFigures;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use crate::camera::hotplug::Hotplug;
use crate::camera::probe::Probe;
use crate::camera::snapshot;
use crate::camera::task::Camera;
use crate::config::{CameraConfig, Source};
use crate::control::{Reply, Request, What};
use crate::session::task::SessionCamera;
use crate::telemetry::Meter;

/// A key frame that is not there by then does not come.
const SNAPSHOT: Duration = Duration::from_secs(5);

const BUSY: &str = "the camera has too much to do: try again";

/// The robot's cameras, in the order of the config.
#[derive(Debug)]
pub struct Fleet {
    cameras: Vec<(Camera, Meter)>,
    probe: Probe,
    changed: watch::Sender<()>,
    appeared: watch::Sender<()>,
    watches_devices: bool,
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
            probe,
            changed,
            appeared: watch::Sender::new(()),
            watches_devices: false,
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
        if !any || std::mem::replace(&mut self.watches_devices, true) {
            return;
        }
        let appeared = self.appeared.clone();
        tokio::spawn(async move {
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
        });
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
                id: camera.config.id.clone(),
                codec: camera.config.codec,
                stream: camera.stream().clone(),
                demand: camera.demand.clone(),
                status: camera.status.clone(),
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

    /// Answers a request; the answer may come later.
    pub fn answer(&self, request: Request) {
        let Request { camera: id, what, reply } = request;
        let Some((camera, _)) = self.cameras.iter().find(|(camera, _)| camera.config.id == id)
        else {
            let _ = reply.send(Err(format!("the robot has no camera {id}")));
            return;
        };
        let done = |accepted: bool| accepted.then_some(Reply::Done).ok_or_else(|| BUSY.to_owned());
        let answer = match what {
            What::Change(change) => done(camera.change(change)),
            What::KeyFrame => done(camera.request_key_frame()),
            What::Snapshot => {
                let key_frame = camera.key_frame();
                tokio::spawn(async move {
                    let picture = match timeout(SNAPSHOT, key_frame).await {
                        Ok(Some(key_frame)) => spawn_blocking(move || snapshot::jpeg(&key_frame))
                            .await
                            .unwrap_or_else(|error| Err(error.to_string())),
                        Ok(None) => Err(BUSY.to_owned()),
                        Err(_) => Err("the camera gives no key frame".to_owned()),
                    };
                    let _ = reply.send(picture.map(Reply::Snapshot));
                });
                return;
            }
        };
        let _ = reply.send(answer);
    }

    /// Brings the cameras to another config. Those that stay the same go on untouched; those that
    /// change keep their sessions, but where the codec is another.
    pub async fn reload(&mut self, configs: &[CameraConfig]) -> anyhow::Result<()> {
        let mut before = std::mem::take(&mut self.cameras);
        let mut outcome = Ok(());
        for config in configs {
            let same = |(camera, _): &(Camera, Meter)| {
                camera.config.id == config.id && camera.config.codec == config.codec
            };
            if let Some(index) = before.iter().position(same) {
                let (mut camera, meter) = before.remove(index);
                if camera.config != *config {
                    tracing::info!(camera = %config.id, "the camera gets its new config");
                    camera.reconfigure(config.clone()).await;
                }
                self.cameras.push((camera, meter));
                continue;
            }
            tracing::info!(camera = %config.id, "a new camera");
            match self.start_one(config.clone()) {
                Ok(camera) => self.cameras.push((camera, Meter::default())),
                Err(error) => outcome = Err(error),
            }
        }
        for (camera, _) in before {
            tracing::info!(camera = %camera.config.id, "the camera is no more");
            camera.stop().await;
        }
        self.watch_devices();
        outcome
    }

    /// Stops all of them, side by side, within `ending`.
    pub fn stop(self, ending: &mut JoinSet<()>) {
        for (camera, _) in self.cameras {
            ending.spawn(camera.stop());
        }
    }
}
