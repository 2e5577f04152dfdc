//! What programs ask the broker by HTTP: whether it is well, its figures, and the robots that are
//! on-line.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use futures_util::stream;
use rovercast_protocol::ids::PeerId;
use rovercast_protocol::signaling::{ErrorCode, Meta};
use serde::{Deserialize, Serialize};

use crate::access::Grant;
use crate::metrics::{self, Kind};
use crate::socket::{self, surcharge};
use crate::web::{Gate, Refusal, Waiting, no_such_method, paced};

/// So much of an answer is handed to its connection at once.
const PIECE_BYTES: usize = 16 * 1024;

/// The routes. Every request needs an extension: the [`SocketAddr`] of who sends it.
pub(crate) fn routes(gate: Arc<Gate>) -> Router {
    let dear = Router::new()
        .route("/metrics", get(figures))
        .route("/api/robots", get(robots))
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(gate.clone(), paced));
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .method_not_allowed_fallback(no_such_method)
        .merge(dear)
        .with_state(gate)
}

/// The robots that a token may see.
#[derive(Serialize)]
struct Robots {
    robots: Vec<Robot>,
}

/// A robot that is on-line.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Robot {
    id: PeerId,
    /// `null` when it does not say.
    name: Option<Meta>,
    /// As the robot describes them, as far as the token covers them; `null` when it does not say.
    cameras: Option<Meta>,
    /// Since when, in seconds of the Unix clock.
    since_unix_s: u64,
}

impl From<socket::Robot> for Robot {
    fn from(robot: socket::Robot) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Said {
            name: Option<Meta>,
            cameras: Option<Meta>,
        }
        let said = robot.info.meta.as_ref().and_then(Meta::read);
        let Said { name, cameras } = said.unwrap_or_default();
        Self { id: robot.info.id, name, cameras, since_unix_s: robot.since_unix_s }
    }
}

async fn ready(State(gate): State<Arc<Gate>>) -> Result<&'static str, Refusal> {
    gate.accepts().map(|()| "ready")
}

async fn figures(
    State(gate): State<Arc<Gate>>,
    Extension(address): Extension<SocketAddr>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if !grant(&gate, &headers)?.may_scrape() {
        let details = "the token is not for the metrics: ask for one with the scope `metrics`";
        return Err(Refusal::of(ErrorCode::Forbidden, details));
    }
    let page = gate.hub().figures();
    gate.charge(address.ip(), surcharge(Kind::List, page.len()));
    Ok(([(header::CONTENT_TYPE, metrics::FORMAT)], page).into_response())
}

async fn robots(
    State(gate): State<Arc<Gate>>,
    Extension(address): Extension<SocketAddr>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let grant = grant(&gate, &headers)?;
    let robots = gate.hub().robots(&grant).into_iter().map(Robot::from).collect();
    // Text and numbers can always be written.
    let list = serde_json::to_vec(&Robots { robots }).unwrap_or_default();
    gate.charge(address.ip(), surcharge(Kind::List, list.len()));
    let waiting = gate.wait(address.ip(), list.len())?;
    let about = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_LENGTH, HeaderValue::from(list.len())),
    ];
    Ok((about, piece_by_piece(list, waiting)).into_response())
}

/// What who asks may do.
fn grant(gate: &Gate, headers: &HeaderMap) -> Result<Grant, Refusal> {
    gate.knows_host(headers)?;
    gate.grant(headers)
}

/// A body that counts as waiting until the last piece of it is handed to the connection.
fn piece_by_piece(text: Vec<u8>, waiting: Waiting) -> Body {
    let next = async |(mut rest, waiting): (Bytes, Waiting)| {
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        // A copy, or a piece that is not sent would keep the whole.
        let piece = Bytes::copy_from_slice(&piece);
        (!piece.is_empty()).then_some((Ok::<_, Infallible>(piece), (rest, waiting)))
    };
    Body::from_stream(stream::unfold((Bytes::from(text), waiting), next))
}
