//! The broker under load, beside the one that comes with `webrtcsink`, in turns: messages relayed,
//! memory for a listener, connections held, connections made, and peers that stop reading. In the
//! end it says which of the aims are met.
//!
//! What is relayed is measured twice: with one half of this computer's processors for the broker and one
//! for the load, and with all of them for both. In everything else they share.

mod cases;
mod peer;
mod processors;
mod side;
mod wire;

use std::time::Duration;

use anyhow::{Context, ensure};
use rovercast_e2e::figures::percentile;
use tokio::runtime::Runtime;

use cases::{PAIRS, Talk, hold, joins, listener_bytes, relays, stalled};
use peer::{Audience, Pair};
use processors::Halves;
use side::{Running, Side, raise_descriptors};

/// Turns of each broker, of which the median counts.
const TURNS: usize = 3;

/// Listeners whose memory is measured.
const LISTENERS: usize = 2_000;

/// Connections held, and for how long: every one is pinged meanwhile.
const HELD: usize = 10_000;
const HOLDING: Duration = Duration::from_secs(20);

/// Listeners that are there while others come and go: few, and many.
const FEW: usize = 10;
const MANY: usize = 5_000;

/// How long comers are counted in a turn.
const JOINING: Duration = Duration::from_secs(4);

/// Peers that stop reading.
const STALLED: [usize; 3] = [1, 10, 100];

/// What two equal measurements on one computer may differ by.
const NOISE: f64 = 1.2;

fn main() -> anyhow::Result<()> {
    raise_descriptors(HELD as u64 + 500)?;
    let sides = Side::present();
    let mut aims = Vec::new();
    match Halves::take()? {
        Some(halves) => runtime()?.block_on(relay_all(&sides, Some(&halves), &mut aims))?,
        None => println!("one processor alone cannot be shared out: SKIPPED"),
    }
    runtime()?.block_on(measure(&sides, aims))
}

/// As many threads as the processors that may be used.
fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

async fn measure(sides: &[Side], mut aims: Vec<Aim>) -> anyhow::Result<()> {
    relay_all(sides, None, &mut aims).await?;
    remember(sides, &mut aims).await?;
    hold_all(sides, &mut aims).await?;
    join_all(&mut aims).await?;
    stall_all(sides, &mut aims).await?;
    println!("\n| aim | measured | met |\n|---|---|---|");
    for Aim { what, measured, met } in aims {
        println!("| {what} | {measured} | {} |", if met { "yes" } else { "NO" });
    }
    Ok(())
}

/// What was to be reached.
struct Aim {
    what: String,
    measured: String,
    met: bool,
}

async fn relay_all(
    sides: &[Side],
    halves: Option<&Halves>,
    aims: &mut Vec<Aim>,
) -> anyhow::Result<()> {
    let shares = if halves.is_some() { "half of the processors each" } else { "shared processors" };
    println!("\n### {PAIRS} pairs relay candidates, each waiting for the other: {shares}\n");
    println!("| broker | relays/s | p50 | p99 | the broker's processor for a relay |");
    println!("|---|---|---|---|---|");
    let mut arenas = Vec::new();
    for &side in sides {
        let broker = match halves {
            Some(halves) => halves.lend(|| side.start())?,
            None => side.start()?,
        };
        let pairs = Pair::meet_all(broker.address, PAIRS).await?;
        arenas.push((side, broker, pairs, Vec::new()));
    }
    for _ in 0..TURNS {
        for (_, broker, pairs, turns) in &mut arenas {
            let (turn, again) = relays(broker, std::mem::take(pairs)).await?;
            ensure!(turn.hung == 0, "{} pairs hang though everybody reads", turn.hung);
            *pairs = again;
            turns.push(turn);
        }
    }
    let mut reached = Vec::new();
    for (side, _, _, turns) in &arenas {
        let of = |figure: fn(&Talk) -> f64| {
            percentile(&turns.iter().map(figure).collect::<Vec<_>>(), 0.5)
        };
        let per_second = of(|turn| turn.per_second);
        let (p50, p99) = (of(|turn| turn.percentile_ms(0.5)), of(|turn| turn.percentile_ms(0.99)));
        let cpu_us = of(|turn| turn.cpu_us);
        println!(
            "| {} | {per_second:.0} | {p50:.2} ms | {p99:.2} ms | {cpu_us:.1} µs |",
            side.name()
        );
        reached.push((per_second, p99));
    }
    if let (Some(_), [(ours, our_p99), (theirs, their_p99)]) = (halves, &reached[..]) {
        aims.push(Aim {
            what: "relays/s at least 1.5 times theirs, load and broker apart".into(),
            measured: format!("{:.2} times", ours / theirs),
            met: *ours >= 1.5 * theirs,
        });
        aims.push(Aim {
            what: "p99 of relays no worse than theirs".into(),
            measured: format!("{our_p99:.2} ms to {their_p99:.2} ms"),
            met: our_p99 <= their_p99,
        });
    }
    Ok(())
}

async fn remember(sides: &[Side], aims: &mut Vec<Aim>) -> anyhow::Result<()> {
    println!("\n### Memory for an idle listener, of {LISTENERS}\n");
    println!("| broker | for each |\n|---|---|");
    for &side in sides {
        let broker = side.start()?;
        let kilobytes = listener_bytes(&broker, LISTENERS).await? / 1000.0;
        println!("| {} | {kilobytes:.1} kB |", side.name());
        if side == Side::Ours {
            aims.push(Aim {
                what: "memory for an idle listener at most 40 kB".into(),
                measured: format!("{kilobytes:.1} kB"),
                met: kilobytes <= 40.0,
            });
        }
    }
    Ok(())
}

async fn hold_all(sides: &[Side], aims: &mut Vec<Aim>) -> anyhow::Result<()> {
    println!("\n### {HELD} idle connections, held for {} s\n", HOLDING.as_secs());
    println!("| broker | still there | connected in | memory for each | processor while idle |");
    println!("|---|---|---|---|---|");
    for &side in sides {
        let broker = side.start()?;
        let held = hold(&broker, HELD, HOLDING).await?;
        println!(
            "| {} | {} | {:.1} s | {:.1} kB | {:.1} % of a core |",
            side.name(),
            held.alive,
            held.connecting.as_secs_f64(),
            held.bytes_each / 1000.0,
            held.cpu_percent,
        );
        if side == Side::Ours {
            aims.push(Aim {
                what: format!("{HELD} idle connections held"),
                measured: held.alive.to_string(),
                met: held.alive == HELD,
            });
        }
    }
    Ok(())
}

/// Ours alone: of theirs, listeners are told of each other, so that 5,000 come for hours.
async fn join_all(aims: &mut Vec<Aim>) -> anyhow::Result<()> {
    println!("\n### Listeners that come and go, beside others that stay (ours)\n");
    println!("| others | comers/s |\n|---|---|");
    let mut places: Vec<(usize, Running, Audience, Vec<f64>)> = Vec::new();
    for count in [FEW, MANY] {
        let broker = Side::Ours.start()?;
        let audience = Audience::gather(broker.address, count).await?;
        places.push((count, broker, audience, Vec::new()));
    }
    for _ in 0..TURNS {
        for (_, broker, _, rates) in &mut places {
            rates.push(joins(broker, JOINING).await?);
        }
    }
    let mut reached = Vec::new();
    for (count, _, _, rates) in &places {
        reached.push(percentile(rates, 0.5));
        println!("| {count} | {:.0} |", percentile(rates, 0.5));
    }
    let [few, many] = reached[..] else { return Ok(()) };
    aims.push(Aim {
        what: format!("with {MANY} listeners as many comers/s as with {FEW}, within noise"),
        measured: format!("{many:.0} to {few:.0}"),
        met: many * NOISE >= few,
    });
    Ok(())
}

async fn stall_all(sides: &[Side], aims: &mut Vec<Aim>) -> anyhow::Result<()> {
    println!("\n### Peers that are fed and stop reading, beside {PAIRS} pairs\n");
    println!(
        "| broker | peers | relays/s | p99 | relays/s once they stop | p99 | pairs that hang | \
         dropped | counted | memory, at most |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for count in STALLED {
        for &side in sides {
            let broker = side.start()?;
            let seen = stalled(&broker, count).await.context(side.name())?;
            let [before, during] = [&seen.before, &seen.during].map(|t| t.percentile_ms(0.99));
            let counted = seen.counted.map_or("-".to_owned(), |counted| counted.to_string());
            println!(
                "| {} | {count} | {:.0} | {before:.2} ms | {:.0} | {during:.2} ms | {} | {} | {} | \
                 +{:.1} MB |",
                side.name(),
                seen.before.per_second,
                seen.during.per_second,
                seen.during.hung,
                seen.dropped,
                counted,
                seen.memory_more as f64 / 1e6,
            );
            if side == Side::Ours {
                aims.push(Aim {
                    what: format!("{count} that stop reading: p99 of the others unchanged"),
                    measured: format!("{during:.2} ms to {before:.2} ms"),
                    met: seen.during.hung == 0 && during <= before * NOISE,
                });
                aims.push(Aim {
                    what: format!("{count} that stop reading: dropped and counted"),
                    measured: format!("{} and {counted}", seen.dropped),
                    met: seen.dropped == count && seen.counted == Some(count),
                });
            }
        }
    }
    Ok(())
}
