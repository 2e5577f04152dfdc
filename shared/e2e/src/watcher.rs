//! A receiver inside the test that looks at every picture.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use gst_video::VideoFrameExt;
use rovercast_peer::start::now_us;
use rovercast_protocol::control::{SignalLost, SignalRestored};
use rovercast_protocol::ids::CameraId;
use rovercast_protocol::pixelclock::{Luma, Reading};
use rovercast_receiver::app::{self, Settings};
use rovercast_receiver::output::Output;
use rovercast_receiver::report::{CameraReport, Report, Reports};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::lab::PATIENCE;

/// Pictures that may wait for the test.
const BACKLOG: usize = 4096;

/// One picture, as it came.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Of which camera.
    pub camera: CameraId,
    /// When, on the clock that test cameras burn in: microseconds.
    pub at_us: i64,
    /// The clock in it.
    pub clock: Reading,
    /// How much its samples differ from one another: the mean distance from their mean.
    pub contrast: f64,
    /// Width and height.
    pub size: (u32, u32),
    /// How bright it is, in 8 rows of 8 places, from the upper left.
    pub brightness: [f64; 64],
    /// Whether it has the warning tape of a slate along its upper edge.
    pub tape: bool,
}

/// What a robot told of a camera's signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// It is away.
    Lost(SignalLost),
    /// It is back.
    Restored(SignalRestored),
}

/// A receiver of a robot's cameras.
#[derive(Debug)]
pub struct Watcher {
    /// When it was started.
    pub started: Instant,
    pictures: mpsc::Receiver<Picture>,
    signals: mpsc::Receiver<(i64, Signal)>,
    figures: mpsc::Receiver<CameraReport>,
    stop: watch::Sender<bool>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Watcher {
    /// Starts to receive from a robot known to the broker at `address`.
    pub fn start(address: &str, robot: &str, cameras: &[&str]) -> anyhow::Result<Self> {
        let (pictures_tx, pictures) = mpsc::channel(BACKLOG);
        let on_picture = move |camera: &CameraId, sample: &gst::Sample| {
            if let Some(picture) = look(camera, sample) {
                let _ = pictures_tx.try_send(picture);
            }
        };
        let settings = Settings {
            cameras: cameras.iter().map(|camera| camera.parse()).collect::<Result<_, _>>()?,
            ..Settings::new(
                format!("ws://{address}"),
                robot.parse()?,
                Output::Pictures(Arc::new(on_picture)),
            )
        };
        let (stop, mut stopped) = watch::channel(false);
        let (reports, signals, figures) = reports();
        let started = Instant::now();
        let (_, recording) = watch::channel(false);
        let task = tokio::spawn(app::run(settings, reports, recording, async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        }));
        Ok(Self { started, pictures, signals, figures, stop, task })
    }

    /// The next picture of any camera.
    pub async fn next(&mut self) -> anyhow::Result<Picture> {
        let no_picture = || format!("no picture within {} s", PATIENCE.as_secs());
        timeout(PATIENCE, self.whenever()).await.with_context(no_picture)?
    }

    /// The next picture of any camera, for however long there is none.
    pub async fn whenever(&mut self) -> anyhow::Result<Picture> {
        self.pictures.recv().await.context("the receiver has ended")
    }

    /// The next pictures, until `done` says so of one.
    pub async fn until(
        &mut self,
        mut done: impl FnMut(&Picture) -> bool,
    ) -> anyhow::Result<Picture> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let picture = self.next().await?;
            if done(&picture) {
                return Ok(picture);
            }
            if Instant::now() > deadline {
                bail!("the picture waited for has not come; the last was {picture:?}");
            }
        }
    }

    /// What is told next of any camera's signal, and when that came: on the clock of
    /// [`Picture::at_us`].
    pub async fn signal(&mut self) -> anyhow::Result<(i64, Signal)> {
        match timeout(PATIENCE, self.signals.recv()).await {
            Ok(Some(signal)) => Ok(signal),
            Ok(None) => bail!("the receiver has ended"),
            Err(_) => bail!("nothing told of a signal within {} s", PATIENCE.as_secs()),
        }
    }

    /// The next figures of any camera, of one second.
    pub async fn figures(&mut self) -> anyhow::Result<CameraReport> {
        match timeout(PATIENCE, self.figures.recv()).await {
            Ok(Some(report)) => Ok(report),
            Ok(None) => bail!("the receiver has ended"),
            Err(_) => bail!("no figures within {} s", PATIENCE.as_secs()),
        }
    }

    /// Forgets the pictures that wait.
    pub fn skip_waiting(&mut self) {
        while self.pictures.try_recv().is_ok() {}
    }

    /// Ends it, and returns when everything of it is freed.
    pub async fn stop(self) -> anyhow::Result<()> {
        let _ = self.stop.send(true);
        self.task.await?
    }
}

/// Where a receiver's reports go, and what comes of those about signals and of cameras' figures.
fn reports() -> (Reports, mpsc::Receiver<(i64, Signal)>, mpsc::Receiver<CameraReport>) {
    let (signals_tx, signals) = mpsc::channel(BACKLOG);
    let (figures_tx, figures) = mpsc::channel(BACKLOG);
    let on_report = move |report: &Report| {
        let signal = match report {
            Report::SignalLost { signal, .. } => Signal::Lost(signal.clone()),
            Report::SignalRestored { signal, .. } => Signal::Restored(signal.clone()),
            Report::Camera(report) => {
                let _ = figures_tx.try_send(report.clone());
                return;
            }
            Report::Telemetry { .. } => return,
        };
        let _ = signals_tx.try_send((now_us(), signal));
    };
    (Reports::none().and(Arc::new(on_report)), signals, figures)
}

/// Looks at a decoded picture.
pub fn look(camera: &CameraId, sample: &gst::Sample) -> Option<Picture> {
    let at_us = now_us();
    let info = gst_video::VideoInfo::from_caps(sample.caps()?).ok()?;
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(sample.buffer()?, &info).ok()?;
    let samples = frame.plane_data(0).ok()?;
    let stride = usize::try_from(frame.plane_stride()[0]).ok()?;
    let (width, height) = (info.width() as usize, info.height() as usize);
    let clock = Luma { samples, stride, width, height }.read();
    let some: Vec<f64> = samples.iter().step_by(97).map(|&sample| f64::from(sample)).collect();
    let mean = some.iter().sum::<f64>() / some.len() as f64;
    let contrast = some.iter().map(|sample| (sample - mean).abs()).sum::<f64>() / some.len() as f64;
    let size = (info.width(), info.height());
    let brightness = brightness(samples, stride, (width, height));
    let tape = has_tape(samples, stride, width, height);
    Some(Picture { camera: camera.clone(), at_us, clock, contrast, size, brightness, tape })
}

/// The mean of some samples in each of 8 by 8 parts of a luma plane.
fn brightness(samples: &[u8], stride: usize, (width, height): (usize, usize)) -> [f64; 64] {
    std::array::from_fn(|part| {
        let (column, row) = (part % 8, part / 8);
        let lines = (row * height / 8..(row + 1) * height / 8).step_by(3);
        let some = lines.flat_map(|line| {
            let columns = (column * width / 8..(column + 1) * width / 8).step_by(3);
            columns.filter_map(move |column| samples.get(line * stride + column))
        });
        let (sum, count) =
            some.fold((0.0, 0.0), |(sum, count), &sample| (sum + f64::from(sample), count + 1.0));
        if count > 0.0 { sum / count } else { 0.0 }
    })
}

/// Whether a picture has warning tape along its upper edge: bright and dark stripes, aslant.
fn has_tape(samples: &[u8], stride: usize, width: usize, height: usize) -> bool {
    let tape = (width.min(height) / 16).max(2);
    let bright = |x: usize, y: usize| samples.get(y * stride + x).is_some_and(|&luma| luma > 96);
    let pixels = (0..tape).flat_map(|y| (0..width).map(move |x| (x, y)));
    let right = pixels.filter(|&(x, y)| bright(x, y) == ((x + y) / (2 * tape)).is_multiple_of(2));
    right.count() * 10 > tape * width * 9
}
