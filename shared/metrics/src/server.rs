//! The server that gives the figures away: HTTP, one page, nothing else.

use std::convert::Infallible;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::address::Address;
use crate::page::{FORMAT, Figures, text};

/// Connections at the same time, each for one request. Further ones wait to be accepted.
const CONNECTIONS: usize = 8;

/// A connection is over by then, however slowly its program writes and reads.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait when no connection can be accepted, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server that listens, and does not answer yet.
#[derive(Debug)]
pub struct Server(TcpListener, SocketAddr);

impl Server {
    /// Listens. The error names the address and what to do.
    pub async fn bind(Address(address): Address) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("metrics cannot be had at {address}: choose another address or port")
        })?;
        let address = listener.local_addr()?;
        Ok(Self(listener, address))
    }

    /// Says where it listens: a line on standard error, `metrics on http://ADDRESS/metrics`.
    pub fn announce(&self) {
        // Whoever waits for the line may have gone already.
        let _ = writeln!(std::io::stderr(), "metrics on http://{}/metrics", self.1);
    }

    /// Where it listens, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.1
    }

    /// Answers `GET /metrics`, until `shutdown` resolves; whoever waits then is cut off.
    pub async fn serve(self, figures: Arc<dyn Figures>, shutdown: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.0.accept(), if connections.len() < CONNECTIONS => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    connections.spawn(timeout(PATIENCE, answer(stream, figures.clone())));
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection for metrics can be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn answer(stream: TcpStream, figures: Arc<dyn Figures>) {
    let service = service_fn(move |request| {
        let response = respond(&request, &figures);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection =
        http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    // Who asks for nonsense, or goes before it is answered, is not worth a word.
    let _ = connection.await;
}

fn respond(request: &Request<Incoming>, figures: &Arc<dyn Figures>) -> Response<String> {
    let mut response = Response::new(String::new());
    if request.uri().path() != "/metrics" {
        *response.status_mut() = StatusCode::NOT_FOUND;
        *response.body_mut() = "no such path: there is GET /metrics\n".to_owned();
    } else if request.method() != Method::GET && request.method() != Method::HEAD {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
    } else if let Ok(page) = text(figures) {
        *response.body_mut() = page;
        let format = hyper::header::HeaderValue::from_static(FORMAT);
        response.headers_mut().insert(CONTENT_TYPE, format);
    } else {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    response
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;

    use super::*;
    use crate::page::Page;

    #[derive(Debug)]
    struct One;

    impl Figures for One {
        fn write(&self, page: &mut Page<'_>) -> fmt::Result {
            page.counters("a_frames", "Frames.", [(vec![], 1)])
        }
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_page_is_there_and_nothing_else() {
        let server = Server::bind("0".parse().unwrap()).await.unwrap();
        let address = server.local_addr();
        assert!(address.ip().is_loopback() && address.port() != 0);
        let taken = Server::bind(Address(address)).await.unwrap_err().to_string();
        assert!(
            taken.contains(&address.to_string()) && taken.contains("choose another"),
            "{taken}"
        );
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(server.serve(Arc::new(One), async {
            let _ = stopped.await;
        }));
        // Those that say nothing keep others waiting for a while, and no longer.
        let mut silent = Vec::new();
        for _ in 1..CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let page = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(page.starts_with("HTTP/1.1 200") && page.contains(FORMAT), "{page}");
        assert!(page.ends_with("\na_frames_total 1\n# EOF\n"), "{page}");
        for (request, status) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
            ("nonsense\r\n\r\n", "400"),
        ] {
            let answer = ask(address, request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        }
        stop.send(()).unwrap();
        serving.await.unwrap();
    }
}
