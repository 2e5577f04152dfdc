//! Who sees whom, and how much of it.

use rovercast_protocol::ids::PeerId;
use rovercast_protocol::signaling::{Meta, PeerInfo, PeerRole};
use serde::Serialize;

use super::described::Described;
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
    /// Of its cameras that have an id, those that are true.
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
        let cameras = profile.meta.as_ref().map(Described::cameras).into_iter().flatten();
        Self::Cameras(cameras.map(|id| grant.may_view_camera(robot, id)).collect())
    }

    /// The `meta` as far as it is shown.
    pub(super) fn apply(&self, meta: Option<&Described>) -> Option<Meta> {
        match self {
            Self::Whole => meta.map(Described::whole).cloned(),
            Self::Cameras(shown) => meta?.with_cameras(shown),
            Self::Gone => None,
        }
    }
}

/// A peer in a list.
pub(super) fn info(id: &PeerId, profile: &Profile, grant: &Grant) -> PeerInfo {
    PeerInfo { id: id.clone(), meta: Cut::of(profile, grant).apply(profile.meta.as_ref()) }
}

/// The same, with nothing but its name.
pub(super) fn name(id: &PeerId, profile: &Profile) -> PeerInfo {
    #[derive(Serialize)]
    struct Named<'a> {
        name: &'a str,
    }
    let meta = profile.robot().and_then(|name| Meta::of(&Named { name }).ok());
    PeerInfo { id: id.clone(), meta }
}

/// A list, if it has no more bytes than this in a message.
pub(super) fn within(
    max_bytes: usize,
    infos: impl Iterator<Item = PeerInfo>,
) -> Option<Vec<PeerInfo>> {
    let (mut bytes, mut list) = (AROUND_LIST, Vec::new());
    for info in infos {
        let meta_bytes = info.meta.as_ref().map_or("null".len(), |meta| meta.text().len());
        bytes += info.id.0.len() + meta_bytes + AROUND_INFO;
        if bytes > max_bytes {
            return None;
        }
        list.push(info);
    }
    Some(list)
}

/// What a message is around its list.
const AROUND_LIST: usize = r#"{"type":"listConsumers","consumers":[]}"#.len();

/// And around the id and the `meta` of each in it; ids of peers have nothing to be escaped.
const AROUND_INFO: usize = r#"{"id":"","meta":},"#.len();
