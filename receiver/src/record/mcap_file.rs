//! One MCAP file: a channel for each camera and each kind of line. What is not flushed is in
//! memory, so that a file always ends behind a whole record.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use mcap::records::{MessageHeader, Metadata};
use mcap::{McapError, McapResult, WriteOptions, Writer};
use rovercast_protocol::ids::{CameraId, RobotId};

use super::disk::{self, Failure};
use super::foxglove;
use super::journal::Line;
use super::timeline::Epoch;

/// See above.
pub(super) struct McapFile {
    /// Its number in the recording.
    pub(super) number: u32,
    /// When it began, on the recording's clock, in microseconds.
    pub(super) started_us: i64,
    /// What was put into it.
    pub(super) bytes: u64,
    path: PathBuf,
    epoch: Epoch,
    writer: Writer<File>,
    channels: BTreeMap<String, (u16, u32)>,
}

impl McapFile {
    /// A new one. Fails when there is a file of this name.
    pub(super) fn open(
        path: &Path,
        robot: &RobotId,
        epoch: Epoch,
        number: u32,
        started_us: i64,
    ) -> Result<Self, Failure> {
        let file = File::create_new(path).map_err(|error| Failure::new(path, error))?;
        let begin = || -> McapResult<Writer<File>> {
            // Video is compressed already. Chunks are put together in memory and written as a whole.
            let options = WriteOptions::new().compression(None).disable_seeking(true);
            let mut writer = options.library("rovercast-receiver").create(file)?;
            let metadata = BTreeMap::from([("robot".to_owned(), robot.to_string())]);
            writer.write_metadata(&Metadata { name: "rovercast".to_owned(), metadata })?;
            Ok(writer)
        };
        let writer = begin().map_err(|error| {
            disk::discard_if_empty(path);
            failure(path, &error)
        })?;
        let channels = BTreeMap::new();
        let path = path.to_owned();
        Ok(Self { number, started_us, bytes: 0, path, epoch, writer, channels })
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes an access unit, captured at `at_us` of this host's monotonic clock.
    pub(super) fn video(
        &mut self,
        camera: &CameraId,
        format: &str,
        at_us: i64,
        access_unit: &[u8],
    ) -> Result<(), Failure> {
        let utc_us = self.epoch.utc_us(at_us);
        let message = foxglove::video(utc_us, camera.as_str(), access_unit, format);
        let schema = || (foxglove::VIDEO, "protobuf", foxglove::video_schema());
        self.write(&format!("/video/{camera}"), "protobuf", schema, at_us, &message)
    }

    /// Writes a line.
    pub(super) fn line(&mut self, line: &Line) -> Result<(), Failure> {
        let json = line.timed(self.epoch);
        let name = format!("rovercast.{}", line.kind);
        let schema = || {
            let like = serde_json::from_str(&json).unwrap_or_default();
            (&*name, "jsonschema", foxglove::json_schema(&like).to_string().into_bytes())
        };
        self.write(&format!("/{}", line.kind), "json", schema, line.at_us, json.as_bytes())
    }

    /// Writes what is still in memory: all that a crash could cost.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(|error| failure(&self.path, &error))
    }

    /// Writes its index, and closes it.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        self.writer.finish().map(drop).map_err(|error| failure(&self.path, &error))
    }

    fn write<'a>(
        &mut self,
        topic: &str,
        encoding: &str,
        schema: impl FnOnce() -> (&'a str, &'a str, Vec<u8>),
        at_us: i64,
        message: &[u8],
    ) -> Result<(), Failure> {
        let time_ns = self.epoch.utc_us(at_us).max(0).unsigned_abs().saturating_mul(1000);
        self.bytes += message.len() as u64;
        let write = || -> McapResult<()> {
            if !self.channels.contains_key(topic) {
                let (name, schema_encoding, data) = schema();
                let schema = self.writer.add_schema(name, schema_encoding, &data)?;
                let id = self.writer.add_channel(schema, topic, encoding, &BTreeMap::new())?;
                self.channels.insert(topic.to_owned(), (id, 0));
            }
            let Some((channel_id, sequence)) = self.channels.get_mut(topic) else { return Ok(()) };
            *sequence = sequence.wrapping_add(1);
            let header = MessageHeader {
                channel_id: *channel_id,
                sequence: *sequence,
                log_time: time_ns,
                publish_time: time_ns,
            };
            self.writer.write_to_known_channel(&header, message)
        };
        write().map_err(|error| failure(&self.path, &error))
    }
}

/// The disk's own words, where it is the disk.
fn failure(path: &Path, error: &McapError) -> Failure {
    match error {
        McapError::Io(error) => Failure::new(path, error),
        error => Failure::new(path, error),
    }
}
