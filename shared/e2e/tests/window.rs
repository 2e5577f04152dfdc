//! The receiver's windows on a real X display.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use gst::prelude::*;
use rovercast_e2e::lab::{
    Folder, PATIENCE, Program, broker, gstreamer, program, robot, robot_config,
};
use rovercast_e2e::watcher::look;
use rovercast_protocol::pixelclock::Reading;

type Outcome = anyhow::Result<()>;

const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;

/// Starts an X server on a display of its own. Returns it with the display's name.
fn x_server() -> anyhow::Result<(Program, String)> {
    let mut command = Command::new("Xvfb");
    // Without -noreset the server starts over, and turns newcomers away, whenever its last client leaves.
    command.args([
        "-displayfd",
        "1",
        "-noreset",
        "-nolisten",
        "tcp",
        "-screen",
        "0",
        "1280x960x24",
    ]);
    let mut server =
        Program::spawn("Xvfb", command).context("a display is needed: install the package xvfb")?;
    let display = server.wait_for("display", |line| line.trim().parse::<u32>().ok())?;
    Ok((server, format!(":{display}")))
}

/// What the upper left corner of the display shows.
fn clock_on(display: &str) -> anyhow::Result<Reading> {
    let pipeline = gst::parse::launch(&format!(
        "ximagesrc display-name={display} use-damage=false show-pointer=false num-buffers=1 \
         endx={} endy={} ! videoconvert ! video/x-raw,format=I420 ! appsink name=out",
        WIDTH - 1,
        HEIGHT - 1
    ))?;
    let pipeline =
        pipeline.downcast::<gst::Pipeline>().map_err(|_| anyhow::anyhow!("no pipeline"))?;
    let out = pipeline.by_name("out").context("no sink")?;
    let out = out.downcast::<gst_app::AppSink>().map_err(|_| anyhow::anyhow!("no appsink"))?;
    pipeline.set_state(gst::State::Playing)?;
    let sample = out.pull_sample()?;
    pipeline.set_state(gst::State::Null)?;
    Ok(look(&"screen".parse()?, &sample).context("no picture")?.clock)
}

/// Waits until the display shows a clock later than `after`; returns it.
fn later_clock(display: &str, after: u64) -> anyhow::Result<u64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reading = clock_on(display)?;
        match reading {
            Reading::Whole(clock) if clock > after => return Ok(clock),
            _ => ensure!(Instant::now() < deadline, "the window shows {reading:?}"),
        }
    }
}

#[test]
fn the_window_shows_the_camera_and_stays_while_the_robot_restarts() -> Outcome {
    gstreamer();
    let folder = Folder::new("window")?;
    let (_server, display) = x_server()?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let config = robot_config("r", &[("c", WIDTH, HEIGHT, 30)]);
    let sender = robot(&folder, &config, &address)?;
    let mut command = Command::new(program("rovercast-receiver")?);
    command.args(["--url", &format!("ws://{address}"), "--robot", "r"]).env("DISPLAY", &display);
    let mut receiver = Program::spawn("rovercast-receiver", command)?;
    receiver.wait_for_text("connected to r")?;
    let first = later_clock(&display, 0).map_err(|e| e.context(receiver.output()))?;
    let second = later_clock(&display, first)?;

    sender.kill()?;
    let _sender = robot(&folder, &config, &address)?;
    receiver.wait_for_text("connected to r")?;
    let resumed = rovercast_peer::start::now_us().unsigned_abs();
    later_clock(&display, second.max(resumed))?;
    ensure!(receiver.interrupt()?.success(), "{}", receiver.output());
    Ok(())
}
