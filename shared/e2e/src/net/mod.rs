//! Networks of a test's own: hosts, links that are slow, lossy, or gone, and programs inside them.
//!
//! ```text
//! let Some(mut net) = Net::new()? else { return Ok(()) };   // says SKIPPED, and why
//! let robot = net.host("robot")?;
//! let router = net.router("router")?;
//! let far = LinkSettings { delay: [Duration::from_millis(10); 2], ..LinkSettings::default() };
//! let wifi = net.link("wifi", &robot, &router, far)?;
//! robot.uplink(&wifi, 100)?;                                // its default route
//! let (_broker, address) = router.broker(wifi.address_of(&router)?, 8765)?;
//! let sender = robot.robot(&folder, &config, &address)?;
//! wifi.set_blackhole(true)?;                                // silence, and nobody is told
//! ```
//!
//! A host is a network namespace. A link is a pair of Ethernet devices, or, where packets are to be
//! under way for a while, of TUN devices with a thread between them. Rates are kept by `tbf`, losses
//! are made by nftables. Nothing leaves the namespaces, and all of it ends with the [`Net`], after
//! a panic, too; what a killed test left behind is removed when the next one starts. It takes root,
//! and the Debian packages iproute2 and nftables.
//!
//! There is IPv4 only. All hosts share the clocks of this computer.

mod delay;
mod host;
mod link;
pub mod path;
mod two_ways;
mod viewer;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, ensure};

pub use host::Host;
pub use link::{Count, Link, LinkSettings, Loss};
pub use two_ways::TwoWays;
pub use viewer::{Seen, Viewer};

/// Begins the name of every namespace that is made here; the number of the test's process follows.
const PREFIX: &str = "rovercast-";

/// Where `ip` has the namespaces.
const NAMESPACES: &str = "/run/netns";

/// Some hosts and the links between them.
#[derive(Debug)]
pub struct Net {
    tag: String,
    hosts: Vec<Host>,
    subnets: u8,
    delays: Vec<delay::Delay>,
}

impl Net {
    /// An empty one. None where this user may make no networks, or a program for it is missing:
    /// then that and the remedy have been printed, and the test has nothing to do.
    pub fn new() -> anyhow::Result<Option<Self>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let tag = format!("{PREFIX}{}-{count}", std::process::id());
        if let Some(reason) = missing(&tag)? {
            println!("SKIPPED: {reason}");
            return Ok(None);
        }
        sweep();
        Ok(Some(Self { tag, hosts: Vec::new(), subnets: 0, delays: Vec::new() }))
    }

    /// A new host, linked with nothing.
    pub fn host(&mut self, name: &str) -> anyhow::Result<Host> {
        let host = Host::make(format!("{}-{name}", self.tag))?;
        self.hosts.push(host.clone());
        Ok(host)
    }

    /// A new host that passes on what is not for itself.
    pub fn router(&mut self, name: &str) -> anyhow::Result<Host> {
        let host = self.host(name)?;
        host.write("/proc/sys/net/ipv4/ip_forward", "1")?;
        Ok(host)
    }

    /// A new link, by devices called `name` on both hosts (at most 15 characters, and not of
    /// those that ICE agents leave out, such as `veth…`), in a subnet of its own.
    pub fn link(
        &mut self,
        name: &str,
        first: &Host,
        second: &Host,
        settings: LinkSettings,
    ) -> anyhow::Result<Link> {
        self.subnets = self.subnets.checked_add(1).context("too many links")?;
        let link = Link::new(name, self.subnets, first, second);
        self.delays.extend(link.make(&settings)?);
        link.set_rate(settings.rate_kbps, settings.queue)?;
        link.set_loss(settings.loss)?;
        Ok(link)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for host in &self.hosts {
            remove(host.namespace());
        }
    }
}

/// Why there can be no networks here, with the remedy. What fails for any other reason is an error:
/// a test must not pass because of it.
fn missing(tag: &str) -> anyhow::Result<Option<String>> {
    for (program, package) in [("ip", "iproute2"), ("tc", "iproute2"), ("nft", "nftables")] {
        if run(Command::new(program).arg("-V")).is_err() {
            return Ok(Some(format!("there is no `{program}`: apt-get install {package}")));
        }
    }
    if !Path::new("/dev/net/tun").exists() {
        return Ok(Some("there is no /dev/net/tun: modprobe tun".to_owned()));
    }
    let trial = format!("{tag}-trial");
    match run(Command::new("ip").args(["netns", "add", &trial])) {
        Ok(_) => {
            remove(&trial);
            Ok(None)
        }
        Err(error)
            if ["not permitted", "denied"].iter().any(|no| format!("{error:#}").contains(no)) =>
        {
            Ok(Some(format!("networks of a test's own take root, CAP_NET_ADMIN: {error:#}")))
        }
        Err(error) => Err(error),
    }
}

/// Removes what tests left behind whose processes are gone.
fn sweep() {
    for entry in std::fs::read_dir(NAMESPACES).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let pid = pid.filter(|pid| pid.parse::<u32>().is_ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(&name);
        }
    }
}

/// Removes a namespace, and ends what runs in it: nothing but what a test started.
fn remove(namespace: &str) {
    let pids = run(Command::new("ip").args(["netns", "pids", namespace])).unwrap_or_default();
    for pid in pids.split_whitespace() {
        let _ = run(Command::new("kill").args(["-s", "KILL", pid]));
    }
    let _ = run(Command::new("ip").args(["netns", "del", namespace]));
}

/// Runs a program to its end. Returns what it printed; the error is what it complained of.
fn run(command: &mut Command) -> anyhow::Result<String> {
    let ended = command.stdin(Stdio::null()).output();
    let ended = ended.with_context(|| format!("cannot start {command:?}"))?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "{command:?}: {}", said.trim());
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}
