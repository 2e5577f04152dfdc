//! What the broker says: the robot that comes and goes, and the negotiation of sessions.

use rovercast_peer::connection::{Connection, ConnectionSettings};
use rovercast_peer::ice::IceUrls;
use rovercast_peer::link::LinkEvent;
use rovercast_peer::start::now;
use rovercast_protocol::ids::{PeerId, SessionId};
use rovercast_protocol::signaling::{
    BrokerMessage, EndReason, ErrorCode, Meta, PeerBody, PeerInfo, PeerMessage, PeerRequest,
    PeerRole, Sdp,
};
use tokio::task::spawn_blocking;

use super::media::camera_of;
use super::{App, rand};
use crate::policy::Slot;
use crate::robots::robot_id;
use crate::session::Session;
use crate::window::Face;

impl App {
    pub(super) async fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up(welcome) => {
                tracing::info!("connected to the broker at {}", self.settings.broker.url);
                self.linked = true;
                self.ice = IceUrls::from_servers(&welcome.ice_servers);
                self.link.send(PeerRequest::List);
            }
            LinkEvent::Down(reason) => {
                tracing::warn!("{reason}; trying again");
                self.linked = false;
                self.peers.clear();
                if self.watch.link_down(now().into(), rand())
                    && let Some(session) = self.sessions.take(Slot::Pending)
                {
                    self.sessions.close(session);
                }
            }
            LinkEvent::IceServers(servers) => self.ice = IceUrls::from_servers(&servers),
            LinkEvent::Message(message) => self.on_message(message).await,
        }
    }

    async fn on_message(&mut self, message: BrokerMessage) {
        match message {
            BrokerMessage::List { producers } => {
                let is_robot = |info: &&PeerInfo| self.is_robot(&info.id, info.meta.as_ref());
                let robots: Vec<_> = producers.iter().filter(is_robot).collect();
                self.introduce(robots.last().and_then(|info| info.meta.as_ref()));
                self.peers = robots.iter().map(|info| info.id.clone()).collect();
                if self.peers.is_empty() {
                    tracing::info!("robot {} is not on-line; waiting for it", self.settings.robot);
                }
                self.follow_newest();
            }
            BrokerMessage::PeerStatusChanged(status) => {
                let Some(peer) = status.peer_id else { return };
                self.peers.retain(|known| *known != peer);
                if status.roles.contains(&PeerRole::Producer)
                    && self.is_robot(&peer, status.meta.as_ref())
                {
                    self.introduce(status.meta.as_ref());
                    self.peers.push(peer);
                }
                self.follow_newest();
            }
            BrokerMessage::SessionStarted(started) => {
                self.on_session_started(started.session_id).await;
            }
            BrokerMessage::Peer(PeerMessage { session_id, body }) => {
                let Some(slot) = self.sessions.find(&session_id) else { return };
                match body {
                    PeerBody::Ice(candidate) => {
                        if let Some(session) = self.sessions.get_mut(slot) {
                            session.candidate(&candidate);
                        }
                    }
                    PeerBody::Sdp(Sdp::Offer { sdp }) => self.on_offer(slot, &sdp).await,
                    PeerBody::Sdp(Sdp::Answer { .. }) => {}
                }
            }
            BrokerMessage::EndSession(end) => {
                let Some(slot) = self.sessions.find(&end.session_id) else { return };
                // Media may go on without the broker: whether it does, silence tells.
                let goes_on =
                    matches!(end.reason, Some(EndReason::PeerLeft | EndReason::BrokerStops));
                if !goes_on || self.watch.is_asked() {
                    tracing::info!("the robot has ended the session");
                    self.drop_session(slot);
                }
            }
            BrokerMessage::Error(error) => {
                // One about a session that is over: the broker may have forgotten it first.
                let of_session = error.code == Some(ErrorCode::UnknownSession);
                if of_session {
                    tracing::debug!("{}", error.details);
                } else {
                    tracing::warn!(code = ?error.code, "{}", error.details);
                }
                if error.code == Some(ErrorCode::UnknownCamera)
                    && let Some(errand) = &mut self.errand
                {
                    errand.finish(Err(error.details.clone()));
                }
                // One about a session is about an earlier one, or the session's end follows.
                if error.session_id.is_none() && !of_session {
                    self.watch.refused(now().into(), rand());
                }
            }
            _ => {}
        }
    }

    fn is_robot(&self, peer: &PeerId, meta: Option<&Meta>) -> bool {
        robot_id(peer, meta).as_ref() == Some(&self.settings.robot)
    }

    /// Tells the window which cameras there are.
    fn introduce(&self, meta: Option<&Meta>) {
        let meta = meta.and_then(Meta::read);
        let faces = Face::of_robot(meta.as_ref(), &self.settings.cameras);
        if let Some(wall) = self.settings.output.wall().filter(|_| !faces.is_empty()) {
            wall.cameras(faces);
        }
    }

    /// Follows the connection of the robot that came last: where there are two, the older one has
    /// most likely broken without the broker's knowing yet.
    pub(super) fn follow_newest(&mut self) {
        self.watch.robot(self.peers.last().cloned());
    }

    async fn on_session_started(&mut self, id: SessionId) {
        if self.sessions.get(Slot::Pending).is_some() || !self.watch.is_asked() {
            // An attempt that was given up before it was answered.
            return self.say_end(id);
        }
        let jitter_buffer = self.settings.playout.longest();
        let policy = self.settings.policy;
        let settings =
            ConnectionSettings { ice: self.ice.clone(), policy, jitter_buffer, fec_percent: 0 };
        let name = id.to_string();
        match spawn_blocking(move || Connection::new(&name, &settings)).await {
            Ok(Ok(connection)) => {
                let turn = self.sessions.next_turn();
                self.sessions.begin(Session::new(id, turn, connection));
            }
            Ok(Err(error)) => {
                tracing::error!("{error}");
                self.say_end(id);
                self.watch.ended(Slot::Pending, now().into(), rand());
            }
            Err(error) => tracing::error!("{error}"),
        }
    }

    async fn on_offer(&mut self, slot: Slot, sdp: &str) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        match session.answer(sdp).await {
            Ok(sdp) => {
                let body = PeerBody::Sdp(Sdp::Answer { sdp });
                let session_id = session.id.clone();
                self.link.send(PeerRequest::Peer(PeerMessage { session_id, body }));
                if self.errand.is_some() {
                    return;
                }
                // Made now, while the connection comes up: decoders and windows take a while.
                let sections = session.connection.remote().map(|remote| &remote.sections);
                for section in sections.into_iter().flatten() {
                    if let (Some(camera), Some(codec)) = (camera_of(section), section.codec) {
                        self.views.open(camera, codec);
                    }
                }
            }
            Err(error) => self.fail(slot, &error),
        }
    }
}
