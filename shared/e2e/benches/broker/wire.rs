//! A WebSocket after its handshake, of which no more is left than the load needs: so that the broker
//! has more of this computer than what loads it. It answers no pings; who talks is not silent, and a
//! case is over before that matters.

use std::ops::Range;

use anyhow::ensure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest message that is awaited, with what may have come after it, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// The opcode of a text message.
const TEXT: u8 = 1;

/// One end of a connection.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What was read and not yet heard.
    unread: Range<usize>,
}

impl Wire {
    /// Goes on with a connection of which everything was heard.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: vec![0; 2048], unread: 0..0 }
    }

    /// Sends a [`frame`].
    pub(crate) async fn say(&mut self, frame: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(frame).await
    }

    /// The next text message. Nothing is lost if this is given up.
    pub(crate) async fn hear(&mut self) -> anyhow::Result<&[u8]> {
        let heard = loop {
            let unread = &self.buffer[self.unread.clone()];
            if let Some((opcode, payload)) = first(unread) {
                let start = self.unread.start;
                self.unread.start += payload.end;
                if opcode == TEXT {
                    break start + payload.start..start + payload.end;
                }
                continue;
            }
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
            if self.unread.end == self.buffer.len() {
                ensure!(self.buffer.len() < MAX_BYTES, "a message of more than {MAX_BYTES} bytes");
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
            let read = self.stream.read(&mut self.buffer[self.unread.end..]).await?;
            ensure!(read > 0, "the broker closed the connection");
            self.unread.end += read;
        };
        Ok(&self.buffer[heard])
    }

    /// Reads for ever; returns when the broker ends the connection.
    pub(crate) async fn idle(&mut self) {
        while self.hear().await.is_ok() {}
    }
}

/// A text message as a client sends it (RFC 6455, section 5.2), masked by zeros: it costs the broker
/// as much as any mask.
pub(crate) fn frame(text: &str) -> Vec<u8> {
    const LAST: u8 = 0x80;
    const MASKED: u8 = 0x80;
    let mut frame = vec![LAST | TEXT];
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(length @ 0..126), _) => frame.push(MASKED | length),
        (_, Ok(length)) => {
            frame.push(MASKED | 126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(MASKED | 127);
            frame.extend((text.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// Opcode and payload of the first frame of a server's, if it is there as a whole.
fn first(bytes: &[u8]) -> Option<(u8, Range<usize>)> {
    let (&kind, &length) = (bytes.first()?, bytes.get(1)?);
    let (start, length) = match length {
        126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into()),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        length => (2, u64::from(length)),
    };
    let end = start + usize::try_from(length).ok()?;
    (end <= bytes.len()).then_some((kind & 0x0f, start..end))
}
