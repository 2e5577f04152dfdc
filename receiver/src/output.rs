//! Where decoded pictures go.

use std::sync::Arc;

use rovercast_protocol::ids::CameraId;

use crate::window::Wall;

/// A program's own use of the pictures: called for each of them, on the decoder's thread.
pub type OnPicture = Arc<dyn Fn(&CameraId, &gst::Sample) + Send + Sync>;

/// The end of a launch line whose pictures are taken by this program.
const PICTURES: &str = "appsink name=rovercast-pictures sync=false";

/// Where decoded pictures go.
#[derive(Clone)]
pub enum Output {
    /// One window for all cameras.
    Window(Wall),
    /// A window for each camera.
    Windows,
    /// Nowhere: decoded, measured and dropped.
    Null,
    /// A launch fragment for each camera, `{camera}` replaced by its id.
    Launch(String),
    /// A function of the program that embeds the receiver.
    Pictures(OnPicture),
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Window(_) => f.write_str("Window"),
            Self::Windows => f.write_str("Windows"),
            Self::Null => f.write_str("Null"),
            Self::Launch(fragment) => write!(f, "Launch({fragment:?})"),
            Self::Pictures(_) => f.write_str("Pictures"),
        }
    }
}

impl Output {
    /// What `--sink` says; `window` alone needs more, a [`Wall`].
    pub fn parse(text: &str) -> Self {
        match text {
            "windows" => Self::Windows,
            "null" => Self::Null,
            fragment => Self::Launch(fragment.to_owned()),
        }
    }

    /// Its part of the launch line: from decoded pictures to the end.
    pub fn launch(&self, camera: &CameraId) -> String {
        match self {
            // Converts nothing where the decoder gives one of them.
            Self::Window(_) => {
                format!("videoconvert ! video/x-raw,format=(string){{I420,NV12}} ! {PICTURES}")
            }
            Self::Windows => format!(
                "taginject tags=\"title=\\\"{camera}\\\"\" ! videoconvert ! autovideosink sync=false"
            ),
            Self::Null => "fakesink sync=false".to_owned(),
            Self::Launch(fragment) => fragment.replace("{camera}", camera.as_str()),
            Self::Pictures(_) => PICTURES.to_owned(),
        }
    }

    /// What is called for each picture, where something is: [`Output::launch`] ends in an appsink
    /// then.
    pub fn on_picture(&self) -> Option<OnPicture> {
        match self {
            Self::Pictures(on_picture) => Some(on_picture.clone()),
            Self::Window(wall) => {
                let wall = wall.clone();
                Some(Arc::new(move |camera, sample| wall.picture(camera, sample.clone())))
            }
            _ => None,
        }
    }

    /// The window for all cameras, where there is one.
    pub fn wall(&self) -> Option<&Wall> {
        match self {
            Self::Window(wall) => Some(wall),
            _ => None,
        }
    }

    /// Whether sinks show pictures as they come, though they would wait for the clock by default.
    /// A launch fragment that speaks of `sync` itself has its way.
    pub fn shows_at_once(&self) -> bool {
        let sets_sync =
            |fragment: &str| fragment.split_whitespace().any(|word| word.starts_with("sync="));
        !matches!(self, Self::Launch(fragment) if sets_sync(fragment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_camera_is_put_into_a_fragment() {
        let output = Output::parse("shmsink socket-path=/tmp/{camera} name={camera}");
        let camera = "front".parse().unwrap();
        assert_eq!(output.launch(&camera), "shmsink socket-path=/tmp/front name=front");
        assert!(output.shows_at_once());
        assert!(!Output::parse("ximagesink sync=true").shows_at_once());
        assert!(Output::parse("ximagesink async=false").shows_at_once());
    }
}
