//! shim
use crate::camera::encoder::Encoder;
use crate::config::CameraConfig;
pub fn transform(_c: &CameraConfig, _row: &Encoder) -> String {
    "videoconvert ! videoscale add-borders=true".into()
}
