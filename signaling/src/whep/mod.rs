//! WHEP (draft-ietf-wish-whep): standard players see a robot without our viewer. HTTP requests become
//! what a consumer says to the broker, by a peer inside this process, so that a player's session is a
//! session like any other. Not the media: that goes from robot to player.
//!
//! `POST /whep/ROBOT[/CAMERA]` begins a session, `PATCH` and `DELETE` of the place that the response
//! names trickle candidates to it and end it.

mod call;
mod cors;
mod fragment;
mod headers;
mod sdp;
mod sessions;
mod settings;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{patch, post};
use axum::{Router, middleware};
use futures_util::StreamExt;
use rovercast_protocol::ids::{CameraId, RobotId};
use rovercast_protocol::signaling::{BrokerMessage, ErrorCode, PeerRequest};
use tokio::time::timeout;

use crate::access::Grant;
use crate::metrics::Kind;
use crate::socket::{Attached, surcharge};
use crate::web::{Gate, Refusal, no_such_method, paced};
use call::{Agreed, Call, Wish};
use fragment::Unfit;
use sdp::Offer;
use sessions::{Running, Sessions};
pub use settings::Settings;

/// The longest body of a request. Offers of many sections have some ten thousand bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// How long a body may take to come.
const BODY: Duration = Duration::from_secs(10);

/// How long a robot may take to answer.
const ANSWER: Duration = Duration::from_secs(8);

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// The routes of WHEP. Every request needs an extension: the [`SocketAddr`] of who sends it.
pub(crate) fn routes(gate: Arc<Gate>, settings: &Settings) -> Router {
    let sessions =
        Sessions::new(settings.max_sessions as usize, settings.max_sessions_per_address as usize);
    let gather = Duration::from_millis(settings.gather_ms.into());
    let whep = Whep { gate: gate.clone(), sessions, gather };
    Router::new()
        .route("/whep/{robot}", post(call_robot))
        .route("/whep/{robot}/{camera}", post(call_camera))
        .route("/whep/{robot}/sessions/{session}", patch(trickle).delete(end))
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(gate.clone(), paced))
        .layer(middleware::from_fn_with_state(gate, cors::fence))
        .with_state(whep)
}

#[derive(Clone)]
struct Whep {
    gate: Arc<Gate>,
    sessions: Arc<Sessions>,
    gather: Duration,
}

async fn call_robot(
    State(whep): State<Whep>,
    path: Result<Path<String>, PathRejection>,
    Extension(address): Extension<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let Path(robot) = path?;
    whep.call(&robot, None, address.ip(), &headers, body).await
}

async fn call_camera(
    State(whep): State<Whep>,
    path: Result<Path<(String, String)>, PathRejection>,
    Extension(address): Extension<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let Path((robot, camera)) = path?;
    whep.call(&robot, Some(&camera), address.ip(), &headers, body).await
}

async fn trickle(
    State(whep): State<Whep>,
    path: Result<Path<(String, String)>, PathRejection>,
    Extension(address): Extension<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let Path((robot, key)) = path?;
    let grant = whep.grant(&headers)?;
    want_type(&headers, FRAGMENT)?;
    // Before the session is looked for, which must not live on while somebody sends a body.
    let text = read(body).await?;
    let session = whep.session(&robot, &key, &grant)?;
    if !headers::matches(&headers, &session.etag) {
        let details = "the If-Match of the request is not the ETag of this session";
        let status = StatusCode::PRECONDITION_FAILED;
        return Err(Refusal::new(status, ErrorCode::UnknownSession, details));
    }
    let candidates = fragment::candidates(&text, &session.offer).map_err(|unfit| {
        let status = match unfit {
            Unfit::Malformed(_) => StatusCode::BAD_REQUEST,
            Unfit::Restart => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Refusal::new(status, ErrorCode::BadCandidate, unfit.to_string())
    })?;
    whep.gate.charge(address.ip(), u32::try_from(candidates.len()).unwrap_or(u32::MAX));
    session.add(candidates)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn end(
    State(whep): State<Whep>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Path((robot, key)) = path?;
    whep.session(&robot, &key, &whep.grant(&headers)?)?;
    whep.sessions.end(&key);
    Ok(StatusCode::OK.into_response())
}

impl Whep {
    async fn call(
        &self,
        robot: &str,
        camera: Option<&str>,
        address: IpAddr,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, Refusal> {
        let grant = self.grant(headers)?;
        want_type(headers, SDP)?;
        if !headers::takes_sdp(headers) {
            let details =
                format!("the answer is {SDP}, which the Accept of the request leaves out");
            return Err(Refusal::of(ErrorCode::NotAcceptable, details));
        }
        let robot: RobotId = robot.parse().map_err(not_here)?;
        let camera: Option<CameraId> = camera.map(str::parse).transpose().map_err(not_here)?;
        let text = read(body).await?;
        self.gate.charge(address, surcharge(Kind::StartSession, text.len()));
        let offer = Offer::parse(&text).map_err(|wrong| Refusal::of(ErrorCode::BadSdp, wrong))?;
        let hub = self.gate.hub();
        let producer = hub.robot(&robot, &grant).ok_or_else(|| no_robot(&robot))?;
        let seat = self.sessions.admit(address)?;
        let mut peer = hub.attach(grant.clone(), address);
        let wish = Wish { producer, camera, offer: text };
        let Agreed { session_id, answer, ice_servers } =
            agree(&mut peer, Call::new(wish), self.gather).await?;
        tracing::info!(session = %session_id, %robot, %address, "a WHEP session begins");
        let (key, Running { etag, .. }) =
            self.sessions.start(seat, peer, session_id, robot.clone(), offer, &grant);
        let place = format!("/whep/{robot}/sessions/{key}");
        let said = [
            (header::CONTENT_TYPE, SDP.to_owned()),
            (header::LOCATION, place),
            (header::ETAG, etag),
            (header::CACHE_CONTROL, "no-store".to_owned()),
        ];
        let mut response = (StatusCode::CREATED, said, answer).into_response();
        for link in headers::links(&ice_servers) {
            response.headers_mut().append(header::LINK, link);
        }
        let accepts = HeaderValue::from_static(FRAGMENT);
        response.headers_mut().insert("accept-patch", accepts);
        Ok(response)
    }

    /// What who asks may do.
    fn grant(&self, headers: &HeaderMap) -> Result<Grant, Refusal> {
        self.gate.accepts()?;
        self.gate.grant(headers)
    }

    /// The session of this name, for who may refer to it.
    fn session(&self, robot: &str, key: &str, grant: &Grant) -> Result<Running, Refusal> {
        let unknown = || {
            let details = "there is no such session, or no more: POST an offer for a new one";
            Refusal::of(ErrorCode::UnknownSession, details)
        };
        let found = self.sessions.find(key).filter(|found| found.robot.as_str() == robot);
        let session = found.ok_or_else(unknown)?;
        if session.belongs_to(grant) {
            Ok(session)
        } else {
            let details = "this session was begun with a token of another subject";
            Err(Refusal::of(ErrorCode::Forbidden, details))
        }
    }
}

/// Lets the peer speak and listen until the robot has answered, and a little longer for its candidates.
async fn agree(peer: &mut Attached, mut call: Call, gather: Duration) -> Result<Agreed, Refusal> {
    timeout(ANSWER, until(peer, &mut call, Call::is_answered)).await.map_err(|_| no_answer())??;
    // Those that take longer do without: the player's own candidates may be enough.
    timeout(gather, until(peer, &mut call, Call::is_complete)).await.unwrap_or(Ok(()))?;
    call.agreed().ok_or_else(no_answer)
}

async fn until(
    peer: &mut Attached,
    call: &mut Call,
    done: fn(&Call) -> bool,
) -> Result<(), Refusal> {
    while !done(call) {
        step(peer, call).await?;
    }
    Ok(())
}

async fn step(peer: &mut Attached, call: &mut Call) -> Result<(), Refusal> {
    let Some(text) = peer.recv().await else {
        let details = "the broker stops, or cannot keep up: try again";
        return Err(Refusal::of(ErrorCode::ShuttingDown, details));
    };
    // The broker's own words can be read; what a robot relayed is one of them, too.
    let Ok(message) = BrokerMessage::parse(&text) else { return Ok(()) };
    if let Some(request) = call.hear(message)? {
        say(peer, &request);
    }
    Ok(())
}

fn say(peer: &Attached, request: &PeerRequest) {
    match serde_json::to_string(request) {
        Ok(text) => peer.say(text),
        Err(error) => tracing::error!(%error, "a request cannot be written as JSON"),
    }
}

async fn read(body: Body) -> Result<String, Refusal> {
    let slow = |_| {
        let details = "the body of the request did not come in time";
        Refusal::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::TooSlow, details)
    };
    let broken = |_| {
        let details = "the body of the request breaks off, or is not sent as HTTP wants it";
        Refusal::of(ErrorCode::Malformed, details)
    };
    let pieces = async {
        let (mut bytes, mut pieces) = (Vec::new(), body.into_data_stream());
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece.map_err(broken)?);
            if bytes.len() > MAX_BODY_BYTES {
                let details =
                    format!("the body of the request is longer than {MAX_BODY_BYTES} bytes");
                return Err(Refusal::of(ErrorCode::TooLarge, details));
            }
        }
        Ok(bytes)
    };
    let bytes = timeout(BODY, pieces).await.map_err(slow)??;
    String::from_utf8(bytes)
        .map_err(|_| Refusal::of(ErrorCode::Malformed, "the body of the request is not UTF-8"))
}

fn want_type(headers: &HeaderMap, wanted: &str) -> Result<(), Refusal> {
    if headers::is_of_type(headers, wanted) {
        return Ok(());
    }
    let details = format!("the body is to have the Content-Type {wanted}");
    Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::Malformed, details))
}

fn not_here(error: impl std::fmt::Display) -> Refusal {
    Refusal::of(ErrorCode::UnknownPeer, error.to_string())
}

/// The same words whether the robot is away or hidden from this player.
fn no_robot(robot: &RobotId) -> Refusal {
    let details = format!(
        "robot {robot} is not here, or not for you: look for its name in the list of robots"
    );
    Refusal::of(ErrorCode::UnknownPeer, details)
}

fn no_answer() -> Refusal {
    let details = format!("the robot did not answer within {} s: try again", ANSWER.as_secs());
    Refusal::of(ErrorCode::NegotiationTimeout, details)
}
