//! Recordings of real robots: what is left of them when the receiver is killed, and what is in
//! them when it ends.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use mcap::sans_io::LinearReaderOptions;
use rovercast_e2e::lab::{Folder, PATIENCE, Program, broker, decoded, robot, robot_config};
use serde_json::Value;

type Outcome = anyhow::Result<()>;

const CAMERAS: [&str; 2] = ["front", "rear"];
const FPS: u64 = 30;

/// What a crash may cost: a fragment of one second, and what was on its way to the writer.
const LOST_FRAMES: u64 = FPS * 3 / 2;

fn receiver(address: &str, folder: &Path, format: &str) -> anyhow::Result<Program> {
    let url = format!("ws://{address}");
    let folder = folder.to_str().context("a folder's name")?;
    let arguments = ["--url", &url, "--robot", "r", "--sink", "null", "--stats", "json"];
    let recording = ["--record", folder, "--record-format", format];
    Program::start("rovercast-receiver", &[&arguments[..], &recording].concat())
}

/// Follows the receiver's report of each camera up to so many pictures. Returns how many it has
/// told of each.
fn watch(receiver: &mut Program, pictures: u64) -> anyhow::Result<[u64; 2]> {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = [0; 2];
    while seen.iter().any(|seen| *seen < pictures) {
        ensure!(Instant::now() < deadline, "only {seen:?} pictures:\n{}", receiver.output());
        let (camera, decoded) = receiver.wait_for("report of a camera", |line| {
            let report: Value = serde_json::from_str(line).ok()?;
            let camera = CAMERAS.iter().position(|camera| report["camera"] == **camera)?;
            Some((camera, report["framesDecoded"].as_u64()?))
        })?;
        seen[camera] = decoded;
    }
    Ok(seen)
}

/// The files in a folder with this ending, in order.
fn files(folder: &Path, ending: &str) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    paths.retain(|path| path.to_str().is_some_and(|path| path.ends_with(ending)));
    paths.sort();
    Ok(paths)
}

/// What can be read of an MCAP file: topic and time (ns) of each message.
fn messages(path: &Path) -> anyhow::Result<Vec<(String, u64)>> {
    let options = LinearReaderOptions::default().with_skip_end_magic(true);
    let bytes = std::io::Cursor::new(std::fs::read(path)?);
    let messages = mcap::io::MessageReader::new_with_options(bytes, options);
    let readable = messages.map_while(Result::ok);
    Ok(readable.map(|message| (message.channel.topic.clone(), message.log_time)).collect())
}

fn journal(folder: &Path) -> anyhow::Result<Vec<Value>> {
    let paths = files(folder, ".telemetry.jsonl")?;
    let text = std::fs::read_to_string(paths.first().context("no journal")?)?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

#[test]
fn a_receiver_that_is_killed_leaves_recordings_that_lack_a_second_at_most() -> Outcome {
    let folder = Folder::new("record-killed")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let config = robot_config("r", &CAMERAS.map(|camera| (camera, 320, 240, FPS as u32)));
    let _sender = robot(&folder, &config, &address)?;
    for format in ["mp4", "mkv", "mcap"] {
        let place = folder.path().join(format);
        let mut receiver = receiver(&address, &place, format)?;
        let seen = watch(&mut receiver, FPS * 3)?;
        receiver.kill()?;
        let recorded = if format == "mcap" {
            let paths = files(&place, format)?;
            ensure!(paths.len() == 1, "{paths:?}");
            let messages = messages(&paths[0])?;
            ensure!(messages.iter().any(|(topic, _)| topic == "/telemetry"), "{messages:?}");
            let count = |topic: &str| messages.iter().filter(|(of, _)| of == topic).count() as u64;
            [count("/video/front"), count("/video/rear")]
        } else {
            let paths = files(&place, format)?;
            ensure!(paths.len() == 2, "{paths:?}");
            let lines = journal(&place)?;
            let of_kind = |kind: &str| lines.iter().filter(|line| line["type"] == kind).count();
            ensure!(of_kind("file") == 2 && of_kind("telemetry") >= 2, "{lines:?}");
            [decoded(&paths[0])?, decoded(&paths[1])?]
        };
        for (seen, recorded) in seen.into_iter().zip(recorded) {
            ensure!(recorded + LOST_FRAMES >= seen, "{format}: {recorded} of {seen} pictures");
        }
    }
    Ok(())
}

#[test]
fn a_receiver_that_ends_finishes_its_recording() -> Outcome {
    let folder = Folder::new("record-ended")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let config = robot_config("r", &CAMERAS.map(|camera| (camera, 320, 240, FPS as u32)));
    let _sender = robot(&folder, &config, &address)?;
    let (mp4, mcap) = (folder.path().join("mp4"), folder.path().join("mcap"));
    let mut receivers = [receiver(&address, &mp4, "mp4")?, receiver(&address, &mcap, "mcap")?];
    for receiver in &mut receivers {
        let seen = watch(receiver, FPS)?;
        ensure!(receiver.interrupt()?.success(), "{}", receiver.output());
        ensure!(seen.iter().all(|seen| *seen >= FPS));
    }
    for path in files(&mp4, "mp4")? {
        ensure!(decoded(&path)? >= FPS, "{}", path.display());
    }
    // Both cameras are on the clock of the recording, and began at about the same time.
    let lines = journal(&mp4)?;
    let starts: Vec<i64> = lines.iter().filter_map(|line| line["startUs"].as_i64()).collect();
    let long = PATIENCE.as_micros() as i64;
    ensure!(starts.len() == 2 && starts.iter().all(|us| (0..long).contains(us)), "{lines:?}");

    let paths = files(&mcap, "mcap")?;
    let bytes = std::fs::read(&paths[0])?;
    let summary = mcap::Summary::read(&bytes)?.context("it has no index")?;
    let topics: Vec<&str> = summary.channels.values().map(|channel| &*channel.topic).collect();
    for topic in ["/video/front", "/video/rear", "/telemetry", "/recording"] {
        ensure!(topics.contains(&topic), "{topics:?}");
    }
    Ok(())
}
