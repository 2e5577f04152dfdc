//! Our own way: the sender as it is shipped, and its receiver inside a process that looks at the
//! pictures.

use std::sync::Arc;

use anyhow::Context;
use rovercast_peer::start::{now_us, share_clock};
use rovercast_protocol::ids::CameraId;
use rovercast_receiver::app::{self, Settings};
use rovercast_receiver::output::Output;
use rovercast_receiver::report::{Report, Reports};

use super::picture::{line, look, play, source};
use super::{BITRATE_KBPS, Case, Content, Places, Running, part};
use crate::lab::{Folder, Program, program};
use crate::source::Socket;

pub(super) const DRAW: &str = "source";
pub(super) const SEE: &str = "receiver";

const ROBOT: &str = "r";

pub(super) fn start(case: Case, places: Places<'_>) -> anyhow::Result<Running> {
    let folder = Folder::new("ways")?;
    let mut config = format!("[robot]\nid = \"{ROBOT}\"\n");
    let mut programs = Vec::new();
    for camera in 0..case.cameras {
        let source = match case.content {
            Content::Smpte => "type = \"test\", pattern = \"smpte\"".to_owned(),
            Content::Grid => {
                let address = Socket::default().address();
                let (host, port) = address.split_once(':').context("no port")?;
                programs.push(part(places.robot, DRAW, Case { cameras: 1, ..case }, &address)?);
                format!(
                    "type = \"launch\", \
                     launch = \"tcpclientsrc host={host} port={port} ! gdpdepay\""
                )
            }
        };
        let Case { width, height, fps, .. } = case;
        config.push_str(&format!(
            "[[camera]]\nid = \"{camera}\"\nsource = {{ {source} }}\nencoder = \"x264enc\"\n\
             width = {width}\nheight = {height}\nfps = {fps}\nbitrate_kbps = {BITRATE_KBPS}\n"
        ));
    }
    let config = folder.write("sender.toml", &config)?;
    let url = format!("ws://{}", places.broker);
    let mut sender = (places.robot)(program("rovercast-sender")?.as_os_str());
    sender.args(["--config", &config, "--url", &url]);
    let mut sender = Program::spawn("rovercast-sender", sender)?;
    sender.wait_for_text("camera live")?;
    programs.push(sender);
    let eye = part(places.operator, SEE, case, places.broker)?;
    Ok(Running::new(case, eye, programs))
}

/// Draws, for a sender that takes the pictures at this address.
pub(super) fn draw(case: Case, address: &str) -> anyhow::Result<()> {
    let (host, port) = address.split_once(':').context("no port")?;
    let to = format!("gdppay ! tcpserversink host={host} port={port} sync=false");
    let pipeline = source(case, &format!("{} ! {to}", line(case, 0)))?;
    share_clock(&pipeline);
    play(&pipeline)
}

/// Receives by this broker.
pub(super) fn see(case: Case, broker: &str) -> anyhow::Result<()> {
    let on_picture = move |camera: &CameraId, sample: &gst::Sample| {
        if let Ok(camera) = camera.as_str().parse() {
            look(sample, case, camera);
        }
    };
    let output = Output::Pictures(Arc::new(on_picture));
    let settings = Settings::new(format!("ws://{broker}"), ROBOT.parse()?, output);
    let on_report = |report: &Report| {
        if let Report::Camera(camera) = report
            && let Some(latency) = camera.latency_ms
        {
            println!("told {} {}", now_us(), latency.p50);
        }
    };
    let reports = Reports::none().and(Arc::new(on_report));
    let (_never, recording) = tokio::sync::watch::channel(false);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(app::run(settings, reports, recording, std::future::pending()))
}
