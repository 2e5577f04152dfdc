//! Frames tell their times: what a receiver makes of it against the clock in the pictures, and what
//! browsers do.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use rovercast_e2e::browser::Browser;
use rovercast_e2e::figures::percentile;
use rovercast_e2e::lab::{Folder, PATIENCE, Program, broker, gstreamer, robot, robot_config};
use rovercast_e2e::watcher::Watcher;
use rovercast_e2e::wire::in_the_middle;
use rovercast_protocol::pixelclock::Reading;
use rovercast_receiver::stages::Stage;
use serde_json::Value;

type Outcome = anyhow::Result<()>;

/// Seconds of figures that are looked at.
const SECONDS: usize = 4;

/// A busy host's cameras come late to the clock that is drawn into their pictures, which is not in
/// the figures.
const BUSY_MS: f64 = 40.0;

#[tokio::test(flavor = "multi_thread")]
async fn the_stages_make_up_what_the_pictures_clock_says() -> Outcome {
    gstreamer();
    let folder = Folder::new("stages")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let _sender = robot(&folder, &robot_config("r", &[("c", 640, 480, 30)]), &address)?;
    let mut watcher = Watcher::start(&address, "r", &[])?;
    let (mut told_ms, mut frames) = (Vec::new(), 0);
    for _ in 0..SECONDS {
        let report = loop {
            let report = watcher.figures().await?;
            if report.stages_ms.get(Stage::Network).is_some() {
                break report;
            }
        };
        // Those of before the clock was known have nothing to compare.
        let known = report.frames.iter().filter(|frame| frame.us(Stage::Total).is_some());
        for frame in known.filter(|frame| frame.us(Stage::Network).is_some()) {
            let us = Stage::ALL.map(|stage| frame.us(stage));
            let [parts @ .., Some(total)] = us else { anyhow::bail!("{frame:?}") };
            let parts: Option<Vec<i64>> = parts.into_iter().collect();
            let parts = parts.with_context(|| format!("{frame:?}"))?;
            ensure!(parts.iter().sum::<i64>() == total, "{frame:?}");
            // The robot tells its own to the tenth of a millisecond.
            let least_us = -frame.clock_error_us() - 100;
            ensure!(parts.iter().all(|us| *us >= least_us), "{frame:?}");
            told_ms.push(total as f64 / 1000.0);
            frames += 1;
        }
        println!("{}", serde_json::to_string(&report.stages_ms)?);
    }
    ensure!(frames > 0, "no frame told everything");
    let mut seen_ms = Vec::new();
    while seen_ms.len() < frames {
        let picture = watcher.next().await?;
        if let Reading::Whole(us) = picture.clock {
            seen_ms.push((picture.at_us - us as i64) as f64 / 1000.0);
        }
    }
    let [told, seen] = [told_ms, seen_ms].map(|ms| percentile(&ms, 0.5));
    println!("{frames} frames: told {told:.2} ms, seen {seen:.2} ms, {:+.2} ms", told - seen);
    ensure!((told - seen).abs() < BUSY_MS, "told {told} ms, seen {seen} ms");
    watcher.stop().await
}

/// Answers that take no header extension, as other programs give them.
fn take_no_extension(text: String) -> String {
    let Ok(mut message) = serde_json::from_str::<Value>(&text) else { return text };
    let Some(sdp) = message["sdp"]["sdp"].as_str() else { return text };
    let lines = sdp.split_inclusive('\n').filter(|line| !line.starts_with("a=extmap:"));
    message["sdp"]["sdp"] = lines.collect::<String>().into();
    message.to_string()
}

fn only_in_answers(text: String) -> String {
    if text.contains(r#""type":"answer""#) { take_no_extension(text) } else { text }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_accepted_is_not_sent() -> Outcome {
    gstreamer();
    let folder = Folder::new("no-extension")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let _sender = robot(&folder, &robot_config("r", &[("c", 320, 240, 30)]), &address)?;
    let (middle, _) = in_the_middle(address, only_in_answers).await?;
    let url = format!("ws://{middle}");
    let arguments = ["--url", &url, "--robot", "r", "--sink", "null", "--stats", "json"];
    let mut receiver = Program::start("rovercast-receiver", &arguments)?;
    let stages = receiver.wait_for("latency by the clock alone", |line| {
        let stages = serde_json::from_str::<Value>(line).ok()?["stagesMs"].take();
        stages.get("total").is_some().then_some(stages)
    })?;
    let told: Vec<&String> = stages.as_object().context("no stages")?.keys().collect();
    ensure!(told == ["decode", "present", "receive", "total"], "{stages}");
    Ok(())
}

/// From NTP's epoch to that of Unix, in milliseconds.
const NTP_TO_UNIX_MS: f64 = 2_208_988_800_000.0;

/// Gives what the browser knows of a number of frames that it shows: when it showed each, and when the
/// frame that came last was captured, by the times of day on both sides.
const PRESENTED: &str = r"
    const done = arguments[arguments.length - 1];
    const video = document.querySelector('#grid article.tile video');
    const frames = [];
    const next = () => {
      const [source] = window.witness.connections
        .flatMap((connection) => connection.getReceivers())
        .filter(({ track }) => track.kind === 'video')
        .flatMap((receiver) => receiver.getSynchronizationSources());
      frames.push([Date.now(), source?.captureTimestamp]);
      if (frames.length < 60) video.requestVideoFrameCallback(next);
      else done(frames);
    };
    video.requestVideoFrameCallback(next);
";

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_learns_when_frames_were_captured_and_still_shows_them() -> Outcome {
    let folder = Folder::new("browser-times")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let _sender = robot(&folder, &robot_config("r", &[("c", 320, 240, 30)]), &address)?;
    let browser = Browser::start("times").await?;
    browser.open(&format!("http://{address}/")).await?;
    let before = browser.until("a live camera", |page| page.all(1, "live")).await?;
    let frames: Vec<(f64, f64)> = serde_json::from_value(browser.ask(PRESENTED).await?)?;
    let captured_ms = frames.iter().map(|(_, captured_ms)| captured_ms - NTP_TO_UNIX_MS);
    ensure!(captured_ms.clone().is_sorted(), "{frames:?}");
    let ages_ms = frames.iter().zip(captured_ms).map(|((shown_ms, _), at_ms)| shown_ms - at_ms);
    let ages_ms: Vec<f64> = ages_ms.collect();
    println!("captured {:.0} ms before they are shown", percentile(&ages_ms, 0.5));
    let plausible = |age_ms: &f64| (-1.0..PATIENCE.as_secs_f64() * 1000.0).contains(age_ms);
    ensure!(ages_ms.iter().all(plausible), "{ages_ms:?}");
    let moments: BTreeSet<u64> =
        frames.iter().map(|(_, captured_ms)| *captured_ms as u64).collect();
    ensure!(moments.len() > frames.len() / 2, "the same again and again: {frames:?}");
    browser.until("pictures that go on", |page| page.advanced(&before, 30)).await?;
    Ok(())
}
