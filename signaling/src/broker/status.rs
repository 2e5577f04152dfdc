//! Roles: who may take them, whose they were, and who is told.

use std::collections::BTreeMap;

use rovercast_protocol::ids::{PeerId, RobotId};
use rovercast_protocol::signaling::{
    BrokerMessage, EndReason, ErrorCode, ErrorMessage, Meta, PeerRole, PeerStatus,
};

use super::described::Described;
use super::view::{Cut, shows};
use super::{Broker, Command, Note, Outcome, Profile, refusal, send};
use crate::access::Grant;

impl Broker {
    pub(super) fn set_status(&mut self, from: &PeerId, status: PeerStatus) -> Outcome {
        let roles = distinct(&status.roles);
        if roles.contains(&PeerRole::Producer) && roles.contains(&PeerRole::Consumer) {
            let details = "the roles producer and consumer exclude each other: \
                           use a connection of its own for each";
            return Err(refusal(ErrorCode::ConflictingRoles, details));
        }
        // Of a peer without a role nobody hears.
        let meta = status.meta.filter(|_| !roles.is_empty());
        let publishes = roles.contains(&PeerRole::Producer);
        let robot = if publishes { meta.as_ref().and_then(Meta::robot) } else { None };
        let meta = meta.map(|meta| self.described(meta)).transpose()?;
        let after = Profile { roles, robot, meta };
        let Some(peer) = self.peers.get(from) else {
            return Ok(Vec::new());
        };
        let grant = peer.grant.clone();
        if publishes && !grant.may_publish(after.robot()) {
            return Err(may_not_publish(after.robot.as_ref()));
        }
        if peer.profile == after {
            return Ok(Vec::new());
        }
        let mut commands = match &after.robot {
            Some(robot) => self.take_over(from, &grant, robot)?,
            None => Vec::new(),
        };
        let Some(peer) = self.peers.get_mut(from) else {
            return Ok(commands);
        };
        let before = std::mem::replace(&mut peer.profile, after.clone());
        // Who may watch one robot need not be let watch another.
        let stops = before.is(PeerRole::Producer) && (!publishes || before.robot != after.robot);
        let mut over: Vec<_> = if stops { Vec::from_iter(&peer.produces) } else { Vec::new() };
        if before.is(PeerRole::Consumer) && !after.is(PeerRole::Consumer) {
            over.extend(&peer.consumes);
        }
        let over: Vec<_> = over.into_iter().cloned().collect();
        self.enrol(from, &before, &after);
        for session_id in over {
            commands.extend(self.close(&session_id, from, EndReason::Ended));
        }
        commands.extend(self.announce(from, &grant, &before, &after));
        if before.roles != after.roles || before.robot != after.robot {
            let Profile { roles, robot, meta: _ } = after;
            commands.push(Command::Note(Note::Roles { peer: from.clone(), roles, robot }));
        }
        Ok(commands)
    }

    /// What a peer says of itself, if it can be kept.
    fn described(&self, meta: Meta) -> Result<Described, ErrorMessage> {
        let (meta_bytes, limit) = (meta.text().len(), self.max_meta_bytes);
        if meta_bytes > limit {
            let details = format!("meta has {meta_bytes} bytes: say it in {limit}");
            return Err(refusal(ErrorCode::TooLarge, details));
        }
        Described::new(meta).ok_or_else(|| {
            let details = "meta has `name` or `cameras` twice: leave one out";
            refusal(ErrorCode::Malformed, details)
        })
    }

    /// Tells those listeners who may see the peer, before the change or after it.
    pub(super) fn announce(
        &self,
        about: &PeerId,
        grant: &Grant,
        before: &Profile,
        after: &Profile,
    ) -> Vec<Command> {
        let status = |roles: &[PeerRole], meta| {
            let (peer_id, roles) = (Some(about.clone()), roles.to_vec());
            BrokerMessage::PeerStatusChanged(PeerStatus { peer_id, roles, meta })
        };
        if !before.is_public() && !after.is_public() {
            // Nobody waits for news of listeners, but itself: telling all of them of each other
            // would cost the square of their number.
            let itself = after.is(PeerRole::Listener) && before != after;
            let meta = || Cut::Whole.apply(after.meta.as_ref());
            let told = itself.then(|| send(about, status(&after.roles, meta())));
            return told.into_iter().collect();
        }
        let mut told: BTreeMap<Cut, Vec<PeerId>> = BTreeMap::new();
        for id in &self.listeners {
            let Some(listener) = self.peers.get(id) else { continue };
            let cut = if id == about {
                Cut::Whole
            } else if shows(listener, after, grant) {
                Cut::of(after, &listener.grant)
            } else if shows(listener, before, grant) {
                Cut::Gone
            } else {
                continue;
            };
            told.entry(cut).or_default().push(id.clone());
        }
        let message = |cut: &Cut| {
            let roles = if *cut == Cut::Gone { &[][..] } else { &after.roles };
            status(roles, cut.apply(after.meta.as_ref()))
        };
        let send = |(cut, to)| Command::Send { to, message: message(&cut) };
        told.into_iter().map(send).collect()
    }

    /// Makes room for `from`, who wants to publish a robot that another one may be publishing.
    fn take_over(
        &mut self,
        from: &PeerId,
        grant: &Grant,
        robot: &RobotId,
    ) -> Result<Vec<Command>, ErrorMessage> {
        let Some(old) = self.robots.get(robot).filter(|old| *old != from).cloned() else {
            return Ok(Vec::new());
        };
        let owner = self.peers.get(&old).and_then(|peer| peer.grant.subject());
        let same = owner.is_some() && grant.subject() == owner;
        // Without keys nobody can prove who he is. The newcomer is most likely the same robot, back
        // before its old connection was found dead.
        if !same && !grant.is_open() {
            let details = format!(
                "somebody else publishes {robot}: give this robot another name, or end the other one"
            );
            return Err(refusal(ErrorCode::RobotTaken, details));
        }
        let mut commands = self.disconnect(&old);
        let note = Note::Replaced { peer: from.clone(), old: old.clone(), robot: robot.clone() };
        commands.extend([Command::Replace(old), Command::Note(note)]);
        Ok(commands)
    }

    /// Keeps the indices in step with a profile.
    fn enrol(&mut self, peer_id: &PeerId, before: &Profile, after: &Profile) {
        for (role, index) in [
            (PeerRole::Producer, &mut self.producers),
            (PeerRole::Consumer, &mut self.consumers),
            (PeerRole::Listener, &mut self.listeners),
        ] {
            if after.is(role) {
                index.insert(peer_id.clone());
            } else {
                index.remove(peer_id);
            }
        }
        if let Some(robot) = &before.robot {
            self.robots.remove(robot);
        }
        if let Some(robot) = &after.robot {
            self.robots.insert(robot.clone(), peer_id.clone());
        }
    }
}

/// Each role once, in one order, so that equal roles compare equal.
fn distinct(roles: &[PeerRole]) -> Vec<PeerRole> {
    let all = [PeerRole::Producer, PeerRole::Listener, PeerRole::Consumer];
    all.into_iter().filter(|role| roles.contains(role)).collect()
}

fn may_not_publish(robot: Option<&RobotId>) -> ErrorMessage {
    let details = match robot {
        Some(robot) => format!(
            "this token does not allow to publish {robot}: ask for one with the scope \
             publish:{robot}"
        ),
        None => "this token does not allow to publish a robot without a name: name it in `meta`, \
                 or ask for a token with the scope publish:*"
            .to_owned(),
    };
    refusal(ErrorCode::Forbidden, details)
}
