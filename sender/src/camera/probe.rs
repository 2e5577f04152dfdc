//! shim
use crate::camera::encoder::{self, Encoder};
use crate::config::CameraConfig;
#[derive(Debug, Default)]
pub struct Probe {}
impl Probe {
    pub async fn choose(&self, camera: &CameraConfig) -> Result<&'static Encoder, String> {
        encoder::choose(&camera.encoder, |n| gst::ElementFactory::find(n).is_some())
    }
}
