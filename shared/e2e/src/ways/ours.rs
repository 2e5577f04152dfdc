//! Our own way: the sender as it is shipped, and its receiver inside a process that looks at the
//! pictures.

use std::sync::Arc;

use rovercast_peer::start::now_us;
use rovercast_protocol::ids::CameraId;
use rovercast_receiver::app::{self, Settings};
use rovercast_receiver::output::Output;
use rovercast_receiver::report::{Report, Reports};

use super::cameras::line;
use super::picture::look;
use super::{BITRATE_KBPS, Case, Ends, Places, part};
use crate::lab::{Folder, Program, program};

pub(super) const SEE: &str = "receiver";

const ROBOT: &str = "r";

pub(super) fn start(
    case: Case,
    places: Places<'_>,
    cameras: &str,
    fec_percent: u32,
) -> anyhow::Result<Ends> {
    let folder = Folder::new("ways")?;
    let Case { width, height, fps, .. } = case;
    let mut config =
        format!("[robot]\nid = \"{ROBOT}\"\n[sessions]\nfec_percent = {fec_percent}\n");
    for camera in 0..case.cameras {
        config.push_str(&format!(
            "[[camera]]\nid = \"{camera}\"\nencoder = \"x264enc\"\n\
             source = {{ type = \"launch\", launch = \"{}\" }}\n\
             width = {width}\nheight = {height}\nfps = {fps}\nbitrate_kbps = {BITRATE_KBPS}\n",
            line(case, cameras, camera)
        ));
    }
    let config = folder.write("sender.toml", &config)?;
    let url = format!("ws://{}", places.broker);
    let mut sender = (places.robot)(program("rovercast-sender")?.as_os_str());
    sender.args(["--config", &config, "--url", &url]);
    let mut sender = Program::spawn("rovercast-sender", sender)?;
    sender.wait_for_text("camera live")?;
    let eye = part(places.operator, SEE, case, &[places.broker])?;
    Ok(Ends { eye, _sender: sender })
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
