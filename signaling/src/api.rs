//! What programs ask the broker by HTTP: whether it is well, its figures, and the robots that are
//! on-line.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rovercast_protocol::ids::PeerId;
use rovercast_protocol::signaling::{ErrorCode, Meta};
use serde::{Deserialize, Serialize};

use crate::access::Grant;
use crate::metrics;
use crate::socket;
use crate::web::{Gate, Refusal};

/// The routes. Every request needs an extension: the [`SocketAddr`] of who sends it.
pub(crate) fn routes(gate: Arc<Gate>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(figures))
        .route("/api/robots", get(robots))
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
) -> Response {
    let may = |grant: Grant| {
        if grant.may_scrape() {
            return Ok(());
        }
        let details = "the token is not for the metrics: ask for one with the scope `metrics`";
        Err(Refusal::of(ErrorCode::Forbidden, details))
    };
    match gate.grant(&headers).and_then(may) {
        Ok(()) => {
            let about = [(header::CONTENT_TYPE, metrics::FORMAT)];
            (about, gate.hub().figures()).into_response()
        }
        Err(refusal) => refused(&gate, address, refusal),
    }
}

async fn robots(
    State(gate): State<Arc<Gate>>,
    Extension(address): Extension<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    match gate.grant(&headers) {
        Ok(grant) => {
            let robots = gate.hub().robots(&grant).into_iter().map(Robot::from).collect();
            // Text and numbers can always be written.
            let body = serde_json::to_string(&Robots { robots }).unwrap_or_default();
            let about =
                [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
            (about, body).into_response()
        }
        Err(refusal) => refused(&gate, address, refusal),
    }
}

fn refused(gate: &Gate, address: SocketAddr, refusal: Refusal) -> Response {
    gate.hub().turn_away(address.ip(), refusal.code);
    refusal.into_response()
}
