//! A link between two hosts, and what befalls it.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::delay::Delay;
use super::host::{Host, tun};
use super::run;

/// What a link is like from the start.
#[derive(Debug, Clone, Copy)]
pub struct LinkSettings {
    /// How long packets are under way: from the first host to the second, and back.
    pub delay: [Duration; 2],
    /// What it carries, each way, in units of 1,000 bits per second. Any amount when none.
    pub rate_kbps: Option<u32>,
    /// How long a packet may wait for its turn where the rate is limited; it is dropped when it
    /// would be longer.
    pub queue: Duration,
    /// What gets lost, each way.
    pub loss: Loss,
}

impl Default for LinkSettings {
    /// As if the two hosts were one: no delay, any rate, no loss. Packets may wait for 100 ms.
    fn default() -> Self {
        let queue = Duration::from_millis(100);
        Self { delay: [Duration::ZERO; 2], rate_kbps: None, queue, loss: Loss::None }
    }
}

/// Which packets get lost. TCP is spared unless everything goes: what a test measures is media,
/// not how the way to the broker copes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// None.
    None,
    /// Each UDP packet for itself, by chance: so many of 1,000.
    Random {
        /// 1 to 999.
        per_mille: u16,
    },
    /// Each UDP packet of this number since the start: one of so many, evenly.
    Every {
        /// 2 or more.
        packets: u16,
    },
    /// All packets of all kinds, without a word to anybody.
    All,
}

/// What has come by a link since its loss was last set, both ways together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Packets that could get lost.
    pub offered: u64,
    /// Those that did.
    pub lost: u64,
    /// Packets, since the start of the link, that it could not take: too many were under way, or
    /// the device at the other end was down.
    pub refused: u64,
}

/// A link of a [`Net`](super::Net); clones are the same link.
#[derive(Debug, Clone)]
pub struct Link {
    name: String,
    subnet: u8,
    hosts: [Host; 2],
    refused: Arc<AtomicU64>,
}

impl Link {
    pub(super) fn new(name: &str, subnet: u8, first: &Host, second: &Host) -> Self {
        let hosts = [first.clone(), second.clone()];
        Self { name: name.to_owned(), subnet, hosts, refused: Arc::default() }
    }

    /// Makes the devices and gives them addresses.
    pub(super) fn make(&self, settings: &LinkSettings) -> anyhow::Result<Option<Delay>> {
        let [first, second] = &self.hosts;
        let name = &self.name;
        let delay = if settings.delay == [Duration::ZERO; 2] {
            let other = second.namespace();
            first.ip(&format!("link add {name} type veth peer name {name} netns {other}"))?;
            None
        } else {
            let devices = [tun(first, name)?, tun(second, name)?];
            Some(Delay::start(devices, settings.delay, self.refused.clone())?)
        };
        for host in &self.hosts {
            let address = self.address_of(host)?;
            host.ip(&format!("address add {address}/24 dev {name}"))?;
            host.ip(&format!("link set {name} up"))?;
        }
        Ok(delay)
    }

    /// The name of its devices.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address that a host has on it.
    pub fn address_of(&self, host: &Host) -> anyhow::Result<Ipv4Addr> {
        let index = self.hosts.iter().position(|end| end.is(host));
        let index =
            index.with_context(|| format!("{} is not on {}", host.namespace(), self.name))?;
        Ok(Ipv4Addr::new(10, 99, self.subnet, if index == 0 { 1 } else { 2 }))
    }

    /// The address beyond it, seen from a host.
    pub fn address_beyond(&self, host: &Host) -> anyhow::Result<Ipv4Addr> {
        let [first, second] = &self.hosts;
        self.address_of(if first.is(host) { second } else { first })
    }

    /// Takes the first host's device down: its programs are told, and its routes are gone.
    pub fn down(&self) -> anyhow::Result<()> {
        self.hosts[0].ip(&format!("link set {} down", self.name)).map(drop)
    }

    /// Takes it up again, with the routes.
    pub fn up(&self) -> anyhow::Result<()> {
        self.hosts[0].ip(&format!("link set {} up", self.name))?;
        self.hosts[0].restore_routes(&self.name)
    }

    /// Loses everything and tells nobody, or goes on without any loss.
    pub fn set_blackhole(&self, blackhole: bool) -> anyhow::Result<()> {
        self.set_loss(if blackhole { Loss::All } else { Loss::None })
    }

    /// Changes what gets lost. Counts from the start again.
    pub fn set_loss(&self, loss: Loss) -> anyhow::Result<()> {
        let (which, chosen) = match loss {
            Loss::None => ("meta l4proto udp", None),
            Loss::All => ("", Some(String::new())),
            Loss::Random { per_mille } => {
                ensure!((1..1000).contains(&per_mille), "by chance 1 to 999 of 1000 get lost");
                ("meta l4proto udp", Some(format!("numgen random mod 1000 < {per_mille}")))
            }
            Loss::Every { packets } => {
                ensure!(packets >= 2, "for all packets there is another setting");
                ("meta l4proto udp", Some(format!("numgen inc mod {packets} == 0")))
            }
        };
        let (name, table) = (&self.name, self.table());
        let match_all = format!("iifname \"{name}\" {which}");
        let offer = format!("{match_all} counter;");
        let lose =
            chosen.map_or(String::new(), |chosen| format!("{match_all} {chosen} counter drop;"));
        for host in &self.hosts {
            host.nft(&format!(
                "add table ip {table}; delete table ip {table}; table ip {table} {{ chain arrive \
                 {{ type filter hook prerouting priority raw; {offer} {lose} }}; }}"
            ))?;
        }
        Ok(())
    }

    /// What came and what got lost.
    pub fn count(&self) -> anyhow::Result<Count> {
        let refused = self.refused.load(Ordering::Relaxed);
        let mut count = Count { refused, ..Count::default() };
        for host in &self.hosts {
            let list = run(host.command("nft").args(["list", "table", "ip", &self.table()]))?;
            let mut packets = list.lines().filter_map(|line| {
                let (_, rest) = line.split_once("counter packets ")?;
                rest.split_whitespace().next()?.parse::<u64>().ok()
            });
            let Some(offered) = packets.next() else { bail!("no count in {list}") };
            count.offered += offered;
            count.lost += packets.next().unwrap_or(0);
        }
        Ok(count)
    }

    /// Changes what it carries, each way, and how long packets may wait for that.
    pub fn set_rate(&self, rate_kbps: Option<u32>, queue: Duration) -> anyhow::Result<()> {
        for host in &self.hosts {
            let on = ["-n", host.namespace(), "qdisc"];
            let device = ["dev", &self.name, "root"];
            let Some(rate_kbps) = rate_kbps else {
                // There may be none to remove.
                let _ = run(Command::new("tc").args(on).arg("del").args(device));
                continue;
            };
            // At once: what comes in 10 ms, but no less than two whole packets.
            let burst = (rate_kbps * 10 / 8).max(3028);
            let ms = queue.as_millis();
            let limit = format!("tbf rate {rate_kbps}kbit burst {burst} latency {ms}ms");
            let limit = limit.split_whitespace();
            run(Command::new("tc").args(on).arg("replace").args(device).args(limit))?;
        }
        Ok(())
    }

    fn table(&self) -> String {
        format!("loss_{}", self.subnet)
    }
}
