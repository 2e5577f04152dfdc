//! Peers that stop reading: each is dropped and counted, the broker's memory stays bounded, and
//! nobody else notices.

use futures_util::{SinkExt, StreamExt};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{PATIENCE, ice};
use crate::guarded::{Guarded, call};

const STALLED: usize = 10;

/// What may wait for one of them, in this test.
const QUEUE_BYTES: usize = 262_144;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_stop_reading_are_dropped_and_counted() {
    let settings = format!(
        "[limits]\nqueue_bytes = {QUEUE_BYTES}\nmax_message_bytes = 32768\nmessages_per_s = 1000000"
    );
    let broker = Guarded::start(&settings);
    let mut bystanders = broker.bystanders().await;
    let mut feeding = JoinSet::new();
    let mut stalled = Vec::new();
    for index in 0..STALLED {
        let mut robot = broker.robot(&format!("rover-{index}")).await;
        let mut viewer = broker.peer("view:rover-*").await;
        let session = call(&mut viewer, &mut robot).await;
        stalled.push(viewer);
        let frame = Message::text(ice(&session, 30_000).to_string());
        feeding.spawn(async move {
            let (mut sink, mut stream) = robot.socket.split();
            // Until the broker says that the viewer is gone.
            loop {
                tokio::select! {
                    biased;
                    heard = stream.next() => {
                        let text = heard.unwrap().unwrap().into_text().unwrap();
                        if text.contains("\"peerLeft\"") {
                            return sink;
                        }
                    }
                    sent = sink.send(frame.clone()) => sent.unwrap(),
                }
            }
        });
    }
    let before = resident_bytes(broker.pid());
    let mut most = 0;
    let dropped = async {
        let mut robots = Vec::new();
        while robots.len() < STALLED {
            bystanders.notice_nothing().await;
            most = most.max(resident_bytes(broker.pid()).saturating_sub(before));
            while let Some(robot) = feeding.try_join_next() {
                robots.push(robot.unwrap());
            }
        }
        robots
    };
    let _robots = timeout(PATIENCE, dropped).await.unwrap();
    // Their queues, and what is on its way in and out of the sockets of twenty peers.
    assert!(most < STALLED * (QUEUE_BYTES + 1_000_000), "{most} bytes more");
    assert_eq!(broker.ended("too-slow").await, STALLED);
    bystanders.notice_nothing().await;
    for mut viewer in stalled {
        viewer.hear_end().await;
    }
}

/// The memory of a program, without what it shares with others.
pub(crate) fn resident_bytes(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
