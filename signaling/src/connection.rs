//! One connection from its first byte until it is over or a WebSocket: leave to be there, TLS, and
//! HTTP, each with a time limit. What is answered is in [`crate::web`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::socket::Hub;
use crate::web::{Leave, Refusal, WebSettings, forwarded};

/// The longest head of a request, in bytes: tokens have 4096 at most.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// How long a connection may be there without becoming a WebSocket. So nobody keeps one by sending a
/// body or reading an answer at a byte now and then.
const HTTP_AGE: Duration = Duration::from_secs(60);

/// How long a request that is under way may still take when its connection shall end.
const HTTP_END: Duration = Duration::from_secs(10);

/// How long is waited for whoever is turned away to have read why.
const TURNING_AWAY: Duration = Duration::from_secs(1);

/// So many are told at once why they are turned away; more are closed without a word.
const TURNED_AWAY_AT_ONCE: usize = 64;

/// What connections are served with.
pub(crate) struct Front {
    pub(crate) hub: Arc<Hub>,
    pub(crate) router: TowerToHyperService<Router>,
    /// None: plain HTTP.
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) web: WebSettings,
    /// For TLS, and for the head of a request.
    pub(crate) handshake_timeout: Duration,
    /// True once the broker stops.
    pub(crate) draining: watch::Receiver<bool>,
    pub(crate) turning_away: Semaphore,
}

impl Front {
    /// How many may be told at once why they are turned away.
    pub(crate) fn turning_away() -> Semaphore {
        Semaphore::new(TURNED_AWAY_AT_ONCE)
    }

    /// Serves a connection until it is over or a WebSocket.
    pub(crate) async fn serve(self: Arc<Self>, stream: TcpStream, address: SocketAddr) {
        let leave = if self.web.trusts(address.ip()) {
            Leave(None)
        } else {
            match self.hub.limits().admit(address.ip()) {
                Ok(permit) => Leave(Some(Arc::new(permit))),
                Err(refusal) => {
                    self.hub.turn_away(address.ip(), refusal.code());
                    if self.tls.is_none() {
                        self.turn_away(stream, &response_of(&refusal.into())).await;
                    }
                    return;
                }
            }
        };
        // Small messages must not wait for acknowledgements.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let Some(acceptor) = &self.tls else {
            return self.speak(stream, address, leave).await;
        };
        match timeout(self.handshake_timeout, handshake(acceptor, stream)).await {
            Ok(Ok(Shaken::Encrypted(stream))) => self.speak(stream, address, leave).await,
            Ok(Ok(Shaken::Plain(stream))) => self.turn_away(stream, PLAIN_HTTP).await,
            Ok(Err(error)) => tracing::debug!(%address, %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!(%address, "a TLS handshake took too long"),
        }
    }

    /// HTTP.
    async fn speak<S>(&self, stream: S, address: SocketAddr, leave: Leave)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = self.router.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let sender = match leave {
                Leave(Some(_)) => address,
                Leave(None) => forwarded(address, request.headers()),
            };
            request.extensions_mut().insert(sender);
            request.extensions_mut().insert(leave.clone());
            router.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.handshake_timeout)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::pin!(connection);
        let mut draining = self.draining.clone();
        let ended = tokio::select! {
            ended = &mut connection => Ok(ended),
            _ = draining.wait_for(|draining| *draining) => Err(()),
            () = sleep(HTTP_AGE) => Err(()),
        };
        let ended = match ended {
            Ok(ended) => ended,
            Err(()) => {
                connection.as_mut().graceful_shutdown();
                timeout(HTTP_END, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%address, %error, "an HTTP connection failed");
        }
    }

    /// Says why there is no service, and closes. Whatever comes of it: nobody waits for it.
    async fn turn_away(&self, mut stream: TcpStream, response: &str) {
        let Ok(_one) = self.turning_away.try_acquire() else { return };
        let say = async {
            stream.write_all(response.as_bytes()).await?;
            stream.shutdown().await?;
            // A socket closed while input is unread resets the connection, and the answer could be lost
            // on its way.
            let mut unread = [0; 1024];
            while stream.read(&mut unread).await? > 0 {}
            std::io::Result::Ok(())
        };
        let _ = timeout(TURNING_AWAY, say).await;
    }
}

enum Shaken {
    Encrypted(Box<TlsStream<TcpStream>>),
    /// Somebody speaks HTTP without TLS.
    Plain(TcpStream),
}

async fn handshake(acceptor: &TlsAcceptor, stream: TcpStream) -> std::io::Result<Shaken> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    // Methods are capital letters; no record of TLS begins with one.
    if first[0].is_ascii_uppercase() {
        return Ok(Shaken::Plain(stream));
    }
    Ok(Shaken::Encrypted(Box::new(acceptor.accept(stream).await?)))
}

const PLAIN_HTTP: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Content-Length: 48\r\nConnection: close\r\n\r\nthis port speaks TLS: use https:// (or wss://).\n";

/// A refusal as it is sent by hand.
fn response_of(refusal: &Refusal) -> String {
    let body = String::from_utf8_lossy(&refusal.body()).into_owned();
    format!(
        "HTTP/1.1 {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}",
        refusal.status,
        body.len(),
    )
}
