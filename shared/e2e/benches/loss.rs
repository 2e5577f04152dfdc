//! A link that loses packets: how many of a camera's frames are shown, how often the picture stands
//! still, how many pictures are made of more than one frame, and how late they come. Rovercast's
//! way, and that from `webrtcsink` to `webrtcsrc`. What is lost is lost by chance, both ways, each
//! packet for itself; TCP, that is: the way to the broker, is spared.
//!
//! `-- 80 --loss 5` measures a round trip of 80 ms with 5 % alone.

use std::time::Duration;

use anyhow::Context;
use rovercast_e2e::net::Loss;
use rovercast_e2e::net::path::{Path, PathSettings};
use rovercast_e2e::shown::Outcome;
use rovercast_e2e::ways::{Case, Content, Places, Way, play_part, rivals_missing};

const CASE: Case = Case { width: 640, height: 480, fps: 30, cameras: 1, content: Content::Grid };

/// Round trips in milliseconds, and losses in percent.
const ROUND_TRIPS_MS: [u64; 2] = [20, 80];
const LOSSES: [u16; 5] = [0, 1, 2, 5, 10];

/// After the first picture: bitrates and jitter buffers find their level.
const WARM_UP: Duration = Duration::from_secs(5);
/// How long it counts.
const LENGTH: Duration = Duration::from_secs(20);

fn main() -> anyhow::Result<()> {
    if play_part()? {
        return Ok(());
    }
    let mut ways = vec![Way::Ours, Way::Protected];
    match rivals_missing() {
        Some(reason) => println!("{reason}\n"),
        None => ways.push(Way::Rivals),
    }
    let (round_trips, losses) = wanted()?;
    println!("{}, for {} s each\n", CASE.format(), LENGTH.as_secs());
    println!(
        "| round trip | loss | | packets lost | frames shown | freezes | standing still | torn \
         | p50 | p95 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for round_trip_ms in round_trips {
        for &loss in &losses {
            for &way in &ways {
                let label = format!("| {round_trip_ms} ms | {loss} % | {way} |");
                match measure(way, Duration::from_millis(round_trip_ms), loss) {
                    Ok(Some((outcome, lost))) => {
                        println!("{label} {:.1} % | {}", lost * 100.0, figures(&outcome));
                    }
                    // Said already: no networks can be made here.
                    Ok(None) => return Ok(()),
                    Err(error) => {
                        println!("{label} | nothing | | | | | |");
                        eprintln!("{error:#}");
                    }
                }
            }
        }
    }
    Ok(())
}

/// What the command line asks for; all of it by default.
fn wanted() -> anyhow::Result<(Vec<u64>, Vec<u16>)> {
    let (mut round_trips, mut losses) = (Vec::new(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--loss" => losses.push(arguments.next().context("--loss needs a number")?.parse()?),
            ms => round_trips.push(ms.parse().context("a round trip is a number of ms")?),
        }
    }
    if round_trips.is_empty() {
        round_trips.extend(ROUND_TRIPS_MS);
    }
    if losses.is_empty() {
        losses.extend(LOSSES);
    }
    Ok((round_trips, losses))
}

/// What was seen, and the share of packets that did get lost, 0 to 1. None where no networks can be
/// made.
fn measure(way: Way, round_trip: Duration, percent: u16) -> anyhow::Result<Option<(Outcome, f64)>> {
    let loss = match percent {
        0 => Loss::None,
        percent => Loss::Random { per_mille: percent * 10 },
    };
    let settings = PathSettings { round_trip, loss, rate_kbps: None };
    let Some(path) = Path::new(settings)? else { return Ok(None) };
    let places = Places {
        robot: &|program| path.robot.command(program),
        operator: &|program| path.operator.command(program),
        broker: &path.broker_address,
    };
    let measured = way.start(CASE, places)?.measure(WARM_UP, LENGTH)?;
    let count = path.link.count()?;
    let lost = count.lost as f64 / count.offered.max(1) as f64;
    Ok(measured.outcomes.into_iter().next().map(|outcome| (outcome, lost)))
}

fn figures(outcome: &Outcome) -> String {
    let Outcome { shown, torn, freezes, frozen_ms, .. } = outcome;
    let [p50, p95] = [0.5, 0.95].map(|part| outcome.latency_ms(part));
    format!(
        "{:.1} % | {freezes} | {:.1} s | {torn} | {p50:.0} ms | {p95:.0} ms |",
        shown * 100.0,
        frozen_ms / 1000.0
    )
}
