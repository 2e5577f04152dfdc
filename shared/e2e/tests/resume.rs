//! What goes on, and what comes back, when a program is killed.

use std::time::{Duration, Instant};

use anyhow::ensure;
use rovercast_e2e::lab::{Folder, PATIENCE, broker, gstreamer, robot, robot_config};
use rovercast_e2e::watcher::{Picture, Watcher};
use rovercast_e2e::wire::{RawPeer, in_the_middle};
use rovercast_peer::start::now_us;
use serde_json::json;
use tokio::time::timeout;

type Outcome = anyhow::Result<()>;

/// True of pictures that came after this moment.
fn after_now() -> impl FnMut(&Picture) -> bool {
    let now = now_us();
    move |picture| picture.at_us > now
}

#[tokio::test(flavor = "multi_thread")]
async fn media_outlives_the_broker_and_new_viewers_come_after_it_is_back() -> Outcome {
    gstreamer();
    let folder = Folder::new("broker")?;
    let (first_broker, address) = broker("127.0.0.1:0")?;
    let mut sender = robot(&folder, &robot_config("r", &[("c", 320, 240, 30)]), &address)?;
    let mut watcher = Watcher::start(&address, "r", &[])?;
    watcher.next().await?;
    first_broker.kill()?;
    sender.wait_for_text("trying again")?;
    watcher.skip_waiting();
    for _ in 0..60 {
        watcher.next().await?;
    }
    let (_broker, _) = broker(&address)?;
    sender.wait_for_text("registered with the broker")?;
    let mut other = Watcher::start(&address, "r", &[])?;
    other.next().await?;
    watcher.skip_waiting();
    watcher.until(after_now()).await?;
    let output = sender.output();
    ensure!(output.matches("session connected").count() == 2, "sessions were renewed:\n{output}");
    other.stop().await?;
    watcher.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_robot_that_was_killed_is_shown_again_when_it_is_back() -> Outcome {
    gstreamer();
    let folder = Folder::new("robot")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let config = robot_config("r", &[("c", 320, 240, 30)]);
    let mut watcher = Watcher::start(&address, "r", &[])?;
    for _ in 0..3 {
        let sender = robot(&folder, &config, &address)?;
        watcher.skip_waiting();
        watcher.until(after_now()).await?;
        sender.kill()?;
    }
    watcher.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_was_killed_leaves_nothing_behind() -> Outcome {
    gstreamer();
    let folder = Folder::new("viewer")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let mut sender = robot(&folder, &robot_config("r", &[("c", 320, 240, 30)]), &address)?;
    let url = format!("ws://{address}");
    let arguments = ["--url", &url, "--robot", "r", "--sink", "null"];
    let receiver = rovercast_e2e::lab::Program::start("rovercast-receiver", &arguments)?;
    sender.wait_for_text("session connected")?;
    receiver.kill()?;
    sender.wait_for_text("session ended")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_robot_with_viewers_cleanly() -> Outcome {
    gstreamer();
    let folder = Folder::new("interrupt")?;
    let (mut broker, address) = broker("127.0.0.1:0")?;
    let mut sender = robot(&folder, &robot_config("r", &[("c", 320, 240, 30)]), &address)?;
    let mut watcher = Watcher::start(&address, "r", &[])?;
    watcher.next().await?;
    ensure!(sender.interrupt()?.success(), "{}", sender.output());
    ensure!(broker.interrupt()?.success(), "{}", broker.output());
    watcher.stop().await
}

/// As when the robot's network was away and the broker has not noticed yet.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_connections_of_a_robot_the_one_that_answers_is_used() -> Outcome {
    gstreamer();
    let folder = Folder::new("stale")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let mut sender = robot(&folder, &robot_config("r", &[("c", 320, 240, 30)]), &address)?;
    sender.wait_for_text("registered")?;
    let mut stale = RawPeer::connect(&address).await?;
    let status = json!({"type": "setPeerStatus", "roles": ["producer"], "meta": {"name": "r"}});
    stale.say(status).await?;
    let mut watcher = Watcher::start(&address, "r", &[])?;
    watcher.next().await?;
    watcher.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn media_outlives_the_viewers_link_to_the_broker() -> Outcome {
    gstreamer();
    let folder = Folder::new("viewers-link")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let mut sender = robot(&folder, &robot_config("r", &[("c", 320, 240, 30)]), &address)?;
    // A broker of the viewer's own stands for its way to the robot's.
    let (middle, cut) = in_the_middle(address, |text| text).await?;
    let mut watcher = Watcher::start(&middle, "r", &[])?;
    // Until the robot surely knows by its pings that the viewer is there.
    for _ in 0..60 {
        watcher.next().await?;
    }
    cut.abort();
    sender.wait_for_text("media goes on")?;
    watcher.skip_waiting();
    for _ in 0..200 {
        watcher.next().await?;
    }
    let output = sender.output();
    ensure!(!output.contains("session ended"), "{output}");
    watcher.stop().await?;
    sender.wait_for_text("session ended")?;
    Ok(())
}

/// As when the network was away for a moment: the receiver tries to make another session, but the
/// one that there is comes to life again, and stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_robot_that_was_only_silent_keeps_its_session() -> Outcome {
    gstreamer();
    let folder = Folder::new("silent")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let mut sender = robot(&folder, &robot_config("r", &[("c", 320, 240, 30)]), &address)?;
    let mut watcher = Watcher::start(&address, "r", &[])?;
    watcher.next().await?;
    sender.signal("STOP")?;
    // Until the attempts wait at the broker.
    while let Ok(Ok(_)) = timeout(Duration::from_secs(3), watcher.next()).await {}
    sender.signal("CONT")?;
    watcher.skip_waiting();
    watcher.until(after_now()).await?;
    let sessions = |output: &str, what: &str| output.matches(what).count();
    let deadline = Instant::now() + PATIENCE;
    loop {
        watcher.next().await?;
        let output = sender.output();
        let (begun, over) =
            (sessions(&output, "session starts"), sessions(&output, "session ended"));
        if begun > 1 && over == begun - 1 {
            break;
        }
        ensure!(Instant::now() < deadline, "{begun} sessions begun, {over} ended:\n{output}");
    }
    watcher.stop().await
}
