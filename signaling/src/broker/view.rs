//! Who sees whom, and how much of it.

use rovercast_protocol::ids::PeerId;
use rovercast_protocol::signaling::{PeerInfo, PeerRole};
use serde_json::Value;

use super::{Peer, Profile};
use crate::access::Grant;

/// Whether `viewer` may know that a peer with this profile and this grant is there. A waiting
/// consumer is known to those robots that it may view, which are the ones that can call it.
pub(super) fn shows(viewer: &Peer, profile: &Profile, grant: &Grant) -> bool {
    viewer.grant.is_open()
        || profile.is(PeerRole::Producer) && viewer.grant.may_view(profile.robot())
        || profile.is(PeerRole::Consumer)
            && viewer.profile.is(PeerRole::Producer)
            && grant.may_view(viewer.profile.robot())
}

/// What a grant shows of a peer's `meta`: equal cuts of one `meta` are written once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cut {
    /// All of it.
    Whole,
    /// Of its cameras, those that are true.
    Cameras(Vec<bool>),
    /// Nothing: the peer can not be seen any more.
    Gone,
}

impl Cut {
    /// What `grant` shows of a peer that it shows.
    pub(super) fn of(profile: &Profile, grant: &Grant) -> Self {
        let robot = profile.robot();
        if !profile.is(PeerRole::Producer) || grant.views_all_cameras(robot) {
            return Self::Whole;
        }
        let may_view = |camera| id(camera).is_some_and(|id| grant.may_view_camera(robot, id));
        Self::Cameras(cameras(profile.meta.as_ref()).iter().map(may_view).collect())
    }

    /// The `meta` as far as it is shown.
    pub(super) fn apply(&self, meta: &Option<Value>) -> Option<Value> {
        let mut meta = match self {
            Self::Whole | Self::Cameras(_) => meta.clone()?,
            Self::Gone => return None,
        };
        if let (Self::Cameras(shown), Some(fields)) = (self, meta.as_object_mut()) {
            match fields.get_mut("cameras") {
                Some(Value::Array(cameras)) => {
                    let mut shown = shown.iter();
                    cameras.retain(|_| shown.next() == Some(&true));
                }
                // Whatever it is, it is not known to be harmless.
                _ => drop(fields.remove("cameras")),
            }
        }
        Some(meta)
    }
}

/// A peer in a list.
pub(super) fn info(id: &PeerId, profile: &Profile, grant: &Grant) -> PeerInfo {
    PeerInfo { id: id.clone(), meta: Cut::of(profile, grant).apply(&profile.meta) }
}

/// The cameras that a `meta` names.
pub(super) fn cameras(meta: Option<&Value>) -> &[Value] {
    let cameras = meta.and_then(|meta| meta.get("cameras")).and_then(Value::as_array);
    cameras.map_or(&[], Vec::as_slice)
}

/// The id of a camera in a `meta`.
pub(super) fn id(camera: &Value) -> Option<&str> {
    camera.get("id").and_then(Value::as_str)
}
