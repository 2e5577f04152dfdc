//! Cameras that are lost and come back, while viewers watch: nothing but the picture changes.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rovercast_e2e::figures::{Usage, percentile};
use rovercast_e2e::lab::{Folder, PATIENCE, Program, broker, gstreamer, robot, robot_config};
use rovercast_e2e::source::{Look, Socket};
use rovercast_e2e::watcher::{Picture, Signal, Watcher};
use rovercast_peer::start::now_us;
use rovercast_protocol::pixelclock::Reading;
use rovercast_protocol::telemetry::CameraState;

type Outcome = anyhow::Result<()>;

const SIZE: (u32, u32) = (320, 240);
const FPS: u32 = 30;
const USUAL: Look = Look { size: SIZE, fps: FPS, format: "I420", pattern: "smpte" };

/// Losses of one camera in a row.
const LOSSES: usize = 50;
/// Of these so many come before the first look at what the sender holds.
const WARM_UP: usize = 6;

/// What viewers are told of a camera whose source is gone, and of one whose source hangs: that it
/// stalls, or on a busy host that it has been given up.
const KILLED: &[CameraState] = &[CameraState::Lost];
const STOPPED: &[CameraState] = &[CameraState::Stalled, CameraState::Lost];

/// Pictures that differ less than this within themselves are taken for blank.
const BLANK: f64 = 3.0;

/// A camera beside the others that nothing happens to. It is slow, so that its encoder is in time
/// on any host.
const STEADY: &str = "steady";
const STEADY_FPS: u32 = 5;

/// A robot with cameras that are processes, and one who watches it.
struct Drill {
    sender: Program,
    watcher: Watcher,
    /// The clocks in the steady camera's pictures.
    steady_us: Vec<u64>,
    _broker: Program,
    _folder: Folder,
}

impl Drill {
    async fn start(cameras: &[(&str, &Socket)]) -> anyhow::Result<Self> {
        gstreamer();
        let folder = Folder::new("loss")?;
        let (broker, address) = broker("127.0.0.1:0")?;
        let mut config = robot_config("r", &[(STEADY, 160, 160, STEADY_FPS)]);
        for (id, socket) in cameras {
            config += &socket.config(id, SIZE, FPS);
        }
        let sender = robot(&folder, &config, &address)?;
        let watcher = Watcher::start(&address, "r", &[])?;
        Ok(Self { sender, watcher, steady_us: Vec::new(), _broker: broker, _folder: folder })
    }

    /// The next pictures of this camera, until `done` says so of one.
    async fn until(
        &mut self,
        camera: &str,
        done: impl Fn(&Picture) -> bool,
    ) -> anyhow::Result<Picture> {
        let steady_us = &mut self.steady_us;
        let picture = self.watcher.until(|picture| {
            if picture.camera.as_str() == STEADY {
                match picture.clock {
                    Reading::Whole(micros) => steady_us.push(micros),
                    // Of which the sequence will lack one.
                    Reading::Torn | Reading::Absent => {}
                }
            }
            picture.camera.as_str() == camera && done(picture)
        });
        let picture = picture.await.with_context(|| self.sender.output())?;
        ensure!(picture.contrast > BLANK, "blank: {picture:?}");
        ensure!(picture.size == SIZE || camera == STEADY, "{picture:?}");
        Ok(picture)
    }

    /// A slate that came after this moment: on a busy host one may have been there before.
    async fn until_slate(&mut self, camera: &str, since_us: i64) -> anyhow::Result<Picture> {
        self.until(camera, |picture| picture.tape && picture.at_us > since_us).await
    }

    /// Until it shows the source again: several pictures in a row of it.
    async fn until_live(&mut self, camera: &str) -> anyhow::Result<()> {
        for _ in 0..3 {
            self.until(camera, |picture| !picture.tape).await?;
        }
        Ok(())
    }

    /// From here on the steady camera is to miss no frame: all has started.
    fn begin(&mut self) {
        self.steady_us.clear();
    }

    async fn signal(&mut self) -> anyhow::Result<(i64, Signal)> {
        self.watcher.signal().await.with_context(|| self.sender.output())
    }

    /// This camera is told, after this moment, to be lost in one of these ways. Returns when.
    async fn until_told_lost(
        &mut self,
        id: &str,
        ways: &[CameraState],
        since_us: i64,
    ) -> anyhow::Result<i64> {
        loop {
            let (at_us, signal) = self.signal().await?;
            let Signal::Lost(lost) = signal else { continue };
            ensure!(!lost.reason.is_empty(), "{lost:?}");
            if lost.camera.as_str() == id && at_us > since_us && ways.contains(&lost.state) {
                return Ok(at_us);
            }
        }
    }

    /// This camera is told to be back, whatever is told of its loss before.
    async fn until_told_restored(&mut self, id: &str) -> Outcome {
        loop {
            if let (_, Signal::Restored(restored)) = self.signal().await?
                && restored.camera.as_str() == id
            {
                ensure!(restored.lost_us > 0, "{restored:?}");
                return Ok(());
            }
        }
    }

    /// There was one session from first to last, and the steady camera showed every frame.
    async fn end(mut self) -> Outcome {
        let begun = self.steady_us.len();
        while self.steady_us.len() < (begun + 3).max(12) {
            self.until(STEADY, |_| true).await?;
        }
        no_gap(&self.steady_us)?;
        let output = self.sender.output();
        ensure!(output.matches("session connected").count() == 1, "not one session:\n{output}");
        ensure!(!output.contains("session ended"), "the session ended:\n{output}");
        ensure!(!output.contains("panicked"), "{output}");
        self.watcher.stop().await
    }
}

/// A frame may be late, but each stands for one frame time: without what they are late, the last
/// are where they would be if none were missing.
fn no_gap(clocks_us: &[u64]) -> Outcome {
    ensure!(clocks_us.is_sorted_by(|a, b| a < b), "the clock does not advance: {clocks_us:?}");
    let frame_us = 1_000_000 / i64::from(STEADY_FPS);
    let beside: Vec<i64> =
        clocks_us.iter().zip(0..).map(|(&clock, n)| clock as i64 - n * frame_us).collect();
    let earliest = |part: &[i64]| part.iter().copied().min().unwrap_or(0);
    let (first, last) = beside.split_at(beside.len() / 2);
    let missing = (earliest(last) - earliest(first) + frame_us / 2).div_euclid(frame_us);
    ensure!(missing == 0, "{missing} frames of the steady camera are missing: {clocks_us:?}");
    Ok(())
}

/// How long it took from a moment to others, for people.
fn print(what: &str, since_us: i64, slate: &Picture, told_us: i64) -> [f64; 2] {
    let [slate, told] = [slate.at_us, told_us].map(|at_us| (at_us - since_us) as f64 / 1000.0);
    println!("{what}: slate after {slate:.0} ms, told after {told:.0} ms");
    [slate, told]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_killed_comes_back_in_the_same_session() -> Outcome {
    let socket = Socket::default();
    let mut source = socket.start(USUAL)?;
    let mut drill = Drill::start(&[("c", &socket)]).await?;
    // Each time with another size and another format.
    let others = [
        ((640, 480), "YUY2", "checkers-8"),
        ((200, 150), "RGB", "smpte75"),
        (SIZE, "GRAY8", "smpte"),
    ];
    drill.until_live("c").await?;
    drill.begin();
    for (size, format, pattern) in others {
        let killed_us = now_us();
        source.kill()?;
        let slate = drill.until_slate("c", killed_us).await?;
        let told_us = drill.until_told_lost("c", KILLED, killed_us).await?;
        print("killed", killed_us, &slate, told_us);
        source = socket.start(Look { size, format, pattern, ..USUAL })?;
        drill.until_live("c").await?;
        drill.until_told_restored("c").await?;
    }
    drill.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_hangs_is_shown_again_when_it_goes_on() -> Outcome {
    let socket = Socket::default();
    let source = socket.start(USUAL)?;
    let mut drill = Drill::start(&[("c", &socket)]).await?;
    drill.until_live("c").await?;
    drill.begin();
    for given_up in [false, true] {
        let stopped_us = now_us();
        source.signal("STOP")?;
        let slate = drill.until_slate("c", stopped_us).await?;
        let told_us = drill.until_told_lost("c", STOPPED, stopped_us).await?;
        print("stopped", stopped_us, &slate, told_us);
        if given_up {
            drill.until_told_lost("c", KILLED, stopped_us).await?;
        }
        source.signal("CONT")?;
        drill.until_live("c").await?;
        drill.until_told_restored("c").await?;
    }
    drill.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_sends_garbage_does_no_harm() -> Outcome {
    let socket = Socket::default();
    let mut source = socket.start(USUAL)?;
    let mut drill = Drill::start(&[("c", &socket)]).await?;
    drill.until_live("c").await?;
    drill.begin();
    for _ in 0..2 {
        let killed_us = now_us();
        source.kill()?;
        let listener = TcpListener::bind(socket.address())?;
        drill.until_slate("c", killed_us).await?;
        let garbage = std::thread::spawn(move || -> std::io::Result<()> {
            let mut word = 1u64;
            let mut noise = || {
                word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (word >> 56) as u8
            };
            let (mut camera, _) = listener.accept()?;
            let noise: Vec<u8> = (0..100_000).map(|_| noise()).collect();
            // Refused as soon as the sender has seen enough of it.
            while camera.write_all(&noise).is_ok() {}
            Ok(())
        });
        garbage.join().map_err(|_| anyhow::anyhow!("the garbage panicked"))??;
        source = socket.start(USUAL)?;
        drill.until_live("c").await?;
        drill.until_told_restored("c").await?;
    }
    drill.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_missing_at_the_start_is_shown_when_it_appears() -> Outcome {
    let socket = Socket::default();
    let mut drill = Drill::start(&[("c", &socket)]).await?;
    drill.until_slate("c", 0).await?;
    drill.until_told_lost("c", KILLED, 0).await?;
    drill.begin();
    let _source = socket.start(USUAL)?;
    drill.until_live("c").await?;
    drill.until_told_restored("c").await?;
    drill.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_cameras_lost_at_once_come_back() -> Outcome {
    let sockets = [(); 3].map(|()| Socket::default());
    let ids = ["a", "b", "c"];
    let start = || sockets.iter().map(|socket| socket.start(USUAL)).collect::<Result<Vec<_>, _>>();
    let mut sources = start()?;
    let cameras: Vec<_> = ids.into_iter().zip(&sockets).collect();
    let mut drill = Drill::start(&cameras).await?;
    for id in ids {
        drill.until_live(id).await?;
    }
    drill.begin();
    for _ in 0..2 {
        let killed_us = now_us();
        for source in sources {
            source.kill()?;
        }
        for id in ids {
            drill.until_slate(id, killed_us).await?;
        }
        sources = start()?;
        for id in ids {
            drill.until_live(id).await?;
        }
        // The news of the cameras come in any order.
        let (mut lost, mut restored) = (BTreeSet::new(), BTreeSet::new());
        while restored.len() < ids.len() {
            match drill.signal().await? {
                (_, Signal::Lost(news)) if KILLED.contains(&news.state) => {
                    lost.insert(news.camera);
                }
                (_, Signal::Restored(news)) if lost.contains(&news.camera) => {
                    restored.insert(news.camera);
                }
                _ => {}
            }
        }
    }
    drill.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_losses_leave_nothing_behind() -> Outcome {
    let socket = Socket::default();
    let mut source = socket.start(USUAL)?;
    let mut drill = Drill::start(&[("c", &socket)]).await?;
    drill.until_live("c").await?;
    drill.begin();
    let mut before = None;
    let (mut killed, mut stopped) = (Vec::new(), Vec::new());
    for loss in 0..LOSSES {
        if loss == WARM_UP {
            before = Some(Usage::of(drill.sender.pid())?);
        }
        let kills = loss % 2 == 0;
        let lost_us = now_us();
        if kills {
            source.kill()?;
            source = socket.start(USUAL)?;
        } else {
            source.signal("STOP")?;
        }
        let slate = drill.until_slate("c", lost_us).await?;
        let ways = if kills { KILLED } else { STOPPED };
        let told_us = drill.until_told_lost("c", ways, lost_us).await?;
        if !kills {
            source.signal("CONT")?;
        }
        drill.until_live("c").await?;
        drill.until_told_restored("c").await?;
        let times = [slate.at_us, told_us].map(|at_us| (at_us - lost_us) as f64 / 1000.0);
        if kills { &mut killed } else { &mut stopped }.push(times);
    }
    for (what, times) in [("killed", killed), ("stopped", stopped)] {
        for (index, seen) in ["slate", "told"].into_iter().enumerate() {
            let times: Vec<f64> = times.iter().map(|times| times[index]).collect();
            let [half, most] = [0.5, 1.0].map(|part| percentile(&times, part));
            println!("{} {what}: {seen} after {half:.0} ms, {most:.0} ms at most", times.len());
        }
    }
    let before = before.context("no look at the sender")?;
    let deadline = Instant::now() + PATIENCE;
    // Threads that have nothing to do any more end some seconds later.
    loop {
        let after = Usage::of(drill.sender.pid())?;
        let is_back = after.threads <= before.threads + 2
            && after.descriptors <= before.descriptors + 3
            && after.memory <= before.memory + 6_000_000;
        if is_back {
            println!("after {WARM_UP} losses: {before}; after {LOSSES}: {after}");
            break;
        }
        ensure!(Instant::now() < deadline, "before: {before}; after {LOSSES} losses: {after}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drill.end().await
}
