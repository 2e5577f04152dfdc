//! RTP on UDP and nothing else: what the same encoder and decoder can do at best.

use anyhow::Context;
use gst::prelude::*;
use rovercast_peer::start::share_clock;
use rovercast_protocol::codec::Codec;
use rovercast_sender::camera::encoder::{Parameters, candidates};

use super::cameras::line;
use super::picture::{look_at, pipeline, play};
use super::{BITRATE_KBPS, Case, Ends, Places, part};

pub(super) const SEE: &str = "bare-receiver";
pub(super) const SEND: &str = "bare-sender";

/// Before the ports in the line that tells them.
const PORTS: &str = "ports ";

pub(super) fn start(case: Case, places: Places<'_>, cameras: &str) -> anyhow::Result<Ends> {
    let mut eye = part(places.operator, SEE, case, &[])?;
    let ports = eye.wait_for("ports", |line| line.strip_prefix(PORTS).map(str::to_owned))?;
    let sender = part(places.robot, SEND, case, &[cameras, &ports])?;
    Ok(Ends { eye, _sender: sender })
}

/// Receives, at ports that it tells.
pub(super) fn see(case: Case) -> anyhow::Result<()> {
    let lines: Vec<String> = (0..case.cameras)
        .map(|camera| {
            format!(
                "udpsrc name=udp{camera} address=127.0.0.1 port=0 buffer-size=2000000 \
         caps=\"application/x-rtp,media=video,clock-rate=90000,encoding-name=H264,payload=96\" \
         ! rtph264depay ! video/x-h264,stream-format=byte-stream,alignment=au \
         ! avdec_h264 thread-type=slice output-corrupt=false qos=false \
         ! appsink name=eye{camera} sync=false"
            )
        })
        .collect();
    let pipeline = pipeline(&lines.join(" "))?;
    pipeline.set_state(gst::State::Ready)?;
    let mut ports = Vec::new();
    for camera in 0..case.cameras {
        let eye = pipeline.by_name(&format!("eye{camera}")).and_downcast().context("no sink")?;
        look_at(&eye, case, camera);
        let udp = pipeline.by_name(&format!("udp{camera}")).context("no source")?;
        ports.push(udp.property::<i32>("port").to_string());
    }
    println!("{PORTS}{}", ports.join(","));
    play(&pipeline)
}

/// Sends the pictures of these cameras to these ports.
pub(super) fn send(case: Case, cameras: &str, ports: &str) -> anyhow::Result<()> {
    let encoder = candidates(Codec::H264, "x264enc").next().context("no such row")?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let Case { width, height, fps, .. } = case;
    let parameters = Parameters { width, height, fps, bitrate_kbps: BITRATE_KBPS, cores };
    let encoder = encoder.launch(parameters, |_| true);
    let lines = ports.split(',').enumerate().map(|(camera, port)| {
        // Parts of a launch line have names of their own.
        let encoder = encoder.replace("name=", &format!("name=of{camera}-"));
        format!(
            "{} ! {encoder} ! rtph264pay mtu=1200 pt=96 \
             ! udpsink host=127.0.0.1 port={port} sync=false",
            line(case, cameras, camera)
        )
    });
    let pipeline = pipeline(&lines.collect::<Vec<_>>().join(" "))?;
    share_clock(&pipeline);
    play(&pipeline)
}
