//! A real coturn with the configuration that the repository carries, on a host of a network; and its
//! own client, which says whether it takes credentials.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rovercast_protocol::signaling::IceServer;

use crate::lab::{Folder, PATIENCE, Program};
use crate::net::Host;

/// Where it listens, as the configuration says.
pub const PORT: u16 = 3478;

/// What a STUN server answers: a request without attributes (RFC 8489, section 5).
const BINDING_REQUEST: [u8; 20] =
    [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

/// Whether there is one. If not, that and the remedy have been printed.
pub fn is_there() -> bool {
    let there = Command::new("turnserver").arg("--version").output().is_ok();
    if !there {
        println!("SKIPPED: there is no `turnserver`: apt-get install coturn");
    }
    there
}

/// Starts it on a host, for this address alone. It serves once this returns. What it writes is in
/// the folder.
pub fn start(
    host: &Host,
    folder: &Folder,
    address: Ipv4Addr,
    secret_file: &str,
) -> anyhow::Result<Program> {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/coturn");
    let mut command = host.command(config.join("start"));
    command.arg(config.join("turnserver.conf")).arg(secret_file);
    command.args([format!("--listening-ip={address}"), format!("--relay-ip={address}")]);
    command.env("RUNTIME_DIRECTORY", folder.path());
    serving(host, address, Program::spawn("turnserver", command)?)
}

/// The server at [`PORT`] of this address, once it serves. It does not say when it is ready: it is asked,
/// as ICE does, until it answers.
pub fn serving(host: &Host, address: Ipv4Addr, mut server: Program) -> anyhow::Result<Program> {
    let socket = host.within(|| UdpSocket::bind((address, 0)))??;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        // While it is away the socket is told so.
        let _ = socket.send_to(&BINDING_REQUEST, (address, PORT));
        if socket.recv(&mut [0; 128]).is_ok() {
            return Ok(server);
        }
        ensure!(Instant::now() < deadline, "coturn does not answer: {}", server.output());
    }
}

/// Asks the server at this address for a path, as a client on this host. Whether it gives one.
pub fn takes(
    host: &Host,
    address: Ipv4Addr,
    server: &IceServer,
    by_tcp: bool,
) -> anyhow::Result<bool> {
    let user = server.username.as_deref().context("no user")?;
    let password = server.credential.as_deref().context("no credential")?;
    let mut command = host.command("turnutils_uclient");
    command.args(["-v", "-y", "-n", "1", "-u", user, "-w", password]);
    command.args(["-p", &PORT.to_string()]).args(by_tcp.then_some("-t")).arg(address.to_string());
    // It would go on to send something: what is to be known is known before.
    Program::spawn("turnutils_uclient", command)?.wait_for("word of the server", |line| {
        let taken = line.contains("Received relay addr");
        (taken || line.contains("Cannot complete Allocation")).then_some(taken)
    })
}
