//! A robot's control socket, as a program on the robot uses it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::lab::PATIENCE;

/// Asks for something; returns what came back, which is nothing where all there is to say is that
/// it is done. A refusal is an error.
pub fn ask(socket: &Path, method: &str, path: &str, body: &str) -> anyhow::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: robot\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said)?;
    let end = said.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("no HTTP")?;
    let (head, body) = (String::from_utf8_lossy(&said[..end]), said[end + 4..].to_vec());
    ensure!(head.starts_with("HTTP/1.1 2"), "{head}: {}", String::from_utf8_lossy(&body));
    Ok(body)
}

/// The figures of a camera, as soon as `fits` says so of them.
pub async fn figures(
    socket: &Path,
    camera: &str,
    fits: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // The sender may only just have started.
        let told = ask(socket, "GET", "/telemetry", "").and_then(|told| of(&told, camera));
        match told {
            Ok(told) if fits(&told) => return Ok(told),
            _ if Instant::now() > deadline => bail!("not as it should be: {told:?}"),
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

fn of(telemetry: &[u8], camera: &str) -> anyhow::Result<Value> {
    let told: Value = serde_json::from_slice(telemetry)?;
    let cameras = told["cameras"].as_array().context("no cameras")?;
    cameras.iter().find(|told| told["id"] == camera).cloned().context("no such camera")
}
