//! An encoder that is fed at the pace of a camera: what comes out, how late, and what it costs.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use gst::prelude::*;
use gst_app::{AppSink, AppSinkCallbacks, AppSrc};
use rovercast_peer::start::now;
use rovercast_sender::camera::encoder::{self, Encoder};
use rovercast_sender::camera::{drive, launch, plan};

use crate::figures::Usage;
use crate::pictures::Pictures;

/// Once fed, an encoder that gives nothing for this long gives nothing more.
const SETTLED: Duration = Duration::from_millis(500);

/// How an encoder is fed.
#[derive(Debug, Clone, Copy)]
pub struct Feeding {
    /// Pictures per second.
    pub fps: u32,
    /// Pictures that are fed.
    pub count: usize,
    /// The first so many count neither for processor time nor for the delay.
    pub warm_up: usize,
    /// A key frame is asked for before this picture.
    pub key_frame_at: Option<usize>,
}

/// One access unit.
#[derive(Debug)]
pub struct Unit {
    /// The number of its picture, from 0.
    pub number: usize,
    /// From the picture going in to the access unit coming out.
    pub delay: Duration,
    /// Whether it is a key frame.
    pub key_frame: bool,
    /// The access unit with its caps.
    pub sample: gst::Sample,
}

impl Unit {
    /// Its size.
    pub fn bytes(&self) -> usize {
        self.sample.buffer().map_or(0, gst::BufferRef::size)
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Every access unit, in the order in which they came.
    pub units: Vec<Unit>,
    /// Pictures that did not come out. Newer ones took their place while the encoder was busy; or it
    /// keeps them until the next comes.
    pub dropped: usize,
    /// Processor time of this whole process, in percent of a core.
    pub cpu: f64,
    warm_up: usize,
}

impl Outcome {
    /// Delays after the warm-up, in milliseconds.
    pub fn delays_ms(&self) -> Vec<f64> {
        let counted = self.units.iter().filter(|unit| unit.number >= self.warm_up);
        counted.map(|unit| unit.delay.as_secs_f64() * 1000.0).collect()
    }
}

/// Feeds an encoder's pipeline, made from `line` (see [`plan::encoding`]).
pub fn encode(
    row: &Encoder,
    line: &str,
    pictures: &Pictures,
    feeding: Feeding,
) -> anyhow::Result<Outcome> {
    let pipeline = launch::parse(line).map_err(anyhow::Error::msg)?;
    let outcome = feed(row, &pipeline, pictures, feeding);
    pipeline.set_state(gst::State::Null)?;
    outcome
}

fn feed(
    row: &Encoder,
    pipeline: &gst::Pipeline,
    pictures: &Pictures,
    feeding: Feeding,
) -> anyhow::Result<Outcome> {
    let named = |name: &str| pipeline.by_name(name).with_context(|| format!("no {name}"));
    let encoder = named(encoder::ELEMENT)?;
    let input = named(plan::FRAMES)?.downcast::<AppSrc>().ok().context("no entrance")?;
    let units = named(plan::UNITS)?.downcast::<AppSink>().ok().context("no exit")?;
    let came = collect(&units);
    pipeline.set_state(gst::State::Playing)?;
    let interval = Duration::from_secs(1) / feeding.fps;
    let start = Instant::now();
    let mut pushed = Vec::with_capacity(feeding.count);
    let mut cpu = own_cpu()?;
    for number in 0..feeding.count {
        let due = interval * u32::try_from(number)?;
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        if number == feeding.warm_up {
            cpu = own_cpu()?;
        }
        if feeding.key_frame_at == Some(number) {
            drive::request_key_frame(row, &encoder);
        }
        // The pixels are shared.
        let mut buffer = pictures.buffers[pictures.index(number)].copy();
        let at = now();
        let times = buffer.make_mut();
        times.set_pts(at);
        times.set_dts(None);
        times.set_duration(gst::ClockTime::try_from(interval)?);
        pushed.push(at);
        input.push_buffer(buffer)?;
    }
    // Not by the end of the stream, which encoders take in different ways.
    let mut all = Vec::with_capacity(feeding.count);
    while all.len() < feeding.count
        && let Ok(unit) = came.recv_timeout(SETTLED)
    {
        all.push(unit);
    }
    let bus = pipeline.bus().context("no bus")?;
    if let Some(message) = bus.pop_filtered(&[gst::MessageType::Error])
        && let gst::MessageView::Error(error) = message.view()
    {
        bail!("{}: {}", row.factory, error.error());
    }
    let spent = (own_cpu()? - cpu).as_secs_f64();
    let measured = (interval * u32::try_from(feeding.count - feeding.warm_up)?).as_secs_f64();
    let units: Vec<Unit> = all
        .into_iter()
        .map(|(captured, delay, sample)| {
            // Encoders keep the time of a picture, some but roughly.
            let number =
                pushed.partition_point(|&at| at <= captured + 1_000 * gst::ClockTime::USECOND);
            let flags = sample.buffer().map(gst::BufferRef::flags);
            let key_frame =
                flags.is_some_and(|flags| !flags.contains(gst::BufferFlags::DELTA_UNIT));
            Unit { number: number.saturating_sub(1), delay, key_frame, sample }
        })
        .collect();
    Ok(Outcome {
        dropped: feeding.count - units.len(),
        units,
        cpu: spent / measured * 100.0,
        warm_up: feeding.warm_up,
    })
}

type Came = (gst::ClockTime, Duration, gst::Sample);

/// Takes what comes out, with the time of its picture and its delay.
fn collect(units: &AppSink) -> Receiver<Came> {
    let (came, receiver) = channel();
    let callbacks = AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let now = now();
        let pts = sample.buffer().and_then(|buffer| buffer.pts());
        let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
        if let (Some(pts), Some(segment)) = (pts, segment)
            && let Some(captured) = segment.to_running_time(pts)
        {
            let delay = now.saturating_sub(captured).into();
            let _ = came.send((captured, delay, sample));
        }
        Ok(gst::FlowSuccess::Ok)
    });
    units.set_callbacks(callbacks.build());
    receiver
}

/// Processor time of this process.
pub fn own_cpu() -> anyhow::Result<Duration> {
    Ok(Usage::of(std::process::id())?.cpu)
}
