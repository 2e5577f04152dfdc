//! The two brokers that are measured, as processes: ours, and the one that comes with
//! `webrtcsink`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rovercast_e2e::figures::Usage;
use rovercast_e2e::lab::{PATIENCE, Program, address_in};
use rovercast_e2e::scrape::scrape;

/// As `make bench` installs it, from the folder of this crate.
const RIVAL: &str = "../../target/rivals/bin/gst-webrtc-signalling-server";

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// `rovercast-signaling`.
    Ours,
    /// `gst-webrtc-signalling-server`.
    Theirs,
}

impl Side {
    /// Those that are there; says so if only ours is.
    pub(crate) fn present() -> Vec<Self> {
        let path = rival();
        if path.is_file() {
            return vec![Self::Ours, Self::Theirs];
        }
        println!(
            "gst-webrtc-signalling-server: SKIPPED, not built: no {} (`make bench` builds it)\n",
            path.display()
        );
        vec![Self::Ours]
    }

    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "rovercast-signaling",
            Self::Theirs => "gst-webrtc-signalling-server",
        }
    }

    /// Starts it, with its defaults but for what it logs of each message: both say warnings only.
    pub(crate) fn start(self) -> anyhow::Result<Running> {
        match self {
            Self::Ours => {
                // All that is said in a turn comes from few peers: more than any of them needs else.
                let flags = "--listen 127.0.0.1:0 --log-level warn --messages-per-s 1000000";
                let flags: Vec<_> = flags.split(' ').collect();
                let mut program = Program::start("rovercast-signaling", &flags)?;
                let address = program.wait_for("address", address_in)?.parse()?;
                Ok(Running { side: self, program, address })
            }
            Self::Theirs => {
                // It cannot be left to choose a port.
                let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
                let mut command = Command::new(rival());
                command.args(["--host", "127.0.0.1", "--port", &free.to_string()]);
                command.env("WEBRTCSINK_SIGNALLING_SERVER_LOG", "warn");
                let program = Program::spawn("gst-webrtc-signalling-server", command)?;
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free));
                let deadline = Instant::now() + PATIENCE;
                while std::net::TcpStream::connect(address).is_err() {
                    ensure!(Instant::now() < deadline, "it does not listen on {address}");
                    std::thread::sleep(Duration::from_millis(20));
                }
                Ok(Running { side: self, program, address })
            }
        }
    }
}

/// A broker that runs.
pub(crate) struct Running {
    side: Side,
    program: Program,
    /// Where.
    pub(crate) address: SocketAddr,
}

impl Running {
    /// Its memory, in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        Ok(Usage::of(self.program.pid())?.memory)
    }

    /// Its processor time since its start.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        Ok(Usage::of(self.program.pid())?.cpu)
    }

    /// How many peers ours says that it has dropped because they did not read; of theirs nothing
    /// can be told.
    pub(crate) async fn dropped(&self) -> anyhow::Result<Option<usize>> {
        if self.side == Side::Theirs {
            return Ok(None);
        }
        let page = scrape(&self.address.to_string()).await?;
        let name = "rovercast_signaling_ended_total{reason=\"too-slow\"}";
        Ok(Some(*page.figures.get(name).context(name)? as usize))
    }
}

/// Lets this process, and the brokers that it starts, have as many sockets as the system allows;
/// `wanted` of them are needed.
pub(crate) fn raise_descriptors(wanted: u64) -> anyhow::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ensure!(
        most >= wanted,
        "{wanted} open files are needed, {most} allowed: raise `ulimit -Hn`, as root"
    );
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("cannot raise RLIMIT_NOFILE")
}

fn rival() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(RIVAL)
}
