//! The recording that goes on, if one does, and those that are being finished.

use std::sync::Arc;

use rovercast_protocol::ids::{CameraId, RobotId};
use tokio::task::JoinSet;

use crate::meter::Meter;
use crate::record::{Recorder, RecorderHandle, Settings, State};
use crate::report::Report;
use crate::view::OnAccessUnit;

/// Recordings of one robot, one after the other.
#[derive(Debug)]
pub struct Recordings {
    settings: Settings,
    robot: RobotId,
    current: Option<(Recorder, RecorderHandle)>,
    finishing: JoinSet<()>,
}

impl Recordings {
    /// None yet.
    pub fn new(settings: Settings, robot: RobotId) -> Self {
        Self { settings, robot, current: None, finishing: JoinSet::new() }
    }

    /// Begins one, unless one goes on. The error is for people.
    pub fn begin(&mut self) -> anyhow::Result<()> {
        if self.current.is_none() {
            self.current = Some(Recorder::start(self.settings.clone(), &self.robot)?);
            tracing::info!("recording into {}", self.settings.directory.display());
        }
        Ok(())
    }

    /// Ends the one that goes on; its files are finished beside everything else.
    pub fn end(&mut self) {
        if let Some((recorder, _)) = self.current.take() {
            self.finishing.spawn_blocking(move || {
                let State { bytes, files, .. } = recorder.stop();
                tracing::info!("recorded {files} files, {} MB", bytes / 1_000_000);
            });
        }
    }

    /// What takes a camera's access units; none while nothing is recorded.
    pub fn tap(&self, camera: &CameraId, meter: &Arc<Meter>) -> Option<OnAccessUnit> {
        let (_, handle) = self.current.as_ref()?;
        let (handle, camera, meter) = (handle.clone(), camera.clone(), meter.clone());
        Some(Arc::new(move |sample| {
            let pts = sample.buffer().and_then(|unit| unit.pts());
            let captured_us = pts.and_then(|pts| meter.capture_us(pts.nseconds()));
            handle.access_unit(&camera, sample, captured_us)
        }))
    }

    /// Writes down what was told.
    pub fn tell(&self, report: &Report) {
        if let Some((_, handle)) = &self.current {
            handle.telemetry(report);
        }
    }

    /// How the one that goes on is.
    pub fn state(&self) -> Option<State> {
        self.current.as_ref().map(|(recorder, _)| recorder.state().borrow().clone())
    }

    /// Ends, and returns when all files are finished.
    pub async fn stop(mut self) {
        self.end();
        while self.finishing.join_next().await.is_some() {}
    }
}
