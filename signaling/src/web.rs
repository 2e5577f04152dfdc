//! The broker's HTTP side: which path is the WebSocket, which is the viewer, and who may have either.
//! What is asked by programs is in [`crate::api`].

mod fences;
mod gate;
mod pace;
mod refusal;
mod settings;
mod viewer;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};

use crate::access::SUBPROTOCOL;
use crate::api;
use crate::limits::Permit;
use crate::socket::Caller;
use crate::whep;
pub(crate) use fences::Strict;
pub(crate) use gate::{Gate, Leave, forwarded};
pub(crate) use pace::Waiting;
use refusal::Refused;
pub(crate) use refusal::{Refusal, no_such_method};
pub use settings::WebSettings;
use viewer::Viewer;

/// The routes of a broker. Every request needs two extensions: the [`SocketAddr`] of who sends it, and
/// a [`Leave`].
pub(crate) fn router(gate: Arc<Gate>, strict: Strict, whep: &whep::Settings) -> Router {
    let players = match whep.enabled {
        true => whep::routes(gate.clone(), whep),
        false => Router::new(),
    };
    let site = Site { gate: gate.clone(), viewer: Arc::new(Viewer::new()) };
    Router::new()
        .route("/", get(root))
        .route("/ws", get(socket))
        .method_not_allowed_fallback(no_such_method)
        .fallback(get(file).fallback(no_such_method))
        .with_state(site)
        .merge(api::routes(gate.clone()))
        .merge(players)
        .layer(middleware::from_fn_with_state(gate, admit))
        .layer(middleware::map_response_with_state(strict, fences::fence))
}

/// Lets nobody be answered without leave, and counts who is refused, wherever that is.
async fn admit(
    State(gate): State<Arc<Gate>>,
    Extension(address): Extension<SocketAddr>,
    Extension(leave): Extension<Leave>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = address.ip();
    let response = match gate.leave(address, leave) {
        Ok(permit) => {
            request.extensions_mut().insert(permit.clone());
            let response = next.run(request).await;
            drop(permit);
            response
        }
        Err(refusal) => refusal.into_response(),
    };
    if let Some(Refused(code)) = response.extensions().get() {
        gate.hub().turn_away(address, *code);
    }
    response
}

/// Lets an address ask as much as one peer may say.
pub(crate) async fn paced(
    State(gate): State<Arc<Gate>>,
    Extension(address): Extension<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    match gate.pace(address.ip()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

#[derive(Clone)]
struct Site {
    gate: Arc<Gate>,
    viewer: Arc<Viewer>,
}

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

async fn socket(
    State(site): State<Site>,
    Extension(address): Extension<SocketAddr>,
    Extension(permit): Extension<Arc<Permit>>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    site.connect(upgrade?, &headers, address, permit)
}

/// The WebSocket for GStreamer's programs, which know no path; the viewer for browsers.
async fn root(
    State(site): State<Site>,
    Extension(address): Extension<SocketAddr>,
    Extension(permit): Extension<Arc<Permit>>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    if upgrade.is_err() && !headers.contains_key(header::UPGRADE) {
        return Ok(site.viewer.page("index.html", &headers));
    }
    site.connect(upgrade?, &headers, address, permit)
}

async fn file(State(site): State<Site>, uri: Uri, headers: HeaderMap) -> Response {
    site.viewer.page(uri.path().trim_start_matches('/'), &headers)
}

impl Site {
    /// Accepts a WebSocket from whom the gate lets pass.
    fn connect(
        self,
        upgrade: WebSocketUpgrade,
        headers: &HeaderMap,
        address: SocketAddr,
        permit: Arc<Permit>,
    ) -> Result<Response, Refusal> {
        self.gate.accepts()?;
        self.gate.knows_origin(headers)?;
        let grant = self.gate.grant(headers)?;
        let caller = Caller { grant, address: address.ip(), permit: Some(permit) };
        Ok(self.gate.hub().clone().accept(upgrade.protocols([SUBPROTOCOL]), caller))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    use super::*;
    use crate::config::Config;
    use crate::socket::Hub;

    #[tokio::test]
    async fn a_broker_that_stops_is_well_but_not_ready() {
        let config = Config::default();
        let unread = |_: &std::path::Path| unreachable!("no secret is configured");
        let servers = crate::ice::Servers::new(Vec::new(), &config.turn, unread).unwrap();
        let (hub, _all_closed) = Hub::new(&config, servers);
        let gate = Arc::new(Gate::new(hub, None, &config));
        let router = TowerToHyperService::new(router(gate.clone(), Strict(false), &config.whep));
        let status = async |path: &str| {
            let mut request = Request::get(path).body(Body::empty()).unwrap();
            request.extensions_mut().insert(SocketAddr::from(([127, 0, 0, 1], 1)));
            request.extensions_mut().insert(Leave(None));
            router.call(request).await.unwrap().status()
        };
        assert_eq!(status("/readyz").await, StatusCode::OK);
        gate.close();
        assert_eq!(status("/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status("/healthz").await, StatusCode::OK);
    }
}
