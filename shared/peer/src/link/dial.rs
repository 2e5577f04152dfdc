//! Connecting to the broker: attempts beside each other, TLS, and the token.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, error::TlsError};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};

use super::refusal::Refusal;
use super::target::Target;
use super::tls;

/// No message of a broker is longer than this, in bytes: lists of many robots are long.
const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// After so long without an answer another attempt to connect is begun.
const NEXT_ATTEMPT: Duration = Duration::from_millis(300);

/// A connection, and how long it took to make it.
pub(super) type Connected = (Socket, Duration);

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// This end's address, where it is known.
pub(super) fn own_address(socket: &Socket) -> Option<SocketAddr> {
    match socket.get_ref() {
        MaybeTlsStream::Plain(stream) => stream.local_addr().ok(),
        MaybeTlsStream::Rustls(stream) => stream.get_ref().0.local_addr().ok(),
        _ => None,
    }
}

/// Connects to one broker, again and again.
#[derive(Clone)]
pub(super) struct Dialer {
    target: Arc<Target>,
    /// Read once: the system's certificates are many.
    tls: Option<Arc<ClientConfig>>,
    told: Doubts,
}

/// What has been said of the token, so that it is said once.
#[derive(Clone, Copy, Default, PartialEq)]
struct Doubts {
    exposed: bool,
    given_away: bool,
}

impl Dialer {
    pub(super) fn new(target: Target) -> Self {
        Self { target: Arc::new(target), tls: None, told: Doubts::default() }
    }

    pub(super) fn url(&self) -> &str {
        &self.target.url
    }

    /// Connects, and says how long that took. While no answer comes, one attempt follows the other
    /// without the earlier ones being given up: TCP repeats a lost SYN late, and ever later, but a
    /// network that is back is to be noticed at once.
    pub(super) async fn connect(&mut self) -> Result<Connected, Refusal> {
        let request = self.prepare().await.map_err(Refusal::lost)?;
        let url = self.url();
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        let attempt = async || {
            let started = Instant::now();
            let connector = self.tls.clone().map_or(Connector::Plain, Connector::Rustls);
            let connect = tokio_tungstenite::connect_async_tls_with_config(
                request.clone(),
                Some(limits),
                true,
                Some(connector),
            );
            let (socket, _) = connect.await.map_err(|error| refusal(url, &error))?;
            Ok((socket, started.elapsed()))
        };
        let (mut attempts, mut next) =
            (FuturesUnordered::new(), tokio::time::interval(NEXT_ATTEMPT));
        let mut give_up = std::pin::pin!(sleep(CONNECT_TIMEOUT));
        loop {
            tokio::select! {
                biased;
                Some(outcome) = attempts.next() => return outcome,
                () = &mut give_up => {
                    return Err(Refusal::lost(format!("the broker at {url} does not answer")));
                }
                _ = next.tick() => attempts.push(attempt()),
            }
        }
    }

    /// Reads the files that the settings name, and makes the request.
    async fn prepare(&mut self) -> Result<Request, String> {
        let target = self.target.clone();
        if target.shows_no_certificate() {
            let url = &target.url;
            return Err(format!(
                "tls_fingerprint is set, but {url} shows no certificate: write wss://"
            ));
        }
        let encrypted = target.url.starts_with("wss://");
        let wants_tls = encrypted && self.tls.is_none();
        let read = spawn_blocking(move || {
            let tls = if wants_tls { Some(tls::config(&target)?) } else { None };
            Ok::<_, String>((tls, target.token()?))
        });
        let (tls, token) = read.await.map_err(|error| error.to_string())??;
        self.tls = tls.or(self.tls.take());
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", self.target.url);
        let mut request =
            self.target.url.as_str().into_client_request().map_err(|error| wrong(&error))?;
        if let Some(token) = token {
            let bearer = HeaderValue::from_str(&format!("Bearer {}", token.text));
            let mut bearer = bearer.map_err(|error| wrong(&error))?;
            // No log of any library shows it.
            bearer.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, bearer);
            self.warn(token.exposed);
        }
        Ok(request)
    }

    fn warn(&mut self, exposed: bool) {
        let doubts = Doubts { exposed, given_away: self.target.gives_token_away() };
        let file = self.target.token_file.as_deref().map(|file| file.display().to_string());
        let file = file.unwrap_or_default();
        if doubts.exposed && !self.told.exposed {
            tracing::warn!("others on this computer may read the token in {file}: chmod 600 it");
        }
        if doubts.given_away && !self.told.given_away {
            let url = self.url();
            tracing::warn!("the token in {file} goes to {url} in clear text: use wss://");
        }
        self.told = doubts;
    }
}

fn refusal(url: &str, error: &Error) -> Refusal {
    if let Error::Http(response) = error {
        let body = response.body().as_deref().unwrap_or_default();
        return Refusal::of_status(url, response.status().as_u16(), body);
    }
    let remedy = match error {
        Error::Tls(TlsError::Rustls(error)) => remedy(error),
        Error::Io(error) => {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
            inner.map_or("", remedy)
        }
        _ => "",
    };
    Refusal::lost(format!("cannot connect to the broker at {url}: {error}{remedy}"))
}

/// What to do about it, for people.
fn remedy(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::General(_) => {
            "; name its certificate by tls_fingerprint, or who signed it by ca_file, and call it by the \
             name that is in it"
        }
        rustls::Error::InvalidMessage(_) => "; if it is not encrypted, write ws://",
        _ => "",
    }
}
