//! Which robots are on-line.

use std::time::Duration;

use anyhow::{Context, bail};
use rovercast_peer::link::{Link, LinkEvent, Target};
use rovercast_protocol::ids::{PeerId, RobotId};
use rovercast_protocol::signaling::{BrokerMessage, Meta, PeerInfo, PeerRequest, PeerStatus};
use tokio::time::timeout;

/// How long a broker may take to list its robots.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// The producers that are on-line.
pub async fn list(broker: Target) -> anyhow::Result<Vec<PeerInfo>> {
    let (link, mut events) = Link::start(broker, PeerStatus::default());
    let listed = timeout(LIST_TIMEOUT, async {
        loop {
            match events.recv().await {
                Some(LinkEvent::Up(_)) => link.send(PeerRequest::List),
                Some(LinkEvent::Message(BrokerMessage::List { producers })) => {
                    return Ok(producers);
                }
                Some(LinkEvent::Message(_) | LinkEvent::IceServers(_)) => {}
                Some(LinkEvent::Down(reason)) => bail!(reason),
                None => bail!("the link ended"),
            }
        }
    });
    listed.await.context("the broker does not list its robots")?
}

/// The id by which a producer is asked for: the name it gives, or its peer id where it gives none
/// that can be one.
pub fn robot_id(peer: &PeerId, meta: Option<&Meta>) -> Option<RobotId> {
    meta.and_then(Meta::robot).or_else(|| peer.0.parse().ok())
}
