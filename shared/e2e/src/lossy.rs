//! A camera, its sender's track and a receiver's view in one process, on a path that loses and
//! delays packets as a test decides; every picture shown is compared with the one that was taken.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use gst::prelude::*;
use gst_utils::StreamProducer;
use gst_utils::streamproducer::ProducerSettings;
use gst_video::VideoFrameExt;
use rovercast_peer::channel::Channel;
use rovercast_peer::connection::{Connection, ConnectionEvent, ConnectionSettings};
use rovercast_peer::start::{epoch, now, now_us, share_clock};
use rovercast_protocol::codec::Codec;
use rovercast_protocol::ids::{CameraId, SessionId};
use rovercast_protocol::pixelclock::{Luma, Reading};
use rovercast_protocol::telemetry::{Pong, RobotMessage, ViewerMessage};
use rovercast_receiver::output::Output;
use rovercast_receiver::playout::Settings;
use rovercast_receiver::session::{NetworkFigures, Session};
use rovercast_receiver::turns::Turn;
use rovercast_receiver::view::{View, ViewFailed};
use rovercast_sender::camera::burn::burn_clock;
use rovercast_sender::camera::counters::Demand;
use rovercast_sender::session::media::{Feed, SentTrack};
use rovercast_sender::session::times::{Telling, Told};
use tokio::sync::mpsc;
use tokio::time::{Interval, interval, timeout};

use crate::detour::{Detour, End};
use crate::lab::{PATIENCE, gstreamer};

const WIDTH: usize = 320;
const HEIGHT: usize = 240;
/// Pictures taken in a second.
pub const FPS: u32 = 30;

/// Pictures taken that are kept to be compared with those shown.
const KEPT: usize = 128;

/// A block of 16 by 16 samples that differs by more than this in the mean is not what was taken.
/// These encoders leave less than 3.
const TORN: f64 = 10.0;

/// A picture that was shown.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// When, in microseconds of the shared clock.
    pub at_us: i64,
    /// When it was taken; none when that cannot be read in it.
    pub taken_us: Option<i64>,
    /// How much the block that differs most from what was taken does so.
    pub differs: f64,
}

impl Shown {
    /// Whether it is not, all over, one picture that was taken.
    pub fn is_torn(&self) -> bool {
        self.taken_us.is_none() || self.differs > TORN
    }
}

type Taken = Arc<Mutex<VecDeque<(u64, Vec<u8>)>>>;

/// The path with both of its ends.
pub struct Lossy {
    camera: gst::Pipeline,
    track: SentTrack,
    robot: Connection,
    viewer: Session,
    view: View,
    id: CameraId,
    codec: Codec,
    settings: Settings,
    detour: Detour,
    look: Interval,
    ping: Interval,
    shown: mpsc::Receiver<Shown>,
    failures: mpsc::Receiver<ViewFailed>,
}

impl Lossy {
    /// Starts a camera that is watched. It makes key frames only when it is asked. So many packets that
    /// restore others leave behind a hundred.
    pub async fn start(
        codec: Codec,
        settings: Settings,
        fec_percent: u32,
        detour: Detour,
    ) -> anyhow::Result<Self> {
        gstreamer();
        let (camera, stream, taken) = camera(codec)?;
        let (shown_tx, shown) = mpsc::channel(4096);
        let output = Output::Pictures(Arc::new(move |_, sample| {
            if let Some(shown) = compare(sample, &taken) {
                let _ = shown_tx.try_send(shown);
            }
        }));
        let connection = ConnectionSettings {
            jitter_buffer: Duration::from_millis(settings.max_ms.into()),
            fec_percent,
            ..Default::default()
        };
        let mut robot = Connection::new("robot", &connection)?;
        let id: CameraId = "c".parse()?;
        let (demand, counters) = (Demand::new(true, FPS), Arc::default());
        let feed = Feed { id: id.clone(), codec, stream, demand, counters };
        let telling = Telling { epoch: epoch(), playout_delay: false };
        let track = SentTrack::add(&mut robot, feed, telling)?;
        let (failures_tx, failures) = mpsc::channel(64);
        let view = View::start(&id, codec, &output, &Arc::default(), failures_tx)
            .map_err(anyhow::Error::msg)?;
        let (offer, _) = robot.offer(std::slice::from_ref(&id)).await?;
        let session = SessionId("s".to_owned());
        let mut viewer =
            Session::new(session, Turn::new(1), Connection::new("viewer", &connection)?);
        let answer = viewer.answer(&offer).await?;
        robot.take_answer(&answer).await?;
        Ok(Self {
            camera,
            track,
            robot,
            viewer,
            view,
            id,
            codec,
            settings,
            detour,
            look: interval(Duration::from_millis(100)),
            ping: interval(Duration::from_secs(1)),
            shown,
            failures,
        })
    }

    /// The next picture that is shown.
    pub async fn next(&mut self) -> anyhow::Result<Shown> {
        timeout(PATIENCE, self.next_ever()).await.context("nothing is shown any more")?
    }

    async fn next_ever(&mut self) -> anyhow::Result<Shown> {
        loop {
            tokio::select! {
                event = self.robot.next() => match event {
                    ConnectionEvent::Candidate(candidate) => {
                        if let Some(candidate) = self.detour.lead(End::Robot, &candidate) {
                            self.viewer.candidate(&candidate);
                        }
                    }
                    ConnectionEvent::Connected => self.track.start(Told::default()),
                    ConnectionEvent::Message(_, message) => self.answer_ping(&message)?,
                    ConnectionEvent::Ended(why) => bail!("the robot's side has ended: {why}"),
                    ConnectionEvent::Failed(error) => return Err(error.into()),
                    _ => {}
                },
                event = self.viewer.connection.next() => match event {
                    ConnectionEvent::Candidate(candidate) => {
                        if let Some(candidate) = self.detour.lead(End::Viewer, &candidate) {
                            self.robot.add_candidate(&candidate)?;
                        }
                    }
                    ConnectionEvent::Track(track) => {
                        let longest = Duration::from_millis(self.settings.max_ms.into());
                        let entrance = self.view.entrance(longest, self.viewer.turn.clone());
                        let (camera, meter) = (self.id.clone(), self.view.meter());
                        self.viewer.attach(track, self.codec, camera, entrance, meter)?;
                    }
                    ConnectionEvent::JitterBuffer(ssrc, buffer) => {
                        self.viewer.jitter_buffer(ssrc, buffer);
                    }
                    ConnectionEvent::Message(_, message) => {
                        self.viewer.message(&message);
                    }
                    ConnectionEvent::Ended(why) => bail!("the viewer's side has ended: {why}"),
                    ConnectionEvent::Failed(error) => return Err(error.into()),
                    _ => {}
                },
                _ = self.look.tick() => self.viewer.look(now().into(), &self.settings),
                _ = self.ping.tick() => self.viewer.ping(),
                Some(shown) = self.shown.recv() => return Ok(shown),
                Some(failed) = self.failures.recv() => bail!("{failed:?}"),
            }
        }
    }

    /// What the network did to the camera.
    pub fn network(&self) -> NetworkFigures {
        self.viewer.network(&self.id)
    }

    /// Ends it, and returns when everything of it is freed.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.track.stop();
        self.robot.close().await;
        self.viewer.connection.close().await;
        self.camera.set_state(gst::State::Null)?;
        tokio::task::spawn_blocking(|| self.view.stop()).await?;
        Ok(())
    }

    fn answer_ping(&self, message: &[u8]) -> anyhow::Result<()> {
        if let Ok(ViewerMessage::Ping(ping)) = serde_json::from_slice(message) {
            let at_us = now_us();
            let pong = Pong { ping_sent_us: ping.sent_us, received_us: at_us, sent_us: at_us };
            let pong = serde_json::to_vec(&RobotMessage::Pong(pong))?;
            self.robot.send(Channel::Telemetry, &pong);
        }
        Ok(())
    }
}

/// A camera whose pictures change all over from one to the next.
fn camera(codec: Codec) -> anyhow::Result<(gst::Pipeline, StreamProducer, Taken)> {
    let encoder = match codec {
        Codec::H264 => {
            "x264enc tune=zerolatency speed-preset=ultrafast bitrate=2000 key-int-max=100000 \
             sliced-threads=true threads=2 \
             ! video/x-h264,profile=constrained-baseline,stream-format=byte-stream,alignment=au"
        }
        Codec::Vp8 => {
            "vp8enc deadline=1 cpu-used=8 end-usage=cbr target-bitrate=2000000 \
             keyframe-max-dist=100000 error-resilient=default threads=1"
        }
        Codec::H265 => {
            "x265enc tune=zerolatency speed-preset=ultrafast bitrate=2000 key-int-max=100000 \
             option-string=repeat-headers=1:open-gop=0 \
             ! video/x-h265,stream-format=byte-stream,alignment=au"
        }
    };
    let launch = format!(
        "videotestsrc is-live=true pattern=spokes horizontal-speed=5 \
         ! video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={FPS}/1 \
         ! identity name=taken ! {encoder} ! appsink name=out"
    );
    let pipeline = gst::parse::launch(&launch)?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().ok().context("no pipeline")?;
    share_clock(&pipeline);
    let taken = Taken::default();
    let pad = pipeline.by_name("taken").and_then(|taken| taken.static_pad("sink"));
    let video =
        gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, WIDTH as u32, HEIGHT as u32);
    let (video, keep) = (video.build()?, taken.clone());
    pad.context("no pad")?.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer_mut() {
            let time = now();
            burn_clock(buffer.make_mut(), &video, time);
            if let Some((_, samples)) = luma(buffer, &video) {
                let mut keep = keep.lock().unwrap_or_else(PoisonError::into_inner);
                if keep.len() == KEPT {
                    keep.pop_front();
                }
                keep.push_back((time.useconds(), samples));
            }
        }
        gst::PadProbeReturn::Ok
    });
    let sink = pipeline.by_name("out").and_downcast().context("no sink")?;
    let stream = StreamProducer::with(&sink, ProducerSettings { sync: false });
    pipeline.set_state(gst::State::Playing)?;
    Ok((pipeline, stream, taken))
}

/// The clock in a picture, and its brightness, row by row without gaps.
fn luma(buffer: &gst::BufferRef, video: &gst_video::VideoInfo) -> Option<(Reading, Vec<u8>)> {
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, video).ok()?;
    let stride = usize::try_from(frame.plane_stride()[0]).ok()?;
    let samples = frame.plane_data(0).ok()?;
    let (width, height) = (video.width() as usize, video.height() as usize);
    let clock = Luma { samples, stride, width, height }.read();
    let rows = samples.chunks(stride).take(height).flat_map(|row| row[..width].iter().copied());
    Some((clock, rows.collect()))
}

fn compare(sample: &gst::Sample, taken: &Taken) -> Option<Shown> {
    let at_us = now_us();
    let video = gst_video::VideoInfo::from_caps(sample.caps()?).ok()?;
    let (clock, shown) = luma(sample.buffer()?, &video)?;
    let Reading::Whole(clock_us) = clock else {
        return Some(Shown { at_us, taken_us: None, differs: f64::INFINITY });
    };
    let taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
    let origin = taken.iter().find(|(at_us, _)| *at_us == clock_us);
    let differs = origin.map_or(f64::INFINITY, |(_, origin)| largest_difference(origin, &shown));
    Some(Shown { at_us, taken_us: i64::try_from(clock_us).ok(), differs })
}

/// The mean difference of the samples of the block that differs most.
fn largest_difference(a: &[u8], b: &[u8]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    let mut sums = [0u32; WIDTH.div_ceil(16) * HEIGHT.div_ceil(16)];
    for (y, (a, b)) in a.chunks(WIDTH).zip(b.chunks(WIDTH)).enumerate() {
        for (x, (a, b)) in a.chunks(16).zip(b.chunks(16)).enumerate() {
            let sum: u32 = a.iter().zip(b).map(|(&a, &b)| u32::from(a.abs_diff(b))).sum();
            sums[y / 16 * WIDTH.div_ceil(16) + x] += sum;
        }
    }
    f64::from(sums.into_iter().max().unwrap_or_default()) / 256.0
}
