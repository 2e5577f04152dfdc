//! Whether the broker is there, and whom it knows by the robot's id.

use std::time::Duration;

use rovercast_peer::link::{Link, LinkEvent, Target};
use rovercast_protocol::ids::RobotId;
use rovercast_protocol::signaling::{
    BrokerMessage, IceServer, Meta, PeerInfo, PeerRequest, PeerStatus, ProducerMeta,
};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::tools::address::of_url;
use crate::tools::finding::Finding;

/// The broker greets within this time after the connection, and answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was seen there.
#[derive(Debug)]
pub struct Seen {
    /// What to say of it.
    pub findings: Vec<Finding>,
    /// The servers that it names; none where it is away.
    pub servers: Option<Vec<IceServer>>,
    /// Whether a robot of this id is registered.
    pub registered: bool,
}

/// Connects as a peer without a role, which nobody hears of. `senders` are the senders that run on
/// this computer.
pub async fn look(target: Target, robot: &RobotId, senders: &[u32]) -> Seen {
    let url = target.url.clone();
    let (link, mut events) = Link::start(target, PeerStatus::default());
    // A connection has its own limit of the same length.
    let welcome = match timeout(2 * PATIENCE, events.recv()).await {
        Ok(Some(LinkEvent::Up(welcome))) => welcome,
        Ok(Some(LinkEvent::Down(reason))) => return away(reason),
        Ok(_) | Err(_) => return away(format!("the broker at {url} does not greet")),
    };
    link.send(PeerRequest::List);
    let listed = async {
        loop {
            match events.recv().await? {
                LinkEvent::Message(BrokerMessage::List { producers }) => return Some(producers),
                LinkEvent::Down(_) => return None,
                _ => {}
            }
        }
    };
    let mut findings = vec![Finding::ok("broker", format!("{url} answers"))];
    let producers = timeout(PATIENCE, listed).await.ok().flatten();
    let registered = producers.as_deref().map_or(0, |all| count(all, robot));
    findings.push(match producers {
        Some(_) => identity(robot, registered, senders),
        None => {
            let text = format!("the broker at {url} does not say which robots it knows");
            Finding::fail("broker", text, "is it a broker of this protocol?")
        }
    });
    Seen { findings, servers: Some(welcome.ice_servers), registered: registered > 0 }
}

fn away(reason: String) -> Seen {
    let remedy = "start rovercast-signaling there, correct signaling.url, or open its TCP port; \
                  name a broker that a sender embeds (--serve) by --url";
    let findings = vec![Finding::fail("broker", reason, remedy)];
    Seen { findings, servers: None, registered: false }
}

/// How many producers go by this id.
fn count(producers: &[PeerInfo], robot: &RobotId) -> usize {
    let metas = producers.iter().filter_map(|producer| producer.meta.as_ref());
    let robots = metas.filter_map(Meta::read::<ProducerMeta>);
    robots.filter(|meta| meta.name == *robot).count()
}

/// What it means that so many go by the robot's id. Pure.
fn identity(robot: &RobotId, registered: usize, senders: &[u32]) -> Finding {
    let remedy = "give each robot an id of its own: robot.id";
    match (registered, senders) {
        (0, []) => Finding::ok("robot-id", format!("nobody else is called {robot}")),
        (0, senders) => Finding::warn(
            "robot-id",
            format!("{}, but is not registered as {robot}", running(senders)),
            "look into its log; does it use this config?",
        ),
        (1, []) => Finding::warn(
            "robot-id",
            format!("another computer is registered as {robot}: no sender runs on this one"),
            remedy,
        ),
        (1, senders) => {
            Finding::ok("robot-id", format!("registered as {robot}: {}", running(senders)))
        }
        (many, _) => Finding::warn("robot-id", format!("{many} robots are called {robot}"), remedy),
    }
}

fn running(senders: &[u32]) -> String {
    let pids: Vec<_> = senders.iter().map(u32::to_string).collect();
    format!("a sender runs here (process {})", pids.join(", "))
}

/// Whether a packet by UDP gets from one port of this computer to another, by the address that the
/// broker is reached from. It says nothing about the way to anybody else.
pub async fn udp(url: &str) -> Finding {
    match own_udp(url).await {
        Ok(address) => Finding::ok("udp", format!("UDP works on {address} itself")),
        Err(reason) => Finding::fail(
            "udp",
            format!("UDP does not work on this computer: {reason}"),
            "open UDP in its firewall: pictures come by it, from and to any port",
        ),
    }
}

async fn own_udp(url: &str) -> Result<std::net::IpAddr, String> {
    let told = |error: std::io::Error| error.to_string();
    let (host, port) = of_url(url, 80).ok_or("the broker's address is wrong")?;
    let broker = tokio::net::lookup_host((host, port)).await.map_err(told)?.next();
    let broker = broker.ok_or("the broker has no address")?;
    let any: std::net::IpAddr = match broker {
        std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let route = UdpSocket::bind((any, 0)).await.map_err(told)?;
    route.connect(broker).await.map_err(told)?;
    let own = route.local_addr().map_err(told)?.ip();
    let [from, to] = [
        UdpSocket::bind((own, 0)).await.map_err(told)?,
        UdpSocket::bind((own, 0)).await.map_err(told)?,
    ];
    from.send_to(b"rovercast", to.local_addr().map_err(told)?).await.map_err(told)?;
    let mut buffer = [0; 16];
    match timeout(PATIENCE, to.recv_from(&mut buffer)).await {
        Ok(Ok(_)) => Ok(own),
        Ok(Err(error)) => Err(told(error)),
        Err(_) => Err("a packet to itself does not arrive".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::finding::Severity;

    #[test]
    fn an_id_that_another_robot_has_is_told() {
        let robot: RobotId = serde_json::from_str("\"rover\"").unwrap();
        for (registered, senders, severity, says) in [
            (0, &[][..], Severity::Ok, "nobody else is called rover"),
            (0, &[7], Severity::Warn, "(process 7), but is not registered as rover"),
            (1, &[], Severity::Warn, "another computer is registered as rover"),
            (1, &[7], Severity::Ok, "registered as rover: a sender runs here (process 7)"),
            (2, &[7], Severity::Warn, "2 robots are called rover"),
        ] {
            let finding = identity(&robot, registered, senders);
            assert_eq!(finding.severity, severity, "{finding}");
            assert!(finding.text.contains(says), "{finding}");
        }
    }
}
