//! Peers that lie, stammer or attack: each is refused with a clear error, and nobody else suffers.

use anyhow::{Context, ensure};
use rovercast_e2e::lab::{Folder, Program, broker, gstreamer, robot, robot_config};
use rovercast_e2e::watcher::Watcher;
use rovercast_e2e::wire::{RawPeer, in_the_middle};
use serde_json::{Value, json};

type Outcome = anyhow::Result<()>;

fn small_robot() -> String {
    robot_config("r", &[("c", 320, 240, 30)])
}

/// Changes the fingerprint in every SDP that passes: somebody in the middle would have to.
fn forge_fingerprint(text: String) -> String {
    let Ok(mut message) = serde_json::from_str::<Value>(&text) else { return text };
    let Some(sdp) = message["sdp"]["sdp"].as_str() else { return text };
    let lines = sdp.split_inclusive('\n').map(|line| match line.strip_prefix("a=fingerprint:") {
        Some(_) => format!("a=fingerprint:sha-256 {}\r\n", ["AA"; 32].join(":")),
        None => line.to_owned(),
    });
    message["sdp"]["sdp"] = lines.collect::<String>().into();
    message.to_string()
}

/// The same, in answers alone: the robot's peer is forged, not the robot.
fn forge_answer(text: String) -> String {
    if text.contains(r#""type":"answer""#) { forge_fingerprint(text) } else { text }
}

fn receiver(address: &str) -> anyhow::Result<Program> {
    let url = format!("ws://{address}");
    let arguments = ["--url", &url, "--robot", "r", "--sink", "null", "--stats", "json"];
    Program::start("rovercast-receiver", &arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_shows_nothing_of_a_forged_robot() -> Outcome {
    gstreamer();
    let folder = Folder::new("forged-robot")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let _sender = robot(&folder, &small_robot(), &address)?;
    let (middle, _) = in_the_middle(address, forge_fingerprint).await?;
    let mut receiver = receiver(&middle)?;
    for _ in 0..2 {
        receiver.wait_for_text("is not the one in its SDP")?;
    }
    let output = receiver.output();
    ensure!(!output.contains(r#""type":"telemetry""#), "telemetry was taken:\n{output}");
    ensure!(!output.contains(r#""framesDecoded":1"#), "a picture was shown:\n{output}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_robot_sends_nothing_to_a_forged_viewer() -> Outcome {
    gstreamer();
    let folder = Folder::new("forged-viewer")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let mut sender = robot(&folder, &small_robot(), &address)?;
    let (middle, _) = in_the_middle(address.clone(), forge_answer).await?;
    let mut forged = receiver(&middle)?;
    sender.wait_for_text("is not the one in its SDP")?;
    forged.wait_for_text("ended the session")?;
    ensure!(!forged.output().contains(r#""framesDecoded":1"#), "{}", forged.output());
    let mut honest = Watcher::start(&address, "r", &[])?;
    honest.next().await?;
    honest.stop().await
}

/// Has `provoke` do something to a session that has just had its offer; returns the error's code.
async fn refused(peer: &mut RawPeer, robot: &str, body: Value) -> anyhow::Result<String> {
    let request = json!({"type": "startSession", "peerId": robot});
    let session = peer.start_session(request).await?;
    peer.hear("peer").await?;
    let mut message = json!({"type": "peer", "sessionId": session});
    for (key, value) in body.as_object().context("no object")? {
        message[key] = value.clone();
    }
    peer.say(message).await?;
    let error = peer.hear("error").await?;
    ensure!(error["sessionId"] == session.as_str(), "{error}");
    ensure!(!error["details"].as_str().context("no details")?.is_empty());
    peer.say(json!({"type": "endSession", "sessionId": session})).await?;
    Ok(error["code"].as_str().context("no code")?.to_owned())
}

/// Offers that would end the process within webrtcbin, or that promise nothing: refused before it sees
/// them.
#[tokio::test(flavor = "multi_thread")]
async fn offers_that_make_no_sense_are_refused() -> Outcome {
    gstreamer();
    let folder = Folder::new("bad-offers")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let _sender = robot(&folder, &small_robot(), &address)?;
    let mut peer = RawPeer::connect(&address).await?;
    let id = peer.find_robot().await?;

    let head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
    let section = |mid: &str| {
        let hash = ["AB"; 32].join(":");
        format!(
            "m=video 9 UDP/TLS/RTP/SAVPF 97\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=ice-ufrag:user\r\n\
             a=ice-pwd:passwordpasswordpassword\r\na=fingerprint:sha-256 {hash}\r\na=setup:actpass\r\n\
             a=rtcp-mux\r\na=recvonly\r\na=rtpmap:97 H264/90000\r\n\
             a=fmtp:97 packetization-mode=1\r\n"
        )
    };
    let whole = format!("{head}a=group:BUNDLE 0 1\r\n{}{}", section("0"), section("1"));
    let nameless = "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\na=sctp-port:5000\r\n";
    for (offer, code) in [
        (String::new(), "bad-sdp"),
        ("v=0\0".to_owned(), "bad-sdp"),
        (head.to_owned(), "bad-sdp"),
        (whole.replace("a=recvonly", "a=sendonly"), "bad-sdp"),
        (whole.replace("H264", "H263"), "not-acceptable"),
        (whole.replace("mode=1", "mode=0"), "not-acceptable"),
        (whole.replace("mid:1", "mid:0"), "bad-sdp"),
        (whole.clone() + nameless, "bad-sdp"),
        (whole.replacen("m=video 9", "m=video 0", 1), "bad-sdp"),
        (whole.replace("a=fingerprint", "a=finger"), "bad-sdp"),
        (whole.replace("BUNDLE 0 1", "BUNDLE 1"), "bad-sdp"),
        (whole.clone() + "a=candidate:nonsense\r\n", "bad-candidate"),
        (whole.clone() + &section("2").repeat(70), "bad-sdp"),
    ] {
        peer.start_session(json!({"type": "startSession", "peerId": id, "offer": offer})).await?;
        let error = peer.hear("error").await?;
        ensure!(error["code"] == code, "{error}: {offer}");
        peer.hear("endSession").await?;
    }
    // What is left is good: it is answered.
    peer.start_session(json!({"type": "startSession", "peerId": id, "offer": whole})).await?;
    let answer = peer.hear("peer").await?;
    ensure!(answer["sdp"]["type"] == "answer", "{answer}");
    let sdp = answer["sdp"]["sdp"].as_str().context("no SDP")?;
    let count = |what: &str| sdp.matches(what).count();
    ensure!((count("a=sendonly"), count("a=inactive")) == (1, 1), "{sdp}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_with_a_code() -> Outcome {
    gstreamer();
    let folder = Folder::new("nonsense")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let mut sender = robot(&folder, &(small_robot() + "[sessions]\nmax = 8\n"), &address)?;
    let mut peer = RawPeer::connect(&address).await?;
    let id = peer.find_robot().await?;

    let no_section = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
    let bare_section = format!("{no_section}m=video 9 UDP/TLS/RTP/SAVPF 96\r\n");
    for sdp in ["", "nonsense", "v=0\r\n\0", no_section, &bare_section] {
        let body = json!({"sdp": {"type": "answer", "sdp": sdp}});
        ensure!(refused(&mut peer, &id, body).await? == "bad-sdp", "{sdp:?}");
    }
    for candidate in ["nonsense", "candidate:1 1 UDP x 192.0.2.1 y typ host"] {
        let body = json!({"ice": {"candidate": candidate, "sdpMLineIndex": 0}});
        ensure!(refused(&mut peer, &id, body).await? == "bad-candidate", "{candidate}");
    }
    for (request, code) in [
        (json!({"type": "startSession", "peerId": id, "cameras": ["none"]}), "unknown-camera"),
        (json!({"type": "startSession", "peerId": id, "offer": "v=0"}), "bad-sdp"),
    ] {
        peer.start_session(request).await?;
        ensure!(peer.hear("error").await?["code"] == code);
        peer.hear("endSession").await?;
    }
    // A candidate for a media section that does not exist, and one for a session that is gone.
    let request = json!({"type": "startSession", "peerId": id});
    let session = peer.start_session(request).await?;
    peer.hear("peer").await?;
    let good = "candidate:1 1 UDP 2015363327 127.0.0.1 9 typ host";
    let ice = json!({"candidate": good, "sdpMLineIndex": 4_000_000_000_u32});
    peer.say(json!({"type": "peer", "sessionId": session, "ice": ice})).await?;
    peer.say(json!({"type": "endSession", "sessionId": session})).await?;
    peer.say(json!({"type": "peer", "sessionId": "gone", "ice": {"candidate": good, "sdpMLineIndex": 0}})).await?;
    ensure!(peer.hear("error").await?["code"] == "unknown-session");
    for text in ["{", "[1]", r#"{"type":"reboot"}"#] {
        peer.say_text(text).await?;
        peer.hear("error").await?;
    }
    let mut honest = Watcher::start(&address, "r", &[])?;
    honest.next().await?;
    ensure!(sender.interrupt()?.success(), "{}", sender.output());
    honest.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_controls_nothing_unless_the_config_says_so() -> Outcome {
    gstreamer();
    let folder = Folder::new("control")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let _sender = robot(&folder, &small_robot(), &address)?;
    let (url, file) = (format!("ws://{address}"), folder.path().join("c.jpg"));
    let file = file.display().to_string();
    for (camera, reason) in [("c", "sessions.control_cameras"), ("none", "none of these cameras")] {
        let arguments = ["--url", &url, "--robot", "r", "--camera", camera, "--snapshot", &file];
        let mut receiver = Program::start("rovercast-receiver", &arguments)?;
        ensure!(receiver.wait()?.code() == Some(1), "{}", receiver.output());
        let output = receiver.output();
        let mut errors = output.lines().filter(|line| line.starts_with("rovercast-receiver: "));
        let told = errors.any(|line| line.contains(reason));
        ensure!(told, "{output}");
        ensure!(!std::path::Path::new(&file).exists());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_robot_has_only_so_many_viewers() -> Outcome {
    gstreamer();
    let folder = Folder::new("many")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let _sender = robot(&folder, &(small_robot() + "[sessions]\nmax = 2\n"), &address)?;
    let mut peer = RawPeer::connect(&address).await?;
    let id = peer.find_robot().await?;
    let request = json!({"type": "startSession", "peerId": id});
    let first = peer.start_session(request.clone()).await?;
    peer.start_session(request.clone()).await?;
    peer.start_session(request).await?;
    ensure!(peer.hear("error").await?["code"] == "too-many-sessions");
    // A place becomes free when a viewer leaves.
    peer.say(json!({"type": "endSession", "sessionId": first})).await?;
    let mut honest = Watcher::start(&address, "r", &[])?;
    honest.next().await?;
    honest.stop().await
}
