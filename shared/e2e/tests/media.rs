//! From cameras to pictures, through the real programs.

use anyhow::{Context, ensure};
use gst::prelude::*;
use rovercast_e2e::figures::encoder_threads;
use rovercast_e2e::lab::{Folder, broker, footage, gstreamer, robot, robot_config};
use rovercast_e2e::watcher::{Picture, Watcher};
use rovercast_protocol::pixelclock::Reading;

type Outcome = anyhow::Result<()>;

/// Pictures that differ less than this within themselves are taken for blank.
const BLANK: f64 = 3.0;

fn clock_us(picture: &Picture) -> Option<u64> {
    match picture.clock {
        Reading::Whole(micros) => Some(micros),
        Reading::Torn | Reading::Absent => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_camera_shows_whole_pictures_from_the_first_on() -> Outcome {
    gstreamer();
    let folder = Folder::new("three")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let cameras = [("front", 640, 480, 30), ("left", 320, 240, 15), ("right", 1280, 720, 30)];
    let mut sender = robot(&folder, &robot_config("r", &cameras), &address)?;
    for _ in cameras {
        sender.wait_for_text("camera live")?;
    }
    let mut watcher = Watcher::start(&address, "r", &[])?;
    let mut clocks: [Vec<u64>; 3] = Default::default();
    while clocks.iter().any(|clocks| clocks.len() < 30) {
        let picture = watcher.next().await?;
        let index = cameras.iter().position(|camera| camera.0 == picture.camera.as_str());
        let index = index.context("a camera that the robot does not have")?;
        let (_, width, height, _) = cameras[index];
        ensure!(picture.size == (width, height), "{picture:?}");
        ensure!(picture.contrast > BLANK, "blank: {picture:?}");
        clocks[index].push(clock_us(&picture).with_context(|| format!("not whole: {picture:?}"))?);
    }
    for clocks in clocks {
        ensure!(clocks.is_sorted_by(|a, b| a < b), "the clock does not advance: {clocks:?}");
    }
    watcher.stop().await
}

/// Levels above 3.1, which is what the offer names, and pictures of odd shapes.
#[tokio::test(flavor = "multi_thread")]
async fn large_fast_and_flat_pictures_come_through() -> Outcome {
    gstreamer();
    let folder = Folder::new("large")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let cameras = [
        ("large", 1920, 1080, 10),
        ("fast", 320, 240, 120),
        ("flat", 2560, 160, 10),
        ("tiny", 16, 16, 10),
    ];
    let config = robot_config("r", &cameras)
        + "[[camera]]\nid = \"other\"\nencoder = \"openh264enc\"\nwidth = 1920\nheight = 1080\nfps = 10\n\
           source = { type = \"launch\", launch = \"videotestsrc is-live=true name=other\" }\n";
    let _sender = robot(&folder, &config, &address)?;
    let mut watcher = Watcher::start(&address, "r", &[])?;
    let mut missing: std::collections::BTreeSet<_> =
        ["large", "fast", "flat", "tiny", "other"].into_iter().collect();
    while !missing.is_empty() {
        let picture = watcher.next().await.with_context(|| format!("without {missing:?}"))?;
        missing.remove(picture.camera.as_str());
    }
    watcher.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_gets_the_cameras_that_it_asked_for() -> Outcome {
    gstreamer();
    let folder = Folder::new("some")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let cameras = [("a", 320, 240, 30), ("b", 320, 240, 30), ("c", 320, 240, 30)];
    let _sender = robot(&folder, &robot_config("r", &cameras), &address)?;
    let mut watcher = Watcher::start(&address, "r", &["c", "a"])?;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..90 {
        seen.insert(watcher.next().await?.camera.to_string());
    }
    ensure!(seen.iter().eq(["a", "c"]), "{seen:?}");
    watcher.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn four_viewers_share_one_encoder_and_miss_no_frame() -> Outcome {
    gstreamer();
    let folder = Folder::new("four")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let mut sender = robot(&folder, &robot_config("r", &[("c", 320, 240, 30)]), &address)?;
    sender.wait_for_text("camera live")?;
    // It encodes only while somebody watches.
    let mut first = Watcher::start(&address, "r", &[])?;
    first.next().await?;
    let before = encoder_threads(sender.pid())?;
    ensure!(before > 0, "no encoder found");
    let mut watchers = vec![first];
    for _ in 1..4 {
        watchers.push(Watcher::start(&address, "r", &[])?);
    }
    let mut latest_first = 0;
    for watcher in &mut watchers {
        let first = watcher.until(|picture| clock_us(picture).is_some()).await?;
        latest_first = latest_first.max(clock_us(&first).unwrap_or(0));
    }
    ensure!(encoder_threads(sender.pid())? == before, "viewers cost encoders");
    let mut seen = Vec::new();
    for watcher in &mut watchers {
        let mut clocks = Vec::new();
        while clocks.len() < 60 {
            let picture = watcher.next().await?;
            clocks.extend(clock_us(&picture).filter(|&clock| clock > latest_first));
        }
        seen.push(clocks);
    }
    for clocks in &seen {
        ensure!(*clocks == seen[0], "viewers saw different frames:\n{clocks:?}\n{:?}", seen[0]);
    }
    for watcher in watchers {
        watcher.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_starts_over_when_it_ends() -> Outcome {
    gstreamer();
    let folder = Folder::new("file")?;
    let file = folder.path().join("with \"quotes\" and spaces.mkv");
    let frames = 25;
    let encode = gst::parse::launch(&format!(
        "videotestsrc num-buffers={frames} pattern=smpte ! video/x-raw,width=320,height=240,framerate=25/1 \
         ! x264enc ! h264parse ! matroskamux ! filesink name=out"
    ))?;
    let encode = encode.downcast::<gst::Pipeline>().map_err(|_| anyhow::anyhow!("no pipeline"))?;
    let out = encode.by_name("out").context("no sink")?;
    out.set_property("location", file.to_string_lossy().as_ref());
    encode.set_state(gst::State::Playing)?;
    let bus = encode.bus().context("no bus")?;
    bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &[gst::MessageType::Eos])
        .context("the file is not written")?;
    encode.set_state(gst::State::Null)?;
    play(&folder, &file, (320, 240), 4 * frames).await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_footage_plays() -> Outcome {
    gstreamer();
    let Some(file) = footage("bikes.mp4") else {
        eprintln!("no footage here: skipped");
        return Ok(());
    };
    play(&Folder::new("footage")?, &file, (640, 272), 100).await
}

/// Plays a file as a camera until so many pictures have come.
async fn play(
    folder: &Folder,
    file: &std::path::Path,
    (width, height): (u32, u32),
    pictures: usize,
) -> Outcome {
    let (_broker, address) = broker("127.0.0.1:0")?;
    let config = format!(
        "[robot]\nid = \"r\"\n[[camera]]\nid = \"c\"\nwidth = {width}\nheight = {height}\n\
         source = {{ type = \"file\", path = '{}' }}\n",
        file.display()
    );
    let mut sender = robot(folder, &config, &address)?;
    let mut watcher = Watcher::start(&address, "r", &[])?;
    for _ in 0..pictures {
        let picture = watcher.next().await?;
        ensure!(picture.size == (width, height), "{picture:?}");
        ensure!(picture.contrast > BLANK, "blank: {picture:?}");
    }
    let output = sender.output();
    ensure!(!output.contains("camera lost"), "{output}");
    watcher.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_does_not_exist_is_lost_and_hurts_nobody() -> Outcome {
    gstreamer();
    let folder = Folder::new("lost")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let config = robot_config("r", &[("good", 320, 240, 30)])
        + "[[camera]]\nid = \"gone\"\nsource = { type = \"v4l2\", device = \"/dev/video-none\" }\n\
           [[camera]]\nid = \"coded\"\n\
           source = { type = \"v4l2\", device = \"/dev/video-none\", format = \"h264\" }\n\
           [[camera]]\nid = \"wrong\"\nsource = { type = \"launch\", launch = \"nosuchelement ! x\" }\n\
           [[camera]]\nid = \"broken\"\nsource = { type = \"file\", path = \"/dev/null\" }\n";
    let mut sender = robot(&folder, &config, &address)?;
    let mut watcher = Watcher::start(&address, "r", &[])?;
    let mut good = 0;
    let mut slates = std::collections::BTreeSet::new();
    while good < 60 || slates.len() < 4 {
        let picture = watcher.next().await?;
        if picture.camera.as_str() == "good" {
            clock_us(&picture).with_context(|| format!("not whole: {picture:?}"))?;
            good += 1;
        } else {
            ensure!(picture.clock == Reading::Absent && picture.contrast > BLANK, "{picture:?}");
            slates.insert(picture.camera);
        }
    }
    let url = format!("ws://{address}");
    let arguments = ["--url", &url, "--robot", "r", "--sink", "null", "--stats", "json"];
    let mut receiver = rovercast_e2e::lab::Program::start("rovercast-receiver", &arguments)?;
    let lost = |camera: &'static str, reason: &'static str| {
        move |line: &str| {
            let report: serde_json::Value = serde_json::from_str(line).ok()?;
            let figures = report["cameras"].as_array()?.iter().find(|c| c["id"] == camera)?;
            let told = figures["state"] == "lost" && figures["reason"].as_str()?.contains(reason);
            told.then_some(())
        }
    };
    let signal_lost = |line: &str| {
        let report: serde_json::Value = serde_json::from_str(line).ok()?;
        let told = report["type"] == "signalLost" && report["camera"] == "gone";
        (told && report["reason"].as_str()?.contains("/dev/video-none")).then_some(())
    };
    receiver.wait_for("report that gone has no signal", signal_lost)?;
    let logged = "camera gone: signal lost: ";
    if !receiver.output().contains(logged) {
        receiver.wait_for_text(logged)?;
    }
    receiver.wait_for("gone lost", lost("gone", "/dev/video-none"))?;
    receiver.wait_for("coded lost", lost("coded", "/dev/video-none is not there"))?;
    receiver.wait_for("wrong lost", lost("wrong", "nosuchelement"))?;
    receiver.wait_for("broken lost", lost("broken", ""))?;
    ensure!(!sender.output().contains("good\": camera lost"), "{}", sender.output());
    watcher.stop().await
}
