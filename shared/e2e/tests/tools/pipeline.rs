//! `pipeline`: the lines that it prints really run, and keep secrets.

use std::process::Command;

use anyhow::{Context, ensure};
use rovercast_e2e::lab::Folder;
use rovercast_protocol::codec::Codec;
use rovercast_sender::camera::probe::access_unit::contents;

use crate::{Environment, Outcome, config, hardware, said, tool};

/// Runs the printed line of a camera, as a shell takes it, and looks at what the encoder makes.
fn runs(source: &str, rest: &str, environment: &Environment) -> anyhow::Result<String> {
    let folder = Folder::new("pipeline")?;
    let config = config(&folder, source, rest)?;
    let printed = tool(&["pipeline", "front", "--config", &config], environment)?;
    ensure!(printed.code == Some(0), "{source}: {}{}", printed.out, printed.err);
    let line = printed.out.lines().find(|line| line.starts_with("gst-launch-1.0 "));
    let line = line.with_context(|| format!("no line in {}", printed.out))?;
    // Into a file, and to an end.
    let units = folder.path().join("units.h264");
    let (start, _) = line.split_once("fakesink").context("no end")?;
    let line = format!("{start} identity eos-after=20 ! filesink location={}", units.display());
    let mut shell = Command::new("timeout");
    shell.args(["60", "sh", "-c", &line]).envs(environment.iter().cloned());
    let outcome = said(&mut shell)?;
    ensure!(outcome.code == Some(0), "{line}\n{}{}", outcome.out, outcome.err);
    let found = contents(Codec::H264, &std::fs::read(&units)?);
    ensure!(found.key_frame && found.parameter_sets, "{found:?} of {line}");
    ensure!(found.slices >= 15, "{found:?} of {line}");
    Ok(line)
}

#[test]
fn printed_lines_run() -> Outcome {
    let none = Environment::new();
    runs("{ type = \"test\", pattern = \"ball\" }", "", &none)?;
    let stereo = "{ type = \"stereo\", left = { type = \"test\" }, \
                  right = { type = \"test\", pattern = \"ball\" } }";
    runs(stereo, "", &none)?;
    // With what means something to a shell, to GStreamer, or to both.
    let launch = r#"{ type = "launch", launch = 'videotestsrc is-live=true ! timeoverlay text="it is $HOME; a ! b" ' }"#;
    let turned = "picture = { rotate = 90, crop = { left = 8 } }";
    let line = runs(launch, turned, &none)?;
    ensure!(line.contains(r#"'text="it is $HOME; a ! b"'"#), "{line}");
    Ok(())
}

#[test]
fn the_line_of_a_file_with_an_odd_name_runs() -> Outcome {
    let folder = Folder::new("pipeline-file")?;
    let video = folder.path().join("a robot's \"drive\".mkv");
    let made = said(Command::new("gst-launch-1.0").args([
        "videotestsrc",
        "num-buffers=60",
        "!",
        "video/x-raw,width=320,height=240",
        "!",
        "vp8enc",
        "deadline=1",
        "!",
        "matroskamux",
        "!",
        "filesink",
        &format!("location={}", video.display().to_string().replace('"', "\\\"")),
    ]))?;
    ensure!(video.is_file(), "{}{}", made.out, made.err);
    let source = format!("{{ type = \"file\", path = '''{}''' }}", video.display());
    runs(&source, "", &Environment::new())?;
    Ok(())
}

#[test]
fn the_line_of_a_jetson_runs_on_one() -> Outcome {
    let line = runs("{ type = \"argus\" }", "width = 1280\nheight = 720", &hardware("jetson")?)?;
    for element in ["nvarguscamerasrc", "nvvidconv", "nvv4l2h264enc", "'video/x-raw(memory:NVMM)"] {
        ensure!(line.contains(element), "{element} in {line}");
    }
    Ok(())
}

#[test]
fn secrets_are_shown_to_who_asks_for_them() -> Outcome {
    let folder = Folder::new("pipeline-secrets")?;
    let text = r#"[robot]
id = "rover"
[[camera]]
id = "a"
source = { type = "rtsp", url = "rtsp://me:hunter2@192.0.2.1/live" }
[[camera]]
id = "b"
source = { type = "srt", listen = "127.0.0.1:7001", passphrase = "hunter2 hunter2" }
[[camera]]
id = "c"
source = { type = "rtmp", listen = "127.0.0.1:1935", key = "hunter2" }
[[camera]]
id = "d"
source = { type = "launch", launch = "videotestsrc ! tee name=hunter3 ! textoverlay text=rtsp://me:hunter2@cam ! videoconvert" }
"#;
    let config = folder.write("sender.toml", text)?;
    let graph = folder.path().join("graph.dot").display().to_string();
    let none = Environment::new();
    let hidden = tool(&["pipeline", "--config", &config, "--dot", &graph], &none)?;
    ensure!(hidden.code == Some(0), "{}{}", hidden.out, hidden.err);
    ensure!(
        !hidden.out.contains("hunter2") && hidden.out.contains("***@192.0.2.1"),
        "{}",
        hidden.out
    );
    let dot = std::fs::read_to_string(&graph)?;
    ensure!(dot.contains("hunter3") && !dot.contains("hunter2"), "{dot}");
    let shown = tool(&["pipeline", "--config", &config, "--show-secrets"], &none)?;
    ensure!(shown.out.matches("hunter2").count() == 5, "{}", shown.out);
    Ok(())
}

#[test]
fn both_pipelines_are_drawn() -> Outcome {
    let folder = Folder::new("pipeline-graph")?;
    let config = config(&folder, "{ type = \"test\", pattern = \"ball\" }", "")?;
    let none = Environment::new();
    let printed = tool(&["pipeline", "front", "--config", &config, "--dot", "-"], &none)?;
    let dot = printed.out;
    ensure!(dot.matches("digraph pipeline {").count() == 2, "{dot}");
    for part in ["front-source", "front-encoder", "GstVideoTestSrc", "GstX264Enc", "pattern=ball"] {
        ensure!(dot.contains(part), "{part} in {dot}");
    }
    let unknown = tool(&["pipeline", "rear", "--config", &config], &none)?;
    ensure!(
        unknown.code == Some(1) && unknown.err.contains("the config has front"),
        "{}",
        unknown.err
    );
    Ok(())
}

#[test]
fn a_camera_without_a_pipeline_is_told_beside_the_others() -> Outcome {
    let folder = Folder::new("pipeline-missing")?;
    let both = "[[camera]]\nid = \"rear\"\nsource = { type = \"v4l2\", device = \"/dev/video99\" }";
    let config = config(&folder, "{ type = \"test\" }", both)?;
    let printed = tool(&["pipeline", "--config", &config], &Environment::new())?;
    ensure!(printed.code == Some(1), "{:?}", printed.code);
    ensure!(printed.out.contains("gst-launch-1.0 videotestsrc"), "{}", printed.out);
    ensure!(
        printed.out.contains("# rear: ") && printed.out.contains("/dev/video99"),
        "{}",
        printed.out
    );
    Ok(())
}
