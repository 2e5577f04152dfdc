//! The broker's HTTP side: which path is the WebSocket, which is the viewer, and the headers that
//! fence the viewer in. The viewer's files are part of the program.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use include_dir::{Dir, include_dir};
use rovercast_metrics::page::FORMAT;
use rovercast_protocol::signaling::ErrorCode;
use serde_json::{Value, json};

use crate::access::{Denied, Grant, SUBPROTOCOL, Verifier, bearer};
use crate::limits::Permit;
use crate::refusal::{Refusal, Refused};
use crate::socket::{Caller, Hub, unix_s};
use crate::whep;

/// Scripts, styles and connections (WebSockets included) of this server only; nothing inline.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The viewer asks for nothing that a page needs leave for, but to fill the screen.
const PERMISSIONS_POLICY: &str = "camera=(), microphone=(), geolocation=(), display-capture=(), usb=(), serial=(), fullscreen=(self)";

static VIEWER: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/viewer");

/// Where a request comes from, and its connection's leave to be there: none yet where a proxy speaks
/// for others.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) address: IpAddr,
    pub(crate) permit: Option<Arc<Permit>>,
}

/// The routes of a broker. Requests bring their [`Origin`] as an extension.
pub(crate) fn router(hub: Arc<Hub>, gate: Gate, whep: &whep::Settings, encrypted: bool) -> Router {
    let players = match whep.enabled {
        true => whep::routes(hub.clone(), whep, gate.clone()),
        false => Router::new(),
    };
    let mut files = HashMap::new();
    collect(&VIEWER, &mut files);
    let site = Site { hub, files: Arc::new(files), gate, encrypted };
    Router::new()
        .route("/", get(root))
        .route("/ws", get(socket))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/robots", get(robots))
        .fallback(get(file))
        .with_state(site.clone())
        .merge(players)
        .layer(from_fn_with_state(site, fence))
}

#[derive(Clone)]
struct Site {
    hub: Arc<Hub>,
    files: Arc<HashMap<String, File>>,
    gate: Gate,
    encrypted: bool,
}

struct File {
    content: &'static [u8],
    mime: &'static str,
    etag: String,
}

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// Puts the headers on every answer that keep pages apart, and counts those that are refusals.
async fn fence(
    State(site): State<Site>,
    Extension(origin): Extension<Origin>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    if let Some(Refused(code)) = response.extensions().get() {
        site.hub.turn_away(origin.address, *code);
    }
    let headers = response.headers_mut();
    let mut put = |name, value| drop(headers.insert(name, HeaderValue::from_static(value)));
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(header::REFERRER_POLICY, "no-referrer");
    put(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    put(HeaderName::from_static("permissions-policy"), PERMISSIONS_POLICY);
    put(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    if site.encrypted {
        put(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    response
}

async fn socket(
    State(site): State<Site>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Refusal> {
    site.connect(upgrade, origin, &headers)
}

/// The WebSocket for GStreamer's programs, which know no path; the viewer for browsers.
async fn root(
    State(site): State<Site>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    match upgrade {
        Ok(upgrade) => site.connect(upgrade, origin, &headers),
        Err(rejection) if headers.contains_key(header::UPGRADE) => Ok(rejection.into_response()),
        Err(_) => Ok(site.page("index.html", &headers)),
    }
}

async fn file(State(site): State<Site>, uri: Uri, headers: HeaderMap) -> Response {
    site.page(uri.path().trim_start_matches('/'), &headers)
}

async fn ready(State(site): State<Site>) -> Response {
    if site.hub.is_open() {
        return "ready".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "the broker stops").into_response()
}

async fn metrics(State(site): State<Site>, headers: HeaderMap) -> Result<Response, Refusal> {
    if !site.gate.grant(&headers)?.may_scrape() {
        let remedy = "the token does not allow this: mint one with the scope metrics";
        return Err(Refusal::of(ErrorCode::Forbidden, remedy));
    }
    Ok(([(header::CONTENT_TYPE, FORMAT)], site.hub.metrics().render()).into_response())
}

/// The robots that the token shows.
async fn robots(State(site): State<Site>, headers: HeaderMap) -> Result<Response, Refusal> {
    let grant = site.gate.grant(&headers)?;
    let robots = site.hub.robots(&grant).into_iter().map(|robot| {
        let meta = robot.info.meta.unwrap_or_default();
        json!({
            "id": robot.info.id,
            "name": meta.get("name"),
            "cameras": meta.get("cameras"),
            "sinceUnixS": robot.since_unix_s,
        })
    });
    let robots: Vec<Value> = robots.collect();
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(json!({ "robots": robots }))).into_response())
}

/// Lets requests in by their tokens.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Option<Arc<Verifier>>);

impl Gate {
    /// One that checks tokens; without a verifier everybody may do everything.
    pub(crate) fn new(verifier: Option<Verifier>) -> Self {
        Self(verifier.map(Arc::new))
    }

    /// What who asks may do.
    pub(crate) fn grant(&self, headers: &HeaderMap) -> Result<Grant, Refusal> {
        let Some(verifier) = &self.0 else { return Ok(Grant::open()) };
        let token = bearer(headers)?.ok_or(Denied::Missing)?;
        Ok(verifier.verify(token, unix_s(SystemTime::now()))?)
    }
}

/// Refuses requests of web pages of other servers, unless their origin is allowed (RFC 6455,
/// section 10.2). Programs that are no browsers name none.
pub(crate) fn same_site(hub: &Hub, headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let own = authority.is_some() && authority == text(header::HOST);
    if own || hub.allows_origin(origin) {
        return Ok(());
    }
    let remedy = "pages of this origin may not use this broker: see allow_origins";
    Err(Refusal::of(ErrorCode::Forbidden, remedy))
}

impl Site {
    /// Accepts a WebSocket, unless a web page of another server asks for it, or one without a token
    /// that is taken.
    fn connect(
        self,
        upgrade: WebSocketUpgrade,
        origin: Origin,
        headers: &HeaderMap,
    ) -> Result<Response, Refusal> {
        same_site(&self.hub, headers)?;
        let (grant, address) = (self.gate.grant(headers)?, origin.address);
        let permit = match origin.permit {
            Some(permit) => permit,
            None => Arc::new(
                (self.hub.limits().admit(address))
                    .map_err(|full| Refusal::of(full.code(), full.to_string()))?,
            ),
        };
        let caller = Caller { grant, address, permit: Some(permit) };
        Ok(self.hub.accept(upgrade.protocols([SUBPROTOCOL]), caller))
    }

    fn page(&self, path: &str, headers: &HeaderMap) -> Response {
        let Some(file) = self.files.get(path) else {
            return (StatusCode::NOT_FOUND, "not found").into_response();
        };
        let version = [(header::CACHE_CONTROL, "no-cache"), (header::ETAG, &file.etag)]
            .map(|(name, value)| (name, value.to_owned()));
        if is_known(headers, &file.etag) {
            return (StatusCode::NOT_MODIFIED, version).into_response();
        }
        (version, [(header::CONTENT_TYPE, file.mime)], file.content).into_response()
    }
}

/// Whether the browser has this version already.
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let known: Option<&HeaderValue> = headers.get::<HeaderName>(header::IF_NONE_MATCH);
    known
        .and_then(|tags| tags.to_str().ok())
        .is_some_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag))
}

fn collect(dir: &Dir<'static>, files: &mut HashMap<String, File>) {
    for file in dir.files() {
        let (Some(path), Some(mime)) = (file.path().to_str(), mime_of(file.path())) else {
            continue;
        };
        let content = file.contents();
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let etag = format!("\"{:016x}\"", hasher.finish());
        files.insert(path.to_owned(), File { content, mime, etag });
    }
    for dir in dir.dirs() {
        collect(dir, files);
    }
}

/// The type of the files that a page is made of. Others (the type checker's settings, notes) are
/// not served.
fn mime_of(path: &std::path::Path) -> Option<&'static str> {
    match path.extension()?.to_str()? {
        "html" => Some("text/html; charset=utf-8"),
        "js" | "mjs" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        "png" => Some("image/png"),
        "ico" => Some("image/x-icon"),
        "woff2" => Some("font/woff2"),
        "webmanifest" => Some("application/manifest+json"),
        _ => None,
    }
}
