//! The whole way from a robot to an operator over one link, in one call: for benches and tests of
//! what delay, loss and rate do.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Host, Link, LinkSettings, Loss, Net};
use crate::lab::Program;

/// What the way is like.
#[derive(Debug, Clone, Copy)]
pub struct PathSettings {
    /// How long there and back takes; half of it each way.
    pub round_trip: Duration,
    /// What gets lost, each way.
    pub loss: Loss,
    /// What it carries, each way, in units of 1,000 bits per second. Any amount when none.
    pub rate_kbps: Option<u32>,
}

/// A robot's host and an operator's with a router between them, where a broker runs. The robot's
/// link is the one with the settings.
#[derive(Debug)]
pub struct Path {
    /// Where the robot runs.
    pub robot: Host,
    /// Where the viewer runs.
    pub operator: Host,
    /// Where the broker runs.
    pub router: Host,
    /// The robot's link.
    pub link: Link,
    /// The broker.
    pub broker: Program,
    /// Its address, as `IP:PORT`, from everywhere.
    pub broker_address: String,
    _net: Net,
}

impl Path {
    /// Makes it. None where there can be no networks: that has been printed.
    pub fn new(settings: PathSettings) -> anyhow::Result<Option<Self>> {
        let Some(mut net) = Net::new()? else { return Ok(None) };
        let (robot, router) = (net.host("robot")?, net.router("router")?);
        let operator = net.host("operator")?;
        let PathSettings { round_trip, loss, rate_kbps } = settings;
        let delay = [round_trip / 2; 2];
        let far = LinkSettings { delay, rate_kbps, loss, ..LinkSettings::default() };
        let link = net.link("radio", &robot, &router, far)?;
        let desk = net.link("desk", &operator, &router, LinkSettings::default())?;
        robot.uplink(&link, 100)?;
        operator.uplink(&desk, 100)?;
        let (broker, broker_address) = router.broker(Ipv4Addr::UNSPECIFIED, 8765)?;
        let (_, port) = broker_address.rsplit_once(':').unwrap_or_default();
        let broker_address = format!("{}:{port}", link.address_of(&router)?);
        Ok(Some(Self { robot, operator, router, link, broker, broker_address, _net: net }))
    }
}
