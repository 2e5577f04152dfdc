//! A robot with two ways out, a router, and an operator.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Host, Link, LinkSettings, Net};

/// From the robot to the router; there and back it is twice that.
const DELAY: Duration = Duration::from_millis(10);

/// The hosts, and the links between them.
pub struct TwoWays {
    /// Prefers `wifi` while it is there.
    pub robot: Host,
    /// Between the others.
    pub router: Host,
    /// At a desk, without delay.
    pub operator: Host,
    /// The robot's first way out.
    pub wifi: Link,
    /// And its second.
    pub lte: Link,
    /// The router's address that all reach, and that depends on none of the robot's links.
    pub public: Ipv4Addr,
}

impl TwoWays {
    /// Builds it.
    pub fn new(net: &mut Net) -> anyhow::Result<Self> {
        let (robot, router) = (net.host("robot")?, net.router("router")?);
        let operator = net.host("operator")?;
        let far = LinkSettings { delay: [DELAY; 2], ..LinkSettings::default() };
        let wifi = net.link("wifi", &robot, &router, far)?;
        let lte = net.link("lte", &robot, &router, far)?;
        let desk = net.link("desk", &operator, &router, LinkSettings::default())?;
        robot.uplink(&wifi, 100)?;
        robot.uplink(&lte, 200)?;
        operator.uplink(&desk, 100)?;
        let public = desk.address_of(&router)?;
        Ok(Self { robot, router, operator, wifi, lte, public })
    }
}
