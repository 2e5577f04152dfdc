//! WHEP with players that are not ours: aiortc, and the bare browser, from an HTTP request to pictures
//! that move.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use rovercast_e2e::browser::Browser;
use rovercast_e2e::lab::{Folder, Program, broker, robot, robot_config};

type Outcome = anyhow::Result<()>;

/// A player of what is at this path, with these options.
fn player(address: &str, path: &str, options: &[&str]) -> anyhow::Result<Program> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("players/whep.py");
    // Debian's, which sees Debian's packages; another python3 may come first in the PATH.
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script).arg(format!("http://{address}/whep/{path}")).args(options);
    Program::spawn("the WHEP player", command)
}

/// The lines of the answer that a player got. Nothing that it has said by now can be waited for any more.
fn answer(player: &mut Program) -> Vec<String> {
    let lines = player.output();
    lines.lines().filter_map(|line| line.strip_prefix("answer ")).map(str::to_owned).collect()
}

/// The id of the session in a line of a robot.
fn session_in(line: &str) -> anyhow::Result<String> {
    let id = line.split_once("session=").context("no session")?.1;
    Ok(id.split_whitespace().next().unwrap_or_default().to_owned())
}

#[test]
fn a_foreign_player_plays_trickles_and_ends() -> Outcome {
    let folder = Folder::new("whep")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let mut sender = robot(&folder, &robot_config("r", &[("c", 320, 240, 30)]), &address)?;
    sender.wait_for_text("registered")?;
    let mut player = player(&address, "r", &[])?;
    let started = sender.wait_for_text("session starts")?;
    player.wait_for_text("playing 320x240")?;
    player.wait_for_text("all play")?;
    player.wait_for_text("patched 204")?;
    player.wait_for_text("deleted 200")?;
    let ended = sender.wait_for_text("session ended")?;
    ensure!(session_in(&started)? == session_in(&ended)?, "{started}\n{ended}");
    player.wait_for_text("deleted again 404")?;
    ensure!(player.wait()?.success(), "{}", player.output());
    let answer = answer(&mut player);
    let has = |what: &str| answer.iter().any(|line| line.contains(what));
    ensure!(has("a=sendonly") && has("a=label:c") && has("a=candidate:"), "{answer:#?}");
    ensure!(has("a=end-of-candidates"), "{answer:#?}");
    ensure!(!has("transport-cc") && !has("goog-remb"), "{answer:#?}");
    ensure!(!sender.output().contains("bad-candidate"), "{}", sender.output());
    Ok(())
}

/// The sections that nothing is sent in are left inactive, wherever they stand.
#[test]
fn every_section_gets_a_camera_that_suits_it() -> Outcome {
    let folder = Folder::new("whep-sections")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let cameras = [("front", 320, 240, 30), ("rear", 160, 120, 30)];
    let config = robot_config("r", &cameras).replace("width = 160", "codec = \"vp8\"\nwidth = 160");
    let mut sender = robot(&folder, &config, &address)?;
    sender.wait_for_text("registered")?;
    for (path, codec, size) in [("r", "H264", "320x240"), ("r/rear", "VP8", "160x120")] {
        let options = ["--audio", "--videos", "2", "--codec", codec];
        let mut player = player(&address, path, &options)?;
        player.wait_for_text(&format!("playing {size}"))?;
        player.wait_for_text("deleted 200")?;
        let answer = answer(&mut player);
        let count = |what: &str| answer.iter().filter(|line| *line == what).count();
        ensure!((count("a=sendonly"), count("a=inactive")) == (1, 2), "{answer:#?}");
    }
    for (path, codec, refused) in [
        ("r/front", "VP8", "refused 406 {\"code\":\"not-acceptable\""),
        ("r/left", "H264", "refused 404 {\"code\":\"unknown-camera\""),
        ("other", "H264", "refused 404 {\"code\":\"unknown-peer\""),
    ] {
        player(&address, path, &["--codec", codec])?.wait_for_text(refused)?;
    }
    Ok(())
}

/// Neither needs the broker.
#[test]
fn media_goes_on_until_the_player_dies_and_is_missed() -> Outcome {
    let folder = Folder::new("whep-dead")?;
    let (broker, address) = broker("127.0.0.1:0")?;
    let mut sender = robot(&folder, &robot_config("r", &[("c", 320, 240, 30)]), &address)?;
    sender.wait_for_text("registered")?;
    let mut player = player(&address, "r", &["--hold"])?;
    player.wait_for_text("all play")?;
    broker.kill()?;
    sender.wait_for_text("trying again")?;
    player.wait_for_text("still playing")?;
    player.kill()?;
    sender.wait_for_text("session ended: the viewer has gone silent")?;
    Ok(())
}

/// As players in web pages do it, without a line of ours.
const BROWSER: &str = r"
    const done = arguments[arguments.length - 1];
    const play = async () => {
      const connection = new RTCPeerConnection();
      connection.addTransceiver('audio', { direction: 'recvonly' });
      connection.addTransceiver('video', { direction: 'recvonly' });
      await connection.setLocalDescription();
      const offer = connection.localDescription.sdp;
      const headers = { 'Content-Type': 'application/sdp' };
      const created = await fetch('/whep/r', { method: 'POST', headers, body: offer });
      const answer = await created.text();
      if (created.status !== 201) return { offer, answer };
      await connection.setRemoteDescription({ type: 'answer', sdp: answer });
      let [frames, restoring] = [0, 0];
      while (frames < 20 || restoring < 20) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        for (const figures of (await connection.getStats()).values()) {
          if (figures.type !== 'inbound-rtp') continue;
          frames = figures.framesDecoded ?? 0;
          restoring = figures.fecPacketsReceived ?? 0;
        }
      }
      const ended = await fetch(created.headers.get('Location'), { method: 'DELETE' });
      return { offer, answer, frames, ended: ended.status };
    };
    play().then(done, (error) => done({ error: String(error) }));
";

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_browser_plays() -> Outcome {
    let folder = Folder::new("whep-browser")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let config = robot_config("r", &[("c", 320, 240, 30)]) + "[sessions]\nfec_percent = 20\n";
    let mut sender = robot(&folder, &config, &address)?;
    sender.wait_for_text("registered")?;
    let browser = Browser::start("whep").await?;
    // A page of the same server, but without the viewer.
    browser.open(&format!("http://{address}/healthz")).await?;
    let told = browser.ask(BROWSER).await?;
    ensure!(told["ended"] == 200, "{told:#}");
    let lines = |what: &str| -> anyhow::Result<Vec<String>> {
        Ok(told[what].as_str().context("no SDP")?.lines().map(str::to_owned).collect())
    };
    let (offer, answer) = (lines("offer")?, lines("answer")?);
    let video = answer.iter().find(|line| line.starts_with("m=video")).context("no video")?;
    // By the browser's own numbers: the codec, packets that are sent again, those that restore others,
    // and the extension.
    let number = video.split(' ').nth(3).context("no payload type")?;
    for wanted in [
        format!("a=rtpmap:{number} H264/90000"),
        format!("apt={number}"),
        "flexfec-03/90000".to_owned(),
        "rtp-hdrext/playout-delay".to_owned(),
    ] {
        let line = answer.iter().find(|line| line.contains(&wanted));
        let line = line.with_context(|| format!("no {wanted} in {answer:#?}"))?;
        ensure!(offer.contains(line), "{line} was not offered: {offer:#?}");
    }
    sender.wait_for_text("session ended")?;
    Ok(())
}
