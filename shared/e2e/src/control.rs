//! A program on the robot that uses its control socket, byte by byte.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use crate::lab::PATIENCE;

/// What the robot answered.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head, in lower case.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON in {self:?}"))
    }
}

/// A control socket.
#[derive(Debug, Clone)]
pub struct Control(PathBuf);

impl Control {
    /// The one at this path.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Asks by a method and a path, such as `GET /telemetry`.
    pub async fn ask(&self, what: &str, body: &str) -> anyhow::Result<Answer> {
        timeout(PATIENCE, self.ask_slowly(what, body))
            .await
            .with_context(|| format!("no answer to {what}"))?
    }

    async fn ask_slowly(&self, what: &str, body: &str) -> anyhow::Result<Answer> {
        let mut stream = UnixStream::connect(&self.0).await?;
        let length = body.len();
        let request =
            format!("{what} HTTP/1.1\r\nHost: robot\r\nContent-Length: {length}\r\n\r\n{body}");
        // The robot need not read all of it to answer.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.with_context(|| format!("no head in {answer:?}"))?;
        let head = String::from_utf8(answer[..end].to_vec())?.to_lowercase();
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok(Answer { status, head, body: answer[end + 4..].to_vec() })
    }

    /// Changes a camera.
    pub async fn change(&self, camera: &str, change: &str) -> anyhow::Result<()> {
        let answer = self.ask(&format!("PATCH /cameras/{camera}"), change).await?;
        ensure!(answer.status == 204, "{change}: {answer:?}");
        Ok(())
    }

    /// The newest telemetry.
    pub async fn telemetry(&self) -> anyhow::Result<Value> {
        self.ask("GET /telemetry", "").await?.json()
    }

    /// The telemetry's figures of a camera, as soon as they are as wanted.
    pub async fn figures(
        &self,
        camera: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The sender may only just have started.
            let told = self.telemetry().await.and_then(|told| of(&told, camera));
            match told {
                Ok(told) if wanted(&told) => return Ok(told),
                _ if Instant::now() > deadline => bail!("{camera} is not as wanted: {told:?}"),
                _ => sleep(std::time::Duration::from_millis(100)).await,
            }
        }
    }

    /// Waits for the same.
    pub async fn wait_for(
        &self,
        camera: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<()> {
        self.figures(camera, wanted).await.map(drop).with_context(|| format!("not {what}"))
    }
}

fn of(telemetry: &Value, camera: &str) -> anyhow::Result<Value> {
    let cameras = telemetry["cameras"].as_array().context("no cameras")?;
    cameras.iter().find(|told| told["id"] == camera).cloned().context("no such camera")
}
