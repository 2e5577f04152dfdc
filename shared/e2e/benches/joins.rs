//! A hundred viewers come and go, one after the other: how soon each sees its first picture,
//! whether that picture is whole, and what is left behind in sender and broker.

use anyhow::ensure;
use rovercast_e2e::figures::{Usage, percentile};
use rovercast_e2e::lab::{Folder, Program, broker, robot, robot_config};
use rovercast_e2e::watcher::Watcher;
use rovercast_protocol::pixelclock::Reading;

const JOINS: usize = 100;

/// Joins before the first reading: pools and caches fill up.
const WARM_UP: usize = 10;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    rovercast_peer::start::start()?;
    let folder = Folder::new("joins")?;
    let (broker, address) = broker("127.0.0.1:0")?;
    let config = robot_config("r", &[("front", 640, 480, 30)]);
    let mut sender = robot(&folder, &config, &address)?;
    sender.wait_for_text("camera live")?;

    let mut times_ms = Vec::new();
    let (mut torn, mut blank) = (0, 0);
    let mut before = None;
    for join in 0..WARM_UP + JOINS {
        if join == WARM_UP {
            before = Some(settled(&mut sender, &broker).await?);
        }
        let mut watcher = Watcher::start(&address, "r", &[])?;
        let first = watcher.next().await?;
        if join >= WARM_UP {
            times_ms.push(watcher.started.elapsed().as_secs_f64() * 1000.0);
            torn += usize::from(!matches!(first.clock, Reading::Whole(_)));
            blank += usize::from(first.contrast < 5.0);
        }
        watcher.stop().await?;
    }
    let after = settled(&mut sender, &broker).await?;
    ensure!(before.is_some(), "no reading before the joins");
    println!("joins: {JOINS}, first pictures torn: {torn}, blank: {blank}");
    let [p50, p95, max] = [0.5, 0.95, 1.0].map(|part| percentile(&times_ms, part));
    println!("time to first picture: p50 {p50:.0} ms, p95 {p95:.0} ms, max {max:.0} ms");
    for (name, before, after) in [
        ("sender", before.map(|(sender, _)| sender), after.0),
        ("broker", before.map(|(_, broker)| broker), after.1),
    ] {
        if let Some(before) = before {
            println!("{name}: before {before}; after {after}");
        }
    }
    Ok(())
}

/// Usage of sender and broker once every session is freed.
async fn settled(sender: &mut Program, broker: &Program) -> anyhow::Result<(Usage, Usage)> {
    let mut last = (Usage::of(sender.pid())?, Usage::of(broker.pid())?);
    loop {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let now = (Usage::of(sender.pid())?, Usage::of(broker.pid())?);
        let same = |a: Usage, b: Usage| (a.threads, a.descriptors) == (b.threads, b.descriptors);
        if same(now.0, last.0) && same(now.1, last.1) {
            return Ok(now);
        }
        last = now;
    }
}
