//! Cameras that come over a network as encoded streams, from real senders and servers to viewers
//! and a browser.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, ensure};
use rovercast_e2e::browser::{Browser, LOOK_EVERY};
use rovercast_e2e::control::{Answer, Control};
use rovercast_e2e::figures::encoder_threads;
use rovercast_e2e::lab::{Folder, PATIENCE, Program, broker, gstreamer};
use rovercast_e2e::watcher::{Picture, Watcher};
use rovercast_feeders::rtsp::{Server, x264};
use rovercast_feeders::{Feeder, Video, ffmpeg, free_address, signal};
use serde_json::Value;

type Outcome = anyhow::Result<()>;

/// What the streams bring.
const STREAM: (u32, u32) = (320, 240);
/// What the config asks for: slates have it, and what is encoded here.
const CONFIG: (u32, u32) = (192, 144);

const KEY: &str = "squirrel-key";
const WRONG_KEY: &str = "badger-key";
const PASSPHRASE: &str = "squirrel-passphrase";
const WRONG_PASSPHRASE: &str = "badger-passphrase";

/// A robot with these cameras, of id and source, and its broker.
struct Robot {
    sender: Program,
    control: Control,
    address: String,
    _broker: Program,
    _folder: Folder,
}

impl Robot {
    fn start(name: &str, cameras: &[(&str, String)]) -> anyhow::Result<Self> {
        gstreamer();
        let folder = Folder::new(&format!("network-{name}"))?;
        let (broker, address) = broker("127.0.0.1:0")?;
        let socket = folder.path().join("socket");
        let mut config =
            format!("[robot]\nid = \"r\"\n[control]\nsocket = '{}'\n", socket.display());
        let (width, height) = CONFIG;
        for (id, source) in cameras {
            config.push_str(&format!(
                "[[camera]]\nid = \"{id}\"\nwidth = {width}\nheight = {height}\nsource = {source}\n"
            ));
        }
        let config = folder.write("sender.toml", &config)?;
        let url = format!("ws://{address}");
        let arguments = ["--config", &config, "--url", &url, "--log-level", "debug"];
        let sender = Program::start("rovercast-sender", &arguments)?;
        Ok(Self {
            sender,
            control: Control::new(&socket),
            address,
            _broker: broker,
            _folder: folder,
        })
    }
}

fn srt(listen: SocketAddr, passphrase: Option<&str>) -> String {
    let passphrase = passphrase.map(|text| format!(", passphrase = \"{text}\""));
    format!("{{ type = \"srt\", listen = \"{listen}\"{} }}", passphrase.unwrap_or_default())
}

fn rtmp(listen: SocketAddr) -> String {
    format!("{{ type = \"rtmp\", listen = \"{listen}\", key = \"{KEY}\" }}")
}

fn rtsp(url: &str) -> String {
    format!("{{ type = \"rtsp\", url = \"{url}\", transport = \"tcp\" }}")
}

fn to_srt(video: Video, to: SocketAddr, options: &str) -> anyhow::Result<Feeder> {
    Feeder::ffmpeg(video, &["-f", "mpegts", &format!("srt://{to}?mode=caller{options}")])
}

fn to_rtmp(video: Video, to: SocketAddr, key: &str) -> anyhow::Result<Feeder> {
    Feeder::ffmpeg(video, &["-f", "flv", &format!("rtmp://{to}/live/{key}")])
}

fn is(picture: &Picture, camera: &str, size: (u32, u32)) -> bool {
    picture.camera.as_str() == camera && picture.size == size
}

/// A picture of this camera that has this size, and shows something.
async fn picture(watcher: &mut Watcher, camera: &str, size: (u32, u32)) -> anyhow::Result<Picture> {
    watcher
        .until(|picture| is(picture, camera, size) && picture.contrast > 5.0)
        .await
        .with_context(|| format!("of {camera}"))
}

/// Waits until the robot encodes nothing, and pictures are passed on all the same.
async fn no_encoder(robot: &Robot) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    while encoder_threads(robot.sender.pid())? > 0 {
        ensure!(Instant::now() < deadline, "there are encoders");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn change_bitrate(control: &Control, camera: &str) -> anyhow::Result<Answer> {
    control.ask(&format!("PATCH /cameras/{camera}"), r#"{"bitrateKbps":500}"#).await
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_reach_viewers_and_browsers_as_they_come() -> Outcome {
    let server = Server::start(&x264(0))?;
    let (srt_at, rtmp_at) = (free_address()?, free_address()?);
    let cameras =
        [("srt", srt(srt_at, None)), ("rtmp", rtmp(rtmp_at)), ("rtsp", rtsp(server.url()))];
    let robot = Robot::start("through", &cameras)?;
    let mut watcher = Watcher::start(&robot.address, "r", &[])?;
    for id in ["srt", "rtmp"] {
        // It listens.
        picture(&mut watcher, id, CONFIG).await?;
    }
    let to_srt = format!("mpegtsmux alignment=7 ! srtsink uri=srt://{srt_at}");
    let _srt = Feeder::gst_launch(STREAM.0, &to_srt)?;
    let _rtmp = to_rtmp(Video::of_width(STREAM.0), rtmp_at, KEY)?;
    for (id, _) in &cameras {
        picture(&mut watcher, id, STREAM).await?;
        let own = |figures: &Value| figures["state"] == "live" && figures["encoder"].is_null();
        robot.control.figures(id, own).await?;
    }
    no_encoder(&robot).await?;
    watcher.skip_waiting();
    for _ in 0..60 {
        let picture = watcher.next().await?;
        ensure!(picture.size == STREAM && picture.contrast > 5.0, "{picture:?}");
    }
    // What nobody here encodes nobody here can change.
    let answer = change_bitrate(&robot.control, "srt").await?;
    let refusal = answer.json()?.to_string();
    ensure!(answer.status == 409 && refusal.contains("at its source"), "{refusal}");

    let browser = Browser::start("network").await?;
    browser.open(&format!("http://{}/", robot.address)).await?;
    let before = browser.until("three live cameras", |page| page.all(3, "live")).await?;
    browser.until("moving pictures", |page| page.advanced(&before, 20)).await?;
    for (id, _) in &cameras {
        let shown = browser.picture(id).await?;
        ensure!((shown.width as u32, shown.height as u32) == STREAM, "{id}: {}", shown.width);
        let (_, contrast) = shown.mean_and_contrast();
        ensure!(contrast > 5.0, "{id} is blank");
    }
    ensure!(encoder_threads(robot.sender.pid())? == 0, "a browser costs an encoder");
    watcher.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_viewers_cannot_show_is_encoded_as_configured() -> Outcome {
    let (srt_at, http_at) = (free_address()?, free_address()?);
    let url = format!("http://{http_at}/");
    let http = format!("{{ type = \"http\", url = \"{url}\" }}");
    let cameras = [("reordered", srt(srt_at, None)), ("jpeg", http)];
    let robot = Robot::start("encoded", &cameras)?;
    let mut watcher = Watcher::start(&robot.address, "r", &[])?;
    picture(&mut watcher, "reordered", CONFIG).await?;
    let mut jpeg = ffmpeg();
    jpeg.args(["-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=30", "-c:v", "mjpeg"])
        .args(["-f", "mpjpeg", "-listen", "1", &url]);
    let _jpeg = Feeder::spawn(jpeg)?;
    let video = Video { b_frames: 2, ..Video::of_width(STREAM.0) };
    let _reordered = to_srt(video, srt_at, "")?;
    for (id, _) in &cameras {
        let encoded =
            |figures: &Value| figures["state"] == "live" && figures["encoder"].is_string();
        robot.control.figures(id, encoded).await?;
    }
    ensure!(encoder_threads(robot.sender.pid())? > 0, "no encoder found");
    watcher.skip_waiting();
    let mut seen = [0, 0];
    while seen.iter().any(|&seen| seen < 30) {
        let picture = watcher.next().await?;
        ensure!(picture.size == CONFIG && picture.contrast > 5.0, "{picture:?}");
        seen[usize::from(picture.camera.as_str() == "jpeg")] += 1;
    }
    let answer = change_bitrate(&robot.control, "reordered").await?;
    ensure!(answer.status == 204, "{answer:?}");
    watcher.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_senders_are_told_of_and_come_back_and_secrets_stay_secret() -> Outcome {
    let (srt_at, rtmp_at) = (free_address()?, free_address()?);
    let cameras = [("srt", srt(srt_at, Some(PASSPHRASE))), ("rtmp", rtmp(rtmp_at))];
    let mut robot = Robot::start("loss", &cameras)?;
    let mut watcher = Watcher::start(&robot.address, "r", &[])?;
    let url = format!("ws://{}", robot.address);
    let arguments = ["--url", &url, "--robot", "r", "--sink", "null", "--stats", "json"];
    let mut receiver = Program::start("rovercast-receiver", &arguments)?;
    for (id, _) in &cameras {
        picture(&mut watcher, id, CONFIG).await?;
    }

    let video = Video::of_width(STREAM.0);
    ensure!(!to_rtmp(video, rtmp_at, WRONG_KEY)?.wait()?, "a wrong key was taken");
    robot.sender.wait_for_text("its stream key is wrong")?;
    let options = |passphrase| format!("&passphrase={passphrase}");
    let wrong = to_srt(video, srt_at, &options(WRONG_PASSPHRASE))?;
    ensure!(!wrong.wait()?, "a wrong passphrase was taken");
    robot.sender.wait_for_text("its passphrase is wrong")?;
    for _ in 0..10 {
        let slate = watcher.next().await?;
        ensure!(slate.size == CONFIG, "{slate:?}");
    }

    let start = || -> anyhow::Result<[Feeder; 2]> {
        Ok([to_srt(video, srt_at, &options(PASSPHRASE))?, to_rtmp(video, rtmp_at, KEY)?])
    };
    let killed = start()?;
    for (id, _) in &cameras {
        picture(&mut watcher, id, STREAM).await?;
    }
    // As `kill -9`.
    drop(killed);
    let mut missing = vec!["srt", "rtmp"];
    watcher
        .until(|picture| {
            missing.retain(|id| !is(picture, id, CONFIG));
            missing.is_empty()
        })
        .await?;
    for (id, _) in &cameras {
        // Whoever calls before that is dropped with the dead one, and calls again.
        let waits = |figures: &Value| {
            figures["state"] == "lost" && figures["reason"] == "waiting for somebody to send"
        };
        robot.control.figures(id, waits).await?;
    }
    let _back = start()?;
    watcher.skip_waiting();
    for (id, _) in &cameras {
        picture(&mut watcher, id, STREAM).await?;
    }
    let mut restored = vec!["srt", "rtmp"];
    while !restored.is_empty() {
        let back = receiver.wait_for("a signal that is restored", |line| {
            let report: Value = serde_json::from_str(line).ok()?;
            let told = report["type"] == "signalRestored";
            told.then(|| report["camera"].as_str().map(str::to_owned))?
        })?;
        restored.retain(|id| *id != back);
    }
    let reports = receiver.output();
    for id in ["srt", "rtmp"] {
        let lost = reports.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).any(
            |report| {
                report["type"] == "signalLost"
                    && report["camera"] == id
                    && report["reason"].is_string()
            },
        );
        ensure!(lost, "nothing is told of {id}:\n{reports}");
    }

    let command_line = std::fs::read(format!("/proc/{}/cmdline", robot.sender.pid()))?;
    let command_line = String::from_utf8_lossy(&command_line).into_owned();
    let log = robot.sender.output();
    ensure!(log.contains("DEBUG"), "nothing was logged that could tell");
    for secret in [KEY, WRONG_KEY, PASSPHRASE, WRONG_PASSPHRASE] {
        ensure!(!log.contains(secret) && !command_line.contains(secret), "{secret} in\n{log}");
    }
    ensure!(log.matches("session connected").count() == 2, "sessions were renewed:\n{log}");
    ensure!(!log.contains("session ended"), "{log}");
    watcher.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_between_rare_key_frames_gets_a_picture() -> Outcome {
    let at = free_address()?;
    let mut robot = Robot::start("rare", &[("rare", rtmp(at))])?;
    let mut first = Watcher::start(&robot.address, "r", &[])?;
    picture(&mut first, "rare", CONFIG).await?;
    // After its first key frame there is none any more.
    let video = Video { key_frame_every: 1_000_000, ..Video::of_width(STREAM.0) };
    let _feeder = to_rtmp(video, at, KEY)?;
    picture(&mut first, "rare", STREAM).await?;
    robot.sender.wait_for_text("its key frames are more than 4 s apart")?;
    picture(&mut first, "rare", CONFIG).await?;
    let mut second = Watcher::start(&robot.address, "r", &[])?;
    picture(&mut second, "rare", CONFIG).await?;
    robot.control.figures("rare", |figures| figures["encoder"].is_string()).await?;
    let log = robot.sender.output();
    ensure!(!log.contains("camera stalled"), "{log}");
    first.stop().await?;
    second.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rtsp_server_that_falls_silent_is_left_and_taken_again() -> Outcome {
    let mut server = Program::start("rovercast-rtsp", &[])?;
    let url =
        server.wait_for("address", |line| line.starts_with("rtsp").then(|| line.to_owned()))?;
    let mut robot = Robot::start("silent", &[("rtsp", rtsp(&url))])?;
    let mut watcher = Watcher::start(&robot.address, "r", &[])?;
    picture(&mut watcher, "rtsp", STREAM).await?;
    signal(server.pid(), "STOP")?;
    robot.sender.wait_for_text("camera stalled: no picture")?;
    robot.sender.wait_for_text("camera lost: no picture")?;
    picture(&mut watcher, "rtsp", CONFIG).await?;
    signal(server.pid(), "CONT")?;
    robot.sender.wait_for_text("camera live")?;
    watcher.skip_waiting();
    picture(&mut watcher, "rtsp", STREAM).await?;

    // It hinders the end no more than that, not even while it is opened again.
    signal(server.pid(), "STOP")?;
    robot.sender.wait_for_text("camera lost: no picture")?;
    robot.sender.wait_for_text("rtspsrc name=")?;
    watcher.stop().await?;
    ensure!(robot.sender.interrupt()?.success(), "{}", robot.sender.output());
    Ok(())
}
