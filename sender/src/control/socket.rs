//! The robot's own socket: HTTP on a Unix socket, for programs on the robot. Whoever may open it may
//! change the cameras: it belongs to the user that runs the sender, and to nobody else.

use std::fs::Permissions;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use axum::extract::{DefaultBodyLimit, Path as PathPart, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use rovercast_protocol::ids::CameraId;
use serde_json::json;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};

use crate::control::{Change, Reply, Request, What};

/// No request has a longer body, in bytes.
const MAX_BODY: usize = 4096;

/// The robot's socket while it is open.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

#[derive(Clone)]
struct Desk {
    requests: mpsc::Sender<Request>,
    telemetry: watch::Receiver<Arc<[u8]>>,
}

impl Socket {
    /// Opens it. One that a sender left behind is replaced; one that answers is an error.
    pub async fn open(path: &Path) -> anyhow::Result<Self> {
        let named = || format!("control.socket {}", path.display());
        if let Ok(there) = path.symlink_metadata() {
            if !there.file_type().is_socket() {
                bail!("{}: there is a file of this name", named());
            }
            if UnixStream::connect(path).await.is_ok() {
                bail!("{}: another sender uses it", named());
            }
        }
        // It gets its name when nobody else can open it any more.
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let _ = std::fs::remove_file(&new);
        let listener = UnixListener::bind(&new).with_context(named)?;
        std::fs::set_permissions(&new, Permissions::from_mode(0o600)).with_context(named)?;
        std::fs::rename(&new, path).with_context(named)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Answers, until `shutdown` resolves.
    pub async fn serve(
        self,
        requests: mpsc::Sender<Request>,
        telemetry: watch::Receiver<Arc<[u8]>>,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) {
        let routes = Router::new()
            .route("/telemetry", get(telemetry_now))
            .route("/cameras/{camera}", patch(change))
            .route("/cameras/{camera}/key-frame", post(key_frame))
            .route("/cameras/{camera}/snapshot.jpg", get(snapshot))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(Desk { requests, telemetry });
        let served = axum::serve(self.listener, routes).with_graceful_shutdown(shutdown).await;
        if let Err(error) = served {
            tracing::error!(%error, "the control socket");
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn telemetry_now(State(desk): State<Desk>) -> Response {
    let newest = desk.telemetry.borrow().to_vec();
    ([(header::CONTENT_TYPE, "application/json")], newest).into_response()
}

async fn change(
    State(desk): State<Desk>,
    PathPart(camera): PathPart<CameraId>,
    Json(change): Json<Change>,
) -> Response {
    match change.checked() {
        Ok(change) => ask(&desk, camera, What::Change(change)).await,
        Err(problem) => refused(StatusCode::BAD_REQUEST, &problem),
    }
}

async fn key_frame(State(desk): State<Desk>, PathPart(camera): PathPart<CameraId>) -> Response {
    ask(&desk, camera, What::KeyFrame).await
}

async fn snapshot(State(desk): State<Desk>, PathPart(camera): PathPart<CameraId>) -> Response {
    ask(&desk, camera, What::Snapshot).await
}

async fn ask(desk: &Desk, camera: CameraId, what: What) -> Response {
    let (reply, answer) = oneshot::channel();
    if desk.requests.try_send(Request { camera, what, reply }).is_err() {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait: try again");
    }
    match answer.await {
        Ok(Ok(Reply::Done)) => StatusCode::NO_CONTENT.into_response(),
        Ok(Ok(Reply::Snapshot(jpeg))) => {
            ([(header::CONTENT_TYPE, "image/jpeg")], jpeg).into_response()
        }
        Ok(Err(problem)) => refused(StatusCode::CONFLICT, &problem),
        Err(_) => refused(StatusCode::SERVICE_UNAVAILABLE, "the sender stops"),
    }
}

fn refused(status: StatusCode, problem: &str) -> Response {
    (status, Json(json!({ "error": problem }))).into_response()
}
