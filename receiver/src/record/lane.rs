//! One camera of a recording: its times, what its decoders have to know, and its file.

use std::path::PathBuf;

use rovercast_protocol::codec::Codec;
use rovercast_protocol::ids::CameraId;

use super::annexb;
use super::disk::{self, Failure};
use super::queue::Unit;
use super::settings::Settings;
use super::timeline::{Epoch, Timeline};
use super::video_file::{Kind, VideoFile};

/// See above.
#[derive(Debug, Default)]
pub(super) struct Lane {
    timeline: Timeline,
    /// The parameter sets of the last key frame that had some, and their codec.
    parameters: Option<(Codec, Vec<Vec<u8>>)>,
    file: Option<CameraFile>,
    /// The number of its last file.
    number: u32,
    /// It is not recorded before this time, on this host's monotonic clock, in microseconds: its
    /// stream fitted into no file.
    pub(super) resting_until_us: Option<i64>,
}

#[derive(Debug)]
struct CameraFile {
    file: VideoFile,
    codec: Codec,
    parameters: Vec<Vec<u8>>,
    started_us: i64,
    bytes: u64,
}

/// An access unit as it is written.
pub(super) struct Frame<'a> {
    /// Of which camera.
    pub(super) camera: &'a CameraId,
    /// When, on this host's monotonic clock, in microseconds.
    pub(super) at_us: i64,
    /// Whether decoders can begin with it: it has the parameter sets, too, then.
    pub(super) key_frame: bool,
    /// Its bytes.
    pub(super) buffer: gst::Buffer,
}

/// What was done with a [`Frame`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// A key frame should be asked for.
    pub(super) needs_key_frame: bool,
    /// A file that was begun, and when: on the recording's clock, in microseconds.
    pub(super) begun: Option<(PathBuf, i64)>,
    /// How long a file became that was finished.
    pub(super) finished_bytes: u64,
}

impl Lane {
    /// Takes an access unit: finds its time, and gives a key frame the parameter sets that it
    /// lacks. None of what is no access unit.
    pub(super) fn frame<'a>(&mut self, unit: &'a Unit) -> Option<Frame<'a>> {
        let presented_us = unit.buffer.pts().and_then(|pts| i64::try_from(pts.useconds()).ok());
        let at_us = self.timeline.place(unit.arrived_us, presented_us, unit.captured_us);
        let look = annexb::look(unit.codec, &unit.buffer.map_readable().ok()?);
        let mut buffer = unit.buffer.copy();
        let mut key_frame = look.key_frame;
        if look.key_frame && look.parameters.is_empty() {
            let known = self.parameters.as_ref().filter(|(codec, _)| *codec == unit.codec);
            match known {
                Some((_, parameters)) => {
                    let sets = gst::Memory::from_slice(annexb::byte_stream(parameters));
                    buffer.make_mut().insert_memory(0, sets);
                }
                // Nobody could decode it.
                None => key_frame = false,
            }
        } else if look.key_frame {
            self.parameters = Some((unit.codec, look.parameters));
        }
        Some(Frame { camera: &unit.camera, at_us, key_frame, buffer })
    }

    /// Writes it into a file of the camera's own. A new file, whose path `path` gives, begins at a
    /// key frame: when there is none, when it is time, and when the parameter sets have changed,
    /// since a file has but one set.
    pub(super) fn write(
        &mut self,
        frame: Frame<'_>,
        codec: Codec,
        kind: Kind,
        settings: &Settings,
        epoch: Epoch,
        path: impl FnOnce(&mut u32) -> PathBuf,
    ) -> Result<Written, Failure> {
        let at_us = epoch.since(frame.at_us);
        let mut written = Written::default();
        let parameters = self.parameters.as_ref().filter(|_| frame.key_frame);
        let parameters = parameters.map(|(_, parameters)| parameters.clone());
        let (mut due, mut other) = (false, false);
        if let Some(file) = &self.file {
            due = settings.is_due(at_us - file.started_us, file.bytes);
            let changed =
                parameters.as_ref().is_some_and(|parameters| *parameters != file.parameters);
            other = file.codec != codec || changed;
        }
        if other || (due && frame.key_frame) {
            written.finished_bytes = self.finish()?;
        }
        if self.file.is_none() {
            let Some(parameters) = parameters else {
                written.needs_key_frame = true;
                return Ok(written);
            };
            let path = path(&mut self.number);
            let file = VideoFile::open(&path, kind, codec, &parameters)?;
            written.begun = Some((path, at_us));
            self.file = Some(CameraFile { file, codec, parameters, started_us: at_us, bytes: 0 });
        }
        written.needs_key_frame = due && !frame.key_frame;
        if let Some(file) = &mut self.file {
            file.bytes += frame.buffer.size() as u64;
            file.file.write(frame.buffer, at_us - file.started_us)?;
        }
        Ok(written)
    }

    /// What its open file has by now.
    pub(super) fn bytes(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| disk::length(file.file.path()))
    }

    /// Finishes its file, when it has one. Returns how long it became.
    pub(super) fn finish(&mut self) -> Result<u64, Failure> {
        let Some(CameraFile { file, .. }) = self.file.take() else { return Ok(0) };
        let path = file.path().to_owned();
        file.finish()?;
        Ok(disk::length(&path))
    }
}
