//! Connecting to the broker: attempts beside each other, TLS, and the token.

use std::io::ErrorKind::{ConnectionReset, UnexpectedEof};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use rovercast_protocol::signaling::MAX_BROKER_MESSAGE_BYTES;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Uri, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, error::TlsError};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use super::doubts::{self, Doubt};
use super::race::{self, Pace, Reached};
use super::refusal::Refusal;
use super::target::Target;
use super::tls;

const PACE: Pace = Pace { next: Duration::from_millis(300), within: Duration::from_secs(5) };

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
    told: Told,
}

/// What has been said of the token, so that it is said once.
#[derive(Clone, Copy, Default)]
struct Told {
    exposed: bool,
    given_away: bool,
}

impl Dialer {
    pub(super) fn new(target: Target) -> Self {
        Self { target: Arc::new(target), tls: None, told: Told::default() }
    }

    pub(super) fn url(&self) -> &str {
        &self.target.url
    }

    /// Connects, and says how long that took. While no answer comes, there are several attempts.
    pub(super) async fn connect(&mut self) -> Result<Connected, Refusal> {
        let request = self.prepare().await.map_err(Refusal::lost)?;
        let (request, url) = (&request, self.url());
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_BROKER_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_BROKER_MESSAGE_BYTES));
        let attempt = |reached: Reached| {
            let connector = self.tls.clone().map_or(Connector::Plain, Connector::Rustls);
            async move {
                let started = Instant::now();
                let connect = async {
                    let stream = TcpStream::connect(address(request.uri())).await?;
                    reached.tell();
                    stream.set_nodelay(true)?;
                    let (limits, connector) = (Some(limits), Some(connector));
                    client_async_tls_with_config(request.clone(), stream, limits, connector).await
                };
                let (socket, _) = connect.await.map_err(|error| refusal(url, &error))?;
                Ok((socket, started.elapsed()))
            }
            .boxed()
        };
        let nobody = || Refusal::lost(format!("the broker at {url} does not answer"));
        race::first(PACE, attempt).await.map_err(|why| why.unwrap_or_else(nobody))
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
        let now = Told { exposed, given_away: self.target.gives_token_away() };
        let before = std::mem::replace(&mut self.told, now);
        let file = self.target.token_file.as_deref().map(|file| file.display().to_string());
        let file = file.unwrap_or_default();
        let news = [
            (now.exposed && !before.exposed).then(|| doubts::exposed(&file)),
            (now.given_away && !before.given_away).then(|| doubts::given_away(&file, self.url())),
        ];
        for Doubt { text, remedy, .. } in news.into_iter().flatten() {
            tracing::warn!("{text}: {remedy}");
        }
    }
}

/// Where a broker listens. Its address has been checked: it has a host.
fn address(uri: &Uri) -> String {
    let usual = if uri.scheme_str() == Some("wss") { 443 } else { 80 };
    format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(usual))
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
            // One that speaks TLS cannot say in clear text why it turns somebody away.
            let hung_up = matches!(error.kind(), UnexpectedEof | ConnectionReset);
            let unsaid = if hung_up && url.starts_with("wss://") { HUNG_UP } else { "" };
            inner.map_or(unsaid, remedy)
        }
        _ => "",
    };
    Refusal::lost(format!("cannot connect to the broker at {url}: {error}{remedy}"))
}

const HUNG_UP: &str = "; it hung up, as one does that has as many connections as it takes";

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
