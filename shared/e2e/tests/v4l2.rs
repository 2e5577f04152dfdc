//! V4L2 cameras of a real kernel, which work and fail: under the real sender. Everywhere but in the
//! lab they are left out.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use rovercast_e2e::lab::{Folder, Program, broker, gstreamer, robot};
use rovercast_e2e::vivid::{self, Camera, Fault};
use rovercast_e2e::watcher::{Picture, Watcher};

type Outcome = anyhow::Result<()>;

/// Pictures that differ less than this within themselves are taken for blank.
const BLANK: f64 = 3.0;

/// Small and slow, for processors made of software.
const SIZE: (u32, u32) = (320, 180);
const FPS: u32 = 10;

/// A robot with cameras and somebody who watches them all.
struct Stage {
    sender: Program,
    watcher: Watcher,
    _broker: Program,
    _folder: Folder,
}

impl Stage {
    /// The cameras by their ids, with the sources as the settings file has them.
    fn new(cameras: &[(&str, String)], fps: u32) -> anyhow::Result<Self> {
        gstreamer();
        let folder = Folder::new("v4l2")?;
        let (broker, address) = broker("127.0.0.1:0")?;
        let mut config = "[robot]\nid = \"r\"\n".to_owned();
        let (width, height) = SIZE;
        for (id, source) in cameras {
            config.push_str(&format!(
                "[[camera]]\nid = \"{id}\"\nsource = {source}\n\
                 width = {width}\nheight = {height}\nfps = {fps}\nbitrate_kbps = 500\n"
            ));
        }
        let sender = robot(&folder, &config, &address)?;
        let watcher = Watcher::start(&address, "r", &[])?;
        Ok(Self { sender, watcher, _broker: broker, _folder: folder })
    }

    /// A robot with one camera of the kernel, `front`, and `other`, which nothing happens to.
    fn with_other(front: &str, other: &str) -> anyhow::Result<Self> {
        let cameras = [("front", device(front)), ("other", other.to_owned())];
        Self::new(&cameras, FPS)
    }

    /// Waits until the sender says so of the camera.
    fn said(&mut self, camera: &str, what: &str) -> anyhow::Result<String> {
        let of = format!("camera={camera}");
        self.sender.wait_for(&format!("\"{what}\" of {camera}"), |line| {
            (line.contains(what) && line.contains(&of)).then(|| line.to_owned())
        })
    }

    /// Waits for so many pictures of the camera from now on.
    async fn pictures(&mut self, camera: &str, count: usize) -> Outcome {
        self.watcher.skip_waiting();
        let mut seen = 0;
        let enough = |picture: &Picture| {
            seen += usize::from(picture.camera.as_str() == camera && picture.contrast > BLANK);
            seen >= count
        };
        self.watcher.until(enough).await.with_context(|| format!("{camera} shows nothing"))?;
        Ok(())
    }

    /// The end of a test: `other` was there all the time.
    async fn other_was_never_lost(mut self) -> Outcome {
        self.pictures("other", 5).await?;
        let output = self.sender.output();
        let lost = |line: &&str| line.contains("camera lost") && line.contains("camera=other");
        ensure!(output.lines().find(lost).is_none(), "{output}");
        self.watcher.stop().await
    }
}

fn device(path: &str) -> String {
    format!("{{ type = \"v4l2\", device = \"{path}\" }}")
}

/// Two cameras of the kernel, both live and seen.
async fn two_cameras() -> anyhow::Result<(Stage, Camera)> {
    let [front, other] = <[Camera; 2]>::try_from(vivid::plug(&[0, 1])?).expect("two");
    let mut stage = Stage::with_other(&front.path(), &device(&other.path()))?;
    for camera in ["front", "other"] {
        stage.pictures(camera, 3).await?;
    }
    stage.said("front", "camera live")?;
    Ok((stage, front))
}

/// What both the driver and GStreamer know, by GStreamer's names; as many at a time as processors
/// made of software bear.
const FORMATS: [[&str; 4]; 4] = [
    ["YUY2", "UYVY", "YVYU", "NV16"],
    ["I420", "YV12", "NV12", "NV21"],
    ["Y42B", "GRAY8", "NV61", "NV24"],
    ["RGB", "BGR", "BGRx", "RGB16"],
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab: make lab-v4l2"]
async fn every_pixel_format_becomes_the_same_picture() -> Outcome {
    let (width, height) = SIZE;
    let mut contrasts = BTreeMap::new();
    for formats in FORMATS {
        let cameras = vivid::plug(&[0, 1, 2, 3])?;
        let source = |(format, camera): (&'static str, &Camera)| {
            let line = format!(
                "v4l2src device={} do-timestamp=true \
                 ! video/x-raw,format={format},width={width},height={height},framerate=5/1",
                camera.path()
            );
            (format, format!("{{ type = \"launch\", launch = \"{line}\" }}"))
        };
        let sources: Vec<_> = formats.into_iter().zip(&cameras).map(source).collect();
        let mut stage = Stage::new(&sources, 5)?;
        let all_shown = |picture: &Picture| {
            contrasts.insert(picture.camera.to_string(), picture.contrast);
            formats.iter().all(|&format| contrasts.contains_key(format))
        };
        let shown = stage.watcher.until(all_shown).await;
        shown.with_context(|| format!("{contrasts:?}\n{}", stage.sender.output()))?;
        stage.watcher.stop().await?;
    }
    println!("{contrasts:?}");
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
async fn a_camera_is_set_to_the_size_and_rate_that_are_wanted() -> Outcome {
    let (mut stage, front) = two_cameras().await?;
    let settings = front.settings()?;
    for wanted in [format!(": {}/{}\n", SIZE.0, SIZE.1), format!(": {FPS}.000 ({FPS}/1)\n")] {
        ensure!(settings.contains(&wanted), "no {wanted:?} in\n{settings}");
    }
    let start = Instant::now();
    stage.pictures("front", 50).await?;
    println!("{:.1} pictures/s", 50.0 / start.elapsed().as_secs_f64());
    stage.other_was_never_lost().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab: make lab-v4l2"]
async fn a_camera_that_fails_comes_back_and_hurts_nobody() -> Outcome {
    let (mut stage, front) = two_cameras().await?;
    for fault in [Fault::Disconnect, Fault::Streaming] {
        front.inject(fault)?;
        println!("{fault:?}: {}", stage.said("front", "camera lost")?);
        stage.said("front", "camera live")?;
        stage.pictures("front", 5).await?;
    }
    stage.other_was_never_lost().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab: make lab-v4l2"]
async fn a_camera_that_does_not_start_is_tried_again() -> Outcome {
    for fault in [Fault::Reqbufs, Fault::Streamon] {
        let cameras = vivid::plug(&[0, 1])?;
        cameras[0].inject(fault)?;
        let mut stage = Stage::with_other(&cameras[0].path(), &device(&cameras[1].path()))?;
        println!("{fault:?}: {}", stage.said("front", "camera l")?);
        stage.pictures("front", 5).await?;
        stage.other_was_never_lost().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab: make lab-v4l2"]
async fn broken_and_missing_frames_are_no_reason_to_give_up() -> Outcome {
    let (mut stage, front) = two_cameras().await?;
    for fault in [Fault::Frame, Fault::Frame, Fault::Frame, Fault::Qbuf] {
        front.inject(fault)?;
        stage.pictures("front", 2).await?;
    }
    front.lose_frames(50)?;
    stage.pictures("front", 20).await?;
    let output = stage.sender.output();
    ensure!(!output.contains("camera lost"), "{output}");
    // All of them is more than a camera may lose.
    front.lose_frames(100)?;
    println!("{}", stage.said("front", "camera lost")?);
    front.lose_frames(0)?;
    stage.said("front", "camera live")?;
    stage.pictures("front", 5).await?;
    stage.other_was_never_lost().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab: make lab-v4l2"]
async fn a_camera_unplugged_comes_back_under_another_number() -> Outcome {
    vivid::plug(&[0])?;
    let mut stage = Stage::with_other(vivid::BY_PATH, "{ type = \"test\", pattern = \"smpte\" }")?;
    stage.pictures("front", 3).await?;
    stage.said("front", "camera live")?;
    for number in [7, 3] {
        vivid::unplug()?;
        println!("{}", stage.said("front", "camera lost")?);
        stage.pictures("other", 5).await?;
        vivid::plug(&[number])?;
        stage.said("front", "camera live")?;
        stage.pictures("front", 5).await?;
    }
    stage.other_was_never_lost().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab: make lab-v4l2"]
async fn a_camera_that_another_program_uses_is_waited_for() -> Outcome {
    let cameras = vivid::plug(&[0, 1])?;
    let mut command = Command::new("v4l2-ctl");
    command.args(["-d", &cameras[0].path(), "--stream-mmap", "--verbose"]);
    let mut user = Program::spawn("v4l2-ctl", command)?;
    user.wait_for_text("dqbuf")?;
    let mut stage = Stage::with_other(&cameras[0].path(), &device(&cameras[1].path()))?;
    println!("{}", stage.said("front", "camera lost")?);
    stage.pictures("other", 5).await?;
    user.wait_for_text("dqbuf")?;
    user.kill()?;
    stage.said("front", "camera live")?;
    stage.pictures("front", 5).await?;
    stage.other_was_never_lost().await
}
