//! Every platform from its camera to a viewer's pictures, on twins of its hardware. They show that
//! sender and platform fit together; not how good or how fast the hardware is.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rovercast_e2e::control::Control;
use rovercast_e2e::lab::{Folder, Program, broker, gstreamer, robot_in};
use rovercast_e2e::watcher::{Picture, Watcher, look};
use rovercast_twins::place::environment;

type Outcome = anyhow::Result<()>;

/// Pictures that differ less than this within themselves are taken for blank.
const BLANK: f64 = 3.0;

/// A viewer who joins has its first picture by then; without a request it would be a minute.
const SOON: Duration = Duration::from_secs(30);

const TEST: &str = "{ type = \"test\", pattern = \"smpte\" }";
const ARGUS: &str = "{ type = \"argus\" }";
const LIBCAMERA: &str = "{ type = \"libcamera\" }";

/// Something that every bit helps with.
const NOISE: &str = "{ type = \"launch\", launch = \"videotestsrc is-live=true pattern=snow \
                     ! video/x-raw,width=320,height=240,framerate=30/1\" }";

/// A robot on a platform, and the broker that it is known to.
struct Robot {
    sender: Program,
    address: String,
    socket: PathBuf,
    folder: Folder,
    _broker: Program,
}

impl Robot {
    /// `more` are further variables of its environment, `cameras` what its config says of them.
    fn start(platform: &str, more: &[(&str, &str)], cameras: &str) -> anyhow::Result<Self> {
        gstreamer();
        let folder = Folder::new(platform)?;
        let (broker, address) = broker("127.0.0.1:0")?;
        let socket = folder.path().join("control");
        let config =
            format!("[robot]\nid = \"r\"\n[control]\nsocket = '{}'\n{cameras}", socket.display());
        let mut variables = environment(platform)?;
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        variables.extend(more);
        let sender = robot_in(&variables, &folder, &config, &address)?;
        Ok(Self { sender, address, socket, folder, _broker: broker })
    }

    fn watch(&self, cameras: &[&str]) -> anyhow::Result<Watcher> {
        Watcher::start(&self.address, "r", cameras)
    }

    /// A camera's steps down from encoders that do not work: one line each.
    fn steps(&mut self, camera: &str) -> Vec<String> {
        let output = self.sender.output();
        let of_camera = format!(" camera={camera}");
        let lines = output.lines().filter_map(|line| line.strip_suffix(&of_camera));
        lines.filter(|line| line.contains("does not work here")).map(str::to_owned).collect()
    }
}

fn camera(id: &str, source: &str, (width, height): (u32, u32), more: &str) -> String {
    format!(
        "[[camera]]\nid = \"{id}\"\nsource = {source}\nwidth = {width}\nheight = {height}\n{more}\n"
    )
}

/// The picture differs from the others of its camera.
fn moves(picture: &Picture, last: &mut Option<[f64; 64]>) -> bool {
    let last = last.replace(picture.brightness);
    last.is_some_and(|last| last.iter().zip(picture.brightness).any(|(a, b)| (a - b).abs() > 1.0))
}

/// A platform's camera comes through its encoder to a viewer as pictures that move; its bitrate
/// follows what it is told, and who joins later has a picture at once.
async fn works(platform: &str, source: &str, encoder: &str, steps: &[&str]) -> Outcome {
    let size = (320, 240);
    let cameras = camera("eye", source, size, "bitrate_kbps = 800")
        + &camera("noise", NOISE, size, "bitrate_kbps = 3000");
    let mut robot = Robot::start(platform, &[], &cameras)?;
    let mut first = robot.watch(&["eye", "noise"])?;
    let (mut last, mut moved) = (None, 0);
    while moved < 20 {
        let picture = first.next().await.with_context(|| robot.sender.output())?;
        ensure!(picture.size == size && picture.contrast > BLANK, "{picture:?}");
        if picture.camera.as_str() == "eye" {
            moved += usize::from(moves(&picture, &mut last));
        }
    }
    let told = Control::new(&robot.socket).figures("eye", |told| told["state"] == "live").await?;
    ensure!(told["encoder"] == encoder, "{told}");

    let rate = |told: &serde_json::Value| told["bitrateKbps"].as_u64().unwrap_or_default();
    Control::new(&robot.socket).figures("noise", |told| (2100..3900).contains(&rate(told))).await?;
    Control::new(&robot.socket).change("noise", "{\"bitrateKbps\": 1500}").await?;
    Control::new(&robot.socket).figures("noise", |told| (1050..1950).contains(&rate(told))).await?;

    let mut second = robot.watch(&["eye"])?;
    second.next().await?;
    ensure!(second.started.elapsed() < SOON, "the key frame was not for the asking");

    let told = robot.steps("eye");
    let as_told =
        told.len() == steps.len() && told.iter().zip(steps).all(|(line, step)| line.contains(step));
    ensure!(as_told, "{told:?} for {steps:?}");
    let output = robot.sender.output();
    ensure!(!output.contains("camera lost") && !output.contains("stays"), "{output}");
    first.stop().await?;
    second.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jetson_encodes_in_hardware() -> Outcome {
    works("jetson", ARGUS, "nvv4l2h264enc", &[]).await
}

/// It has the elements of a Jetson, but no encoder behind them.
#[tokio::test(flavor = "multi_thread")]
async fn an_orin_nano_steps_down_and_says_so() -> Outcome {
    let step = "nvv4l2h264enc does not work here: Cannot identify device";
    works("orin-nano", ARGUS, "x264enc", &[step]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pi_4_encodes_in_hardware() -> Outcome {
    works("pi4", LIBCAMERA, "v4l2h264enc", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pi_5_encodes_by_its_processor() -> Outcome {
    works("pi5", LIBCAMERA, "x264enc", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nvidia_gpus_encode() -> Outcome {
    works("nvidia", TEST, "nvh264enc", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn intel_and_amd_gpus_encode() -> Outcome {
    works("va", TEST, "vah264enc", &[]).await
}

/// Before GStreamer 1.22 there is nothing else for them.
#[tokio::test(flavor = "multi_thread")]
async fn gpus_encode_by_the_older_elements_too() -> Outcome {
    works("vaapi", TEST, "vaapih264enc", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn quick_sync_encodes() -> Outcome {
    works("qsv", TEST, "qsvh264enc", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn any_computer_encodes() -> Outcome {
    works("none", TEST, "x264enc", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn h265_of_a_jetson_can_be_decoded() -> Outcome {
    let config = camera("c", ARGUS, (320, 240), "codec = \"h265\"");
    let robot = Robot::start("jetson", &[], &config)?;
    let mut watcher = robot.watch(&[])?;
    let (mut last, mut moved) = (None, 0);
    while moved < 20 {
        let picture = watcher.next().await?;
        ensure!(picture.size == (320, 240), "{picture:?}");
        moved += usize::from(moves(&picture, &mut last));
    }
    Control::new(&robot.socket).figures("c", |told| told["encoder"] == "nvv4l2h265enc").await?;
    watcher.stop().await
}

/// What a camera looks like whose pictures are that of the test pattern, as the processor makes it.
fn reference(size: (u32, u32), colours: &str, changes: &str) -> anyhow::Result<[f64; 64]> {
    use gst::prelude::*;
    gstreamer();
    let (width, height) = size;
    let pipeline = gst::parse::launch(&format!(
        "videotestsrc pattern=smpte num-buffers=1 \
         ! video/x-raw,format=I420,width={width},height={height},colorimetry={colours} ! {changes} ! videoconvert \
         ! video/x-raw,format=I420 ! appsink name=out sync=false"
    ))?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().ok().context("no pipeline")?;
    let out = pipeline.by_name("out").and_then(|out| out.downcast::<gst_app::AppSink>().ok());
    pipeline.set_state(gst::State::Playing)?;
    let sample = out.context("no end")?.pull_sample();
    pipeline.set_state(gst::State::Null)?;
    let picture = look(&"c".parse()?, &sample?).context("no picture")?;
    Ok(picture.brightness)
}

/// In how many places two pictures differ, but for their edges, where a clock may be burnt in.
fn differences(one: &[f64; 64], other: &[f64; 64]) -> usize {
    let inner = (0..64).filter(|part| (1..7).contains(&(part % 8)) && (1..7).contains(&(part / 8)));
    inner.filter(|&part| (one[part] - other[part]).abs() > 14.0).count()
}

/// The noise in one corner of the pattern may be otherwise.
const NOISY: usize = 4;

/// Pictures are cropped, turned, mirrored and scaled as the config says.
async fn lie_right(platform: &str, source: &str, colours: &str) -> Outcome {
    // The camera's own size; then that of the pictures, what the config says, and the same in words
    // of GStreamer's.
    let from = (320, 240);
    let turned = [
        ((240, 320), "picture.rotate = 90", "videoflip video-direction=90r"),
        (
            (240, 160),
            "picture.crop = { left = 80, top = 80 }\npicture.flip = \"horizontal\"",
            "videocrop left=80 top=80 ! videoflip video-direction=horiz",
        ),
        (
            (220, 240),
            "picture.crop = { bottom = 20, right = 80 }\npicture.rotate = 270\n\
             picture.flip = \"vertical\"",
            "videocrop bottom=20 right=80 ! videoflip video-direction=90l \
             ! videoflip video-direction=vert",
        ),
    ];
    let mut config = String::new();
    let mut expected = Vec::new();
    for (index, (size, picture, changes)) in turned.into_iter().enumerate() {
        config += &camera(&format!("c{index}"), source, size, &format!("{picture}\nfps = 10"));
        expected.push((size, reference(from, colours, changes)?));
        // The pattern looks another way however it is turned otherwise.
        for direction in ["horiz", "vert", "180"] {
            let otherwise = reference(
                from,
                colours,
                &format!("{changes} ! videoflip video-direction={direction}"),
            )?;
            let differ = differences(&otherwise, &expected[index].1);
            ensure!(differ > 2 * NOISY, "{changes}, {direction}: {differ}");
        }
    }
    // Scaled as well.
    let scaled = "{ type = \"launch\", launch = \"videotestsrc is-live=true pattern=smpte \
                  ! video/x-raw,width=640,height=480,framerate=10/1\" }";
    config += &camera("c3", scaled, from, "picture.rotate = 180\nfps = 10");
    expected.push((from, reference(from, "bt601", "videoflip video-direction=180")?));

    let mut robot = Robot::start(platform, &[], &config)?;
    let mut watcher = robot.watch(&[])?;
    let mut missing: std::collections::BTreeSet<usize> = (0..expected.len()).collect();
    let deadline = Instant::now() + rovercast_e2e::lab::PATIENCE;
    while !missing.is_empty() {
        let picture = watcher.next().await.with_context(|| robot.sender.output())?;
        let index: usize = picture.camera.as_str()[1..].parse()?;
        let (size, wanted) = &expected[index];
        ensure!(picture.size == *size, "{platform}: {picture:?}");
        let differ = differences(&picture.brightness, wanted);
        if differ <= NOISY {
            missing.remove(&index);
        }
        ensure!(
            Instant::now() < deadline,
            "{platform}: {missing:?} differ, the last in {differ} places:\n{:.0?}\n{wanted:.0?}\n{}",
            picture.brightness,
            robot.sender.output()
        );
    }
    watcher.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_lie_right_on_a_jetson() -> Outcome {
    lie_right("jetson", ARGUS, "bt601").await
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_lie_right_on_a_pi_4() -> Outcome {
    lie_right("pi4", LIBCAMERA, "bt709").await
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_lie_right_on_nvidia_gpus() -> Outcome {
    lie_right("nvidia", TEST, "bt601").await
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_lie_right_on_intel_and_amd_gpus() -> Outcome {
    lie_right("va", TEST, "bt601").await
}

/// A slate takes the way of the pictures into the encoder's memory, and the camera comes back.
async fn is_lost_and_comes_back(platform: &str, source: &str, encoder: &str) -> Outcome {
    let config = camera("c", source, (320, 240), "");
    let mut robot = Robot::start(platform, &[], &config)?;
    let mut watcher = robot.watch(&[])?;
    // The slate stands on dark ground or on the dimmed picture; the camera is all white.
    let bright = |picture: &Picture| picture.brightness[9] > 150.0;
    for round in 0..2 {
        watcher.until(bright).await.with_context(|| format!("round {round}"))?;
        let slate = watcher.until(|picture| !bright(picture)).await?;
        ensure!(slate.size == (320, 240) && slate.contrast > BLANK, "{slate:?}");
    }
    robot.sender.wait_for_text("camera lost")?;
    Control::new(&robot.socket).figures("c", |told| told["encoder"] == encoder).await?;
    watcher.stop().await
}

const WHITE: &str = "videotestsrc is-live=true pattern=white num-buffers=40 \
                     ! video/x-raw,width=320,height=240,framerate=30/1";

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_of_a_jetson_that_is_lost_comes_back() -> Outcome {
    let launch = format!(
        "{{ type = \"launch\", launch = \"{WHITE} ! nvvidconv \
         ! video/x-raw(memory:NVMM),format=NV12 ! nvvidconv ! video/x-raw,format=I420\" }}"
    );
    is_lost_and_comes_back("jetson", &launch, "nvv4l2h264enc").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_of_a_pi_that_is_lost_comes_back() -> Outcome {
    let launch = format!("{{ type = \"launch\", launch = \"{WHITE} ! v4l2convert\" }}");
    is_lost_and_comes_back("pi4", &launch, "v4l2h264enc").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_on_a_gpu_that_is_lost_comes_back() -> Outcome {
    let launch = format!("{{ type = \"launch\", launch = \"{WHITE}\" }}");
    is_lost_and_comes_back("va", &launch, "vah264enc").await
}

/// Processes of the sender that try an encoder.
fn trials(robot: &Robot) -> anyhow::Result<Vec<String>> {
    let parent = format!("PPid:\t{}\n", robot.sender.pid());
    let mut trials = Vec::new();
    for process in std::fs::read_dir("/proc")?.flatten() {
        let status = std::fs::read_to_string(process.path().join("status")).unwrap_or_default();
        if status.contains(&parent) {
            trials.push(status.lines().next().unwrap_or_default().to_owned());
        }
    }
    Ok(trials)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_that_hangs_costs_its_time_limit_once() -> Outcome {
    let config = camera("hangs", TEST, (320, 240), "")
        + &camera("too", TEST, (240, 160), "")
        + &camera("software", TEST, (320, 240), "encoder = \"openh264enc\"");
    let mut robot = Robot::start("nvidia", &[(rovercast_twins::HANG, "nvh264enc")], &config)?;
    let started = Instant::now();
    let mut watcher = robot.watch(&[])?;
    let mut missing: std::collections::BTreeSet<_> = ["hangs", "too", "software"].into();
    while !missing.is_empty() {
        let picture = watcher.next().await.with_context(|| robot.sender.output())?;
        missing.remove(picture.camera.as_str());
    }
    ensure!(started.elapsed() > Duration::from_secs(4), "{}", robot.sender.output());
    for camera in ["hangs", "too"] {
        Control::new(&robot.socket)
            .figures(camera, |told| told["encoder"] == "nvcudah264enc")
            .await?;
    }
    let step = "nvh264enc does not work here: it does not answer within 5s; trying nvcudah264enc";
    for camera in ["hangs", "too"] {
        let steps = robot.steps(camera);
        ensure!(steps.len() == 1 && steps[0].ends_with(step), "{steps:?}");
    }
    let left = trials(&robot)?;
    ensure!(left.is_empty(), "{left:?}");
    watcher.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_that_fails_is_passed_over() -> Outcome {
    let config = camera("c", TEST, (320, 240), "");
    let broken = "nvh264enc,nvcudah264enc";
    let mut robot = Robot::start("nvidia", &[(rovercast_twins::BROKEN, broken)], &config)?;
    let mut watcher = robot.watch(&[])?;
    watcher.next().await?;
    Control::new(&robot.socket).figures("c", |told| told["encoder"] == "nvautogpuh264enc").await?;
    let steps = robot.steps("c");
    let both =
        ["nvh264enc", "nvcudah264enc"].into_iter().zip(["nvcudah264enc", "nvautogpuh264enc"]);
    for ((encoder, next), line) in both.zip(&steps) {
        let step = format!("{encoder} does not work here: the encoder is broken");
        ensure!(line.contains(&step) && line.ends_with(&format!("trying {next}")), "{steps:?}");
    }
    ensure!(steps.len() == 2, "{steps:?}");
    watcher.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_nothing_can_encode_fails_alone() -> Outcome {
    let config = camera("bad", TEST, (320, 240), "encoder = \"nvh264enc\"")
        + &camera("good", TEST, (320, 240), "encoder = \"x264enc\"");
    let robot = Robot::start("nvidia", &[(rovercast_twins::BROKEN, "nvh264enc")], &config)?;
    let mut watcher = robot.watch(&["good"])?;
    let told = Control::new(&robot.socket).figures("bad", |told| told["state"] == "failed").await?;
    let reason = told["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains("nvh264enc: the encoder is broken"), "{reason}");
    ensure!(told.get("encoder").is_none(), "{told}");
    for _ in 0..30 {
        ensure!(watcher.next().await?.camera.as_str() == "good");
    }
    Control::new(&robot.socket).figures("good", |told| told["state"] == "live").await?;
    ensure!(robot.folder.path().join("rovercast/encoders.json").exists(), "nothing is remembered");
    watcher.stop().await
}
