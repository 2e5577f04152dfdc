//! SIGTERM while everybody talks: every peer is told why, and the program ends well.

use futures_util::{SinkExt, StreamExt};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::{PATIENCE, Peer, ice};
use crate::guarded::{Guarded, call};

const PAIRS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_told_to_stop_tells_everybody_while_they_talk() {
    let mut broker = Guarded::start("[limits]\nmessages_per_s = 1000000");
    let mut talking = JoinSet::new();
    for index in 0..PAIRS {
        let mut robot = broker.robot(&format!("rover-{index}")).await;
        let mut viewer = broker.peer("view:*").await;
        let session = call(&mut viewer, &mut robot).await;
        // A ball that is thrown to and fro, until the broker ends it.
        viewer.say(ice(&session, 100)).await;
        talking.spawn(talk(robot));
        talking.spawn(talk(viewer));
    }
    let _listener = broker.peer("view:*").await;
    let status = broker.terminate().await;
    assert_eq!(status.code(), Some(0), "{status}");
    let told = timeout(PATIENCE, talking.join_all()).await.unwrap();
    assert_eq!(told.len(), 2 * PAIRS);
    for (thrown, last_words, close) in told {
        assert!(thrown > 0, "nothing was said before");
        let [.., ended, error] = &last_words[..] else { panic!("{last_words:?}") };
        assert!(ended.contains("endSession") && ended.contains("brokerStops"), "{last_words:?}");
        assert!(error.contains("shutting-down"), "{last_words:?}");
        assert_eq!(close, Some(CloseCode::Away));
    }
}

/// Throws back what comes, until the end: how often, what else was said, and how it ended.
async fn talk(peer: Peer) -> (usize, Vec<String>, Option<CloseCode>) {
    let (mut sink, mut stream) = peer.socket.split();
    let (mut thrown, mut others, mut close) = (0, Vec::new(), None);
    while let Some(Ok(frame)) = stream.next().await {
        match frame {
            Message::Text(text) if text.contains("\"ice\"") => {
                thrown += 1;
                // It may be over just now: then that is said next.
                let _ = sink.send(Message::Text(text)).await;
            }
            Message::Text(text) => others.push(text.to_string()),
            Message::Close(frame) => close = frame.map(|frame| frame.code),
            _ => {}
        }
    }
    (thrown, others, close)
}
