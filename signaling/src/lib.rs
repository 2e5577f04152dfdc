//! The broker: introduces producers (robots) to consumers (viewers) over WebSocket, relays what
//! they say until they have found each other, and serves the browser viewer. Media never passes
//! through it.
//!
//! A [`Server`] is complete in itself, so that a robot can run one inside its own process.

pub mod access;
mod audit;
pub mod broker;
pub mod config;
pub mod key_files;
pub mod limits;
pub mod metrics;
pub mod socket;
pub mod token;
mod web;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use config::{Config, Flags};
use socket::Hub;

/// How long a client may take for the head of a request, or be idle between two.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait when no connection can be accepted, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A broker that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    hub: Arc<Hub>,
    all_closed: mpsc::Receiver<()>,
}

/// The broker cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}; choose another address with `listen`")]
pub struct BindError {
    address: SocketAddr,
    error: io::Error,
}

impl Server {
    /// Listens; connections are served once [`Server::run`] is called.
    pub async fn bind(config: Config) -> Result<Self, BindError> {
        let address = config.listen;
        let failed = |error| BindError { address, error };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        tracing::info!("listening on http://{local_addr}");
        if !local_addr.ip().is_loopback() {
            tracing::warn!(
                "the broker has no access control yet: whoever can reach {local_addr} can watch \
                 every robot; listen on a loopback address or fence the network off"
            );
        }
        let (hub, all_closed) = Hub::new(&config);
        Ok(Self { listener, local_addr, hub, all_closed })
    }

    /// Where it listens, with the port that the system chose if it was left to it.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown` is ready; then says goodbye to everyone, which takes less than a
    /// second, and returns.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let router = web::router(self.hub.clone());
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                // Reaps those that are over; pends for ever while there are none.
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, router.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        self.hub.close();
        // Closes, without ever saying anything, when the last WebSocket is gone.
        self.all_closed.recv().await;
        connections.shutdown().await;
        tracing::info!("stopped");
    }
}

/// Serves HTTP on a connection, until it ends or becomes a WebSocket.
async fn serve(stream: TcpStream, router: axum::Router) {
    // Small messages must not wait for acknowledgements.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "an HTTP connection failed");
    }
}
