//! What is measured, of a broker that runs.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rovercast_e2e::figures::percentile;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::peer::{Audience, Pair, Peer};
use crate::side::Running;

/// Pairs that talk at the same time.
pub(crate) const PAIRS: usize = 100;

/// How long a turn of pairs is measured, after a second to warm up.
const TURN: Duration = Duration::from_secs(5);

/// How fast a peer is fed that may not read, and with what: a flood for one peer, but not for the
/// broker.
const FED_PER_SECOND: u32 = 100;
const FED_BYTES: usize = 8 * 1024;

/// What the kernel may hold for a peer that does not read, so that it is the broker that holds.
const HELD_BYTES: u32 = 16 * 1024;

/// The longest that peers that do not read are watched.
const STALLED: Duration = Duration::from_secs(20);

/// How many connect one after the other, side by side.
const JOINERS: usize = 16;

/// What came of pairs that talked.
#[derive(Debug, Default, Clone)]
pub(crate) struct Talk {
    /// How long each relay took, in milliseconds.
    pub(crate) took_ms: Vec<f64>,
    /// Messages relayed in a second.
    pub(crate) per_second: f64,
    /// Pairs that waited in vain in the end.
    pub(crate) hung: usize,
    /// The broker's processor time for a message, in microseconds.
    pub(crate) cpu_us: f64,
}

impl Talk {
    /// Below which a part of the relays lies.
    pub(crate) fn percentile_ms(&self, part: f64) -> f64 {
        percentile(&self.took_ms, part)
    }
}

/// Pairs talk for a turn, all at once.
pub(crate) async fn talk(
    broker: &Running,
    pairs: Vec<Pair>,
    turn: Duration,
) -> anyhow::Result<(Talk, Vec<Pair>)> {
    let (began, cpu) = (Instant::now(), broker.cpu()?);
    let until = began + turn;
    let mut talking = JoinSet::new();
    for mut pair in pairs {
        talking.spawn(async move { pair.talk(until).await.map(|said| (pair, said)) });
    }
    let (mut talk, mut pairs) = (Talk::default(), Vec::new());
    while let Some(done) = talking.join_next().await {
        let (pair, (took_ms, hung)) = done??;
        talk.took_ms.extend(took_ms);
        if hung {
            talk.hung += 1;
        } else {
            pairs.push(pair);
        }
    }
    let relayed = talk.took_ms.len() - talk.hung;
    talk.per_second = relayed as f64 / began.elapsed().as_secs_f64();
    talk.cpu_us = (broker.cpu()? - cpu).as_secs_f64() * 1e6 / relayed.max(1) as f64;
    Ok((talk, pairs))
}

/// A turn of pairs that have warmed up.
pub(crate) async fn relays(
    broker: &Running,
    pairs: Vec<Pair>,
) -> anyhow::Result<(Talk, Vec<Pair>)> {
    let (_, pairs) = talk(broker, pairs, Duration::from_secs(1)).await?;
    talk(broker, pairs, TURN).await
}

/// Bytes of the broker's memory for each of so many listeners, once they are settled.
pub(crate) async fn listener_bytes(broker: &Running, count: usize) -> anyhow::Result<f64> {
    // Pools and tables have their size before the count begins.
    let _first = Audience::gather(broker.address, 100).await?;
    let before = settled(broker).await?;
    let _listeners = Audience::gather(broker.address, count).await?;
    let after = settled(broker).await?;
    Ok((after as f64 - before as f64) / count as f64)
}

/// The broker's memory when it changes no more.
async fn settled(broker: &Running) -> anyhow::Result<u64> {
    let mut last = broker.memory()?;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = broker.memory()?;
        if now.abs_diff(last) < 64 * 1024 {
            return Ok(now);
        }
        last = now;
    }
}

/// What came of many connections that were held.
pub(crate) struct Held {
    /// Those that were there in the end, and answered.
    pub(crate) alive: usize,
    /// How long it took to connect all of them.
    pub(crate) connecting: Duration,
    /// The broker's memory for each, in bytes.
    pub(crate) bytes_each: f64,
    /// The broker's processor time while it did nothing but hold them, in percent of a core.
    pub(crate) cpu_percent: f64,
}

/// Holds so many connections for so long; in the end, each must be answered.
pub(crate) async fn hold(broker: &Running, count: usize, time: Duration) -> anyhow::Result<Held> {
    let before = broker.memory()?;
    let began = Instant::now();
    let peers = Peer::connect_all(broker.address, count).await?;
    let connecting = began.elapsed();
    let bytes_each = (settled(broker).await? as f64 - before as f64) / count as f64;
    let (began, cpu) = (Instant::now(), broker.cpu()?);
    let mut holding = JoinSet::new();
    let (over, is_over) = watch::channel(());
    for mut peer in peers {
        let mut over = is_over.clone();
        holding.spawn(async move {
            tokio::select! {
                () = peer.idle() => false,
                // Closes, without ever changing, when the time is over.
                _ = over.changed() => peer.ask().await.is_ok(),
            }
        });
    }
    tokio::time::sleep(time).await;
    let cpu_percent = (broker.cpu()? - cpu).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
    drop(over);
    let alive = holding.join_all().await.into_iter().filter(|&alive| alive).count();
    Ok(Held { alive, connecting, bytes_each, cpu_percent })
}

/// How many listeners a second come (connect, are welcome, listen) and go, one after the other in
/// some places at once.
pub(crate) async fn joins(broker: &Running, time: Duration) -> anyhow::Result<f64> {
    let (began, address) = (Instant::now(), broker.address);
    let mut joining = JoinSet::new();
    for _ in 0..JOINERS {
        joining.spawn(async move {
            let mut count = 0;
            while began.elapsed() < time {
                Peer::connect(address).await?.listen().await?;
                count += 1;
            }
            anyhow::Ok(count)
        });
    }
    let mut count = 0;
    while let Some(done) = joining.join_next().await {
        count += done??;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

/// What came of peers that stopped reading.
pub(crate) struct Stalled {
    /// The others, while these were fed and read.
    pub(crate) before: Talk,
    /// The others, while these were fed and did not read.
    pub(crate) during: Talk,
    /// The most memory of the broker beyond what it had before, in bytes.
    pub(crate) memory_more: u64,
    /// How many were dropped: so their feeders were told.
    pub(crate) dropped: usize,
    /// How many the broker says that it dropped, if it can.
    pub(crate) counted: Option<usize>,
}

/// Pairs talk while so many other peers are fed: those read at first, then they stop.
pub(crate) async fn stalled(broker: &Running, count: usize) -> anyhow::Result<Stalled> {
    let pairs = Pair::meet_all(broker.address, PAIRS).await?;
    let (stop, is_reading) = watch::channel(true);
    let (mut feeding, mut fed) = (JoinSet::new(), JoinSet::new());
    for _ in 0..count {
        let pair = Pair::meet(broker.address, Some(HELD_BYTES), FED_BYTES).await?;
        let (feeder, mut peer) = pair.part();
        feeding.spawn(feeder.feed(FED_PER_SECOND));
        let mut reading = is_reading.clone();
        fed.spawn(async move {
            tokio::select! {
                () = peer.idle() => {}
                _ = reading.wait_for(|reading| !reading) => {}
            }
            // Not read any more, but still open.
            peer
        });
    }
    let (before, pairs) = relays(broker, pairs).await?;
    let quiet = broker.memory()?;
    stop.send(false).context("nobody is fed")?;
    let mut open = Vec::new();
    while let Some(peer) = fed.join_next().await {
        open.push(peer?);
    }

    let (mut during, mut pairs, mut memory_more) = (Talk::default(), pairs, 0);
    let mut dropped = 0;
    let began = Instant::now();
    // At least as long as they were measured before.
    while began.elapsed() < TURN || (dropped < count && began.elapsed() < STALLED) {
        let (spell, unhung) = talk(broker, pairs, Duration::from_millis(500)).await?;
        pairs = unhung;
        during.hung += spell.hung;
        during.took_ms.extend(spell.took_ms);
        memory_more = memory_more.max(broker.memory()?.saturating_sub(quiet));
        while let Some(told) = feeding.try_join_next() {
            dropped += usize::from(told?);
        }
        if pairs.is_empty() {
            break;
        }
    }
    let relayed = during.took_ms.len() - during.hung;
    during.per_second = relayed as f64 / began.elapsed().as_secs_f64();
    ensure!(open.len() == count, "some that were fed had been lost before");
    let counted = broker.dropped().await?;
    Ok(Stalled { before, during, memory_more, dropped, counted })
}
