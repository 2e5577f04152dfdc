//! The command lines of sender and receiver.

use std::process::Command;

use anyhow::ensure;
use rovercast_e2e::lab::{
    Folder, Program, address_in, broker, gstreamer, program, robot, robot_config,
};
use rovercast_e2e::watcher::Watcher;

type Outcome = anyhow::Result<()>;

#[test]
fn every_wrong_line_of_a_config_is_named() -> Outcome {
    let folder = Folder::new("config")?;
    let config = "[robot]\nid = \"my robot\"\nspeed = 3\n\n[[camera]]\nid = \"a\"\n\
                  source = { type = \"file\" }\nwidht = 640\n";
    let path = folder.write("bad.toml", config)?;
    let output = Command::new(program("rovercast-sender")?).args(["--config", &path]).output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(2), "{:?}: {said}", output.status);
    for (line, key, remedy) in [
        (2, "my robot", "letters, digits"),
        (3, "speed", "expected `id`"),
        (7, "file", "needs `path`"),
        (8, "widht", "`width`"),
    ] {
        let place = format!("{path}:{line}: ");
        let found = said.lines().find(|said| said.starts_with(&place)).unwrap_or_default();
        ensure!(found.contains(key) && found.contains(remedy), "line {line} in\n{said}");
    }
    Ok(())
}

#[test]
fn wrong_values_and_missing_files_are_named() -> Outcome {
    let folder = Folder::new("values")?;
    let config = robot_config("r", &[("c", 641, 480, 0)]);
    let path = folder.write("bad.toml", &config)?;
    for (path, texts) in [
        (path.as_str(), ["camera[c].width", "camera[c].fps"]),
        ("/nowhere/sender.toml", ["/nowhere/sender.toml", "cannot read"]),
    ] {
        let output =
            Command::new(program("rovercast-sender")?).args(["--config", path]).output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(2), "{:?}: {said}", output.status);
        ensure!(texts.iter().all(|text| said.contains(text)), "{texts:?} in\n{said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_serves_broker_viewer_and_robot() -> Outcome {
    gstreamer();
    let folder = Folder::new("serve")?;
    let config = folder.write("sender.toml", &robot_config("r", &[("c", 320, 240, 30)]))?;
    let arguments = ["--config", &config, "--serve", "127.0.0.1:0"];
    let mut sender = Program::start("rovercast-sender", &arguments)?;
    let address = sender.wait_for("address", address_in)?;
    let mut watcher = Watcher::start(&address, "r", &[])?;
    watcher.next().await?;
    let environment = std::fs::read(format!("/proc/{}/environ", sender.pid()))?;
    let limited = String::from_utf8_lossy(&environment).contains("MALLOC_ARENA_MAX=");
    ensure!(limited, "its memory would grow with every viewer that comes and goes");
    watcher.stop().await?;
    ensure!(sender.interrupt()?.success(), "{}", sender.output());
    Ok(())
}

#[test]
fn the_receiver_lists_robots_and_their_cameras() -> Outcome {
    let folder = Folder::new("list")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let cameras = [("front", 320, 240, 30), ("left", 320, 240, 30)];
    let mut sender = robot(&folder, &robot_config("rover-7", &cameras), &address)?;
    sender.wait_for_text("registered")?;
    let mut list = Program::start("rovercast-receiver", &["--url", &format!("ws://{address}")])?;
    list.wait_for("the robot", |line| (line == "rover-7\tfront left").then_some(()))?;
    ensure!(list.wait()?.success());
    Ok(())
}

#[test]
fn statistics_tell_everything_of_each_camera() -> Outcome {
    let folder = Folder::new("stats")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let _sender = robot(&folder, &robot_config("r", &[("c", 320, 240, 30)]), &address)?;
    let url = format!("ws://{address}");
    let arguments = ["--url", &url, "--robot", "r", "--sink", "null", "--stats", "json"];
    let mut receiver = Program::start("rovercast-receiver", &arguments)?;
    receiver.wait_for("a full report", |line| {
        let report: serde_json::Value = serde_json::from_str(line).ok()?;
        let number = |key: &str| report[key].as_f64();
        let whole = report["camera"] == "c"
            && number("width")? == 320.0
            && number("fps")? > 0.0
            && number("bitrateKbps")? > 0.0
            && number("framesDecoded")? > 0.0
            && (1.0..=200.0).contains(&number("jitterBufferMs")?)
            && report["latencyMs"]["p50"].as_f64()? > 0.0
            && ["packetsLost", "framesDropped", "jitterMs", "clockErrorMs"]
                .iter()
                .all(|key| number(key).is_some());
        whole.then_some(())
    })?;
    receiver.wait_for("telemetry", |line| {
        let report: serde_json::Value = serde_json::from_str(line).ok()?;
        let host = &report["host"];
        let whole = report["type"] == "telemetry"
            && host["memoryTotalBytes"].as_u64()? > 0
            && host["uptimeS"].as_u64()? > 0
            && report["cameras"][0]["state"] == "live"
            && report["cameras"][0]["encoder"].is_string();
        whole.then_some(())
    })?;
    ensure!(receiver.interrupt()?.success(), "{}", receiver.output());
    Ok(())
}

#[test]
fn pictures_go_where_a_launch_fragment_says() -> Outcome {
    let folder = Folder::new("sink")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let cameras = [("front", 320, 240, 30), ("left", 320, 240, 30)];
    let _sender = robot(&folder, &robot_config("r", &cameras), &address)?;
    let url = format!("ws://{address}");
    let place = folder.path().display();
    let sink = format!("videoconvert ! pngenc ! multifilesink location={place}/{{camera}}-%d.png");
    let arguments = ["--url", &url, "--robot", "r", "--sink", &sink];
    let mut receiver = Program::start("rovercast-receiver", &arguments)?;
    let deadline = std::time::Instant::now() + rovercast_e2e::lab::PATIENCE;
    for camera in ["front", "left"] {
        let file = folder.path().join(format!("{camera}-3.png"));
        while !file.exists() {
            ensure!(std::time::Instant::now() < deadline, "{}", receiver.output());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
    ensure!(receiver.interrupt()?.success(), "{}", receiver.output());

    let arguments = ["--url", &url, "--robot", "r", "--sink", "nosuchsink"];
    let mut receiver = Program::start("rovercast-receiver", &arguments)?;
    receiver.wait_for_text("no element \"nosuchsink\"")?;
    ensure!(!receiver.wait()?.success());
    Ok(())
}

#[test]
fn an_output_that_nobody_reads_holds_up_nothing() -> Outcome {
    let folder = Folder::new("stuck")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let config = robot_config("r", &[("c", 320, 240, 30)]);
    let sender = robot(&folder, &config, &address)?;
    let url = format!("ws://{address}");
    let sink = format!("videoconvert ! shmsink socket-path={}/{{camera}}", folder.path().display());
    let arguments = ["--url", &url, "--robot", "r", "--sink", &sink];
    let mut receiver = Program::start("rovercast-receiver", &arguments)?;
    receiver.wait_for_text("the output takes no pictures")?;
    sender.kill()?;
    let _sender = robot(&folder, &config, &address)?;
    receiver.wait_for_text("connected to r")?;
    ensure!(receiver.interrupt()?.success(), "{}", receiver.output());
    Ok(())
}
