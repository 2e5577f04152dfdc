//! How a player's offer becomes an ordinary session: what its peer says to the broker and hears from it
//! and the robot, up to the answer. Pure.

use axum::http::StatusCode;
use rovercast_protocol::ids::{CameraId, PeerId, SessionId};
use rovercast_protocol::signaling::{
    BrokerMessage, Candidate, ErrorCode, IceServer, PeerBody, PeerRequest, Sdp, SessionRequest,
};

use super::sdp;
use crate::web::Refusal;

/// Candidates of the robot that fit an answer.
const MAX_CANDIDATES: usize = 64;

/// What a player asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// Who publishes the robot.
    pub producer: PeerId,
    /// The one camera wanted; as many as the offer takes when left out.
    pub camera: Option<CameraId>,
    /// The SDP offer.
    pub offer: String,
}

/// What a robot agreed to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// The session.
    pub session_id: SessionId,
    /// The SDP answer, with the robot's candidates.
    pub answer: String,
    /// The STUN and TURN servers for the player.
    pub ice_servers: Vec<IceServer>,
}

/// A call that is being made.
#[derive(Debug)]
pub(crate) struct Call {
    wish: Wish,
    ice_servers: Vec<IceServer>,
    session_id: Option<SessionId>,
    answer: Option<String>,
    candidates: Vec<Candidate>,
    complete: bool,
}

impl Call {
    /// A call that begins with the broker's greeting.
    pub(crate) fn new(wish: Wish) -> Self {
        Self {
            wish,
            ice_servers: Vec::new(),
            session_id: None,
            answer: None,
            candidates: Vec::new(),
            complete: false,
        }
    }

    /// Takes what the peer hears. Returns what it says to it.
    pub(crate) fn hear(&mut self, message: BrokerMessage) -> Result<Option<PeerRequest>, Refusal> {
        match message {
            BrokerMessage::Welcome(welcome) => {
                self.ice_servers = welcome.ice_servers;
                Ok(Some(PeerRequest::StartSession(self.request())))
            }
            BrokerMessage::SessionStarted(started) => {
                self.session_id = Some(started.session_id);
                Ok(None)
            }
            BrokerMessage::Peer(peer) if self.is_ours(&peer.session_id) => {
                match peer.body {
                    PeerBody::Sdp(Sdp::Answer { sdp }) => self.answer = Some(sdp),
                    PeerBody::Sdp(Sdp::Offer { .. }) => return Err(offers_itself()),
                    PeerBody::Ice(candidate) if candidate.candidate.is_empty() => {
                        self.complete = true;
                    }
                    PeerBody::Ice(candidate) => {
                        if self.candidates.len() < MAX_CANDIDATES {
                            self.candidates.push(candidate);
                        }
                    }
                }
                Ok(None)
            }
            BrokerMessage::Error(error) => match &error.session_id {
                Some(session_id) if !self.is_ours(session_id) => Ok(None),
                _ => Err(error.into()),
            },
            BrokerMessage::EndSession(end) if self.is_ours(&end.session_id) => {
                let details = "the robot ended the session before it answered: try again";
                Err(Refusal::of(ErrorCode::Internal, details))
            }
            _ => Ok(None),
        }
    }

    /// Whether there is an answer.
    pub(crate) fn is_answered(&self) -> bool {
        self.answer.is_some()
    }

    /// Whether there is an answer, and all candidates that belong to it.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_answered() && self.complete
    }

    /// What came of it: none without an answer.
    pub(crate) fn agreed(self) -> Option<Agreed> {
        let answer = sdp::with_candidates(&self.answer?, &self.candidates, self.complete);
        Some(Agreed { session_id: self.session_id?, answer, ice_servers: self.ice_servers })
    }

    fn is_ours(&self, session_id: &SessionId) -> bool {
        self.session_id.as_ref() == Some(session_id)
    }

    fn request(&self) -> SessionRequest {
        SessionRequest {
            peer_id: self.wish.producer.clone(),
            offer: Some(self.wish.offer.clone()),
            cameras: self.wish.camera.clone().map(|camera| vec![camera]),
        }
    }
}

fn offers_itself() -> Refusal {
    let details = "this robot makes the offer itself, which WHEP does not know: give it a newer \
                   rovercast-sender";
    Refusal::new(StatusCode::NOT_ACCEPTABLE, ErrorCode::NotAcceptable, details)
}

#[cfg(test)]
mod tests {
    use rovercast_protocol::signaling::{
        EndReason, ErrorMessage, PeerMessage, SessionEnd, SessionStarted, Welcome,
    };

    use super::*;

    const ANSWER: &str = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n";
    const HOST: &str = "candidate:1 1 UDP 1 192.0.2.1 1000 typ host";

    fn call(camera: Option<&str>) -> Call {
        let camera = camera.map(|camera| camera.parse().unwrap());
        let producer = PeerId("r".to_owned());
        Call::new(Wish { producer, camera, offer: "v=0".to_owned() })
    }

    fn session(id: &str) -> SessionId {
        SessionId(id.to_owned())
    }

    fn peer(session_id: &str, body: PeerBody) -> BrokerMessage {
        BrokerMessage::Peer(PeerMessage { session_id: session(session_id), body })
    }

    fn answer(session_id: &str) -> BrokerMessage {
        peer(session_id, PeerBody::Sdp(Sdp::Answer { sdp: ANSWER.to_owned() }))
    }

    fn candidate(session_id: &str, text: &str) -> BrokerMessage {
        let candidate = Candidate { candidate: text.to_owned(), sdp_m_line_index: 0 };
        peer(session_id, PeerBody::Ice(candidate))
    }

    fn error(code: Option<ErrorCode>, session_id: Option<&str>) -> BrokerMessage {
        let (details, session_id) = ("why".to_owned(), session_id.map(session));
        BrokerMessage::Error(ErrorMessage { details, code, session_id })
    }

    fn started() -> Call {
        let mut call = call(None);
        let (peer_id, session_id) = (PeerId("r".to_owned()), session("s"));
        let started = SessionStarted { peer_id, session_id };
        assert_eq!(call.hear(BrokerMessage::SessionStarted(started)), Ok(None));
        call
    }

    #[test]
    fn a_call_begins_with_a_request_for_the_session() {
        for camera in [None, Some("front")] {
            let mut call = call(camera);
            let server =
                IceServer { urls: vec!["stun:s".into()], username: None, credential: None };
            let welcome = Welcome {
                peer_id: PeerId("p".into()),
                ice_servers: vec![server.clone()],
                ice_servers_ttl_s: None,
            };
            let request = SessionRequest {
                peer_id: PeerId("r".into()),
                offer: Some("v=0".to_owned()),
                cameras: camera.map(|camera| vec![camera.parse().unwrap()]),
            };
            let said = call.hear(BrokerMessage::Welcome(welcome)).unwrap();
            assert_eq!(said, Some(PeerRequest::StartSession(request)));
            assert_eq!(call.ice_servers, [server]);
            assert!(!call.is_answered());
        }
    }

    #[test]
    fn the_answer_gets_the_candidates_that_came_before_and_after_it() {
        let mut call = started();
        for message in [
            candidate("s", HOST),
            candidate("another", "candidate:9"),
            answer("another"),
            answer("s"),
            candidate("s", &HOST.replace("1000", "2000")),
        ] {
            assert_eq!(call.hear(message), Ok(None));
        }
        assert!(call.is_answered() && !call.is_complete());
        assert_eq!(call.hear(candidate("s", "")), Ok(None));
        assert!(call.is_complete());
        let agreed = call.agreed().unwrap();
        assert_eq!(agreed.session_id, session("s"));
        let second = HOST.replace("1000", "2000");
        let whole = format!("{ANSWER}a={HOST}\r\na={second}\r\na=end-of-candidates\r\n");
        assert_eq!(agreed.answer, whole);
        assert_eq!(started().agreed(), None, "without an answer nothing is agreed");
    }

    #[test]
    fn a_robot_cannot_fill_the_memory_with_candidates() {
        let mut call = started();
        for _ in 0..10_000 {
            call.hear(candidate("s", HOST)).unwrap();
        }
        assert_eq!(call.candidates.len(), MAX_CANDIDATES);
    }

    #[test]
    fn refusals_have_the_status_of_their_code() {
        for (code, status) in [
            (ErrorCode::BadSdp, 400),
            (ErrorCode::Forbidden, 403),
            (ErrorCode::UnknownCamera, 404),
            (ErrorCode::NotAcceptable, 406),
            (ErrorCode::RateLimited, 429),
            (ErrorCode::TooManySessions, 503),
            (ErrorCode::Internal, 503),
        ] {
            for session_id in [None, Some("s")] {
                let refusal = started().hear(error(Some(code), session_id)).unwrap_err();
                assert_eq!((refusal.status.as_u16(), refusal.code), (status, code));
                assert_eq!(refusal.details, "why");
            }
        }
        for code in [None, Some(ErrorCode::Other)] {
            let refusal = started().hear(error(code, None)).unwrap_err();
            assert_eq!((refusal.status.as_u16(), refusal.code), (503, ErrorCode::Internal));
        }
        assert_eq!(started().hear(error(None, Some("another"))), Ok(None));
    }

    #[test]
    fn a_robot_that_offers_or_hangs_up_is_no_use() {
        let offer = PeerBody::Sdp(Sdp::Offer { sdp: "v=0".to_owned() });
        let refusal = started().hear(peer("s", offer)).unwrap_err();
        assert_eq!(refusal.status, StatusCode::NOT_ACCEPTABLE);
        let end = |id: &str| {
            let end = SessionEnd { session_id: session(id), reason: Some(EndReason::Ended) };
            BrokerMessage::EndSession(end)
        };
        assert_eq!(started().hear(end("another")), Ok(None));
        let refusal = started().hear(end("s")).unwrap_err();
        assert_eq!((refusal.status.as_u16(), refusal.code), (503, ErrorCode::Internal));
    }
}
