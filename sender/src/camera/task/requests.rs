//! What is asked of a camera while it runs.

use crate::camera::supervisor::Input;
use crate::camera::task::Life;
use crate::camera::task::device::{coded_origin, expectations};
use crate::camera::task::handle::{BUSY, Promise, Request, seen};
use crate::camera::worker::PATIENCE;
use crate::config::CameraConfig;
use crate::control::{Change, Reply, refused};

/// What viewers are told of a camera that the config has no more.
const REMOVED: &str = "removed from the robot's config";

impl Life {
    pub(super) async fn on_request(&mut self, request: Request) {
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

    pub(super) fn promise_key_frame(&self) -> Promise {
        seen(&self.status.borrow())?;
        if self.slate.is_some() {
            return Err(refused("the camera has no picture yet: try again"));
        }
        let promised = self.output.next_key_frame().ok_or_else(|| refused(BUSY))?;
        self.output.request_key_frame();
        Ok(promised)
    }

    /// The error is for people; nothing has changed then.
    pub(super) fn change_rates(
        &mut self,
        Change { bitrate_kbps, fps, .. }: Change,
    ) -> Result<(), String> {
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

    pub(super) async fn enable(&mut self, enabled: bool) {
        if enabled && self.encoding.is_err() && self.coded.is_none() {
            self.start_encoder().await;
        }
        self.handle(Input::Enable(enabled)).await;
    }

    pub(super) async fn reconfigure(&mut self, config: CameraConfig) {
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

    pub(super) async fn retire(&mut self) {
        self.handle(Input::Retire(REMOVED.to_owned())).await;
        // Another camera may listen at the same port.
        self.coded = None;
    }
}
