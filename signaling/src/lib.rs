//! The broker: introduces producers (robots) to consumers (viewers) over WebSocket, relays what
//! they say until they have found each other, and serves the browser viewer. Media never passes
//! through it.
//!
//! A [`Server`] is complete in itself, so that a robot can run one inside its own process.

pub mod access;
mod api;
mod audit;
pub mod broker;
pub mod config;
mod connection;
pub mod ice;
pub mod key_files;
pub mod limits;
pub mod metrics;
mod socket;
pub mod tls;
pub mod token;
pub mod web;
pub mod whep;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use config::{Config, Flags, LogFormat};
use connection::Front;
use socket::Hub;
use tls::Tls;
use web::{Gate, Strict};

/// How long to wait when no connection can be accepted, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long HTTP requests that are under way may still take when the broker stops.
const REQUESTS_END: Duration = Duration::from_millis(500);

/// A broker that listens.
#[derive(Debug)]
pub struct Server {
    config: Config,
    listener: TcpListener,
    local_addr: SocketAddr,
    tls: Option<Tls>,
    gate: Arc<Gate>,
    all_closed: mpsc::Receiver<()>,
}

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}; choose another address with `listen`")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// Everybody could come in.
    #[error(
        "without keys whoever reaches {address} can watch and control every robot: configure \
         [[access.keys]], or listen on 127.0.0.1 with no proxy before it, or say --insecure \
         (insecure = true) where the network is fenced off by other means"
    )]
    Open {
        /// Where they would come in.
        address: SocketAddr,
    },
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] access::BadKey),
    /// The secret of the TURN servers cannot be used.
    #[error(transparent)]
    Turn(#[from] ice::BadTurn),
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] tls::BadTls),
}

impl Server {
    /// Listens; connections are served once [`Server::run`] is called. Reads the files of keys and
    /// certificates, and makes those of a self-signed certificate.
    pub async fn bind(config: Config) -> Result<Self, BindError> {
        let address = config.listen;
        let verifier = key_files::verifier(&config.access)?;
        let is_reachable = !address.ip().to_canonical().is_loopback() || config.web.behind_proxy;
        if verifier.is_none() && is_reachable && !config.insecure {
            return Err(BindError::Open { address });
        }
        let tls = Tls::new(&config.tls)?;
        let failed = |error| BindError::Listen { address, error };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let servers =
            ice::Servers::new(config.ice_servers.clone(), &config.turn, key_files::secret)?;
        let (hub, all_closed) = Hub::new(&config, servers);
        let keys = verifier.is_some();
        let gate = Arc::new(Gate::new(hub, verifier, &config));
        let server = Self { config, listener, local_addr, tls, gate, all_closed };
        tracing::info!("listening on {}", server.url());
        if is_reachable && !keys {
            tracing::warn!(
                "no keys are configured: whoever can reach {local_addr} can watch and control every \
                 robot"
            );
        } else if is_reachable && server.tls.is_none() && !server.config.web.behind_proxy {
            tracing::warn!(
                "no TLS is configured: whoever is on the way to {local_addr} can read the tokens; \
                 see [tls], or let a proxy do it ([web] behind_proxy)"
            );
        }
        if let Some(fingerprint) = server.fingerprint() {
            tracing::info!("clients pin its certificate with tls_fingerprint = \"{fingerprint}\"");
        }
        Ok(server)
    }

    /// Where it listens, with the port that the system chose if it was left to it.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where browsers find it: `https://ADDRESS` or `http://ADDRESS`.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.local_addr)
    }

    /// The fingerprint of a self-signed certificate, as clients take it (`tls_fingerprint`):
    /// `sha256:AB:CD:…`. None for one that others signed: its renewals have other fingerprints.
    pub fn fingerprint(&self) -> Option<String> {
        let tls = self.tls.as_ref().filter(|_| self.config.tls.self_signed);
        tls.map(Tls::fingerprint)
    }

    /// Serves until `shutdown` is ready. Then takes no more connections, says goodbye to everyone,
    /// and returns when they are gone, within the configured time (`drain_timeout_s`).
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let (drain, draining) = watch::channel(false);
        let strict = Strict(self.tls.is_some() && !self.config.tls.self_signed);
        let front = Arc::new(Front {
            hub: self.gate.hub().clone(),
            router: TowerToHyperService::new(web::router(
                self.gate.clone(),
                strict,
                &self.config.whep,
            )),
            tls: self.tls.as_ref().map(Tls::acceptor),
            web: self.config.web.clone(),
            handshake_timeout: self.config.limits.handshake_timeout,
            draining,
            turning_away: Front::turning_away(),
        });
        // Ends when it is dropped.
        let mut watching = JoinSet::new();
        if let Some(tls) = self.tls.take() {
            watching.spawn(tls.watch());
        }
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
                Ok((stream, address)) => {
                    connections.spawn(front.clone().serve(stream, address));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        self.gate.close();
        drain.send_replace(true);
        self.gate.hub().close();
        let requests = async { while connections.join_next().await.is_some() {} };
        // The first closes, without ever saying anything, when the last peer is gone.
        let ended = join(self.all_closed.recv(), timeout(REQUESTS_END, requests));
        if timeout(self.config.web.drain_timeout, ended).await.is_err() {
            tracing::warn!("some connections were cut off: drain_timeout_s is over");
        }
        connections.shutdown().await;
        tracing::info!("stopped");
    }
}
