//! The broker's HTTP side: which path is the WebSocket, which is the viewer, and the headers that
//! fence the viewer in. The viewer's files are part of the program.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use include_dir::{Dir, include_dir};

use crate::access::Grant;
use crate::socket::{Caller, Hub};

/// Scripts, styles and connections (WebSockets included) of this server only; nothing inline.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static VIEWER: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/viewer");

/// The routes of a broker.
pub(crate) fn router(hub: Arc<Hub>) -> Router {
    let mut files = HashMap::new();
    collect(&VIEWER, &mut files);
    Router::new()
        .route("/", get(root))
        .route("/ws", get(socket))
        .route("/healthz", get(|| async { "ok" }))
        .fallback(get(file))
        .with_state(Site { hub, files: Arc::new(files) })
}

#[derive(Clone)]
struct Site {
    hub: Arc<Hub>,
    files: Arc<HashMap<String, File>>,
}

struct File {
    content: &'static [u8],
    mime: &'static str,
    etag: String,
}

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

async fn socket(
    State(site): State<Site>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    site.connect(upgrade, &headers)
}

/// The WebSocket for GStreamer's programs, which know no path; the viewer for browsers.
async fn root(State(site): State<Site>, headers: HeaderMap, upgrade: Upgrade) -> Response {
    match upgrade {
        Ok(upgrade) => site.connect(upgrade, &headers),
        Err(rejection) if headers.contains_key(header::UPGRADE) => rejection.into_response(),
        Err(_) => site.page("index.html", &headers),
    }
}

async fn file(State(site): State<Site>, uri: Uri, headers: HeaderMap) -> Response {
    site.page(uri.path().trim_start_matches('/'), &headers)
}

impl Site {
    /// Accepts a WebSocket, unless a web page of another server asks for it (RFC 6455,
    /// section 10.2).
    fn connect(self, upgrade: WebSocketUpgrade, headers: &HeaderMap) -> Response {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        if let Some(origin) = headers.get(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            let own = authority.is_some() && authority == text(header::HOST);
            if !own && !self.hub.allows_origin(origin) {
                tracing::warn!(origin, "refused a web page of another server");
                let remedy = "pages of this origin may not connect: see allow_origins";
                return (StatusCode::FORBIDDEN, remedy).into_response();
            }
        }
        let address = IpAddr::from([0, 0, 0, 0]);
        let caller = Caller { grant: Grant::open(), address, permit: None };
        self.hub.accept(upgrade, caller)
    }

    fn page(&self, path: &str, headers: &HeaderMap) -> Response {
        let Some(file) = self.files.get(path) else {
            return (StatusCode::NOT_FOUND, "not found").into_response();
        };
        let fences = [
            (header::CACHE_CONTROL, "no-cache"),
            (header::ETAG, &file.etag),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
            (header::REFERRER_POLICY, "no-referrer"),
        ]
        .map(|(name, value)| (name, value.to_owned()));
        if is_known(headers, &file.etag) {
            return (StatusCode::NOT_MODIFIED, fences).into_response();
        }
        (fences, [(header::CONTENT_TYPE, file.mime)], file.content).into_response()
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
