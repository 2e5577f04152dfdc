//! V4L2 cameras of a real kernel, which work and fail: under the real sender, with one who watches.
//! Everywhere but in the lab they are left out.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, ensure};
use rovercast_e2e::lab::{Folder, Program, broker, gstreamer, robot};
use rovercast_e2e::vivid::{self, Camera, Fault};
use rovercast_e2e::watcher::{Picture, Signal, Watcher};
use rovercast_peer::start::now_us;
use rovercast_protocol::control::SignalLost;
use rovercast_protocol::telemetry::CameraState;

type Outcome = anyhow::Result<()>;

/// Pictures that differ less than this within themselves are taken for blank.
const BLANK: f64 = 3.0;

/// Small and slow, for processors made of software.
const SIZE: (u32, u32) = (320, 180);
const FPS: u32 = 5;
/// The fewer are due the longer may each be late.
const OTHER_FPS: u32 = 2;

/// Starts a robot with cameras: their ids, the sources as the settings file has them, and their
/// rates. All but `front` are live when it returns: to start them takes all the power there is.
/// They are encoded only for who watches.
fn start(
    folder: &Folder,
    broker: &str,
    cameras: &[(&str, String, u32)],
) -> anyhow::Result<Program> {
    let mut config = "[robot]\nid = \"r\"\n".to_owned();
    let (width, height) = SIZE;
    for (id, source, fps) in cameras {
        config.push_str(&format!(
            "[[camera]]\nid = \"{id}\"\nsource = {source}\non_demand = true\n\
             width = {width}\nheight = {height}\nfps = {fps}\nbitrate_kbps = 500\n"
        ));
    }
    let mut sender = robot(folder, &config, broker)?;
    for _ in cameras.iter().filter(|camera| camera.0 != "front") {
        sender.wait_for("camera live", |line| {
            (line.contains("camera live") && !line.contains("camera=front")).then_some(())
        })?;
    }
    Ok(sender)
}

/// A robot with one camera of the kernel, `front`, and `other`, which nothing happens to; and somebody
/// who watches them.
struct Stage {
    sender: Program,
    watcher: Watcher,
    _broker: Program,
    _folder: Folder,
}

impl Stage {
    /// `front` is a device, `other` a source as the settings file has it.
    fn new(front: &str, other: String) -> anyhow::Result<Self> {
        gstreamer();
        let folder = Folder::new("v4l2")?;
        let (broker, address) = broker("127.0.0.1:0")?;
        let cameras = [("front", device(front), FPS), ("other", other, OTHER_FPS)];
        let sender = start(&folder, &address, &cameras)?;
        let watcher = Watcher::start(&address, "r", &[])?;
        Ok(Self { sender, watcher, _broker: broker, _folder: folder })
    }

    /// The camera itself is seen, in so many pictures from now on.
    async fn shows(&mut self, camera: &str, count: usize) -> Outcome {
        self.sees(camera, false, count).await
    }

    /// A slate is seen in place of the camera, from now on.
    async fn shows_slate(&mut self, camera: &str) -> Outcome {
        self.sees(camera, true, 1).await
    }

    async fn sees(&mut self, camera: &str, tape: bool, count: usize) -> Outcome {
        let (now_us, mut seen) = (now_us(), 0);
        let enough = |picture: &Picture| {
            let is_new = picture.camera.as_str() == camera && picture.at_us > now_us;
            seen += usize::from(is_new && picture.tape == tape && picture.contrast > BLANK);
            seen >= count
        };
        let found = self.watcher.until(enough).await;
        let what = if tape { "slate" } else { "picture" };
        found.with_context(|| format!("no {what} of {camera}:\n{}", self.sender.output()))?;
        Ok(())
    }

    /// Viewers are told that `front` is away, for a reason that has this in it.
    async fn told_lost(&mut self, reason: &str) -> anyhow::Result<SignalLost> {
        loop {
            let said = self.watcher.signal().await;
            let (_, signal) = said.with_context(|| {
                format!("nothing told of {reason:?}:\n{}", self.sender.output())
            })?;
            if let Signal::Lost(lost) = signal
                && lost.camera.as_str() == "front"
                && lost.reason.contains(reason)
            {
                println!("{:?}: {}", lost.state, lost.reason);
                return Ok(lost);
            }
        }
    }

    /// Viewers are told that `front` is back, and see it.
    async fn comes_back(&mut self) -> Outcome {
        loop {
            let (_, signal) = self.watcher.signal().await.with_context(|| self.sender.output())?;
            if let Signal::Restored(restored) = signal
                && restored.camera.as_str() == "front"
            {
                return self.shows("front", 3).await;
            }
        }
    }

    /// The end of a test. It was one session from first to last, `other` was there all the time, and
    /// the log tells of each loss once, however often the camera was tried again.
    async fn end(mut self) -> Outcome {
        self.shows("other", 3).await?;
        let output = self.sender.output();
        // Until it connects it may be tried more than once.
        let (_, session) = output.split_once("session connected").context("no session")?;
        for other in ["session connected", "session ended"] {
            ensure!(!session.contains(other), "not one session:\n{output}");
        }
        ensure!(!output.contains("panicked"), "{output}");
        let mut lost = false;
        for line in output.lines() {
            let says = |what: &str, camera: &str| line.contains(what) && line.contains(camera);
            ensure!(!says("camera lost", "camera=other"), "the other was lost:\n{output}");
            if says("camera lost", "camera=front") {
                ensure!(!lost, "a loss is told twice:\n{output}");
                lost = true;
            } else if says("camera live", "camera=front") {
                lost = false;
            }
        }
        self.watcher.stop().await
    }
}

fn device(path: &str) -> String {
    format!("{{ type = \"v4l2\", device = \"{path}\", format = \"auto\" }}")
}

/// A robot with two cameras of the kernel, `front` and `other`.
fn two_cameras() -> anyhow::Result<(Stage, Camera, Camera)> {
    let [front, other] = <[Camera; 2]>::try_from(vivid::plug(&[0, 1])?).expect("two");
    let stage = Stage::new(&front.path(), device(&other.path()))?;
    Ok((stage, front, other))
}

/// What both the driver and GStreamer know, by GStreamer's names.
const FORMATS: [&str; 16] = [
    "YUY2", "UYVY", "YVYU", "NV16", "I420", "YV12", "NV12", "NV21", "Y42B", "GRAY8", "NV61",
    "NV24", "RGB", "BGR", "BGRx", "RGB16",
];
/// As many are encoded at a time as processors made of software bear.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab: make lab-v4l2"]
async fn every_pixel_format_becomes_the_same_picture() -> Outcome {
    let (width, height) = SIZE;
    let cameras = vivid::plug(&std::array::from_fn::<u32, { FORMATS.len() }, _>(|n| n as u32))?;
    let source = |(format, camera): (&'static str, &Camera)| {
        let line = format!(
            "v4l2src device={} do-timestamp=true \
             ! video/x-raw,format={format},width={width},height={height},framerate=1/1",
            camera.path()
        );
        (format, format!("{{ type = \"launch\", launch = \"{line}\" }}"), 1)
    };
    let sources: Vec<_> = FORMATS.into_iter().zip(&cameras).map(source).collect();
    gstreamer();
    let folder = Folder::new("v4l2")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let mut sender = start(&folder, &address, &sources)?;
    let mut contrasts = BTreeMap::new();
    for formats in FORMATS.chunks(AT_ONCE) {
        let mut watcher = Watcher::start(&address, "r", formats)?;
        let all_shown = |picture: &Picture| {
            if !picture.tape {
                contrasts.insert(picture.camera.to_string(), picture.contrast);
            }
            formats.iter().all(|&format| contrasts.contains_key(format))
        };
        let shown = watcher.until(all_shown).await;
        shown.with_context(|| format!("{contrasts:?}\n{}", sender.output()))?;
        watcher.stop().await?;
    }
    println!("{contrasts:.1?}");
    let usual = contrasts["YUY2"];
    for (format, contrast) in &contrasts {
        // The driver's grey goes from 0 to 255, which GStreamer takes for 16 to 235.
        let tolerance = if format == "GRAY8" { 0.25 } else { 0.05 };
        ensure!((contrast - usual).abs() < usual * tolerance, "{format} differs: {contrasts:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab: make lab-v4l2"]
async fn a_camera_that_fails_comes_back_and_hurts_nobody() -> Outcome {
    let (mut stage, front, other) = two_cameras()?;
    stage.shows("front", 3).await?;
    let settings = front.settings()?;
    for wanted in [format!(": {}/{}\n", SIZE.0, SIZE.1), format!(": {FPS}.000 ({FPS}/1)\n")] {
        ensure!(settings.contains(&wanted), "no {wanted:?} in\n{settings}");
    }

    // Broken and missing frames are no reason to give up.
    for fault in [Fault::Frame, Fault::Frame, Fault::Qbuf] {
        front.inject(fault)?;
        stage.shows("front", 2).await?;
    }
    front.lose_frames(30)?;
    stage.shows("front", 5).await?;
    let output = stage.sender.output();
    ensure!(!output.contains(&format!("camera lost: {}", front.path())), "{output}");

    // All of them missing is, in the end.
    for given_up in [false, true] {
        front.lose_frames(100)?;
        stage.told_lost("no picture for").await?;
        while given_up && stage.told_lost("").await?.state != CameraState::Lost {}
        stage.shows_slate("front").await?;
        stage.shows("other", 2).await?;
        front.lose_frames(0)?;
        stage.comes_back().await?;
    }

    for fault in [Fault::Disconnect, Fault::Streaming] {
        front.inject(fault)?;
        stage.told_lost("/dev/video0 broke off: it was unplugged").await?;
        stage.comes_back().await?;
    }
    // It does not start again at once.
    for fault in [Fault::Reqbufs, Fault::Streamon] {
        front.inject(fault)?;
        front.inject(Fault::Disconnect)?;
        stage.told_lost("/dev/video0 does not start").await?;
        stage.comes_back().await?;
    }

    // A camera that is in use is not disturbed by being looked at.
    other.announce()?;
    stage.sender.wait_for_text("plugged in: ")?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab: make lab-v4l2"]
async fn a_camera_unplugged_comes_back_under_another_number() -> Outcome {
    vivid::plug(&[0])?;
    let other = "{ type = \"test\", pattern = \"smpte\" }".to_owned();
    let mut stage = Stage::new(vivid::BY_PATH, other)?;
    stage.shows("front", 3).await?;
    for number in [7, 3] {
        vivid::unplug()?;
        stage.told_lost(&format!("{} is not there", vivid::BY_PATH)).await?;
        stage.shows_slate("front").await?;
        stage.shows("other", 3).await?;
        vivid::plug(&[number])?;
        stage.sender.wait_for_text("plugged in: ")?;
        stage.comes_back().await?;
    }
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab: make lab-v4l2"]
async fn a_camera_that_another_program_uses_is_waited_for() -> Outcome {
    let cameras = vivid::plug(&[0, 1])?;
    let mut command = Command::new("v4l2-ctl");
    command.args(["-d", &cameras[0].path(), "--stream-mmap", "--verbose"]);
    let mut user = Program::spawn("v4l2-ctl", command)?;
    user.wait_for_text("dqbuf")?;
    let mut stage = Stage::new(&cameras[0].path(), device(&cameras[1].path()))?;
    stage.told_lost("/dev/video0 is in use by another program").await?;
    stage.shows_slate("front").await?;
    stage.shows("other", 3).await?;
    // What came until now is forgotten: it still gets its pictures.
    user.output();
    user.wait_for_text("dqbuf")?;
    user.kill()?;
    stage.comes_back().await?;
    stage.end().await
}
