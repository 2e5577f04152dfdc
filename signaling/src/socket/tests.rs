//! The hub with peers that live in this program: what waits for whom, and how it ends.

use std::time::Duration;

use rovercast_protocol::signaling::{IceServer, Meta};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;

/// Longer than anything takes; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn hub(change: impl FnOnce(&mut Config)) -> Arc<Hub> {
    let mut config = Config::default();
    change(&mut config);
    let unread = |_: &std::path::Path| unreachable!("no secret is configured");
    let servers = Servers::new(config.ice_servers.clone(), &config.turn, unread).unwrap();
    Hub::new(&config, servers).0
}

async fn hear(peer: &mut Attached) -> Value {
    let text = timeout(PATIENCE, peer.recv()).await.unwrap().unwrap();
    serde_json::from_str(&text).unwrap()
}

async fn hear_a(peer: &mut Attached, kind: &str) -> Value {
    let message = hear(peer).await;
    assert_eq!(message["type"], kind, "{message}");
    message
}

async fn hear_end(peer: &mut Attached, code: &str) {
    let error = hear_a(peer, "error").await;
    assert_eq!(error["code"], code, "{error}");
    assert_eq!(timeout(PATIENCE, peer.recv()).await.unwrap(), None);
    peer.say(json!({"type": "list"}).to_string());
    assert_eq!(timeout(PATIENCE, peer.recv()).await.unwrap(), None);
}

async fn attach(hub: &Arc<Hub>, grant: Grant) -> Attached {
    let mut peer = hub.attach(grant, HERE);
    assert_eq!(hear_a(&mut peer, "welcome").await["peerId"], peer.peer_id().0);
    peer
}

async fn robot(hub: &Arc<Hub>, grant: Grant) -> Attached {
    let robot = attach(hub, grant).await;
    let meta = json!({"name": "r1", "cameras": [{"id": "front"}, {"id": "rear"}]});
    robot.say(json!({"type": "setPeerStatus", "roles": ["producer"], "meta": meta}).to_string());
    robot
}

/// A viewer of `robot`, and the id of their session.
async fn call(hub: &Arc<Hub>, robot: &mut Attached, grant: Grant) -> (Attached, Value) {
    let mut viewer = attach(hub, grant).await;
    viewer.say(json!({"type": "startSession", "peerId": robot.peer_id().0}).to_string());
    let session = hear_a(&mut viewer, "sessionStarted").await["sessionId"].clone();
    assert_eq!(hear_a(robot, "startSession").await["sessionId"], session);
    (viewer, session)
}

#[tokio::test]
async fn a_peer_in_this_program_is_like_any_other() {
    let server = IceServer { urls: vec!["stun:s".into()], username: None, credential: None };
    let hub = hub(|config| config.ice_servers = vec![server]);
    let mut robot = robot(&hub, Grant::open()).await;
    let (viewer, session) = call(&hub, &mut robot, Grant::open()).await;
    let ice = json!({"candidate": "", "sdpMLineIndex": 0});
    let frame = json!({"type": "peer", "sessionId": session, "ice": ice}).to_string();
    viewer.say(frame.clone());
    assert_eq!(robot.recv().await, Some(frame));
    robot.say(json!({"type": "getIceServers"}).to_string());
    let servers = json!({"type": "iceServers", "iceServers": [{"urls": ["stun:s"]}]});
    assert_eq!(hear(&mut robot).await, servers);
    drop(viewer);
    let end = json!({"type": "endSession", "sessionId": session, "reason": "peerLeft"});
    assert_eq!(hear(&mut robot).await, end);
}

#[tokio::test]
async fn robots_are_told_as_far_as_the_grant_shows_them() {
    let hub = hub(|_| {});
    let before = unix_s(SystemTime::now());
    let robot = robot(&hub, Grant::new("r1", u64::MAX, "publish:r1")).await;
    let robots = |scopes| hub.robots(&Grant::new("x", u64::MAX, scopes));
    let [seen] = &robots("view:r1/rear")[..] else { panic!("not one") };
    assert_eq!(seen.info.id, *robot.peer_id());
    let cameras = json!([{"id": "rear"}]);
    let meta: Option<Value> = seen.info.meta.as_ref().and_then(Meta::read);
    assert_eq!(meta, Some(json!({"name": "r1", "cameras": cameras})));
    assert!((before..=unix_s(SystemTime::now())).contains(&seen.since_unix_s), "{seen:?}");
    assert_eq!(robots("view:r2"), []);
}

#[tokio::test]
async fn a_token_that_expires_ends_the_peer() {
    let hub = hub(|_| {});
    let mut robot = robot(&hub, Grant::open()).await;
    let soon = unix_s(SystemTime::now()) + 1;
    let (mut viewer, session) = call(&hub, &mut robot, Grant::new("v", soon, "view:*")).await;
    hear_end(&mut viewer, "token-expired").await;
    assert!(unix_s(SystemTime::now()) >= soon);
    drop(viewer);
    let end = json!({"type": "endSession", "sessionId": session, "reason": "ended"});
    assert_eq!(hear(&mut robot).await, end);
    let page = hub.figures();
    assert!(page.contains("ended_total{reason=\"token-expired\"} 1\n"), "{page}");
}

#[tokio::test]
async fn a_robot_that_comes_back_replaces_itself() {
    let hub = hub(|_| {});
    let grant = || Grant::new("r1", u64::MAX, "publish:r1");
    let mut old = robot(&hub, grant()).await;
    let (mut viewer, session) = call(&hub, &mut old, Grant::new("v", u64::MAX, "view:*")).await;
    let new = robot(&hub, grant()).await;
    let end = json!({"type": "endSession", "sessionId": session, "reason": "peerLeft"});
    assert_eq!(hear(&mut viewer).await, end);
    hear_end(&mut old, "replaced").await;
    let robots = hub.robots(&Grant::open());
    assert_eq!(robots.iter().map(|robot| &robot.info.id).collect::<Vec<_>>(), [new.peer_id()]);
}

#[tokio::test]
async fn a_broker_that_stops_tells_everybody_and_takes_nobody() {
    let hub = hub(|_| {});
    let mut robot = robot(&hub, Grant::open()).await;
    let (mut viewer, session) = call(&hub, &mut robot, Grant::open()).await;
    hub.close();
    let end = json!({"type": "endSession", "sessionId": session, "reason": "brokerStops"});
    for peer in [&mut robot, &mut viewer] {
        assert_eq!(hear(peer).await, end);
        hear_end(peer, "shutting-down").await;
    }
    let ended = |hub: &Hub| hub.figures().contains("ended_total{reason=\"shutting-down\"} 2\n");
    drop((robot, viewer));
    assert!(ended(&hub), "{}", hub.figures());
    // Who comes too late is refused: nobody that had not come has left.
    hear_end(&mut hub.attach(Grant::open(), HERE), "shutting-down").await;
    assert!(ended(&hub), "{}", hub.figures());
    assert!(hub.figures().contains("refusals_total{code=\"shutting-down\"} 1\n"));
}

#[tokio::test]
async fn whoever_leaves_is_counted_no_more() {
    let hub = hub(|_| {});
    let peers = |number: usize| {
        let page = hub.figures();
        let line = format!("rovercast_signaling_peers {number}.0\n");
        assert!(page.contains(&line), "{line} in\n{page}");
    };
    let (first, second) = (attach(&hub, Grant::open()).await, attach(&hub, Grant::open()).await);
    peers(2);
    drop(first);
    peers(1);
    drop(second);
    peers(0);
}

#[tokio::test]
async fn what_waits_for_all_peers_is_bounded() {
    const PEERS: usize = 30;
    let hub = hub(|config| config.limits.queue_bytes_in_all = 1024 * 1024);
    let mut reader = attach(&hub, Grant::open()).await;
    let mut stuck = Vec::new();
    for _ in 0..PEERS {
        stuck.push(attach(&hub, Grant::open()).await);
    }
    let say = json!({"type": "endSession", "sessionId": "x".repeat(30_000)}).to_string();
    let waiting = || hub.metrics.queued_bytes().load(std::sync::atomic::Ordering::Relaxed);
    for _ in 0..10 {
        for peer in &stuck {
            peer.say(say.clone());
            // Those that read are not disturbed.
            reader.say(say.clone());
            assert_eq!(hear_a(&mut reader, "error").await["code"], "unknown-session");
            assert!(waiting() < 1024 * 1024 + PEERS * 128 * 1024, "{}", waiting());
        }
    }
    let mut dropped = 0;
    for peer in &mut stuck {
        while timeout(PATIENCE, peer.recv()).await.unwrap().is_some() {}
        dropped += usize::from(peer.is_ended(Ended::TooSlow));
    }
    assert!(dropped > PEERS / 2, "{dropped}");
    assert_eq!(waiting(), 0);
}

#[tokio::test]
async fn a_viewer_that_calls_all_the_time_is_dropped_before_the_robot() {
    for offer_bytes in [0, 60_000] {
        let hub = hub(|config| config.limits.queue_bytes = 1024 * 1024);
        // It does not read: what is said to it waits.
        let robot = robot(&hub, Grant::open()).await;
        let mut viewer = attach(&hub, Grant::open()).await;
        let (to, offer) = (&robot.peer_id().0, "x".repeat(offer_bytes));
        let call = json!({"type": "startSession", "peerId": to, "offer": offer}).to_string();
        let code = loop {
            viewer.say(call.clone());
            let answer = hear(&mut viewer).await;
            if answer["type"] == "error" {
                break answer["code"].clone();
            }
            let session = &answer["sessionId"];
            viewer.say(json!({"type": "endSession", "sessionId": session}).to_string());
        };
        assert_eq!(code, "too-fast", "offers of {offer_bytes} bytes");
        drop((viewer, robot));
        assert_eq!(dropped(&hub), 0, "offers of {offer_bytes} bytes");
    }
}

/// How many were too slow.
fn dropped(hub: &Hub) -> usize {
    let page = hub.figures();
    let figure = |line: &str| {
        line.strip_prefix("rovercast_signaling_ended_total{reason=\"too-slow\"} ")?.parse().ok()
    };
    page.lines().find_map(figure).unwrap()
}

#[tokio::test]
async fn what_many_are_told_waits_once() {
    let hub = hub(|config| config.limits.queue_bytes_in_all = 1024 * 1024);
    let robot = robot(&hub, Grant::open()).await;
    let mut audience = Vec::new();
    for _ in 0..50 {
        let listener = attach(&hub, Grant::open()).await;
        listener.say(json!({"type": "setPeerStatus", "roles": ["listener"]}).to_string());
        audience.push(listener);
    }
    for turn in 0..5 {
        let meta = json!({"name": "r1", "turn": turn, "text": "x".repeat(30_000)});
        robot
            .say(json!({"type": "setPeerStatus", "roles": ["producer"], "meta": meta}).to_string());
    }
    drop(audience);
    assert_eq!(dropped(&hub), 0);
}

#[tokio::test]
async fn who_hoards_goes_when_too_much_waits_and_not_who_is_told_next() {
    let hub = hub(|config| config.limits.queue_bytes_in_all = 1024 * 1024);
    let long = |bytes: usize| json!({"type": "endSession", "sessionId": "x".repeat(bytes)});
    let mut hoarders = Vec::new();
    for _ in 0..3 {
        let hoarder = attach(&hub, Grant::open()).await;
        (0..5).for_each(|_| hoarder.say(long(30_000).to_string()));
        hoarders.push(hoarder);
    }
    let mut reader = attach(&hub, Grant::open()).await;
    (0..3).for_each(|_| reader.say(long(30_000).to_string()));
    for _ in 0..3 {
        assert_eq!(hear_a(&mut reader, "error").await["code"], "unknown-session");
    }
    drop(hoarders);
    assert!(dropped(&hub) > 0);
}

#[tokio::test]
async fn the_log_tells_who_did_what_and_no_secrets() {
    let log = Log::default();
    let guard = tracing::subscriber::set_default(
        tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish(),
    );
    let hub = hub(|_| {});
    let mut robot = robot(&hub, Grant::new("r1", u64::MAX, "publish:r1")).await;
    let name = "eve\nINFO audit: event=\"join\"";
    let (viewer, session) = call(&hub, &mut robot, Grant::new(name, u64::MAX, "view:r1")).await;
    let secret = json!({"type": "answer", "sdp": "a=ice-pwd:hunter2"});
    viewer.say(json!({"type": "peer", "sessionId": session, "sdp": secret}).to_string());
    viewer.say(json!({"type": "setPeerStatus", "roles": ["producer"]}).to_string());
    viewer.say(json!({"type": "peer", "sessionId": "\nhunter2", "sdp": secret}).to_string());
    for _ in 0..1_000 {
        hub.turn_away(HERE, ErrorCode::Unauthorized);
    }
    let (robot_id, viewer_id) = (robot.peer_id().to_string(), viewer.peer_id().to_string());
    drop(viewer);
    drop(robot);
    drop(guard);
    let log = log.text();
    let lines: Vec<_> = log.lines().collect();
    let (first, rest) = lines.split_at(7);
    for (line, wanted) in first.iter().zip([
        vec!["event=\"join\"", &robot_id, "subject=r1", "address=127.0.0.1"],
        vec!["event=\"roles\"", &robot_id, "roles=[Producer]", "robot=r1"],
        vec!["event=\"join\"", &viewer_id, "subject=eve\\nINFO audit"],
        vec!["event=\"session-start\"", &robot_id, &viewer_id, "robot=r1"],
        vec!["event=\"refusal\"", &viewer_id, "code=forbidden"],
        vec!["event=\"refusal\"", &viewer_id, "code=unknown-session"],
        vec!["event=\"refusal\"", "address=127.0.0.1", "code=unauthorized"],
    ]) {
        assert!(wanted.iter().all(|word| line.contains(word)), "{wanted:?} in {line}");
    }
    let again = rest.iter().take_while(|line| line.contains("unauthorized")).count();
    assert!((199..300).contains(&again), "{again}");
    let last: Vec<_> = rest[again..].iter().map(|line| line.split("event=").nth(1)).collect();
    let last: Vec<_> = last.iter().map(|line| line.unwrap().split(' ').next().unwrap()).collect();
    assert_eq!(last, ["\"leave\"", "\"session-end\"", "\"leave\""], "{log}");
    assert!(lines.iter().all(|line| line.contains(" audit: ")), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

/// A peer that does not read is dropped by what another one says.
#[tokio::test]
async fn the_log_blames_nobody_for_another() {
    let log = Log::default();
    let guard = tracing::subscriber::set_default(
        tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish(),
    );
    let hub = hub(|config| config.limits.queue_bytes = 200_000);
    let mut robot = robot(&hub, Grant::new("r1", u64::MAX, "publish:r1")).await;
    let (slow, session) = call(&hub, &mut robot, Grant::new("v", u64::MAX, "view:r1")).await;
    let ice = json!({"candidate": "x".repeat(50_000), "sdpMLineIndex": 0});
    for _ in 0..5 {
        robot.say(json!({"type": "peer", "sessionId": session, "ice": ice}).to_string());
    }
    assert_eq!(hear(&mut robot).await["reason"], "peerLeft");
    let slow_id = slow.peer_id().to_string();
    drop(slow);
    hub.close();
    drop(guard);
    let log = log.text();
    let line = |event: &str| {
        let line = log.lines().rfind(|line| line.contains(event));
        line.unwrap_or_else(|| panic!("no {event} in {log}"))
    };
    let ended = line("\"session-end\"");
    assert!(ended.contains(&format!("by={slow_id} robot=r1")), "{ended}");
    let left = line("\"leave\"");
    assert!(left.contains("subject=v") && left.contains("too-slow"), "{left}");
}

/// What was logged.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
