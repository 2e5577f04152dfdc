//! Who is there, and what they say of themselves.

use serde::{Deserialize, Serialize};

use super::Meta;
use crate::ids::{CameraId, PeerId, RobotId};

/// What a peer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PeerRole {
    /// Sends media: a robot.
    Producer,
    /// Is told when producers come and go.
    Listener,
    /// Waits to be called by a producer.
    Consumer,
}

/// The roles of a peer and what it says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    /// Which peer; left out by peers that speak of themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<PeerId>,
    /// Its roles; none when it is gone.
    #[serde(default)]
    pub roles: Vec<PeerRole>,
    /// What it says of itself: any JSON. Robots send [`ProducerMeta`].
    #[serde(default)]
    pub meta: Option<Meta>,
}

/// A peer in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerInfo {
    /// Which peer.
    pub id: PeerId,
    /// What it says of itself.
    #[serde(default)]
    pub meta: Option<Meta>,
}

/// What a robot says of itself (ours; other producers send what they like).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducerMeta {
    /// The robot's id: stays the same when its connection, and with it its peer id, does not.
    pub name: RobotId,
    /// What it is: `robot`.
    pub kind: String,
    /// Its cameras.
    pub cameras: Vec<CameraMeta>,
}

/// What a robot says of a camera.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CameraMeta {
    /// The camera's id, also the `a=label` of its track.
    pub id: CameraId,
    /// Its name for people.
    pub label: String,
    /// Picture width in pixels.
    pub width: u32,
    /// Picture height in pixels.
    pub height: u32,
    /// Frames per second, at most.
    pub fps: u32,
    /// `h264`.
    pub codec: String,
}
