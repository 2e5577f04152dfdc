//! The example configs of `config/` run as they stand, on twins of the hardware that they are for.
//! Only what no twin stands for is replaced: V4L2 devices and screens by test patterns, and where
//! the control socket is.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, ensure};
use rovercast_e2e::control::Control;
use rovercast_e2e::lab::{Folder, broker, gstreamer, robot_in};
use rovercast_e2e::watcher::Watcher;
use rovercast_sender::config::{Config, Source};
use rovercast_twins::place::environment;

type Outcome = anyhow::Result<()>;

/// The text with those lines replaced for which `line` has others.
fn replaced(text: &str, line: impl Fn(&str) -> Option<String>) -> String {
    text.lines().map(|old| line(old).unwrap_or_else(|| old.to_owned()) + "\n").collect()
}

/// Every camera that is on shows pictures of its size, by this encoder.
async fn runs(file: &str, platform: &str, encoder: &str) -> Outcome {
    gstreamer();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config").join(file);
    let config = Config::load(&path)?;
    let folder = Folder::new(platform)?;
    let socket = folder.path().join("control");
    let text = std::fs::read_to_string(&path)?;
    let text = replaced(&text, |line| {
        let starts = |start: &str| line.starts_with(start);
        if starts("source = { type = \"v4l2\"") || starts("source = { type = \"screen\"") {
            return Some("source = { type = \"test\" }".to_owned());
        }
        (starts("[control]") || starts("socket = ")).then(String::new)
    });
    let text = format!("{text}\n[control]\nsocket = '{}'\n", socket.display());
    let replacement = Config::parse(file, &text)?;
    for (camera, replacement) in config.camera.iter().zip(&replacement.camera) {
        let stays = !matches!(camera.source, Source::V4l2 { .. } | Source::Screen { .. });
        ensure!(!stays || camera == replacement, "{} is not what it was", camera.id);
    }

    let (_broker, address) = broker("127.0.0.1:0")?;
    let mut sender = robot_in(&environment(platform)?, &folder, &text, &address)?;
    let mut watcher = Watcher::start(&address, config.robot.id.as_str(), &[])?;
    let on = config.camera.iter().filter(|camera| camera.enabled);
    let mut missing: BTreeMap<_, _> =
        on.map(|camera| (camera.id.clone(), (camera.width, camera.height))).collect();
    ensure!(!missing.is_empty(), "nothing is on");
    let cameras: Vec<_> = missing.keys().cloned().collect();
    while !missing.is_empty() {
        let picture = watcher.next().await.with_context(|| sender.output())?;
        if let Some(size) = missing.remove(&picture.camera) {
            ensure!(picture.size == size, "{picture:?}");
        }
    }
    for camera in cameras {
        Control::new(&socket)
            .figures(camera.as_str(), |told| told["state"] == "live" && told["encoder"] == encoder)
            .await?;
    }
    for camera in config.camera.iter().filter(|camera| !camera.enabled) {
        Control::new(&socket).figures(camera.id.as_str(), |told| told["state"] == "off").await?;
    }
    watcher.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn that_of_a_jetson_runs() -> Outcome {
    runs("jetson.toml", "jetson", "nvv4l2h264enc").await
}

#[tokio::test(flavor = "multi_thread")]
async fn that_of_a_jetson_runs_on_an_orin_nano() -> Outcome {
    runs("jetson.toml", "orin-nano", "x264enc").await
}

#[tokio::test(flavor = "multi_thread")]
async fn that_of_a_pi_4_runs() -> Outcome {
    runs("pi4.toml", "pi4", "v4l2h264enc").await
}

#[tokio::test(flavor = "multi_thread")]
async fn that_of_a_pi_5_runs() -> Outcome {
    runs("pi5.toml", "pi5", "x264enc").await
}

#[tokio::test(flavor = "multi_thread")]
async fn that_of_a_desktop_runs() -> Outcome {
    runs("desktop.toml", "nvidia", "nvh264enc").await
}
