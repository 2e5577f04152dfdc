//! The robot's own socket: HTTP on a Unix socket, for programs on the robot. Whoever may open it may
//! change the cameras: it belongs to the user that runs the sender, and to nobody else.

use std::fs::{DirBuilder, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path as PathPart, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rovercast_protocol::control::RefusalCode;
use rovercast_protocol::ids::CameraId;
use serde_json::json;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::control::{Change, Reply, Request, What};

/// No request has a longer body, in bytes.
const MAX_BODY: usize = 4096;

/// Connections at the same time, each for one request. Further ones wait to be accepted.
const CONNECTIONS: usize = 16;

/// A connection is over by then, however slowly its program writes and reads. A snapshot takes 8
/// seconds at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait when no connection can be accepted, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const NO_SUCH_PATH: &str = "no such path: there are GET /telemetry, PATCH /cameras/ID, \
                            POST /cameras/ID/key-frame and GET /cameras/ID/snapshot.jpg";

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
                bail!("{}: there is a file of this name: choose another", named());
            }
            match UnixStream::connect(path).await {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                // One that has no time to answer is alive, too.
                _ => bail!("{}: another sender uses it: choose another", named()),
            }
        }
        let listener = listen(path).with_context(|| {
            format!("{} cannot be made: its folder must be there, and be writable", named())
        })?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Answers, until `shutdown` resolves; then the socket is gone, and whoever waits is cut off.
    pub async fn serve(
        self,
        requests: mpsc::Sender<Request>,
        telemetry: watch::Receiver<Arc<[u8]>>,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) {
        let router = router(Desk { requests, telemetry });
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    connections.spawn(answer(stream, router.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Listens at `path`, in place of what was there. The socket is made in a folder of its own, so
/// that nobody else can open it before its permissions are right.
fn listen(path: &Path) -> std::io::Result<UnixListener> {
    let mut folder = path.as_os_str().to_owned();
    folder.push(".new");
    let folder = PathBuf::from(folder);
    let new = folder.join("socket");
    // A sender that was killed in here left them.
    let _ = std::fs::remove_file(&new);
    let _ = std::fs::remove_dir(&folder);
    DirBuilder::new().mode(0o700).create(&folder)?;
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    std::fs::remove_dir(&folder)?;
    Ok(listener)
}

/// Answers one request, in bounded time.
async fn answer(stream: UnixStream, router: Router) {
    let connection = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(PATIENCE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a request by the control socket"),
        Err(_) => tracing::debug!("a program stalls at the control socket: it is cut off"),
    }
}

fn router(desk: Desk) -> Router {
    Router::new()
        .route("/telemetry", get(telemetry_now))
        .route("/cameras/{camera}", patch(change))
        .route("/cameras/{camera}/key-frame", post(key_frame))
        .route("/cameras/{camera}/snapshot.jpg", get(snapshot))
        .fallback(async || refused(StatusCode::NOT_FOUND, NO_SUCH_PATH))
        .method_not_allowed_fallback(async || {
            refused(StatusCode::METHOD_NOT_ALLOWED, "not by this method: see Allow")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(desk)
}

async fn telemetry_now(State(desk): State<Desk>) -> Response {
    let newest = desk.telemetry.borrow().to_vec();
    ([(header::CONTENT_TYPE, "application/json")], newest).into_response()
}

type CameraPart = Result<PathPart<CameraId>, PathRejection>;

async fn change(
    State(desk): State<Desk>,
    camera: CameraPart,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return refused(rejection.status(), &rejection.body_text()),
    };
    let change = serde_json::from_slice::<Change>(&body).map_err(|error| error.to_string());
    match change.and_then(Change::checked) {
        Ok(change) => ask(&desk, camera, What::Change(change)).await,
        Err(problem) => refused(StatusCode::BAD_REQUEST, &problem),
    }
}

async fn key_frame(State(desk): State<Desk>, camera: CameraPart) -> Response {
    ask(&desk, camera, What::KeyFrame).await
}

async fn snapshot(State(desk): State<Desk>, camera: CameraPart) -> Response {
    ask(&desk, camera, What::Snapshot).await
}

async fn ask(desk: &Desk, camera: CameraPart, what: What) -> Response {
    let Ok(PathPart(camera)) = camera else {
        return refused(StatusCode::NOT_FOUND, "no camera has such an id");
    };
    tracing::info!(%camera, ?what, "a request by the control socket");
    let (reply, answer) = oneshot::channel();
    if desk.requests.try_send(Request { camera, what, reply }).is_err() {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait: try again");
    }
    match answer.await {
        Ok(Ok(Reply::Done)) => StatusCode::NO_CONTENT.into_response(),
        Ok(Ok(Reply::Snapshot(jpeg))) => {
            ([(header::CONTENT_TYPE, "image/jpeg")], jpeg).into_response()
        }
        Ok(Err(refusal)) if refusal.code == RefusalCode::UnknownCamera => {
            refused(StatusCode::NOT_FOUND, &refusal.details)
        }
        Ok(Err(refusal)) => refused(StatusCode::CONFLICT, &refusal.details),
        Err(_) => refused(StatusCode::SERVICE_UNAVAILABLE, "the camera is being stopped"),
    }
}

fn refused(status: StatusCode, problem: &str) -> Response {
    (status, Json(json!({ "error": problem }))).into_response()
}
