//! The MCAP files of a recording, of which each has everything: one after the other, and two for
//! the moment in which one gives way to the next, since cameras have their key frames at different
//! times and each changes over at its own.

use std::collections::BTreeMap;
use std::path::Path;

use rovercast_protocol::ids::{CameraId, RobotId};

use super::disk::{self, Failure};
use super::journal::Line;
use super::lane::Frame;
use super::mcap_file::McapFile;
use super::settings::Settings;
use super::timeline::Epoch;

/// So long a camera may go on in the file before, without a key frame. In microseconds.
const CHANGING_OVER_US: i64 = 10_000_000;

/// See above.
pub(super) struct Bundle {
    robot: RobotId,
    epoch: Epoch,
    current: McapFile,
    previous: Option<McapFile>,
    /// The number of the file that each camera is in.
    places: BTreeMap<CameraId, u32>,
    finished_bytes: u64,
}

impl Bundle {
    /// Begins with a first file.
    pub(super) fn open(
        robot: &RobotId,
        epoch: Epoch,
        now_us: i64,
        number: u32,
        path: &Path,
    ) -> Result<Self, Failure> {
        let current = McapFile::open(path, robot, epoch, number, now_us)?;
        let (robot, places) = (robot.clone(), BTreeMap::new());
        Ok(Self { robot, epoch, current, previous: None, places, finished_bytes: 0 })
    }

    /// Writes an access unit. False when the camera needs a key frame: to begin at all, or to
    /// change over.
    pub(super) fn video(&mut self, format: &str, frame: &Frame<'_>) -> Result<bool, Failure> {
        if frame.key_frame {
            self.places.insert(frame.camera.clone(), self.current.number);
        }
        let Some(&place) = self.places.get(frame.camera) else { return Ok(false) };
        let file = match &mut self.previous {
            Some(previous) if previous.number == place => previous,
            _ => &mut self.current,
        };
        let Ok(data) = frame.buffer.map_readable() else { return Ok(true) };
        file.video(frame.camera, format, frame.at_us, &data)?;
        Ok(place == self.current.number)
    }

    /// Writes a line.
    pub(super) fn line(&mut self, line: &Line) -> Result<(), Failure> {
        self.current.line(line)
    }

    /// Whether it is time for another file.
    pub(super) fn is_due(&self, settings: &Settings, now_us: i64) -> bool {
        let age_us = now_us.saturating_sub(self.current.started_us);
        self.previous.is_none() && settings.is_due(age_us, self.current.bytes)
    }

    /// Begins another file, which lines go to at once, and each camera with its next key frame.
    pub(super) fn change_over(
        &mut self,
        now_us: i64,
        number: u32,
        path: &Path,
    ) -> Result<(), Failure> {
        let next = McapFile::open(path, &self.robot, self.epoch, number, now_us)?;
        self.finish_previous()?;
        self.previous = Some(std::mem::replace(&mut self.current, next));
        Ok(())
    }

    /// Writes what is in memory, and finishes a file that every camera has left.
    pub(super) fn flush(&mut self, now_us: i64) -> Result<(), Failure> {
        self.current.flush()?;
        let Some(previous) = &mut self.previous else { return Ok(()) };
        previous.flush()?;
        let number = previous.number;
        if now_us.saturating_sub(self.current.started_us) > CHANGING_OVER_US {
            // Nothing is lost: it can only be looked at from the camera's next key frame on.
            self.places.values_mut().for_each(|place| *place = self.current.number);
        }
        if !self.places.values().any(|place| *place == number) {
            self.finish_previous()?;
        }
        Ok(())
    }

    /// What its files have by now.
    pub(super) fn bytes(&self) -> u64 {
        let open = [Some(&self.current), self.previous.as_ref()].into_iter().flatten();
        self.finished_bytes + open.map(|file| disk::length(file.path())).sum::<u64>()
    }

    /// Closes all. Returns what its files have.
    pub(super) fn finish(mut self) -> Result<u64, Failure> {
        let previous = self.finish_previous();
        let path = self.current.path().to_owned();
        self.current.finish()?;
        previous?;
        Ok(self.finished_bytes + disk::length(&path))
    }

    fn finish_previous(&mut self) -> Result<(), Failure> {
        if let Some(previous) = self.previous.take() {
            let path = previous.path().to_owned();
            previous.finish()?;
            self.finished_bytes += disk::length(&path);
        }
        Ok(())
    }
}
