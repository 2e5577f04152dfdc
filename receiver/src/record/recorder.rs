//! A recording from outside: begun, fed, looked at and ended. The writing is done on a thread of
//! its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use rovercast_peer::start::now_us;
use rovercast_protocol::codec::Codec;
use rovercast_protocol::ids::{CameraId, RobotId};
use serde::Serialize;
use tokio::sync::watch;

use super::journal::Line;
use super::queue::{Next, Queue, Unit};
use super::settings::{Format, Settings};
use super::timeline::Epoch;
use super::writer::Writer;

/// The writer looks up at least so often.
const PATIENCE: Duration = Duration::from_millis(200);

/// A disk has so long to take what is left in the end; then it is left to itself.
const ENDING: Duration = Duration::from_secs(15);

/// How a recording is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// When it was begun.
    pub since: SystemTime,
    /// What its files have, in bytes: those of now and those before.
    pub bytes: u64,
    /// How many files with video were begun.
    pub files: u32,
    /// Access units that are not recorded, because the disk was too slow or the recording paused.
    pub access_units_lost: u64,
    /// Nothing is written at present: the warning tells why. It goes on by itself.
    pub paused: bool,
    /// What is wrong, and what can be done: for people.
    pub warning: Option<String>,
}

/// A recording. Ends by [`Recorder::stop`]; one that is dropped ends by itself a little later.
#[derive(Debug)]
pub struct Recorder {
    queue: Arc<Queue>,
    state: watch::Receiver<State>,
    ended: Receiver<()>,
}

/// The way into a recording, for the threads that bring the stream.
#[derive(Debug, Clone)]
pub struct RecorderHandle {
    queue: Arc<Queue>,
}

impl Recorder {
    /// Begins to record what its handle is given of a robot. A disk that is full now is waited for.
    /// Blocks while the folder is made.
    ///
    /// # Errors
    ///
    /// The folder cannot be made, a setting cannot be, or a plugin of GStreamer is missing.
    pub fn start(settings: Settings, robot: &RobotId) -> anyhow::Result<(Self, RecorderHandle)> {
        settings.check().context("settings of the recording")?;
        need_elements(settings.format)?;
        std::fs::create_dir_all(&settings.directory).with_context(|| {
            format!("cannot make the folder {} for recordings", settings.directory.display())
        })?;
        let since = SystemTime::now();
        let utc = since.duration_since(UNIX_EPOCH).unwrap_or_default();
        let utc_us = i64::try_from(utc.as_micros()).unwrap_or_default();
        let epoch = Epoch { mono_us: now_us(), utc_us };
        let (state_tx, state) = watch::channel(State::new(since));
        let (ended_tx, ended) = channel();
        let queue = Arc::new(Queue::default());
        let writers = queue.clone();
        let robot = robot.clone();
        std::thread::Builder::new()
            .name("record".into())
            .spawn(move || {
                write(&writers, Writer::new(settings, robot, epoch, writers.clone(), state_tx));
                let _ = ended_tx.send(());
            })
            .context("cannot start a thread")?;
        Ok((Self { queue: queue.clone(), state, ended }, RecorderHandle { queue }))
    }

    /// How it is, and every change of that.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Finishes the files. Blocks until that is done, or for 15 s when the disk does not take them.
    /// Returns how it was in the end.
    pub fn stop(self) -> State {
        self.queue.end();
        if self.ended.recv_timeout(ENDING).is_err() {
            tracing::warn!("the recording could not be finished: its disk takes nothing");
        }
        self.state.borrow().clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.queue.end();
    }
}

impl RecorderHandle {
    /// Takes an access unit as a depayloader makes them: H.264 or H.265 as a byte stream, or VP8,
    /// with a presentation time on this host's monotonic clock. `capture_us`: when it was captured,
    /// on the same clock, in microseconds; none while that is not known. Never blocks. False when a
    /// key frame of the camera should be asked for.
    #[must_use]
    pub fn access_unit(
        &self,
        camera: &CameraId,
        sample: &gst::Sample,
        capture_us: Option<i64>,
    ) -> bool {
        let codec = sample.caps().and_then(|caps| codec(caps.structure(0)?.name()));
        let (Some(codec), Some(buffer)) = (codec, sample.buffer_owned()) else { return true };
        let (camera, arrived_us) = (camera.clone(), now_us());
        self.queue.unit(Unit { camera, codec, buffer, arrived_us, captured_us: capture_us })
    }

    /// Takes something that was told, telemetry or an event: an object with a `type`. Never blocks.
    pub fn telemetry(&self, told: &impl Serialize) {
        if let Some(line) = Line::new(now_us(), told) {
            self.queue.line(line);
        }
    }
}

impl State {
    /// Of a recording that begins now.
    pub(super) fn new(since: SystemTime) -> Self {
        Self { since, bytes: 0, files: 0, access_units_lost: 0, paused: false, warning: None }
    }
}

fn write(queue: &Queue, mut writer: Writer) {
    loop {
        match queue.next(PATIENCE) {
            Next::Item(item) => writer.take(item, now_us()),
            Next::Nothing => {}
            Next::End => return writer.finish(now_us()),
        }
        writer.tick(now_us());
    }
}

fn codec(caps: &str) -> Option<Codec> {
    match caps {
        "video/x-h264" => Some(Codec::H264),
        "video/x-h265" => Some(Codec::H265),
        "video/x-vp8" => Some(Codec::Vp8),
        _ => None,
    }
}

/// Better said at once than at the first key frame.
fn need_elements(format: Format) -> anyhow::Result<()> {
    // Matroska is also for what the other formats cannot have.
    let mut needed = vec![("matroskamux", "gstreamer1.0-plugins-good")];
    if format == Format::Mp4 {
        needed.push(("mp4mux", "gstreamer1.0-plugins-good"));
    }
    needed.push(("h264parse", "gstreamer1.0-plugins-bad"));
    for (element, package) in needed {
        if gst::ElementFactory::find(element).is_none() {
            bail!(
                "the GStreamer element `{element}` is missing, which recordings need: install the \
                 package {package}"
            );
        }
    }
    Ok(())
}
