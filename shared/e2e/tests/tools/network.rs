//! `doctor` and the network: broker, robot's id, STUN and TURN servers.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rovercast_e2e::lab::{Folder, PATIENCE, Program, address_in, broker, program};

use crate::{Environment, Outcome, Said, config, hardware, tool};

/// Asks the doctor about a robot at this broker.
fn doctor(folder: &Folder, broker: &str) -> anyhow::Result<Said> {
    let config = config(folder, "{ type = \"test\" }", "")?;
    let url = format!("ws://{broker}");
    tool(&["doctor", "--json", "--config", &config, "--url", &url], &Environment::new())
}

#[test]
fn a_broker_that_is_away_or_none_is_found() -> Outcome {
    let folder = Folder::new("doctor-broker")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    // One that hangs up at once.
    let hangs_up = std::thread::spawn(move || drop(listener.accept()));
    for _ in 0..2 {
        let said = doctor(&folder, &address)?;
        let (severity, text) = said.finding("broker")?;
        ensure!(said.code == Some(1) && severity == "fail", "{text}");
        ensure!(text.contains(&address) && text.contains("start rovercast-signaling"), "{text}");
        ensure!(said.findings("ice")?.is_empty(), "{}", said.out);
    }
    ensure!(hangs_up.join().is_ok(), "it was not asked");
    Ok(())
}

#[test]
fn a_robot_that_streams_is_known_and_left_alone() -> Outcome {
    let folder = Folder::new("doctor-robot")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let hardware = hardware("jetson")?;
    let file = config(&folder, "{ type = \"test\" }", "")?;
    let url = format!("ws://{address}");
    let mut sender = Command::new(program("rovercast-sender")?);
    sender.args(["--config", &file, "--url", &url]).envs(hardware.iter().cloned());
    let mut robot = Program::spawn("rovercast-sender", sender)?;
    robot.wait_for_text("registered with the broker")?;
    let said = tool(&["doctor", "--json", "--config", &file, "--url", &url], &hardware)?;
    let (severity, text) = said.finding("robot-id")?;
    ensure!(severity == "ok" && text.contains("registered as rover"), "{text}");
    ensure!(text.contains(&robot.pid().to_string()), "{text}");
    let (severity, text) = said.finding("encoder")?;
    ensure!(severity == "ok", "{text}");
    ensure!(text.contains("nvv4l2h264enc is not tried while the sender runs"), "{text}");
    Ok(())
}

/// A broker that names servers on this port.
fn broker_with(folder: &Folder, port: u16) -> anyhow::Result<(Program, String)> {
    let text = format!(
        "listen = \"127.0.0.1:0\"\n[[ice_servers]]\nurls = [\"stun:127.0.0.1:{port}\"]\n\
         [[ice_servers]]\nurls = [\"turn:127.0.0.1:{port}\", \"turn:127.0.0.1:{port}?transport=tcp\"]\n\
         username = \"rover\"\ncredential = \"hunter2\"\n"
    );
    let file = folder.write("signaling.toml", &text)?;
    let mut broker = Program::start("rovercast-signaling", &["--config", &file])?;
    let address = broker.wait_for("address", address_in)?;
    Ok((broker, address))
}

/// A port that nobody uses, neither by UDP nor by TCP.
fn free_port() -> anyhow::Result<u16> {
    let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    Ok(TcpListener::bind(("127.0.0.1", port))?.local_addr()?.port())
}

#[test]
fn a_turn_server_that_is_away_is_found() -> Outcome {
    let folder = Folder::new("doctor-turn-away")?;
    let port = free_port()?;
    let (_broker, address) = broker_with(&folder, port)?;
    let said = doctor(&folder, &address)?;
    ensure!(said.code == Some(1), "{}", said.out);
    let found = said.findings("ice")?;
    let severities: Vec<_> = found.iter().map(|(severity, _)| severity.as_str()).collect();
    ensure!(severities == ["warn", "fail", "fail"], "{found:?}");
    ensure!(found.iter().all(|(_, text)| text.contains("does not answer")), "{found:?}");
    Ok(())
}

#[test]
fn a_turn_server_that_is_there_is_known() -> Outcome {
    let folder = Folder::new("doctor-turn")?;
    let port = free_port()?;
    let listening = format!("--listening-port={port}");
    let mut coturn = Command::new("turnserver");
    coturn.args(["-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", &listening]);
    coturn.args([
        "--lt-cred-mech",
        "--realm=test",
        "--user=rover:hunter2",
        "--no-tls",
        "--no-dtls",
    ]);
    coturn.args(["--no-cli", "--log-file=stdout", "--allow-loopback-peers", "--pidfile="]);
    coturn.arg(format!("--userdb={}", folder.path().join("turn.db").display()));
    let mut turn = match Program::spawn("turnserver", coturn) {
        Ok(turn) => turn,
        Err(error) => {
            eprintln!("not tested without coturn: {error:#}");
            return Ok(());
        }
    };
    // It says nothing when it listens.
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(Instant::now() < deadline, "{}", turn.output());
        std::thread::sleep(Duration::from_millis(20));
    }
    let (_broker, address) = broker_with(&folder, port)?;
    let said = doctor(&folder, &address)?;
    let found = said.findings("ice")?;
    ensure!(found.iter().all(|(severity, _)| severity == "ok"), "{found:?}\n{}", turn.output());
    ensure!(
        found.len() == 3 && found[0].1.contains("sees this computer as 127.0.0.1:"),
        "{found:?}"
    );
    for (_, text) in &found[1..] {
        ensure!(text.contains("answers, as a TURN server that asks for credentials"), "{found:?}");
    }
    ensure!(!said.out.contains("hunter2"), "{}", said.out);
    ensure!(said.findings("udp")?.iter().all(|(severity, _)| severity == "ok"), "{}", said.out);
    Ok(())
}
