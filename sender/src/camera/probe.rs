//! shim
use crate::camera::encoder::{self, Encoder};
use crate::config::CameraConfig;
#[derive(Debug, Default)]
pub struct Probe {}
impl Probe {
    pub async fn choose(&self, camera: &CameraConfig) -> Result<&'static Encoder, String> {
        encoder::candidates(camera.codec, &camera.encoder)
            .find(|row| gst::ElementFactory::find(row.factory).is_some())
            .ok_or("none".into())
    }
}
