//! The programs as processes, and the files that they read.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// The longest that anything awaited may take: generous, since hosts are slow at times.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Starts GStreamer in a test, once for all tests of the process.
pub fn gstreamer() {
    static STARTED: std::sync::Once = std::sync::Once::new();
    STARTED.call_once(|| {
        if let Err(error) = rovercast_peer::start::start() {
            panic!("{error}");
        }
    });
}

/// The binary of one of our programs, of the build that the caller belongs to.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let folders = this.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not built: run `cargo build --workspace` first"))
}

/// A program that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Program {
    /// Starts one of our programs.
    pub fn start(name: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(program(name)?);
        command.args(arguments);
        Self::spawn(name, command)
    }

    /// Starts any program; its output is read and kept.
    pub fn spawn(name: &str, mut command: Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let (lines_tx, lines) = channel();
        let out = child.stdout.take().map(|out| Box::new(out) as Box<dyn std::io::Read + Send>);
        let err = child.stderr.take().map(|err| Box::new(err) as Box<dyn std::io::Read + Send>);
        for stream in [out, err].into_iter().flatten() {
            let lines = lines_tx.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = lines.send(line);
                }
            });
        }
        Ok(Self { name: name.to_owned(), child, lines, seen: Vec::new() })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for an output line for which `find` gives something.
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        find: impl Fn(&str) -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let found = find(&line);
                    self.seen.push(line);
                    if let Some(found) = found {
                        return Ok(found);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{}: no {what} in\n{}", self.name, self.seen.join("\n"))
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("{} ended without {what}:\n{}", self.name, self.seen.join("\n"))
                }
            }
        }
    }

    /// Waits for an output line that contains `text`.
    pub fn wait_for_text(&mut self, text: &str) -> anyhow::Result<String> {
        self.wait_for(text, |line| line.contains(text).then(|| line.to_owned()))
    }

    /// Everything that it has printed so far.
    pub fn output(&mut self) -> String {
        self.seen.extend(self.lines.try_iter());
        self.seen.join("\n")
    }

    /// Sends SIGINT, as Ctrl-C does, and waits for the end.
    pub fn interrupt(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal("INT")?;
        self.wait()
    }

    /// Sends SIGHUP: it is to read its config again.
    pub fn hang_up(&self) -> anyhow::Result<()> {
        self.signal("HUP")
    }

    /// Sends it a signal: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status()?;
        ensure!(sent.success(), "{} takes no {name}", self.name);
        Ok(())
    }

    /// Ends it as `kill -9` does.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let output = self.output();
        bail!("{} does not end:\n{output}", self.name)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a broker. Returns it with its address, `127.0.0.1:PORT`.
pub fn broker(listen: &str) -> anyhow::Result<(Program, String)> {
    let mut broker = Program::start("rovercast-signaling", &["--listen", listen])?;
    let address = broker.wait_for("address", address_in)?;
    Ok((broker, address))
}

/// The address in the line by which a broker says that it listens.
pub fn address_in(line: &str) -> Option<String> {
    line.strip_prefix("listening on http://").map(str::to_owned)
}

/// Starts a robot with this config at a broker.
pub fn robot(folder: &Folder, config: &str, broker: &str) -> anyhow::Result<Program> {
    let config = folder.write("sender.toml", config)?;
    let url = format!("ws://{broker}");
    Program::start("rovercast-sender", &["--config", &config, "--url", &url])
}

/// Starts a robot like [`robot`], with these variables in its environment, and with a folder for
/// caches of its own: it knows nothing of what encoders others have found to work.
pub fn robot_in(
    environment: &[(String, String)],
    folder: &Folder,
    config: &str,
    broker: &str,
) -> anyhow::Result<Program> {
    let config = folder.write("sender.toml", config)?;
    let mut command = Command::new(program("rovercast-sender")?);
    command.args(["--config", &config, "--url", &format!("ws://{broker}")]);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.env("XDG_CACHE_HOME", folder.path());
    Program::spawn("rovercast-sender", command)
}

/// A folder of its own for a test, removed in the end.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let unique = format!("rovercast-{name}-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it. Returns the file's path.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.0.join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The config of a robot with test cameras: id, width, height and frames per second of each.
pub fn robot_config(robot: &str, cameras: &[(&str, u32, u32, u32)]) -> String {
    let mut config = format!("[robot]\nid = \"{robot}\"\n");
    for (id, width, height, fps) in cameras {
        config.push_str(&format!(
            "[[camera]]\nid = \"{id}\"\nsource = {{ type = \"test\", pattern = \"smpte\" }}\n\
             width = {width}\nheight = {height}\nfps = {fps}\nbitrate_kbps = 2000\n"
        ));
    }
    config
}

/// The sessions that are connected and have not ended, by a robot's log.
pub fn open_sessions(log: &str) -> BTreeSet<&str> {
    let of = |event: &str| -> BTreeSet<&str> {
        let lines = log.lines().filter(|line| line.contains(event));
        lines.filter_map(|line| line.split_once("session=")?.1.split_whitespace().next()).collect()
    };
    &of("session connected") - &of("session ended")
}

/// How many pictures ffmpeg decodes of a file.
pub fn decoded(path: &Path) -> anyhow::Result<u64> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames"]);
    let output = ffprobe.args(["-of", "csv=p=0"]).arg(path).output();
    let output = output.context("ffprobe is needed: install the package ffmpeg")?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {complaints}", path.display());
    let count = String::from_utf8(output.stdout)?;
    count.trim().parse().with_context(|| format!("{}: {count:?} {complaints}", path.display()))
}

/// Recorded footage for tests, where there is some: the folder that `ROVERCAST_FOOTAGE` names, or
/// `../shared/footage` beside the checkout.
pub fn footage(file: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/footage");
    let folder = std::env::var_os("ROVERCAST_FOOTAGE").map_or_else(beside, PathBuf::from);
    let path = folder.join(file);
    path.is_file().then_some(path)
}
