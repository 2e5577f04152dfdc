//! Requests as programs send them that are no browsers, and what is answered.

use std::io::{Read, Write};
use std::net::SocketAddr;

use crate::client::PATIENCE;

/// What a broker answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header that must be there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers(name).next().unwrap_or_else(|| panic!("no {name}: {}", self.head))
    }

    /// The values of a header.
    pub(crate) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(move |(found, _)| *found == name).map(|(_, value)| value)
    }

    /// The code of a refusal, which must have a remedy, too.
    pub(crate) fn code(&self) -> String {
        let refusal: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert!(refusal["details"].as_str().is_some_and(|details| !details.is_empty()));
        refusal["code"].as_str().unwrap().to_owned()
    }
}

/// Sends a request; `headers` are whole lines.
pub(crate) async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Answer {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Content-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    let text = tokio::task::spawn_blocking(move || {
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // A broker that refuses a body does not read all of it.
        let _ = socket.write_all(request.as_bytes());
        let mut bytes = Vec::new();
        let _ = socket.read_to_end(&mut bytes);
        String::from_utf8(bytes).unwrap()
    });
    let text = text.await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
