//! Cameras that are changed while they run: by the robot's socket, by a viewer, by a new config.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use gst::prelude::*;
use rovercast_e2e::control::Control;
use rovercast_e2e::lab::{Folder, PATIENCE, Program, broker, gstreamer, robot};
use rovercast_e2e::watcher::{Picture, Watcher, look};
use rovercast_e2e::wire::RawPeer;
use rovercast_peer::start::now_us;
use rovercast_protocol::pixelclock::Reading;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

type Outcome = anyhow::Result<()>;

/// Pictures that differ less than this within themselves are taken for blank.
const BLANK: f64 = 3.0;

/// So many connections the robot's socket takes at once.
const CONNECTIONS: usize = 16;

/// A robot with a control socket, and its broker.
struct Robot {
    folder: Folder,
    _broker: Program,
    address: String,
    sender: Program,
    control: Control,
}

impl Robot {
    /// One whose config ends with these lines. Returns when its socket is there.
    fn start(name: &str, config: &str) -> anyhow::Result<Self> {
        gstreamer();
        let folder = Folder::new(name)?;
        let (_broker, address) = broker("127.0.0.1:0")?;
        let control = Control::new(&folder.path().join("socket"));
        let mut sender = robot(&folder, &text(&control, config), &address)?;
        sender.wait_for_text("registered")?;
        Ok(Self { folder, _broker, address, sender, control })
    }

    /// Gives it another config. Returns when it has taken it.
    fn reload(&mut self, config: &str) -> Outcome {
        self.folder.write("sender.toml", &text(&self.control, config))?;
        self.sender.hang_up()?;
        self.sender.wait_for_text("the config is reloaded")?;
        Ok(())
    }

    fn watch(&self, cameras: &[&str]) -> anyhow::Result<Watcher> {
        Watcher::start(&self.address, "r", cameras)
    }

    /// A receiver with these arguments beside the robot's.
    fn receiver(&self, arguments: &[&str]) -> anyhow::Result<Program> {
        let url = format!("ws://{}", self.address);
        let all = [["--url", &url, "--robot", "r"].as_slice(), arguments].concat();
        Program::start("rovercast-receiver", &all)
    }

    /// How often the robot has said this.
    fn said(&mut self, text: &str) -> usize {
        self.sender.output().lines().filter(|line| line.contains(text)).count()
    }
}

fn text(control: &Control, config: &str) -> String {
    let socket = control.path().display();
    format!("[robot]\nid = \"r\"\n[control]\nsocket = \"{socket}\"\n{config}")
}

/// A camera with this clock-bearing pattern, and more lines.
fn camera(id: &str, more: &str) -> String {
    format!(
        "[[camera]]\nid = \"{id}\"\nsource = {{ type = \"test\", pattern = \"smpte\" }}\n\
         width = 320\nheight = 240\n{more}\n"
    )
}

fn clock_us(picture: &Picture) -> Option<i64> {
    match picture.clock {
        Reading::Whole(micros) => i64::try_from(micros).ok(),
        Reading::Torn | Reading::Absent => None,
    }
}

fn is_slate(picture: &Picture) -> bool {
    picture.clock == Reading::Absent && picture.contrast > BLANK
}

/// Whether a receiver's report tells that this camera's signal is lost, in this state.
fn lost<'a>(camera: &'a str, state: &'a str, reason: &'a str) -> impl Fn(&str) -> Option<()> + 'a {
    move |line| {
        let report: Value = serde_json::from_str(line).ok()?;
        let told = report["type"] == "signalLost"
            && report["camera"] == camera
            && report["state"] == state
            && report["reason"].as_str()?.contains(reason);
        told.then_some(())
    }
}

fn restored(line: &str) -> Option<()> {
    let report: Value = serde_json::from_str(line).ok()?;
    (report["type"] == "signalRestored").then_some(())
}

/// Decodes a JPEG.
fn decode(jpeg: Vec<u8>) -> anyhow::Result<Picture> {
    let line =
        "appsrc name=in ! jpegdec ! videoconvert ! video/x-raw,format=I420 ! appsink name=out";
    let pipeline = gst::parse::launch(line)?.downcast::<gst::Pipeline>();
    let pipeline = pipeline.map_err(|_| anyhow::anyhow!("no pipeline"))?;
    let input = pipeline.by_name("in").and_then(|it| it.downcast::<gst_app::AppSrc>().ok());
    let output = pipeline.by_name("out").and_then(|it| it.downcast::<gst_app::AppSink>().ok());
    let (input, output) = input.zip(output).context("no ends")?;
    pipeline.set_state(gst::State::Playing)?;
    input.push_buffer(gst::Buffer::from_mut_slice(jpeg))?;
    input.end_of_stream()?;
    let sample = output.try_pull_sample(gst::ClockTime::from_seconds(PATIENCE.as_secs()));
    pipeline.set_state(gst::State::Null)?;
    look(&"front".parse()?, &sample.context("no JPEG")?).context("no picture")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_shows_what_the_camera_sees_at_that_moment() -> Outcome {
    let nothing = "[[camera]]\nid = \"gone\"\n\
                   source = { type = \"v4l2\", device = \"/dev/video-none\" }\n";
    let mut robot = Robot::start("snapshot", &(camera("front", "") + nothing))?;
    let control = robot.control.clone();
    control.wait_for("front", "live", |camera| camera["state"] == "live").await?;
    // Nobody watches; the second finds an encoder that paused.
    for _ in 0..2 {
        let asked_us = now_us();
        let answer = control.ask("GET /cameras/front/snapshot.jpg", "").await?;
        ensure!(answer.status == 200 && answer.head.contains("content-type: image/jpeg"));
        let picture = decode(answer.body)?;
        ensure!(picture.size == (320, 240) && picture.contrast > BLANK, "{picture:?}");
        let clock = clock_us(&picture).with_context(|| format!("not whole: {picture:?}"))?;
        ensure!(clock > asked_us, "a picture of before it was asked for");
    }
    // A slate is no picture of what a camera sees.
    control.wait_for("gone", "lost", |camera| camera["state"] == "lost").await?;
    control.change("front", r#"{"enabled":false}"#).await?;
    control.wait_for("front", "off", |camera| camera["state"] == "off").await?;
    for (camera, reason) in [("front", "is off"), ("gone", "is lost: ")] {
        let answer = control.ask(&format!("GET /cameras/{camera}/snapshot.jpg"), "").await?;
        let error = answer.json()?["error"].to_string();
        ensure!(answer.status == 409 && error.contains(reason), "{answer:?}");
    }
    control.change("front", r#"{"enabled":true}"#).await?;
    control.wait_for("front", "live", |camera| camera["state"] == "live").await?;

    // A flood: each is answered, by a picture or by a refusal.
    let asked: Vec<_> = (0..40)
        .map(|_| {
            let control = control.clone();
            tokio::spawn(async move { control.ask("GET /cameras/front/snapshot.jpg", "").await })
        })
        .collect();
    let mut taken = 0;
    for answer in asked {
        let answer = answer.await??;
        ensure!([200, 409].contains(&answer.status), "{answer:?}");
        taken += usize::from(answer.status == 200);
    }
    ensure!(taken > 0, "none of a flood is served");

    // A viewer may only where the config says so.
    let file = robot.folder.path().join("viewer.jpg");
    let arguments = ["--camera", "front", "--snapshot", &file.display().to_string()];
    let mut receiver = robot.receiver(&arguments)?;
    receiver.wait_for_text("sessions.control_cameras")?;
    ensure!(!receiver.wait()?.success() && !file.exists());
    let allowed = format!("[sessions]\ncontrol_cameras = true\n{}{nothing}", camera("front", ""));
    robot.reload(&allowed)?;
    let mut receiver = robot.receiver(&arguments)?;
    ensure!(receiver.wait()?.success(), "{}", receiver.output());
    let picture = decode(std::fs::read(&file)?)?;
    ensure!(picture.size == (320, 240) && clock_us(&picture).is_some(), "{picture:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_are_told_what_is_wrong() -> Outcome {
    let robot = Robot::start("wrong", &camera("front", ""))?;
    let control = &robot.control;
    let mode = std::fs::metadata(control.path())?.permissions().mode();
    ensure!(mode & 0o777 == 0o600, "{mode:o}");
    let long = "x".repeat(5000);
    for (what, body, status, text) in [
        ("PATCH /cameras/rear", r#"{"fps":5}"#, 404, "no camera rear"),
        ("POST /cameras/rear/key-frame", "", 404, "no camera rear"),
        ("GET /cameras/rear/snapshot.jpg", "", 404, "no camera rear"),
        ("POST /cameras/.%20/key-frame", "", 404, "such an id"),
        ("PATCH /cameras/front", "{fps", 400, "line 1"),
        ("PATCH /cameras/front", "", 400, "EOF"),
        ("PATCH /cameras/front", "{}", 400, "nothing to change"),
        ("PATCH /cameras/front", r#"{"fps":0}"#, 400, "1 to 240"),
        ("PATCH /cameras/front", r#"{"bitrateKbps":-1}"#, 400, "-1"),
        ("PATCH /cameras/front", r#"{"speed":1}"#, 400, "expected one of `bitrateKbps`"),
        ("PATCH /cameras/front", &long, 413, "length limit"),
        ("DELETE /cameras/front", "", 405, "see Allow"),
        ("GET /cameras/front/key-frame", "", 405, "see Allow"),
        ("GET /", "", 404, "PATCH /cameras/ID"),
    ] {
        let answer = control.ask(what, body).await?;
        let error = answer.json()?["error"].as_str().unwrap_or_default().to_owned();
        let right = answer.status == status && error.contains(text);
        ensure!(right, "{what}: {} {error}", answer.status);
    }
    let answer = control.ask("GET /cameras/front", "").await?;
    ensure!(answer.head.contains("allow: patch"), "{answer:?}");
    let answer = control.ask("POST /cameras/front/key-frame", "").await?;
    ensure!(answer.status == 204 && answer.body.is_empty(), "{answer:?}");
    let telemetry = control.telemetry().await?;
    ensure!(telemetry["type"] == "telemetry" && telemetry["cameras"][0]["id"] == "front");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sender_has_the_socket_and_nobody_can_block_it() -> Outcome {
    let mut robot = Robot::start("socket", &camera("front", ""))?;
    let url = format!("ws://{}", robot.address);
    let config = robot.folder.path().join("sender.toml").display().to_string();
    let mut other = Program::start("rovercast-sender", &["--config", &config, "--url", &url])?;
    other.wait_for_text("another sender uses it")?;
    ensure!(!other.wait()?.success());

    // Programs that say nothing, or stop in the middle, hold up one another at most.
    let mut stalled = Vec::new();
    for n in 0..CONNECTIONS {
        let mut stream = UnixStream::connect(robot.control.path()).await?;
        if n % 2 == 0 {
            stream
                .write_all(b"PATCH /cameras/front HTTP/1.1\r\nContent-Length: 9\r\n\r\n{")
                .await?;
        }
        stalled.push(stream);
    }
    ensure!(robot.control.ask("GET /telemetry", "").await?.status == 200);
    for mut stream in stalled {
        timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.context("not cut off")??;
    }

    ensure!(robot.sender.interrupt()?.success(), "{}", robot.sender.output());
    ensure!(!robot.control.path().exists(), "it leaves its socket behind");
    // A sender that is killed leaves it behind; the next takes its place.
    for _ in 0..2 {
        let mut sender = Program::start("rovercast-sender", &["--config", &config, "--url", &url])?;
        sender.wait_for_text("registered")?;
        ensure!(robot.control.ask("GET /telemetry", "").await?.status == 200);
        sender.kill()?;
        ensure!(robot.control.path().exists());
    }
    std::fs::remove_file(robot.control.path())?;
    std::fs::write(robot.control.path(), "precious")?;
    let mut sender = Program::start("rovercast-sender", &["--config", &config, "--url", &url])?;
    sender.wait_for_text("there is a file of this name")?;
    ensure!(!sender.wait()?.success());
    ensure!(std::fs::read_to_string(robot.control.path())? == "precious");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_and_power_follow_within_the_same_session() -> Outcome {
    let snow = camera("front", "bitrate_kbps = 2000").replace("smpte", "snow");
    let mut robot = Robot::start("rates", &snow)?;
    let control = robot.control.clone();
    let mut receiver = robot.receiver(&["--sink", "null", "--stats", "json"])?;
    let mut watcher = robot.watch(&[])?;
    watcher.next().await?;
    let kbps = |figures: &Value| figures["bitrateKbps"].as_u64().unwrap_or(0);
    let fps = |figures: &Value| figures["fps"].as_f64().unwrap_or(0.0);
    control.wait_for("front", "at full rate", |it| kbps(it) > 1000 && fps(it) > 15.0).await?;
    control.change("front", r#"{"bitrateKbps":300}"#).await?;
    control.wait_for("front", "at the new bitrate", |it| (1..600).contains(&kbps(it))).await?;
    // Bytes of a picture, then fewer of them.
    control.change("front", r#"{"fps":5,"bitrateKbps":2000}"#).await?;
    control.wait_for("front", "slow", |it| (0.5..7.0).contains(&fps(it))).await?;
    watcher.skip_waiting();
    let first = watcher.next().await?;
    for _ in 0..5 {
        watcher.next().await?;
    }
    let spent_us = watcher.next().await?.at_us - first.at_us;
    ensure!(spent_us > 900_000, "six pictures at 5 per second within {spent_us} us");
    // More than the config has the camera give there is not.
    control.change("front", r#"{"fps":240}"#).await?;
    control.wait_for("front", "fast again", |it| (15.0..45.0).contains(&fps(it))).await?;

    control.change("front", r#"{"enabled":false}"#).await?;
    receiver.wait_for("signal lost", lost("front", "off", ""))?;
    watcher.until(is_slate).await?;
    control.change("front", r#"{"enabled":true}"#).await?;
    receiver.wait_for("signal restored", restored)?;
    watcher.until(|picture| clock_us(picture).is_some()).await?;
    ensure!(robot.said("session starts") == 2, "{}", robot.sender.output());
    watcher.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_watched_is_encoded() -> Outcome {
    let cameras = camera("front", "") + &camera("always", "on_demand = false");
    let robot = Robot::start("demand", &cameras)?;
    let encoded = |figures: &Value| figures["fps"].as_f64() > Some(0.0);
    let idle = |figures: &Value| figures["fps"] == 0.0 && figures["bitrateKbps"] == 0;
    let control = &robot.control;
    control.wait_for("always", "encoded", encoded).await?;
    control.wait_for("front", "live and idle", |it| it["state"] == "live" && idle(it)).await?;
    for _ in 0..2 {
        let mut watcher = robot.watch(&["front"])?;
        let first = watcher.next().await?;
        let clock = clock_us(&first).with_context(|| format!("not whole: {first:?}"))?;
        let age_us = first.at_us - clock;
        ensure!(age_us < 1_000_000, "the first picture is {age_us} us old");
        control.wait_for("front", "encoded", encoded).await?;
        watcher.stop().await?;
        control.wait_for("front", "idle", idle).await?;
    }
    control.wait_for("always", "encoded", encoded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_config_restarts_only_what_it_changes() -> Outcome {
    let cameras = |left: &str| camera("front", "") + left + &camera("right", "");
    let left = camera("left", "");
    let mut robot = Robot::start("reload", &cameras(&left))?;
    let mut watcher = robot.watch(&[])?;
    let mut clocks = BTreeMap::<String, Vec<i64>>::new();
    while clocks.len() < 3 || clocks.values().any(|clocks| clocks.len() < 10) {
        let picture = watcher.next().await?;
        let clock = clock_us(&picture).with_context(|| format!("not whole: {picture:?}"))?;
        clocks.entry(picture.camera.to_string()).or_default().push(clock);
    }
    robot.control.change("front", r#"{"fps":20}"#).await?;
    let larger = left.replace("320", "480").replace("240", "360");
    robot.reload(&cameras(&larger))?;
    let mut anew = Vec::new();
    let again = watcher.until(|picture| {
        let Some(clock) = clock_us(picture) else {
            // A slate, at most.
            return picture.camera.as_str() != "left";
        };
        if picture.size == (480, 360) {
            anew.push(clock);
        }
        clocks.entry(picture.camera.to_string()).or_default().push(clock);
        anew.len() == 10
    });
    let again = again.await?;
    clock_us(&again).with_context(|| format!("not whole: {again:?}"))?;
    let anew = anew[0];
    let last = clocks["left"].iter().filter(|clock| **clock < anew).max();
    let last = *last.context("left never came before")?;
    for other in ["front", "right"] {
        let clocks = &clocks[other];
        ensure!(clocks.is_sorted_by(|a, b| a < b), "{other}: {clocks:?}");
        let meanwhile = clocks.iter().filter(|clock| (last..anew).contains(*clock)).count();
        let away_us = anew - last;
        eprintln!("left away for {away_us} us; {other} had {meanwhile} pictures meanwhile");
        ensure!(meanwhile > 0 || away_us < 150_000, "{other} paused for {away_us} us");
    }
    ensure!(robot.said("camera live") == 4, "{}", robot.sender.output());
    ensure!(robot.said("the camera gets its new config") == 1);
    ensure!(robot.said("session starts") == 1, "{}", robot.sender.output());
    watcher.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_come_and_go_with_the_config() -> Outcome {
    let mut robot = Robot::start("cameras", &(camera("front", "") + &camera("left", "")))?;
    let mut receiver = robot.receiver(&["--sink", "null", "--stats", "json"])?;
    receiver.wait_for_text("connected to r")?;
    let mut watcher = robot.watch(&[])?;
    watcher.until(|picture| picture.camera.as_str() == "left").await?;
    let mut listener = RawPeer::connect(&robot.address).await?;
    listener.say(json!({"type": "setPeerStatus", "roles": ["listener"]})).await?;

    // One goes, another comes: sessions go on, and their viewers are told.
    robot.reload(&(camera("front", "") + &camera("right", "")))?;
    let ids = |status: &Value| -> Vec<String> {
        let cameras = status["meta"]["cameras"].as_array().into_iter().flatten();
        cameras.filter_map(|camera| camera["id"].as_str().map(str::to_owned)).collect()
    };
    while ids(&listener.hear("peerStatusChanged").await?) != ["front", "right"] {}
    receiver.wait_for("left gone", lost("left", "off", "removed"))?;
    watcher.until(|picture| picture.camera.as_str() == "left" && is_slate(picture)).await?;
    let front =
        |picture: &Picture| picture.camera.as_str() == "front" && clock_us(picture).is_some();
    watcher.skip_waiting();
    watcher.until(front).await?;
    let mut newer = robot.watch(&["right"])?;
    newer.until(|picture| clock_us(picture).is_some()).await?;
    newer.stop().await?;

    // It comes back where it was.
    robot.reload(&(camera("front", "") + &camera("left", "")))?;
    receiver.wait_for("left back", restored)?;
    watcher
        .until(|picture| picture.camera.as_str() == "left" && clock_us(picture).is_some())
        .await?;
    ensure!(robot.said("session starts") == 3, "{}", robot.sender.output());

    // The codec was agreed upon when the session began: its viewers ask for another.
    robot.reload(&(camera("front", "codec = \"vp8\"") + &camera("left", "")))?;
    receiver.wait_for("the end of its session", |line| {
        line.contains("the robot has ended the session").then_some(())
    })?;
    watcher.skip_waiting();
    robot
        .control
        .wait_for("front", "encoded as VP8", |camera| camera["encoder"] == "vp8enc")
        .await?;
    let vp8 = |camera: &Value| camera["fps"].as_f64() > Some(0.0);
    robot.control.wait_for("front", "watched", vp8).await?;
    watcher.skip_waiting();
    watcher.until(front).await?;
    // Nobody has the one before any more.
    robot.sender.wait_for_text("the camera is no more")?;
    watcher.stop().await
}

/// Opening a pipe that nobody writes to takes for ever: a device that hangs.
fn hanging(folder: &Path) -> anyhow::Result<String> {
    let pipe = folder.join("pipe").display().to_string();
    ensure!(std::process::Command::new("mkfifo").arg(&pipe).status()?.success(), "no mkfifo");
    Ok(format!(
        "[[camera]]\nid = \"hangs\"\nsource = {{ type = \"launch\", \
         launch = \"filesrc location={pipe} ! rawvideoparse\" }}\n"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_device_and_no_config_can_stop_the_robot() -> Outcome {
    let mut robot = Robot::start("hangs", &camera("front", ""))?;
    let control = robot.control.clone();
    let hanging = hanging(robot.folder.path())?;
    robot.reload(&(camera("front", "") + &hanging))?;
    control.wait_for("hangs", "starting", |camera| camera["state"] == "starting").await?;
    let mut watcher = robot.watch(&["front"])?;
    watcher.next().await?;
    let goes_on = async |watcher: &mut Watcher| -> Outcome {
        watcher.skip_waiting();
        watcher.until(|picture| clock_us(picture).is_some()).await?;
        let before = control.telemetry().await?["seq"].as_u64();
        control.wait_for("front", "live", |camera| camera["state"] == "live").await?;
        while control.telemetry().await?["seq"].as_u64() <= before {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    };
    // Changed while it is being opened, changed again at once, and taken away.
    robot.reload(&(camera("front", "") + &hanging + "fps = 5\n"))?;
    goes_on(&mut watcher).await?;
    robot.folder.write("sender.toml", &text(&control, &(camera("front", "") + &hanging)))?;
    robot.sender.hang_up()?;
    robot.reload(&camera("front", ""))?;
    goes_on(&mut watcher).await?;
    ensure!(control.telemetry().await?["cameras"].as_array().map(Vec::len) == Some(1));

    // A wrong config changes nothing, and is told by line and remedy.
    let wrong = text(&control, &camera("front", "fsp = 10"));
    let line = wrong.lines().position(|line| line == "fsp = 10").context("no line")? + 1;
    robot.folder.write("sender.toml", &wrong)?;
    robot.sender.hang_up()?;
    robot.sender.wait_for_text("the config stays as it was")?;
    let told = robot.sender.wait_for_text(&format!("sender.toml:{line}: "))?;
    ensure!(told.contains("fsp") && told.contains("`fps`"), "{told}");
    goes_on(&mut watcher).await?;

    // Where the socket is, the robot's name and its broker are for the start alone.
    let moved = text(&Control::new(&robot.folder.path().join("elsewhere")), &camera("front", ""));
    robot.folder.write("sender.toml", &moved.replace("\"r\"", "\"other\""))?;
    robot.sender.hang_up()?;
    robot.sender.wait_for_text("robot.id stays as it is")?;
    robot.sender.wait_for_text("control.socket stays as it is")?;
    goes_on(&mut watcher).await?;
    ensure!(robot.said("signaling stays") == 0, "it was given on the command line");
    ensure!(robot.said("camera live") == 1, "{}", robot.sender.output());
    ensure!(robot.said("session starts") == 1, "{}", robot.sender.output());
    watcher.stop().await?;
    ensure!(robot.sender.interrupt()?.success(), "{}", robot.sender.output());
    Ok(())
}
