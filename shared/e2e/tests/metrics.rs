//! Figures for Prometheus, from programs that run.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use rovercast_e2e::lab::{Folder, PATIENCE, Program, broker, program, robot_config};
use rovercast_e2e::scrape::{Family, Scrape, address_of, scrape};
use tokio::time::{Duration, Instant, sleep};

type Outcome = anyhow::Result<()>;

const TABLES: &str = include_str!("../../../docs/metrics.md");

/// Scrapes until `done` says so.
async fn until(
    address: &str,
    what: &str,
    done: impl Fn(&Scrape) -> bool,
) -> anyhow::Result<Scrape> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let told = scrape(address).await?;
        if done(&told) {
            return Ok(told);
        }
        ensure!(Instant::now() < deadline, "waited for {what} in {:#?}", told.figures);
        sleep(Duration::from_millis(200)).await;
    }
}

/// The families that the documents name, of one program.
fn documented(prefix: &str) -> BTreeMap<String, Family> {
    let rows = TABLES.lines().filter_map(|line| line.strip_prefix("| `"));
    let families = rows.filter(|row| row.starts_with(prefix)).map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (name, kind) = (cells[0].trim_end_matches('`'), cells[1].to_owned());
        let labels = cells[2].split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.trim_matches('`').to_owned()).collect();
        (name.trim_end_matches("_total").to_owned(), Family { kind, labels })
    });
    families.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_as_documented_and_move() -> Outcome {
    let folder = Folder::new("metrics")?;
    let (_broker, address) = broker("127.0.0.1:0")?;
    let config = robot_config("r", &[("c", 320, 240, 30)])
        .replace("[[camera]]", "[metrics]\naddress = \"0\"\n[[camera]]");
    let config = folder.write("sender.toml", &config)?;
    let url = format!("ws://{address}");
    let mut sender = Program::start("rovercast-sender", &["--config", &config, "--url", &url])?;
    let robot = address_of(&mut sender)?;
    let live = "rovercast_sender_camera_state{camera=\"c\",state=\"live\"}";
    let linked = "rovercast_sender_broker_connected";
    let is = |scrape: &Scrape, figure: &str, value: f64| scrape.figures.get(figure) == Some(&value);
    until(&robot, "a live camera", |told| is(told, live, 1.0) && is(told, linked, 1.0)).await?;

    let arguments = ["--url", &url, "--robot", "r", "--sink", "null", "--metrics", "127.0.0.1:0"];
    let mut receiver = Program::start("rovercast-receiver", &arguments)?;
    let operator = address_of(&mut receiver)?;
    let connected = "rovercast_receiver_connected{robot=\"r\"}";
    let total =
        "rovercast_receiver_camera_latency_seconds_count{robot=\"r\",camera=\"c\",stage=\"total\"}";
    let error = "rovercast_receiver_camera_clock_error_seconds{robot=\"r\",camera=\"c\"}";
    let whole = |told: &Scrape| {
        is(told, connected, 1.0)
            && told.figures.contains_key(error)
            && told.figures.get(total).is_some_and(|count| *count > 0.0)
    };
    let told = until(&operator, "latencies", whole).await?;
    ensure!(told.families == documented("rovercast_receiver_"), "{:#?}", told.families);
    let frames = "rovercast_receiver_camera_frames_decoded_total{robot=\"r\",camera=\"c\"}";
    let before = *told.figures.get(frames).context("no frames")?;
    until(&operator, "further frames", |told| told.figures[frames] > before + 20.0).await?;
    ensure!(is(&told, "rovercast_receiver_connections_total{robot=\"r\"}", 1.0), "{told:?}");

    let told = scrape(&robot).await?;
    ensure!(told.families == documented("rovercast_sender_"), "{:#?}", told.families);
    ensure!(is(&told, "rovercast_sender_sessions", 1.0), "{:#?}", told.figures);
    ensure!(is(&told, "rovercast_sender_sessions_started_total", 1.0), "{:#?}", told.figures);
    for what in ["encode", "send"] {
        let count = format!("rovercast_sender_camera_{what}_seconds_count{{camera=\"c\"}}");
        let before = *told.figures.get(&count).with_context(|| count.clone())?;
        ensure!(before > 0.0, "{count}: {before}");
        until(&robot, &count, |told| told.figures[&count] > before).await?;
    }
    receiver.interrupt()?;
    let ended = "rovercast_sender_sessions_ended_total{reason=\"asked\"}";
    let over = |told: &Scrape| is(told, ended, 1.0) && is(told, "rovercast_sender_sessions", 0.0);
    until(&robot, "the session's end", over).await?;
    Ok(())
}

#[tokio::test]
async fn an_address_that_cannot_be_is_refused() -> Outcome {
    let folder = Folder::new("metrics-address")?;
    let config = folder.write("sender.toml", &robot_config("r", &[("c", 320, 240, 30)]))?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let taken = taken.local_addr()?.to_string();
    let sender = ["--config", config.as_str()];
    let receiver = ["--robot", "r", "--sink", "null"];
    for (name, arguments) in
        [("rovercast-sender", sender.as_slice()), ("rovercast-receiver", &receiver)]
    {
        for (address, said) in
            [("here", "`here` is no address"), (&taken, "choose another address")]
        {
            let run = std::process::Command::new(program(name)?)
                .args(arguments)
                .args(["--metrics", address])
                .output()?;
            let told = String::from_utf8_lossy(&run.stderr).into_owned();
            ensure!(!run.status.success() && told.contains(said), "{name} {address}: {told}");
        }
    }
    Ok(())
}
