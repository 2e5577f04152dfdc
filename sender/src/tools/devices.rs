//! `rovercast-sender devices`: which cameras and encoders this computer has.

use std::fmt::Write;

use clap::Args;
use rovercast_protocol::codec::Codec;
use serde::Serialize;

use crate::camera::encoder::{ENCODERS, Encoder};
use crate::camera::probe::{self, Probe};
use crate::config::{CameraConfig, Config};
use crate::tools::sensors::{self, Sensor};

/// The sizes at which encoders are tried, and the rate.
const SIZES: [(u32, u32); 2] = [(640, 480), (1280, 720)];
const FPS: u32 = 30;

/// More formats of a camera are not shown to people.
const SHOWN: usize = 12;

/// What to list.
#[derive(Debug, Args)]
pub struct Arguments {
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// What there is.
#[derive(Debug, Serialize)]
struct Devices {
    cameras: Vec<Camera>,
    encoders: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Camera {
    #[serde(flatten)]
    sensor: Sensor,
    /// What to write into the config.
    source: String,
}

/// A row of the table of encoders.
#[derive(Debug, Serialize)]
struct Row {
    factory: &'static str,
    codec: Codec,
    package: &'static str,
    installed: bool,
    trials: Vec<Trial>,
}

#[derive(Debug, Serialize)]
struct Trial {
    width: u32,
    height: u32,
    fps: u32,
    works: bool,
    reason: Option<String>,
}

/// Lists everything, having tried each encoder that is installed. The text is what to print.
pub async fn run(arguments: Arguments, probe: &Probe) -> anyhow::Result<String> {
    let sensors = tokio::task::spawn_blocking(sensors::all).await?;
    let cameras = sensors.into_iter().map(|sensor| Camera { source: sensor.source(), sensor });
    let mut devices = Devices { cameras: cameras.collect(), encoders: Vec::new() };
    for row in ENCODERS {
        devices.encoders.push(tried(row, probe).await?);
    }
    if arguments.json {
        return Ok(serde_json::to_string_pretty(&devices)? + "\n");
    }
    Ok(table(&devices))
}

async fn tried(row: &'static Encoder, probe: &Probe) -> anyhow::Result<Row> {
    let Encoder { factory, codec, package, .. } = *row;
    let mut tried =
        Row { factory, codec, package, installed: probe::installed(row), trials: vec![] };
    if !tried.installed {
        return Ok(tried);
    }
    for (width, height) in SIZES {
        let outcome = probe.try_encoder(row, &camera(row, width, height)?).await;
        let (works, reason) = (outcome.is_ok(), outcome.err());
        tried.trials.push(Trial { width, height, fps: FPS, works, reason });
    }
    Ok(tried)
}

/// A camera of this size for this encoder.
fn camera(row: &Encoder, width: u32, height: u32) -> anyhow::Result<CameraConfig> {
    let text = format!(
        "[robot]\nid = \"devices\"\n[[camera]]\nid = \"any\"\nsource = {{ type = \"test\" }}\n\
         width = {width}\nheight = {height}\nfps = {FPS}\nencoder = \"{}\"\ncodec = \"{}\"\n",
        row.factory, row.codec
    );
    Ok(Config::parse("devices", &text)?.camera.remove(0))
}

/// For people.
fn table(devices: &Devices) -> String {
    let mut text = String::from("CAMERAS\n");
    if devices.cameras.is_empty() {
        text += "  none: is one plugged in, and is its GStreamer element installed \
                 (gstreamer1.0-plugins-good, gstreamer1.0-libcamera)?\n";
    }
    for Camera { sensor, source } in &devices.cameras {
        let _ = writeln!(text, "  {} ({})", sensor.name, sensor.kind);
        let _ = writeln!(text, "    source = {source}");
        if let [_, others @ ..] = sensor.names.as_slice()
            && !others.is_empty()
        {
            let _ = writeln!(text, "    also: {}", others.join(", "));
        }
        let formats = sensor.formats.iter().take(SHOWN).map(ToString::to_string);
        let formats: Vec<_> = formats.collect();
        if !formats.is_empty() {
            let more = if sensor.formats.len() > SHOWN { ", … (all by --json)" } else { "" };
            let _ = writeln!(text, "    gives: {}{more}", formats.join(", "));
        }
        if let Some(problem) = &sensor.problem {
            let _ = writeln!(text, "    {problem}");
        }
    }
    text += "\nENCODERS, the best of each codec first\n";
    for row in &devices.encoders {
        let _ = write!(text, "  {:<17} {:<5} ", row.factory, row.codec.name());
        if !row.installed {
            let _ = writeln!(text, "not installed: {}", row.package);
            continue;
        }
        let told = row.trials.iter().map(|trial| {
            let Trial { width, height, reason, .. } = trial;
            match reason {
                None => format!("{width}x{height} works"),
                Some(reason) => format!("{width}x{height} FAILS: {reason}"),
            }
        });
        let _ = writeln!(text, "{}", told.collect::<Vec<_>>().join("; "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_what_works_what_fails_and_what_is_missing() {
        let trial = |works: bool, reason: Option<&str>| Trial {
            width: 640,
            height: 480,
            fps: 30,
            works,
            reason: reason.map(str::to_owned),
        };
        let row = |factory, trials: Vec<Trial>| Row {
            factory,
            codec: Codec::H264,
            package: "some-package",
            installed: !trials.is_empty(),
            trials,
        };
        let encoders = vec![
            row("nvh264enc", vec![]),
            row("vah264enc", vec![trial(false, Some("no GPU"))]),
            row("x264enc", vec![trial(true, None)]),
        ];
        let text = table(&Devices { cameras: vec![], encoders });
        assert!(text.contains("nvh264enc         h264  not installed: some-package\n"), "{text}");
        assert!(text.contains("vah264enc         h264  640x480 FAILS: no GPU\n"), "{text}");
        assert!(text.contains("x264enc           h264  640x480 works\n"), "{text}");
        assert!(text.contains("none: is one plugged in"), "{text}");
    }
}
