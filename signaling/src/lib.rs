//! The broker: introduces producers (robots) to consumers (viewers) over WebSocket, relays what
//! they say until they have found each other, and serves the browser viewer. Media never passes
//! through it.
//!
//! A [`Server`] is complete in itself, so that a robot can run one inside its own process.

pub mod access;
mod audit;
pub mod broker;
pub mod config;
pub mod ice;
pub mod key_files;
pub mod limits;
pub mod metrics;
mod refusal;
mod socket;
mod tls;
pub mod token;
mod web;
pub mod whep;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use config::{Config, Flags};
use socket::Hub;
use tls::Tls;
pub use tls::{BadCertificate, TlsSettings};
use web::{Gate, Origin};

/// How long to wait when no connection can be accepted, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a TLS connection begins with (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// For those who speak plainly where TLS is wanted.
const TLS_WANTED: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\
    Content-Type: text/plain\r\n\r\nThis port speaks TLS: use https:// or wss://\n";

/// A broker that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    hub: Arc<Hub>,
    all_closed: mpsc::Receiver<()>,
    front: Front,
    drain_timeout: Duration,
}

/// The broker cannot start. For people: what is wrong, and what helps.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}; choose another address with `listen`")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// Others could reach it, and nothing tells them apart.
    #[error(
        "no keys are configured, and others can reach {0}: whoever does could watch and control every \
         robot. Configure keys in [access], listen on 127.0.0.1, or say --insecure where the network \
         is fenced off by other means"
    )]
    Open(SocketAddr),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] access::BadKey),
    /// The secret of the TURN servers cannot be used.
    #[error(transparent)]
    Turn(#[from] ice::BadTurn),
    /// A certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] BadCertificate),
}

impl Server {
    /// Reads the files that the config names, and listens; connections are served once
    /// [`Server::run`] is called.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        let address = config.listen;
        let verifier = key_files::verifier(&config.access)?;
        let reachable = !address.ip().to_canonical().is_loopback();
        if verifier.is_none() && reachable {
            if !config.insecure {
                return Err(StartError::Open(address));
            }
            tracing::warn!(
                "insecure: whoever can reach {address} can watch and control every robot"
            );
        }
        let tls = Tls::new(&config.tls)?;
        if verifier.is_some() && reachable && tls.is_none() && config.trusted_proxies.is_empty() {
            tracing::warn!(
                "tokens travel in clear text: configure [tls], or name the proxy that encrypts in \
                 trusted_proxies"
            );
        }
        let servers =
            ice::Servers::new(config.ice_servers.clone(), &config.turn, key_files::secret)?;
        let failed = |error| StartError::Listen { address, error };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let (hub, all_closed) = Hub::new(&config, servers);
        let router = web::router(hub.clone(), Gate::new(verifier), &config.whep, tls.is_some());
        let front = Front {
            router,
            tls,
            handshake_timeout: config.limits.handshake_timeout,
            trusted_proxies: config.trusted_proxies.into(),
        };
        let server = Self {
            listener,
            local_addr,
            hub,
            all_closed,
            front,
            drain_timeout: config.drain_timeout,
        };
        tracing::info!("listening on {}", server.url());
        if let Some(tls) = &server.front.tls {
            tracing::info!("the certificate's fingerprint is {}", tls.fingerprint());
        }
        Ok(server)
    }

    /// Where it listens, with the port that the system chose if it was left to it.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The same for browsers.
    pub fn url(&self) -> String {
        let scheme = if self.front.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.local_addr)
    }

    /// Serves until `shutdown` is ready; then says goodbye to everyone, for as long as the config
    /// allows, and returns.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        let follow = self.front.tls.clone().map(|tls| tokio::spawn(tls.follow()));
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                // Reaps those that are over; pends for ever while there are none.
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if let Some(origin) = self.front.admit(&self.hub, from.ip()) {
                connections.spawn(self.front.clone().serve(stream, origin));
            }
        }
        drop(self.listener);
        self.hub.close();
        // Closes, without ever saying anything, when the last WebSocket is gone.
        if timeout(self.drain_timeout, self.all_closed.recv()).await.is_err() {
            tracing::warn!("some connections did not end in time, and are cut");
        }
        if let Some(follow) = follow {
            follow.abort();
        }
        connections.shutdown().await;
        tracing::info!("stopped");
    }
}

/// What becomes of a connection before it is a request.
#[derive(Debug, Clone)]
struct Front {
    router: Router,
    tls: Option<Tls>,
    handshake_timeout: Duration,
    trusted_proxies: Arc<[IpAddr]>,
}

impl Front {
    /// Counts a connection, unless there are enough: then it is closed without a word, which costs
    /// least.
    fn admit(&self, hub: &Hub, address: IpAddr) -> Option<Origin> {
        let address = address.to_canonical();
        if self.trusted_proxies.contains(&address) {
            return Some(Origin { address, permit: None });
        }
        match hub.limits().admit(address) {
            Ok(permit) => Some(Origin { address, permit: Some(Arc::new(permit)) }),
            Err(full) => {
                hub.turn_away(address, full.code());
                None
            }
        }
    }

    async fn serve(self, stream: TcpStream, origin: Origin) {
        // Small messages must not wait for acknowledgements.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let Some(tls) = &self.tls else { return self.http(stream, origin).await };
        match timeout(self.handshake_timeout, encrypted(tls, stream)).await {
            Ok(Ok(stream)) => self.http(stream, origin).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    /// Serves HTTP on a connection, until it ends or becomes a WebSocket.
    async fn http<S>(&self, stream: S, origin: Origin)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(|mut request: Request<Incoming>| {
            let mut origin = origin.clone();
            if origin.permit.is_none() {
                origin.address = forwarded(request.headers()).unwrap_or(origin.address);
            }
            request.extensions_mut().insert(origin);
            router.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.handshake_timeout)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an HTTP connection failed");
        }
    }
}

async fn encrypted(
    tls: &Tls,
    mut stream: TcpStream,
) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first != [HANDSHAKE_RECORD] {
        stream.write_all(TLS_WANTED).await?;
        stream.shutdown().await?;
        return Err(io::Error::other("it speaks no TLS"));
    }
    tls.acceptor.accept(stream).await
}

/// For whom a proxy speaks: the last in its list, which it has written itself.
fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let list = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    list.rsplit(',').next()?.trim().parse().ok().map(|address: IpAddr| address.to_canonical())
}
