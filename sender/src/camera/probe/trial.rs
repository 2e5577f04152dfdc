//! The trial of one encoder: a few frames through it, and a look at what comes out. It may hang or
//! crash with the driver: it runs in a process of its own.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst_app::{AppSink, AppSrc};
use serde::{Deserialize, Serialize};

use super::access_unit::contents;
use crate::camera::drive;
use crate::camera::encoder::{ELEMENT, ENCODERS, Encoder, Memory, Parameters, raw_caps};

/// What is tried.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Trial {
    /// The encoder's factory name.
    pub factory: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames per second.
    pub fps: u32,
    /// Bits per second, in units of 1,000.
    pub bitrate_kbps: u32,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The encoder works.
    Works {
        /// Frames that it holds back all the time.
        delay_frames: usize,
    },
    /// It does not; for people.
    Fails(String),
}

/// Frames that are encoded: a key frame is asked for in their middle.
const FRAMES: usize = 10;

/// The faster cameras are tried at this rate: requests for key frames must lie apart.
const FASTEST: u32 = 30;

/// The first frame waits for the device.
const OPENING: Duration = Duration::from_secs(3);

/// Longer than any encoder takes for a frame at a rate worth sending.
const FRAME: Duration = Duration::from_millis(400);

/// How often the elements are asked for their complaints while nothing comes.
const LOOK: Duration = Duration::from_millis(50);

/// An encoder that holds back more frames than this is no use for driving.
const MOST_DELAY: usize = 2;

/// Tries an encoder of the table. Blocks, perhaps for ever.
pub fn run(trial: &Trial) -> Verdict {
    match ENCODERS.iter().find(|row| row.factory == trial.factory) {
        Some(row) => run_row(row, trial),
        None => Verdict::Fails(format!("{} is not known", trial.factory)),
    }
}

/// Tries an encoder as this row drives it. Blocks, perhaps for ever.
pub fn run_row(row: &'static Encoder, trial: &Trial) -> Verdict {
    match encode(row, trial) {
        Ok(delay_frames) if delay_frames <= MOST_DELAY => Verdict::Works { delay_frames },
        Ok(delay_frames) => Verdict::Fails(format!("it holds back {delay_frames} frames")),
        Err(reason) => Verdict::Fails(reason),
    }
}

fn encode(row: &'static Encoder, trial: &Trial) -> Result<usize, String> {
    row.fits(trial.width, trial.height, trial.fps)?;
    let bench = Bench::new(row, trial)?;
    let outcome = bench.start().and_then(|()| bench.feed(row));
    let outcome = outcome.map_err(|reason| bench.complaint().unwrap_or(reason));
    let _ = bench.pipeline.set_state(gst::State::Null);
    outcome
}

struct Bench {
    pipeline: gst::Pipeline,
    frames: AppSrc,
    units: AppSink,
    encoder: gst::Element,
    width: u32,
    height: u32,
    interval: gst::ClockTime,
    /// What the elements said first: what they say later only follows from it.
    complaint: OnceCell<String>,
}

impl Bench {
    fn new(row: &'static Encoder, trial: &Trial) -> Result<Self, String> {
        let &Trial { width, height, fps, bitrate_kbps, .. } = trial;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let parameters = Parameters { width, height, fps, bitrate_kbps, cores };
        let launch = format!(
            "appsrc name=frames is-live=true format=time \
             caps=\"{},framerate={fps}/1,interlace-mode=progressive\" \
             ! {} ! {} ! {} ! appsink name=units sync=false max-buffers={FRAMES}",
            raw_caps(Memory::System, "I420", width, height),
            row.upload(),
            row.input_caps(width, height),
            drive::launch(row, parameters)?,
        );
        let pipeline = gst::parse::launch(&launch)
            .map_err(|error| error.message().to_owned())?
            .downcast::<gst::Pipeline>()
            .map_err(|_| "not a pipeline".to_owned())?;
        let encoder = pipeline.by_name(ELEMENT).ok_or("no encoder")?;
        drive::verify(row, &encoder, parameters)?;
        drive::obey_events(row, &encoder);
        let frames = pipeline.by_name("frames").and_then(|element| element.downcast().ok());
        let units = pipeline.by_name("units").and_then(|element| element.downcast().ok());
        Ok(Self {
            frames: frames.ok_or("no source")?,
            units: units.ok_or("no sink")?,
            encoder,
            width,
            height,
            interval: gst::ClockTime::SECOND / u64::from(fps.clamp(1, FASTEST)),
            pipeline,
            complaint: OnceCell::new(),
        })
    }

    fn start(&self) -> Result<(), String> {
        let started = self.pipeline.set_state(gst::State::Playing);
        started.map(drop).map_err(|_| "it does not start".to_owned())
    }

    /// Feeds it frame by frame; returns how many frames it holds back.
    fn feed(&self, row: &Encoder) -> Result<usize, String> {
        let (mut came, mut delay, mut asked, mut joined) = (0, 0, None, false);
        let mut look = |sample: &gst::Sample, came: usize, asked: Option<usize>| {
            let buffer = sample.buffer().ok_or("it gave an empty sample")?;
            let map = buffer.map_readable().map_err(|_| "its output cannot be read")?;
            let contents = contents(row.codec, &map);
            if contents.slices == 0 {
                return Err("it gave an access unit without a picture");
            }
            if contents.key_frame && !contents.parameter_sets {
                return Err("its key frames lack parameter sets");
            }
            if came == 0 && !contents.key_frame {
                return Err("its stream does not begin with a key frame");
            }
            joined |= contents.key_frame && asked.is_some_and(|asked| came >= asked);
            Ok(())
        };
        for number in 0..FRAMES {
            if number == FRAMES / 2 {
                drive::request_key_frame(row, &self.encoder);
                asked = Some(number);
            }
            let frame = self.draw(number)?;
            self.frames.push_buffer(frame).map_err(|_| "it takes no frames")?;
            let until = Instant::now() + if number == 0 { OPENING } else { FRAME };
            while came + delay <= number {
                match self.pull(until)? {
                    Some(sample) => {
                        look(&sample, came, asked)?;
                        came += 1;
                    }
                    None => delay += 1,
                }
            }
            // What was late just once, on a busy computer, is here by now.
            while let Some(sample) = self.pull(Instant::now())? {
                look(&sample, came, asked)?;
                came += 1;
            }
            delay = (number + 1).saturating_sub(came);
        }
        self.frames.end_of_stream().map_err(|_| "it does not end")?;
        let until = Instant::now() + OPENING;
        while let Some(sample) = self.pull(until)? {
            look(&sample, came, asked)?;
            came += 1;
        }
        if came != FRAMES {
            return Err(format!("it made {came} access units of {FRAMES} frames"));
        }
        if !joined {
            return Err("it makes no key frame on request".to_owned());
        }
        Ok(delay)
    }

    /// The next access unit; none when there is none by then, or none will come.
    fn pull(&self, until: Instant) -> Result<Option<gst::Sample>, String> {
        loop {
            let left = until.saturating_duration_since(Instant::now()).min(LOOK);
            let left = gst::ClockTime::try_from(left).unwrap_or(gst::ClockTime::ZERO);
            if let Some(sample) = self.units.try_pull_sample(left) {
                return Ok(Some(sample));
            }
            if let Some(reason) = self.complaint() {
                return Err(reason);
            }
            if self.units.is_eos() || Instant::now() >= until {
                return Ok(None);
            }
        }
    }

    /// What the elements said first.
    fn complaint(&self) -> Option<String> {
        if self.complaint.get().is_none()
            && let Some(heard) = self.hear()
        {
            let _ = self.complaint.set(heard);
        }
        self.complaint.get().cloned()
    }

    fn hear(&self) -> Option<String> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(error) => {
                let detail = error.debug().map(|debug| debug.to_string()).unwrap_or_default();
                let detail = detail.lines().nth(1).unwrap_or_default().trim().to_owned();
                let text = error.error().message().trim_end_matches('.').to_owned();
                Some(if detail.is_empty() { text } else { format!("{text}: {detail}") })
            }
            _ => None,
        }
    }

    /// A pattern that moves, with something to encode in it.
    fn draw(&self, number: usize) -> Result<gst::Buffer, String> {
        let video =
            gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, self.width, self.height)
                .build()
                .map_err(|error| error.to_string())?;
        let mut samples = vec![128u8; video.size()];
        let (stride, luma) = (video.stride()[0].max(1) as usize, video.offset()[1]);
        for (row, line) in samples[..luma].chunks_mut(stride).enumerate() {
            for (column, sample) in line.iter_mut().enumerate() {
                let cell = ((column + 3 * number) / 4) ^ ((row + 2 * number) / 4);
                *sample = 16 + (cell % 220) as u8;
            }
        }
        let mut buffer = gst::Buffer::from_mut_slice(samples);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(self.interval * number as u64);
            buffer.set_duration(self.interval);
        }
        Ok(buffer)
    }
}
