//! Which encoder really works here. An element that is registered may have no hardware behind it,
//! and a broken driver can crash or hang whoever opens it: so each candidate is tried by a process
//! of its own, and the sender loads none that has not proved itself.

pub mod access_unit;
pub mod cache;
pub mod trial;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use crate::camera::drive;
use crate::camera::encoder::{self, Converter, Encoder};
use crate::config::CameraConfig;
use cache::Cache;
use trial::{Trial, Verdict};

/// The subcommand by which the sender tries an encoder: `FACTORY WIDTH HEIGHT FPS KBPS` follow.
pub const SUBCOMMAND: &str = "probe-encoder";

/// The longest that a trial may take.
pub const LIMIT: Duration = Duration::from_secs(5);

/// A process that is killed is gone by then, unless its driver does not let it go.
const DYING: Duration = Duration::from_secs(1);

/// A failure is believed for so long: a device that was busy may be free then.
const FAILURE: Duration = Duration::from_secs(60);

/// More is not read of what a trial prints.
const MOST_PRINTED: u64 = 64 * 1024;

/// Chooses encoders that work. One for all cameras: what one has found the others need not try.
#[derive(Debug, Clone)]
pub struct Probe {
    program: PathBuf,
    limit: Duration,
    known: Arc<Mutex<Known>>,
    /// Held during a trial: a second one at the same time would make both slower, or fail where the
    /// hardware takes one stream at a time. What is known already waits for no trial.
    trying: Arc<Mutex<()>>,
}

#[derive(Debug)]
struct Known {
    cache: Cache,
    failures: HashMap<Trial, Failure>,
}

#[derive(Debug, Clone)]
struct Failure {
    reason: String,
    at: Instant,
    /// What hung once may hang again, and each time may leave a process behind that nobody can end.
    hung: bool,
}

impl Probe {
    /// `program` is the sender itself. What works is kept below `cache_folder` until the next boot.
    /// Reads the file. GStreamer must have been started.
    pub fn new(program: PathBuf, cache_folder: Option<&Path>) -> Self {
        let known = Known { cache: Cache::read(cache_folder), failures: HashMap::new() };
        let (known, trying) = (Arc::new(Mutex::new(known)), Arc::default());
        Self { program, limit: LIMIT, known, trying }
    }

    /// With another time limit for each trial.
    pub fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// The encoder for a camera: the wanted one, or the best that works. The error is for people; it
    /// names every candidate with what is wrong with it.
    pub async fn choose(&self, camera: &CameraConfig) -> Result<&'static Encoder, String> {
        let mut reasons = Vec::new();
        let candidates: Vec<_> = encoder::candidates(camera.codec, &camera.encoder).collect();
        for (index, &row) in candidates.iter().enumerate() {
            let reason = match self.try_encoder(row, camera).await {
                Ok(()) => return Ok(row),
                Err(reason) => reason,
            };
            // That a desktop has no Jetson's encoder is no news.
            if installed(row)
                && let Some(next) = candidates[index + 1..].iter().find(|row| installed(row))
            {
                tracing::warn!(
                    camera = %camera.id,
                    "{} does not work here: {reason}; trying {}", row.factory, next.factory
                );
            }
            reasons.push(format!("{}: {reason}", row.factory));
        }
        Err(format!("no encoder for {} works: {}", camera.codec, reasons.join("; ")))
    }

    /// Whether this encoder works for a camera. The error is for people.
    pub async fn try_encoder(
        &self,
        row: &'static Encoder,
        camera: &CameraConfig,
    ) -> Result<(), String> {
        if !installed(row) {
            return Err(drive::missing(row));
        }
        let &CameraConfig { width, height, fps, bitrate_kbps, .. } = camera;
        row.fits(width, height, fps)?;
        // The bitrate makes no difference to whether it works: it is not part of what is known.
        let trial = Trial { factory: row.factory.to_owned(), width, height, fps, bitrate_kbps: 0 };
        if let Some(verdict) = self.known.lock().await.verdict(&trial) {
            return verdict;
        }
        let _trying = self.trying.lock().await;
        // Another camera may have tried it meanwhile.
        if let Some(verdict) = self.known.lock().await.verdict(&trial) {
            return verdict;
        }
        let outcome = self.run(&Trial { bitrate_kbps, ..trial.clone() }).await;
        let mut known = self.known.lock().await;
        match outcome {
            Ok(Verdict::Works { delay_frames }) => {
                if delay_frames > 0 {
                    tracing::warn!("{} holds back {delay_frames} frames", row.factory);
                }
                known.failures.remove(&trial);
                let unwritten = known.cache.keep(&trial);
                drop(known);
                if let Some(unwritten) = unwritten {
                    // Whether it comes to the disk makes no difference to this run.
                    drop(spawn_blocking(move || unwritten.write()).await);
                }
                Ok(())
            }
            Ok(Verdict::Fails(reason)) => known.fails(trial, reason, false),
            // The processor hangs on nothing: it was busy with something else.
            Err(Unanswered::Hung(reason)) if row.converter == Converter::Software => Err(reason),
            Err(Unanswered::Hung(reason)) => known.fails(trial, reason, true),
            Err(Unanswered::Gone(reason)) => known.fails(trial, reason, false),
        }
    }

    /// Runs a trial to its end, or to the limit.
    async fn run(&self, trial: &Trial) -> Result<Verdict, Unanswered> {
        let numbers = [trial.width, trial.height, trial.fps, trial.bitrate_kbps];
        let mut child = Command::new(&self.program)
            .arg(SUBCOMMAND)
            .arg(&trial.factory)
            .args(numbers.map(|number| number.to_string()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                let program = self.program.display();
                Unanswered::Gone(format!("{program} cannot be started to try it: {error}"))
            })?;
        match timeout(self.limit, ended(&mut child)).await {
            Ok((printed, status)) => verdict(&printed).ok_or_else(|| {
                let how =
                    status.map_or_else(|error| error.to_string(), |status| status.to_string());
                Unanswered::Gone(format!("the trial crashed ({how})"))
            }),
            Err(_) => {
                let _ = child.start_kill();
                if timeout(DYING, child.wait()).await.is_err() {
                    tracing::warn!(
                        "the trial of {} cannot be ended: its driver hangs",
                        trial.factory
                    );
                }
                Err(Unanswered::Hung(format!("it does not answer within {:?}", self.limit)))
            }
        }
    }
}

/// Why a trial gave no verdict.
enum Unanswered {
    Hung(String),
    Gone(String),
}

impl Known {
    /// What needs no trial any more.
    fn verdict(&self, trial: &Trial) -> Option<Result<(), String>> {
        if self.cache.works(trial) {
            return Some(Ok(()));
        }
        self.failure(trial).map(|failure| Err(failure.reason.clone()))
    }

    fn failure(&self, trial: &Trial) -> Option<&Failure> {
        let hung = |failure: &&Failure| failure.hung;
        let same = self.failures.get(trial);
        same.filter(|failure| failure.hung || failure.at.elapsed() < FAILURE).or_else(|| {
            let others = self.failures.iter().filter(|(other, _)| other.factory == trial.factory);
            others.map(|(_, failure)| failure).find(hung)
        })
    }

    fn fails(&mut self, trial: Trial, reason: String, hung: bool) -> Result<(), String> {
        self.failures.retain(|_, failure| failure.hung || failure.at.elapsed() < FAILURE);
        self.failures.insert(trial, Failure { reason: reason.clone(), at: Instant::now(), hung });
        Err(reason)
    }
}

/// Whether GStreamer knows the encoder: looked up without loading its plugin.
pub fn installed(row: &Encoder) -> bool {
    gst::ElementFactory::find(row.factory).is_some()
}

/// What a process printed, and how it ended.
async fn ended(child: &mut Child) -> (Vec<u8>, std::io::Result<ExitStatus>) {
    let mut printed = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        // What came until then is looked at in any case.
        let _ = stdout.take(MOST_PRINTED).read_to_end(&mut printed).await;
    }
    (printed, child.wait().await)
}

/// The verdict among whatever else drivers print.
fn verdict(printed: &[u8]) -> Option<Verdict> {
    printed.split(|&byte| byte == b'\n').rev().find_map(|line| serde_json::from_slice(line).ok())
}

/// The line that tells a verdict, on a line of its own whatever drivers have printed before.
pub fn line(verdict: &Verdict) -> String {
    match serde_json::to_string(verdict) {
        Ok(json) => format!("\n{json}\n"),
        Err(error) => format!("\n{error}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_found_among_what_drivers_print() {
        for wanted in [Verdict::Works { delay_frames: 1 }, Verdict::Fails("no\nGPU".to_owned())] {
            let printed = format!("Opening in BLOCKING MODE{}NvMMLite{{}}\n", line(&wanted));
            assert_eq!(verdict(printed.as_bytes()), Some(wanted));
        }
        assert_eq!(verdict(b"\xff\x00\n{}\n"), None);
    }
}
