//! The broker's HTTP side: which path is the WebSocket, which is the viewer, and who may have either.
//! What is asked by programs is in [`crate::api`].

mod fences;
mod gate;
mod refusal;
mod settings;
mod viewer;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};

use crate::access::SUBPROTOCOL;
use crate::api;
use crate::socket::Caller;
use crate::whep;
pub(crate) use fences::Strict;
pub(crate) use gate::{Gate, Leave, forwarded};
pub(crate) use refusal::Refusal;
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
        .fallback(get(file))
        .with_state(site)
        .merge(api::routes(gate))
        .merge(players)
        .layer(middleware::map_response_with_state(strict, fences::fence))
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
    Extension(leave): Extension<Leave>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    site.connect(upgrade, &headers, address, leave)
}

/// The WebSocket for GStreamer's programs, which know no path; the viewer for browsers.
async fn root(
    State(site): State<Site>,
    Extension(address): Extension<SocketAddr>,
    Extension(leave): Extension<Leave>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Response {
    match upgrade {
        Ok(upgrade) => site.connect(upgrade, &headers, address, leave),
        Err(rejection) if headers.contains_key(header::UPGRADE) => rejection.into_response(),
        Err(_) => site.viewer.page("index.html", &headers),
    }
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
        leave: Leave,
    ) -> Response {
        let address = address.ip();
        let hub = self.gate.hub();
        match self.caller(headers, address, leave) {
            Ok(caller) => hub.clone().accept(upgrade.protocols([SUBPROTOCOL]), caller),
            Err(refusal) => {
                hub.turn_away(address, refusal.code);
                refusal.into_response()
            }
        }
    }

    fn caller(
        &self,
        headers: &HeaderMap,
        address: std::net::IpAddr,
        leave: Leave,
    ) -> Result<Caller, Refusal> {
        self.gate.accepts()?;
        self.gate.knows_origin(headers)?;
        let grant = self.gate.grant(headers)?;
        let permit = Some(self.gate.leave(address, leave)?);
        Ok(Caller { grant, address, permit })
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
        let gate = Arc::new(Gate::new(hub, None, false));
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
