//! Pictures as files: written by a thread of its own, so that no drawing waits for a disk.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use anyhow::Context;
use gst::glib;
use rovercast_protocol::ids::CameraId;

use crate::window::wall::Wall;

/// Snapshots that may wait for the disk; more are refused.
const BACKLOG: usize = 4;

/// A picture is to be a file by then.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(10);

type Pictures = Vec<(CameraId, gst::Sample)>;

/// Writes snapshots.
#[derive(Debug)]
pub(crate) struct Saver(SyncSender<Pictures>);

impl Saver {
    /// One that writes into this folder, made when it is needed, and tells on `wall` what became
    /// of each snapshot.
    pub(crate) fn start(folder: PathBuf, wall: Wall) -> std::io::Result<Self> {
        let (jobs, pictures) = sync_channel::<Pictures>(BACKLOG);
        std::thread::Builder::new().name("snapshots".into()).spawn(move || {
            for pictures in pictures {
                match save(&folder, &pictures) {
                    Ok(text) => {
                        tracing::info!("{text}");
                        wall.note(text, false);
                    }
                    Err(error) => {
                        tracing::error!("{error:#}");
                        wall.note(format!("{error:#}"), true);
                    }
                }
            }
        })?;
        Ok(Self(jobs))
    }

    /// Saves these pictures soon. False when too many wait.
    pub(crate) fn save(&self, pictures: Pictures) -> bool {
        self.0.try_send(pictures).is_ok()
    }
}

/// Writes pictures into a folder. Returns what to say of it.
fn save(folder: &Path, pictures: &Pictures) -> anyhow::Result<String> {
    let time = utc().context("no snapshot: there is no time of day")?;
    let cannot = || format!("no snapshot: cannot write into {}", folder.display());
    std::fs::create_dir_all(folder).with_context(cannot)?;
    let mut last = folder.to_owned();
    for (camera, sample) in pictures {
        let path = folder.join(format!("{camera}-{time}.png"));
        let caps = gst::Caps::new_empty_simple("image/png");
        let png = gst_video::convert_sample(sample, &caps, Some(PATIENCE)).with_context(|| {
            format!("no snapshot of {camera}: the picture does not become a PNG")
        })?;
        let png = png.buffer().context("no snapshot: an empty PNG")?;
        let png = png.map_readable().context("no snapshot: a PNG that cannot be read")?;
        std::fs::write(&path, png.as_slice()).with_context(cannot)?;
        last = path;
    }
    Ok(match pictures.len() {
        1 => format!("saved {}", last.display()),
        count => format!("saved {count} pictures in {}", folder.display()),
    })
}

/// Now, as files are named: `20260131T235959.123Z`.
fn utc() -> anyhow::Result<String> {
    let now = glib::DateTime::now_utc()?;
    Ok(format!("{}.{:03}Z", now.format("%Y%m%dT%H%M%S")?, now.microsecond() / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> gst::Sample {
        gst::init().unwrap();
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, 64, 48);
        let info = info.fps(gst::Fraction::new(30, 1)).build().unwrap();
        let buffer = gst::Buffer::from_slice(vec![100u8; info.size()]);
        gst::Sample::builder().buffer(&buffer).caps(&info.to_caps().unwrap()).build()
    }

    #[test]
    fn pictures_become_files_named_by_camera_and_time() {
        let folder = std::env::temp_dir().join(format!("rovercast-saved-{}", std::process::id()));
        let camera: CameraId = "front".parse().unwrap();
        let told = save(&folder.join("deep"), &vec![(camera, picture())]).unwrap();
        let path = PathBuf::from(told.strip_prefix("saved ").unwrap());
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("front-2") && name.ends_with("Z.png"), "{name}");
        assert!(std::fs::read(&path).unwrap().starts_with(b"\x89PNG"));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_is_named() {
        let camera: CameraId = "front".parse().unwrap();
        let error = save(Path::new("/proc/nowhere"), &vec![(camera, picture())]).unwrap_err();
        assert!(error.to_string().contains("/proc/nowhere"), "{error}");
    }
}
