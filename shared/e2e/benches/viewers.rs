//! What one more viewer costs the robot, and that each still gets every frame: a camera of
//! 640x480 at 30 frames per second, watched by one viewer and then by five.

use std::time::{Duration, Instant};

use rovercast_e2e::figures::Usage;
use rovercast_e2e::lab::{Folder, Program, broker, robot, robot_config};
use rovercast_e2e::watcher::Watcher;

const MORE: usize = 4;
const MEASURED: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    rovercast_peer::start::start()?;
    let folder = Folder::new("viewers")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let config = robot_config("r", &[("front", 640, 480, 30)]);
    let mut sender = robot(&folder, &config, &address)?;
    sender.wait_for_text("camera live")?;
    let mut watchers = vec![Watcher::start(&address, "r", &[])?];
    let (one, cpu_one) = measure(&sender, &mut watchers).await?;
    for _ in 0..MORE {
        watchers.push(Watcher::start(&address, "r", &[])?);
    }
    let (five, cpu_five) = measure(&sender, &mut watchers).await?;
    let each = |more: f64| more / MORE as f64;
    println!(
        "each further viewer: {:+.2} % of a core, {:+.1} MB, {:+.1} threads",
        each(cpu_five - cpu_one),
        each((five.memory as f64 - one.memory as f64) / 1e6),
        each(five.threads as f64 - one.threads as f64),
    );
    for watcher in watchers {
        watcher.stop().await?;
    }
    Ok(())
}

/// Usage of the sender while all watch, and its processor time in percent of a core.
async fn measure(sender: &Program, watchers: &mut [Watcher]) -> anyhow::Result<(Usage, f64)> {
    for watcher in watchers.iter_mut() {
        watcher.next().await?;
        watcher.skip_waiting();
    }
    let (before, start) = (Usage::of(sender.pid())?, Instant::now());
    let mut pictures = vec![0; watchers.len()];
    while start.elapsed() < MEASURED {
        for (watcher, pictures) in watchers.iter_mut().zip(&mut pictures) {
            watcher.next().await?;
            *pictures += 1;
        }
    }
    let (after, seconds) = (Usage::of(sender.pid())?, start.elapsed().as_secs_f64());
    let percent = (after.cpu - before.cpu).as_secs_f64() / seconds * 100.0;
    let rates: Vec<String> =
        pictures.iter().map(|&count| format!("{:.1}", f64::from(count) / seconds)).collect();
    println!(
        "{} viewers: {percent:.1} % of a core, {after}, frames/s {}",
        watchers.len(),
        rates.join(" ")
    );
    Ok((after, percent))
}
