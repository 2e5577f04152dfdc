//! The last words on a connection: why it is over, as far as the peer still listens.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use rovercast_protocol::signaling::{BrokerMessage, ErrorCode, ErrorMessage};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::post::{Waiting, text_of};
use crate::limits::LimitSettings;
use crate::metrics::Ended;

/// How long a connection that ends may take to say why.
const PATIENCE: Duration = Duration::from_millis(500);

/// Says what waits, why the connection ends, and closes it, within half a second.
pub(super) async fn farewell(
    ended: Ended,
    settings: &LimitSettings,
    queue: &mut mpsc::Receiver<Waiting>,
    sink: &mut SplitSink<WebSocket, Message>,
    stream: &mut SplitStream<WebSocket>,
) {
    let say = async {
        if ended == Ended::Left {
            return sink.close().await;
        }
        if ended != Ended::TooSlow {
            while let Ok(waiting) = queue.try_recv() {
                sink.feed(Message::Text(waiting.text)).await?;
            }
        }
        if let Some(text) = last_word(ended, settings).and_then(|error| text_of(&error)) {
            sink.feed(Message::Text(text)).await?;
        }
        let frame = CloseFrame { code: close_code(ended), reason: Utf8Bytes::default() };
        sink.send(Message::Close(Some(frame))).await?;
        // The peer closes first: a socket closed while input is unread resets the connection, and
        // the farewell could be lost on the way.
        while let Some(Ok(_)) = stream.next().await {}
        if ended == Ended::TooLarge {
            // What is left of the frame cannot be read: wait until the time is up.
            std::future::pending().await
        }
        Ok(())
    };
    // Whatever comes of it: the connection is over.
    let _ = timeout(PATIENCE, say).await;
}

/// What is wrong, if anything is.
pub(super) fn last_word(ended: Ended, settings: &LimitSettings) -> Option<BrokerMessage> {
    let (code, details) = match ended {
        Ended::Left | Ended::Silent => return None,
        Ended::TooSlow => (
            ErrorCode::TooSlow,
            "this peer was dropped because it did not read its messages: read faster, and connect \
             again"
                .to_owned(),
        ),
        Ended::TooFast => (
            ErrorCode::TooFast,
            "this peer was dropped because it sent more to a robot than that reads: send less, and \
             connect again"
                .to_owned(),
        ),
        Ended::TooLarge => {
            let limit = settings.max_message_bytes;
            let details = format!(
                "the frame is larger than {limit} bytes: send less, or raise the broker's \
                 max_message_bytes"
            );
            (ErrorCode::TooLarge, details)
        }
        Ended::RateLimited => (
            ErrorCode::RateLimited,
            "this peer was dropped because it was refused again and again: heed the refusals, and \
             connect again"
                .to_owned(),
        ),
        Ended::TokenExpired => (
            ErrorCode::TokenExpired,
            "the token has expired: connect again with a new one".to_owned(),
        ),
        Ended::Replaced => (
            ErrorCode::Replaced,
            "a newer connection publishes this robot: end one of the two, or give it another name"
                .to_owned(),
        ),
        Ended::ShuttingDown => {
            (ErrorCode::ShuttingDown, "the broker stops: connect again in a while".to_owned())
        }
    };
    Some(BrokerMessage::Error(ErrorMessage { details, code: Some(code), session_id: None }))
}

fn close_code(ended: Ended) -> u16 {
    match ended {
        Ended::ShuttingDown => close_code::AWAY,
        Ended::TooLarge => close_code::SIZE,
        _ => close_code::POLICY,
    }
}
