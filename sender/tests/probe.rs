//! Encoders are tried by a process of their own, whatever that process does.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rovercast_sender::camera::probe::Probe;
use rovercast_sender::config::{CameraConfig, Config};

const SENDER: &str = env!("CARGO_BIN_EXE_rovercast-sender");

/// Programs that stand for a sender whose driver misbehaves. Each notes its process ids.
const PROGRAMS: [(&str, &str); 4] = [
    ("hangs", "exec sleep 1000"),
    ("crashes", "kill -SEGV $$"),
    (
        "hangs-once",
        "test \"$2\" != openh264enc || exec sleep 1000; printf '\\n{\"works\":{\"delay_frames\":0}}\\n'",
    ),
    ("works", "printf 'Opening in BLOCKING MODE'; printf '\\n{\"works\":{\"delay_frames\":0}}\\n'"),
];

/// The folder of the programs. They are all written before the first is started: a file that is
/// being written cannot be run, and another test's process may hold it open.
fn programs() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        gst::init().unwrap();
        let folder = std::env::temp_dir().join(format!("rovercast-probe-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (name, does) in PROGRAMS {
            let text = format!("#!/bin/sh\necho $$ >> \"$0.$2.$3\"\n{does}\n");
            std::fs::write(folder.join(name), text).unwrap();
            let executable = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(folder.join(name), executable).unwrap();
        }
        folder
    })
}

/// The processes of a program that tried this.
fn processes(program: &str, what: &str) -> Vec<String> {
    let noted = programs().join(format!("{program}.{what}"));
    let noted = std::fs::read_to_string(noted).unwrap_or_default();
    noted.lines().map(str::to_owned).collect()
}

fn camera(width: u32, encoder: &str, codec: &str) -> CameraConfig {
    let text = format!(
        "[robot]\nid = \"r\"\n[[camera]]\nid = \"c\"\nsource = {{ type = \"test\" }}\n\
         width = {width}\nheight = 64\nencoder = \"{encoder}\"\ncodec = \"{codec}\"\n"
    );
    Config::parse("test", &text).unwrap().camera.remove(0)
}

#[tokio::test]
async fn auto_takes_the_best_that_works_and_remembers_it() {
    let folder = programs().join("cache");
    let probe = Probe::new(SENDER.into(), Some(&folder));
    for (codec, best) in [("h264", "x264enc"), ("h265", "x265enc"), ("vp8", "vp8enc")] {
        let chosen = probe.choose(&camera(66, "auto", codec)).await.unwrap();
        assert_eq!(chosen.factory, best);
    }
    // Nothing is started for what is known to work.
    let later = Probe::new("/nowhere/rovercast-sender".into(), Some(&folder));
    assert_eq!(later.choose(&camera(66, "auto", "h264")).await.unwrap().factory, "x264enc");
    let error = later.choose(&camera(68, "x264enc", "h264")).await.unwrap_err();
    assert!(error.contains("x264enc: /nowhere/rovercast-sender cannot be started"), "{error}");
}

#[tokio::test]
async fn a_trial_that_hangs_is_killed_at_the_limit() {
    let probe = Probe::new(programs().join("hangs"), None).with_limit(Duration::from_secs(2));
    let error = probe.choose(&camera(70, "x264enc", "h264")).await.unwrap_err();
    assert_eq!(error, "no encoder for h264 works: x264enc: it does not answer within 2s");
    let processes = processes("hangs", "x264enc.70");
    assert_eq!(processes.len(), 1);
    assert!(!Path::new("/proc").join(&processes[0]).exists(), "it is still there");
}

#[tokio::test]
async fn what_is_known_waits_for_no_trial() {
    let probe = Probe::new(programs().join("hangs-once"), None);
    let probe = probe.with_limit(Duration::from_secs(600));
    assert!(probe.choose(&camera(78, "x264enc", "h264")).await.is_ok());
    let hanging = {
        let probe = probe.clone();
        tokio::spawn(async move { probe.choose(&camera(78, "openh264enc", "h264")).await })
    };
    while processes("hangs-once", "openh264enc.78").is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(probe.choose(&camera(78, "x264enc", "h264")).await.is_ok());
    assert!(!hanging.is_finished());
    hanging.abort();
}

#[tokio::test]
async fn when_nothing_works_every_candidate_is_named() {
    let probe = Probe::new(programs().join("crashes"), None);
    let error = probe.choose(&camera(76, "auto", "h264")).await.unwrap_err();
    for part in [
        "nvv4l2h264enc is not installed: install nvidia-l4t-gstreamer",
        "x264enc: the trial crashed",
        "openh264enc: the trial crashed",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[tokio::test]
async fn a_trial_that_crashes_is_a_reason_that_is_believed_for_a_while() {
    let probe = Probe::new(programs().join("crashes"), None);
    for _ in 0..2 {
        let error = probe.choose(&camera(72, "openh264enc", "h264")).await.unwrap_err();
        assert!(error.contains("openh264enc: the trial crashed (signal: 11"), "{error}");
    }
    assert_eq!(processes("crashes", "openh264enc.72").len(), 1);
}

#[tokio::test]
async fn cameras_at_the_same_time_try_an_encoder_once() {
    let probe = Probe::new(programs().join("works"), None);
    let choosing: Vec<_> = (0..8)
        .map(|_| {
            let probe = probe.clone();
            tokio::spawn(async move { probe.choose(&camera(74, "x264enc", "h264")).await })
        })
        .collect();
    for chosen in choosing {
        assert_eq!(chosen.await.unwrap().unwrap().factory, "x264enc");
    }
    assert_eq!(processes("works", "x264enc.74").len(), 1);
}

#[test]
fn the_trial_says_what_is_wrong() {
    let run = |arguments: [&str; 5]| {
        let output = Command::new(SENDER).arg("probe-encoder").args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(
        run(["vp8enc", "320", "240", "30", "500"]),
        (true, "\n{\"works\":{\"delay_frames\":0}}\n".to_owned())
    );
    for (arguments, reason) in [
        (["nosuchenc", "320", "240", "30", "500"], "nosuchenc is not known"),
        (["vah264enc", "320", "240", "30", "500"], "install gstreamer1.0-plugins-bad"),
        (["openh264enc", "4096", "240", "30", "500"], "up to 3840x2160 pixels"),
    ] {
        let (worked, said) = run(arguments);
        assert!(!worked && said.contains("{\"fails\":") && said.contains(reason), "{said}");
    }
}
