//! The files of the viewer, which are part of the program, as they are served.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use include_dir::{Dir, include_dir};

static VIEWER: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/viewer");

/// All files, by path.
pub(crate) struct Viewer(HashMap<String, File>);

struct File {
    content: &'static [u8],
    mime: &'static str,
    etag: String,
}

impl Viewer {
    /// Those that the program was built with.
    pub(crate) fn new() -> Self {
        let mut files = HashMap::new();
        collect(&VIEWER, &mut files);
        Self(files)
    }

    /// A file, or that there is none, or that the browser has it already.
    pub(crate) fn page(&self, path: &str, headers: &HeaderMap) -> Response {
        let Some(file) = self.0.get(path) else {
            return (StatusCode::NOT_FOUND, "not found").into_response();
        };
        let about = [(header::CACHE_CONTROL, "no-cache"), (header::ETAG, &file.etag)]
            .map(|(name, value)| (name, value.to_owned()));
        if is_known(headers, &file.etag) {
            return (StatusCode::NOT_MODIFIED, about).into_response();
        }
        (about, [(header::CONTENT_TYPE, file.mime)], file.content).into_response()
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
