//! Sender's tracks and receiver's views of every codec, in one session without broker: what they
//! make of each other's RTP, of a picture size that changes on the way, and of the control channel.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use gst::prelude::*;
use gst_utils::StreamProducer;
use gst_utils::streamproducer::ProducerSettings;
use rovercast_e2e::lab::{PATIENCE, gstreamer};
use rovercast_peer::channel::Channel;
use rovercast_peer::connection::{Connection, ConnectionEvent, ConnectionSettings};
use rovercast_peer::start::{epoch, share_clock};
use rovercast_protocol::codec::Codec;
use rovercast_protocol::control::{MAX_REQUEST_BYTES, SNAPSHOT_PART_BYTES};
use rovercast_protocol::ids::{CameraId, SessionId};
use rovercast_receiver::decode::Decoders;
use rovercast_receiver::output::Output;
use rovercast_receiver::session::Session;
use rovercast_receiver::turns::Turn;
use rovercast_receiver::view::{View, ViewFailed};
use rovercast_sender::camera::counters::Demand;
use rovercast_sender::session::media::{Feed, SentTrack};
use rovercast_sender::session::times::{Telling, Told};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

const SMALL: (i32, i32) = (160, 120);
const LARGE: (i32, i32) = (320, 180);

/// Pictures of each camera that make sure that it goes on.
const SOME: usize = 10;

/// A camera whose picture size can be changed.
struct Camera {
    id: CameraId,
    pipeline: gst::Pipeline,
    stream: StreamProducer,
}

impl Camera {
    fn start(codec: Codec) -> anyhow::Result<Self> {
        let encoder = match codec {
            Codec::H264 => {
                "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=60 \
                            ! video/x-h264,profile=constrained-baseline,stream-format=byte-stream,alignment=au"
            }
            // Without being told it does not repeat its parameter sets.
            Codec::H265 => {
                "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=60 \
                 option-string=repeat-headers=1:open-gop=0 \
                 ! video/x-h265,stream-format=byte-stream,alignment=au"
            }
            Codec::Vp8 => "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=60",
        };
        let launch = format!(
            "videotestsrc is-live=true pattern=ball ! videoscale ! capsfilter name=size \
             ! {encoder} ! appsink name=out"
        );
        let pipeline = gst::parse::launch(&launch)?;
        let pipeline = pipeline.downcast::<gst::Pipeline>().ok().context("no pipeline")?;
        share_clock(&pipeline);
        let sink = pipeline.by_name("out").and_downcast().context("no sink")?;
        let stream = StreamProducer::with(&sink, ProducerSettings { sync: false });
        let camera = Self { id: codec.name().parse()?, pipeline, stream };
        camera.resize(SMALL)?;
        camera.pipeline.set_state(gst::State::Playing)?;
        Ok(camera)
    }

    fn resize(&self, (width, height): (i32, i32)) -> anyhow::Result<()> {
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", width)
            .field("height", height)
            .field("framerate", gst::Fraction::new(15, 1));
        self.pipeline.by_name("size").context("no size")?.set_property("caps", caps.build());
        Ok(())
    }
}

/// Robot and viewer.
struct Pair {
    cameras: Vec<Camera>,
    tracks: Vec<SentTrack>,
    robot: Connection,
    viewer: Session,
    views: Vec<View>,
    pictures: mpsc::Receiver<(CameraId, (i32, i32))>,
    failures: mpsc::Receiver<ViewFailed>,
}

/// What is left to a test.
enum Event {
    Picture(CameraId, (i32, i32)),
    RobotHeard(Vec<u8>),
    ViewerHeard(Vec<u8>),
    RobotOpen,
}

impl Pair {
    async fn new(codecs: &[Codec]) -> anyhow::Result<Self> {
        gstreamer();
        let (pictures_tx, pictures) = mpsc::channel(4096);
        let output = Output::Pictures(Arc::new(move |camera, sample| {
            let video = sample.caps().and_then(|caps| gst_video::VideoInfo::from_caps(caps).ok());
            if let Some(video) = video {
                let size = (video.width() as i32, video.height() as i32);
                let _ = pictures_tx.try_send((camera.clone(), size));
            }
        }));
        let settings =
            ConnectionSettings { jitter_buffer: Duration::from_millis(100), ..Default::default() };
        let mut robot = Connection::new("robot", &settings)?;
        let telling = Telling { epoch: epoch(), playout_delay: true };
        let (failures_tx, failures) = mpsc::channel(64);
        let decoders = Arc::new(Decoders::default());
        let (mut cameras, mut tracks, mut views) = (Vec::new(), Vec::new(), Vec::new());
        for &codec in codecs {
            let camera = Camera::start(codec)?;
            let (id, stream) = (camera.id.clone(), camera.stream.clone());
            let (demand, counters) = (Demand::new(true, 30), Arc::default());
            let feed = Feed { id: id.clone(), codec, stream, demand, counters };
            tracks.push(SentTrack::add(&mut robot, feed, telling)?);
            let view = View::start(&id, codec, &output, &decoders, failures_tx.clone());
            views.push(view.map_err(anyhow::Error::msg)?);
            cameras.push(camera);
        }
        let ids: Vec<CameraId> = cameras.iter().map(|camera| camera.id.clone()).collect();
        let (offer, sections) = robot.offer(&ids).await?;
        let told: Vec<_> = sections.iter().filter_map(|section| section.codec).collect();
        ensure!(told == codecs, "{offer}");
        let id = SessionId("s".to_owned());
        let mut viewer = Session::new(id, Turn::new(1), Connection::new("viewer", &settings)?);
        let answer = viewer.answer(&offer).await?;
        robot.take_answer(&answer).await?;
        Ok(Self { cameras, tracks, robot, viewer, views, pictures, failures })
    }

    async fn next(&mut self) -> anyhow::Result<Event> {
        timeout(PATIENCE, self.next_ever()).await.context("nothing comes any more")?
    }

    async fn next_ever(&mut self) -> anyhow::Result<Event> {
        loop {
            tokio::select! {
                event = self.robot.next() => match event {
                    ConnectionEvent::Candidate(candidate) => self.viewer.candidate(&candidate),
                    ConnectionEvent::Connected => {
                        let tracks = self.tracks.iter_mut();
                        tracks.for_each(|track| track.start(Told::default()));
                    }
                    ConnectionEvent::Channel(Channel::Control) => return Ok(Event::RobotOpen),
                    ConnectionEvent::Message(Channel::Control, message) => {
                        return Ok(Event::RobotHeard(message));
                    }
                    ConnectionEvent::Ended(why) => bail!("the robot's side has ended: {why}"),
                    ConnectionEvent::Failed(error) => return Err(error.into()),
                    _ => {}
                },
                event = self.viewer.connection.next() => match event {
                    ConnectionEvent::Candidate(candidate) => self.robot.add_candidate(&candidate)?,
                    ConnectionEvent::Track(track) => {
                        let camera = track.section.label.clone().context("no label")?;
                        let codec = track.encoding().and_then(|name| name.parse().ok());
                        let codec = codec.context("no known codec")?;
                        let index = self.cameras.iter().position(|known| known.id == camera);
                        let view = &self.views[index.context("no such camera")?];
                        ensure!(view.codec() == codec, "{camera} came as {codec}");
                        let entrance = view.entrance(Duration::from_millis(100), self.viewer.turn.clone());
                        self.viewer.attach(track, codec, camera, entrance, view.meter())?;
                    }
                    ConnectionEvent::Message(Channel::Control, message) => {
                        return Ok(Event::ViewerHeard(message));
                    }
                    ConnectionEvent::Ended(why) => bail!("the viewer's side has ended: {why}"),
                    ConnectionEvent::Failed(error) => return Err(error.into()),
                    _ => {}
                },
                Some((camera, size)) = self.pictures.recv() => return Ok(Event::Picture(camera, size)),
                Some(failed) = self.failures.recv() => bail!("{failed:?}"),
            }
        }
    }

    /// Waits for some pictures of this size of every camera.
    async fn shows(&mut self, size: (i32, i32)) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen: BTreeMap<CameraId, usize> = BTreeMap::new();
        while seen.len() < self.cameras.len() || seen.values().any(|&seen| seen < SOME) {
            if let Event::Picture(camera, shown) = self.next().await?
                && shown == size
            {
                *seen.entry(camera).or_default() += 1;
            }
            ensure!(Instant::now() < deadline, "pictures of {size:?}: only {seen:?}");
        }
        Ok(())
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        self.tracks.iter_mut().for_each(SentTrack::stop);
        self.robot.close().await;
        self.viewer.connection.close().await;
        for camera in self.cameras {
            camera.pipeline.set_state(gst::State::Null)?;
        }
        tokio::task::spawn_blocking(|| self.views.into_iter().for_each(View::stop)).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_codec_is_shown_in_one_session_and_sizes_may_change() -> anyhow::Result<()> {
    let mut pair = Pair::new(&Codec::ALL).await?;
    pair.shows(SMALL).await?;
    for size in [LARGE, SMALL] {
        pair.cameras.iter().try_for_each(|camera| camera.resize(size))?;
        pair.shows(size).await?;
    }
    pair.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_channel_loses_nothing_and_keeps_the_order() -> anyhow::Result<()> {
    const MESSAGES: usize = 200;
    let mut pair = Pair::new(&[Codec::H264]).await?;
    let message = |n: usize| format!("{n:08}").repeat(SNAPSHOT_PART_BYTES / 8).into_bytes();
    let (mut open, mut sent, mut heard, mut refused) = (false, 0, 0, false);
    while heard < MESSAGES {
        match pair.next().await? {
            // From here on the viewer must hear everything, also what it had no time to wait for.
            Event::RobotOpen => open = true,
            Event::ViewerHeard(bytes) => {
                ensure!(bytes == message(heard), "another message than {heard}");
                heard += 1;
            }
            _ => {}
        }
        while open && sent < MESSAGES && pair.robot.send(Channel::Control, &message(sent)) {
            sent += 1;
        }
        refused |= open && sent < MESSAGES;
    }
    ensure!(refused, "the backlog has no bound");

    let send = |bytes: &[u8]| pair.viewer.connection.send(Channel::Control, bytes);
    ensure!(send(&[b'x'; MAX_REQUEST_BYTES + 1]) && send(b"short"));
    loop {
        if let Event::RobotHeard(bytes) = pair.next().await? {
            ensure!(bytes == b"short", "too long a request was taken");
            return pair.stop().await;
        }
    }
}
