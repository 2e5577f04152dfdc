//! What the recording's thread does with what comes: each to its file, pauses when the disk takes
//! no more, and goes on by itself. It knows no clock: whoever calls says how late it is, in
//! microseconds of this host's monotonic clock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rovercast_protocol::backoff::Backoff;
use rovercast_protocol::codec::Codec;
use rovercast_protocol::ids::{CameraId, RobotId};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::bundle::Bundle;
use super::disk::{self, Failure};
use super::journal::{Journal, Line};
use super::lane::Lane;
use super::names;
use super::queue::{Item, Queue, Unit};
use super::recorder::State;
use super::settings::{Format, Settings};
use super::timeline::Epoch;
use super::video_file::Kind;

/// How often files are flushed and the disk is looked at, in microseconds.
const LOOK_US: i64 = 1_000_000;

/// Nothing is begun with less than this free, whatever is to be left: it would come to nothing.
const ROOM_BYTES: u64 = 1_000_000;

/// A disk that took nothing is tried again after this time, and then less and less often.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// But at least so often.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// A recording that has gone on for so long after a pause is well again, in microseconds.
const WELL_US: i64 = 5_000_000;

/// A camera whose stream fits into no file is tried again after this time, in microseconds.
const REST_US: i64 = 5_000_000;

/// How often it is told that the disk is too slow, in microseconds.
const TELL_US: i64 = 10_000_000;

/// See above.
pub(super) struct Writer {
    settings: Settings,
    robot: RobotId,
    epoch: Epoch,
    queue: Arc<Queue>,
    state: watch::Sender<State>,
    lanes: BTreeMap<CameraId, Lane>,
    bundle: Option<Bundle>,
    bundle_number: u32,
    journal: Option<Journal>,
    /// Where it is; MCAP files have none beside them.
    journal_path: PathBuf,
    paused: Option<Pause>,
    resumed_us: i64,
    backoff: Backoff,
    looked_us: i64,
    told_slow_us: Option<i64>,
    told_matroska: BTreeSet<CameraId>,
    told_refused: BTreeSet<CameraId>,
    finished_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    since_us: i64,
    until_us: i64,
}

impl Writer {
    /// Begins, at the epoch; or with a pause, when the disk is full.
    pub(super) fn new(
        settings: Settings,
        robot: RobotId,
        epoch: Epoch,
        queue: Arc<Queue>,
        state: watch::Sender<State>,
    ) -> Self {
        let journal_name = format!("{}.telemetry.jsonl", names::recording(&robot, epoch.utc_us));
        let mut writer = Self {
            journal_path: settings.directory.join(journal_name),
            settings,
            robot,
            epoch,
            queue,
            state,
            lanes: BTreeMap::new(),
            bundle: None,
            bundle_number: 0,
            journal: None,
            paused: None,
            resumed_us: epoch.mono_us,
            backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
            looked_us: epoch.mono_us,
            told_slow_us: None,
            told_matroska: BTreeSet::new(),
            told_refused: BTreeSet::new(),
            finished_bytes: 0,
        };
        tracing::info!("recording to {}", writer.settings.directory.display());
        writer.begin(epoch.mono_us, json!({}));
        writer
    }

    /// Writes what came.
    pub(super) fn take(&mut self, item: Item, now_us: i64) {
        if self.paused.is_some() {
            if let Item::Unit(_) = item {
                self.state.send_modify(|state| state.access_units_lost += 1);
            }
            return;
        }
        let written = match item {
            Item::Unit(unit) => self.unit(&unit, now_us),
            Item::Line(line) => self.line(&line),
        };
        self.heed(written, now_us);
    }

    /// What is to be done once a second, and nothing before that. Call it often.
    pub(super) fn tick(&mut self, now_us: i64) {
        if now_us - self.looked_us < LOOK_US {
            return;
        }
        self.looked_us = now_us;
        match self.paused {
            Some(pause) if now_us >= pause.until_us => {
                let for_us = now_us - pause.since_us;
                self.begin(now_us, json!({ "pausedUs": for_us }));
            }
            Some(_) => {}
            None => {
                let looked = self.look(now_us);
                self.heed(looked, now_us);
            }
        }
        self.tell_lost(now_us);
        self.show();
    }

    /// Finishes all files.
    pub(super) fn finish(mut self, now_us: i64) {
        self.tell_lost(now_us);
        if let Err(failure) = self.close() {
            tracing::warn!("{}: {}", failure.path.display(), failure.reason);
        }
        self.show();
        let state = self.state.borrow();
        let (files, megabytes) = (state.files, disk::megabytes(state.bytes));
        tracing::info!(
            "recorded {files} files, {megabytes} MB, in {}",
            self.settings.directory.display()
        );
    }

    /// Begins, or goes on in new files after a pause. What is told of it is added to the first line.
    fn begin(&mut self, now_us: i64, told: Value) {
        let begun = self.check_space(ROOM_BYTES).and_then(|()| {
            if self.settings.format != Format::Mcap {
                self.journal = Some(Journal::open(&self.journal_path)?);
            }
            let mut line = json!({
                "type": "recording",
                "robot": self.robot,
                "epochUtcUs": self.epoch.utc_us,
            });
            if let (Value::Object(line), Value::Object(told)) = (&mut line, told) {
                line.extend(told);
            }
            self.note(now_us, &line)
        });
        if begun.is_ok() {
            (self.paused, self.resumed_us) = (None, now_us);
        }
        self.heed(begun, now_us);
    }

    /// Fails when less is free than is to be left, and than these bytes.
    fn check_space(&self, at_least: u64) -> Result<(), Failure> {
        let Settings { directory, min_free_mb, .. } = &self.settings;
        let free_bytes = disk::free_bytes(directory)?;
        if free_bytes < at_least.max(u64::from(*min_free_mb) * 1_000_000) {
            return Err(Failure::new(directory, "the disk is full"));
        }
        Ok(())
    }

    fn unit(&mut self, unit: &Unit, now_us: i64) -> Result<(), Failure> {
        let lane = self.lanes.entry(unit.camera.clone()).or_default();
        if lane.resting_until_us.is_some_and(|until_us| now_us < until_us) {
            self.state.send_modify(|state| state.access_units_lost += 1);
            return Ok(());
        }
        let Some(frame) = lane.frame(unit) else { return Ok(()) };
        let kind = match (self.settings.format, super::foxglove::format(unit.codec)) {
            (Format::Mcap, Some(format)) => {
                let bundle = self.bundle(now_us)?;
                if !bundle.video(format, &frame)? {
                    self.queue.want_key_frame(&unit.camera);
                }
                return Ok(());
            }
            (Format::Mp4, _) if unit.codec != Codec::Vp8 => Kind::Mp4,
            (Format::Mkv, _) => Kind::Matroska,
            (Format::Mp4 | Format::Mcap, _) => {
                if self.told_matroska.insert(unit.camera.clone()) {
                    tracing::warn!(
                        "camera {} sends {}, which fits neither MP4 nor MCAP: it is recorded as \
                         Matroska",
                        unit.camera,
                        unit.codec
                    );
                }
                Kind::Matroska
            }
        };
        let Settings { directory, .. } = &self.settings;
        let (robot, utc_us) = (&self.robot, self.epoch.utc_us);
        let path = |number: &mut u32| {
            names::unused(number, |number| {
                let (camera, extension) = (Some(&unit.camera), kind.extension());
                directory.join(names::segment(robot, camera, utc_us, number, extension))
            })
        };
        let written = lane.write(frame, unit.codec, kind, &self.settings, self.epoch, path);
        let written = match written {
            Err(failure) if failure.of_stream => {
                lane.resting_until_us = Some(now_us.saturating_add(REST_US));
                self.finished_bytes += lane.finish().unwrap_or(0);
                if self.told_refused.insert(unit.camera.clone()) {
                    let (path, reason) = (failure.path.display(), failure.reason);
                    tracing::warn!(
                        "camera {} sends what cannot be recorded ({path}: {reason}); it is tried \
                         again",
                        unit.camera
                    );
                }
                return Ok(());
            }
            written => written?,
        };
        self.finished_bytes += written.finished_bytes;
        if written.needs_key_frame {
            self.queue.want_key_frame(&unit.camera);
        }
        let Some((path, start_us)) = written.begun else { return Ok(()) };
        self.state.send_modify(|state| state.files += 1);
        let line = json!({
            "type": "file",
            "camera": unit.camera,
            "path": path.file_name().map(|name| name.to_string_lossy()),
            "codec": unit.codec,
            "startUs": start_us,
        });
        self.note(now_us, &line)
    }

    fn line(&mut self, line: &Line) -> Result<(), Failure> {
        match (&mut self.journal, self.settings.format) {
            (_, Format::Mcap) => self.bundle(line.at_us)?.line(line),
            (Some(journal), _) => journal.write(line, self.epoch),
            (None, _) => Ok(()),
        }
    }

    /// Writes a line of the recording's own.
    fn note(&mut self, now_us: i64, line: &Value) -> Result<(), Failure> {
        Line::new(now_us, line).map_or(Ok(()), |line| self.line(&line))
    }

    /// The MCAP files; the first is begun when there is none.
    fn bundle(&mut self, now_us: i64) -> Result<&mut Bundle, Failure> {
        let bundle = match self.bundle.take() {
            Some(bundle) => bundle,
            None => {
                let (number, path) = self.next_bundle();
                let bundle = Bundle::open(&self.robot, self.epoch, now_us, number, &path)?;
                self.state.send_modify(|state| state.files += 1);
                bundle
            }
        };
        Ok(self.bundle.insert(bundle))
    }

    fn next_bundle(&mut self) -> (u32, PathBuf) {
        let Self { settings, robot, epoch, bundle_number, .. } = self;
        let path = names::unused(bundle_number, |number| {
            settings.directory.join(names::segment(robot, None, epoch.utc_us, number, "mcap"))
        });
        (*bundle_number, path)
    }

    fn look(&mut self, now_us: i64) -> Result<(), Failure> {
        self.check_space(0)?;
        if let Some(bundle) = &mut self.bundle {
            bundle.flush(now_us)?;
            if bundle.is_due(&self.settings, now_us) {
                let (number, path) = self.next_bundle();
                if let Some(bundle) = &mut self.bundle {
                    bundle.change_over(now_us, number, &path)?;
                }
                self.state.send_modify(|state| state.files += 1);
            }
        }
        if self.state.borrow().warning.is_some() && now_us - self.resumed_us >= WELL_US {
            tracing::info!("recording goes on in {}", self.settings.directory.display());
            self.state.send_modify(|state| state.warning = None);
            self.backoff.reset();
        }
        Ok(())
    }

    /// After a failure nothing is written for a while. It is told once, until all is well again.
    fn heed(&mut self, outcome: Result<(), Failure>, now_us: i64) {
        let Err(failure) = outcome else { return };
        let pause_us = i64::try_from(self.backoff.next(1.0).as_micros()).unwrap_or(i64::MAX);
        let since_us = self.paused.map_or(now_us, |pause| pause.since_us);
        self.paused = Some(Pause { since_us, until_us: now_us.saturating_add(pause_us) });
        // The one that failed is closed; the others may well be finished.
        if let Err(failure) = self.close() {
            tracing::debug!("{}: {}", failure.path.display(), failure.reason);
        }
        if self.state.borrow().warning.is_none() {
            let complaint = failure.complaint(&self.settings);
            tracing::warn!("{complaint}");
            self.state.send_modify(|state| state.warning = Some(complaint));
        }
        self.show();
    }

    /// Closes everything; all of it, even when some of it fails.
    fn close(&mut self) -> Result<(), Failure> {
        let mut outcome = Ok(());
        let mut bytes = 0;
        let mut count = |finished: Result<u64, Failure>| match finished {
            Ok(finished) => bytes += finished,
            Err(failure) => outcome = Err(failure),
        };
        self.lanes.values_mut().for_each(|lane| count(lane.finish()));
        if let Some(bundle) = self.bundle.take() {
            count(bundle.finish());
        }
        self.journal = None;
        self.finished_bytes += bytes;
        outcome
    }

    fn tell_lost(&mut self, now_us: i64) {
        let (cameras, lines) = self.queue.take_dropped();
        if cameras.is_empty() && lines == 0 {
            return;
        }
        let lost = cameras.iter().map(|(_, count)| count).sum::<u64>();
        self.state.send_modify(|state| state.access_units_lost += lost);
        if self.told_slow_us.is_none_or(|told_us| now_us - told_us >= TELL_US) {
            self.told_slow_us = Some(now_us);
            tracing::warn!(
                "the disk of {} is too slow: {lost} access units and {lines} lines are not \
                 recorded; record to a faster disk, or fewer cameras",
                self.settings.directory.display()
            );
        }
        for (camera, count) in cameras {
            let line = json!({ "type": "lost", "camera": camera, "accessUnits": count });
            let noted = if self.paused.is_none() { self.note(now_us, &line) } else { Ok(()) };
            self.heed(noted, now_us);
        }
    }

    fn show(&self) {
        let journal = disk::length(&self.journal_path);
        let bundle = self.bundle.as_ref().map_or(0, Bundle::bytes);
        let lanes: u64 = self.lanes.values().map(Lane::bytes).sum();
        let bytes = self.finished_bytes + journal + bundle + lanes;
        self.state.send_modify(|state| {
            state.bytes = bytes;
            state.paused = self.paused.is_some();
        });
    }
}
