//! A receiver that looks at every picture, as a process of its own: for tests whose viewer is on
//! another host of a network. Prints a line of JSON for each picture; logs to the standard error.
//!
//!   rovercast-watch IP:PORT ROBOT

use std::io::Write;

use anyhow::Context;
use rovercast_e2e::net::Seen;
use rovercast_e2e::watcher::Watcher;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |what: &str| arguments.next().with_context(|| format!("{what} is missing"));
    let (broker, robot) = (argument("the broker's IP:PORT")?, argument("the robot")?);
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    rovercast_peer::start::start()?;
    let mut watcher = Watcher::start(&broker, &robot, &[])?;
    loop {
        let seen = Seen::from(watcher.whenever().await?);
        let line = serde_json::to_string(&seen)?;
        writeln!(std::io::stdout().lock(), "{line}")?;
    }
}
