//! A host: its programs, its addresses and routes.

use std::ffi::OsStr;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow, ensure};
use nix::sched::{CloneFlags, setns};

use super::link::Link;
use super::{NAMESPACES, run};
use crate::lab::{self, Folder, Program, program};

/// A host of a [`Net`](super::Net); clones are the same host.
#[derive(Debug, Clone)]
pub struct Host(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    namespace: String,
    uplinks: Mutex<Vec<Uplink>>,
}

/// A way out: what is routed by a link as long as that has its address and is up.
#[derive(Debug, Clone)]
struct Uplink {
    device: String,
    address: Ipv4Addr,
    via: Ipv4Addr,
    metric: u32,
    table: u32,
}

impl Host {
    /// A new one in a new namespace of this name.
    pub(super) fn make(namespace: String) -> anyhow::Result<Self> {
        run(Command::new("ip").args(["netns", "add", &namespace]))?;
        let host = Self(Arc::new(Inner { namespace, uplinks: Mutex::default() }));
        // No address appears by itself, and a packet may leave by another way than it comes.
        for (setting, value) in
            [("ipv6/conf/all/disable_ipv6", "1"), ("ipv6/conf/default/disable_ipv6", "1")]
        {
            let path = format!("/proc/sys/net/{setting}");
            if Path::new(&path).exists() {
                host.write(&path, value)?;
            }
        }
        for scope in ["all", "default"] {
            host.write(&format!("/proc/sys/net/ipv4/conf/{scope}/rp_filter"), "0")?;
        }
        host.ip("link set lo up")?;
        Ok(host)
    }

    /// The name of its network namespace.
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// A program inside it, to be given arguments and started. It is started in the place of
    /// `ip netns exec`: the process is the program's.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.namespace()]).arg(program);
        command
    }

    /// Starts one of our programs inside it.
    pub fn start(&self, name: &str, arguments: &[&str]) -> anyhow::Result<Program> {
        let mut command = self.command(program(name)?);
        command.args(arguments);
        Program::spawn(name, command)
    }

    /// Starts a broker that listens here. Returns it with its address, `IP:PORT`.
    pub fn broker(&self, address: Ipv4Addr, port: u16) -> anyhow::Result<(Program, String)> {
        let listen = format!("{address}:{port}");
        let mut broker = self.start("rovercast-signaling", &["--listen", &listen, "--insecure"])?;
        let address = broker.wait_for("address", lab::address_in)?;
        Ok((broker, address))
    }

    /// Starts a robot with this config at a broker.
    pub fn robot(&self, folder: &Folder, config: &str, broker: &str) -> anyhow::Result<Program> {
        let config = folder.write("sender.toml", config)?;
        let url = format!("ws://{broker}");
        self.start("rovercast-sender", &["--config", &config, "--url", &url])
    }

    /// Does something on a thread that is inside it: sockets that it makes belong to this host.
    pub fn within<T: Send>(&self, task: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        let namespace = File::open(Path::new(NAMESPACES).join(self.namespace()))?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || -> anyhow::Result<T> {
                setns(namespace, CloneFlags::CLONE_NEWNET).context("cannot enter the host")?;
                Ok(task())
            });
            inside.join().map_err(|_| anyhow!("a thread inside a host panicked"))?
        })
    }

    /// Runs `ip` inside it.
    pub fn ip(&self, arguments: &str) -> anyhow::Result<String> {
        let inside = ["-n", self.namespace()];
        run(Command::new("ip").args(inside).args(arguments.split_whitespace()))
    }

    /// Has `nft` take these rules inside it.
    pub fn nft(&self, rules: &str) -> anyhow::Result<()> {
        run(self.command("nft").arg(rules)).map(drop)
    }

    /// Drops UDP that it would pass on, from now on: two hosts beyond this router reach each other
    /// by UDP no more, whatever reaches the router itself still does.
    pub fn forward_no_udp(&self) -> anyhow::Result<()> {
        self.nft(
            "table ip forward_no_udp { chain pass { type filter hook forward priority filter; \
             meta l4proto udp counter drop; }; }",
        )
    }

    /// Drops the UDP that it sends, from now on, but to this port: whoever it is that it looks for, it
    /// finds them by a server there, or by TCP.
    pub fn send_no_udp_but_to(&self, port: u16) -> anyhow::Result<()> {
        self.nft(&format!(
            "table ip send_no_udp {{ chain pass {{ type filter hook output priority filter; \
             meta l4proto udp udp dport != {port} counter drop; }}; }}"
        ))
    }

    /// Routes by this link whatever no other route is for; of several the one with the lowest
    /// `metric` is taken. What is sent from the link's own address goes by it in any case, as it
    /// has to where every provider drops what has addresses of others.
    pub fn uplink(&self, link: &Link, metric: u32) -> anyhow::Result<()> {
        let (address, via) = (link.address_of(self)?, link.address_beyond(self)?);
        let mut uplinks = self.0.uplinks.lock().unwrap_or_else(PoisonError::into_inner);
        let table = 100 + u32::try_from(uplinks.len())?;
        let uplink = Uplink { device: link.name().to_owned(), address, via, metric, table };
        self.ip(&format!("rule add from {address} lookup {table}"))?;
        self.add_routes(&uplink)?;
        uplinks.push(uplink);
        Ok(())
    }

    /// Makes the route of this link the last choice (or what it was before): as a network daemon
    /// does that has noticed that the link leads nowhere.
    pub fn demote(&self, link: &Link, demoted: bool) -> anyhow::Result<()> {
        let uplink = self.uplink_of(link)?;
        let Uplink { device, via, metric, .. } = &uplink;
        let low = metric + 100_000;
        let (old, new) = if demoted { (*metric, low) } else { (low, *metric) };
        self.ip(&format!("route add default via {via} dev {device} metric {new}"))?;
        self.ip(&format!("route del default via {via} dev {device} metric {old}"))?;
        Ok(())
    }

    /// Takes its address from a link, with the routes that belong to it, as a DHCP client does.
    pub fn address_del(&self, link: &Link) -> anyhow::Result<()> {
        let (device, address) = (link.name(), link.address_of(self)?);
        self.ip(&format!("address del {address}/24 dev {device}"))?;
        self.ip(&format!("route flush dev {device}"))?;
        let uplink = self.uplink_of(link)?;
        self.ip(&format!("route flush table {}", uplink.table))?;
        Ok(())
    }

    /// Gives it its address on a link back, with the routes.
    pub fn address_add(&self, link: &Link) -> anyhow::Result<()> {
        let (device, address) = (link.name(), link.address_of(self)?);
        self.ip(&format!("address add {address}/24 dev {device}"))?;
        self.restore_routes(device)
    }

    /// Puts back the routes by this device, which are lost when it goes down.
    pub(super) fn restore_routes(&self, device: &str) -> anyhow::Result<()> {
        let uplinks = self.0.uplinks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut of_device = uplinks.iter().filter(|uplink| uplink.device == device);
        of_device.try_for_each(|uplink| self.add_routes(uplink))
    }

    /// Writes one of the kernel's settings of this host.
    pub(super) fn write(&self, path: &str, value: &str) -> anyhow::Result<()> {
        self.within(|| std::fs::write(path, value))?.with_context(|| format!("cannot set {path}"))
    }

    fn add_routes(&self, uplink: &Uplink) -> anyhow::Result<()> {
        let Uplink { device, address, via, metric, table } = uplink;
        self.ip(&format!("route replace default via {via} dev {device} metric {metric}"))?;
        let own = format!("route replace default via {via} dev {device} src {address}");
        self.ip(&format!("{own} table {table}"))?;
        Ok(())
    }

    fn uplink_of(&self, link: &Link) -> anyhow::Result<Uplink> {
        let uplinks = self.0.uplinks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut uplinks = uplinks.iter().filter(|uplink| uplink.device == link.name());
        uplinks.next().cloned().with_context(|| format!("{} is no uplink", link.name()))
    }

    /// Whether both are the same host.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Makes a TUN device inside a host.
pub(super) fn tun(host: &Host, name: &str) -> anyhow::Result<tun_rs::SyncDevice> {
    ensure!(name.len() < 16, "{name} is too long for a device");
    let made =
        host.within(|| tun_rs::DeviceBuilder::new().name(name).enable(false).build_sync())?;
    made.with_context(|| format!("cannot make the TUN device {name}"))
}
