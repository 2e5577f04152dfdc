//! What strangers say of themselves takes about as much memory as its text.

use crate::client::Peer;
use crate::guarded::Guarded;
use crate::stalled::resident_bytes;

const PEERS: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meta_takes_no_more_memory_than_its_text() {
    let broker = Guarded::start("");
    let token = broker.token("publish:*");
    // In a tree of it each of these seven bytes would be some hundred.
    let many = vec![r#"{"":0}"#; 4_600].join(",");
    let status = format!(
        r#"{{"type":"setPeerStatus","roles":["producer","listener"],"meta":{{"cameras":[{many}]}}}}"#
    );
    let register = async || {
        let mut peer = Peer::connect(broker.request(&token)).await;
        peer.send(status.clone().into()).await;
        assert_eq!(peer.hear_a("peerStatusChanged").await["peerId"], peer.id);
        peer
    };
    let mut peers = vec![register().await];
    let before = resident_bytes(broker.pid());
    for _ in 0..PEERS {
        peers.push(register().await);
    }
    let more = resident_bytes(broker.pid()).saturating_sub(before);
    assert!(more < PEERS * 500_000, "{more} bytes for {PEERS} of {}", status.len());
}
