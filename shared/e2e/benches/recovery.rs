//! What lost packets cost: pictures that are missing, the longest time without one, and how often a
//! packet that is asked for again comes in time; by loss and round trip. And the same for a path that
//! brings nothing again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rovercast_e2e::detour::{Datagram, Detour, End};
use rovercast_e2e::figures::percentile;
use rovercast_e2e::lossy::{FPS, Lossy};
use rovercast_protocol::codec::Codec;
use rovercast_receiver::playout::Settings;

/// Pictures before it counts, and those that count.
const WARM_UP: usize = 60;
const PICTURES: u32 = 600;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    println!(
        "| codec | round trip | lost | sent again | shown | torn | longest without | p99 | age p50 \
         | waited at most | recovered | given up |"
    );
    for codec in [Codec::H264, Codec::Vp8] {
        for (rtt_ms, percent, again) in [
            (0, 0, true),
            (0, 1, true),
            (20, 1, true),
            (20, 5, true),
            (20, 10, true),
            (80, 1, true),
            (80, 5, true),
            (80, 10, true),
            (20, 1, false),
            (80, 1, false),
        ] {
            measure(codec, rtt_ms, percent, again).await?;
        }
    }
    Ok(())
}

async fn measure(codec: Codec, rtt_ms: u64, percent: u64, again: bool) -> anyhow::Result<()> {
    let one_way = Duration::from_millis(rtt_ms) / 2;
    let sent_again = Arc::new(AtomicU64::new(0));
    let count = sent_again.clone();
    let mut camera = None;
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let detour = Detour::new(move |from, datagram| {
        let Datagram::Rtp(rtp) = datagram else { return Some(one_way) };
        if from == End::Viewer {
            return Some(one_way);
        }
        // What comes again does so in a stream of its own, which is never the first.
        let comes_again = *camera.get_or_insert(rtp.ssrc) != rtp.ssrc;
        if comes_again {
            count.fetch_add(1, Ordering::Relaxed);
        }
        // xorshift64: the same losses in every run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let lost = random % 100 < percent || comes_again && !again;
        (!lost).then_some(one_way)
    })
    .await?;
    let mut path = Lossy::start(codec, Settings::default(), 0, detour).await?;
    for _ in 0..WARM_UP {
        path.next().await?;
    }
    let before = path.network();
    let first = path.next().await?;
    let (mut last, mut pictures, mut torn) = (first, 0, 0);
    let (mut gaps, mut ages) = (Vec::new(), Vec::new());
    while last.at_us - first.at_us < i64::from(PICTURES) * 1_000_000 / i64::from(FPS) {
        let shown = path.next().await?;
        pictures += 1;
        torn += u32::from(shown.is_torn());
        gaps.push((shown.at_us - last.at_us) as f64 / 1000.0);
        ages.extend(shown.taken_us.map(|taken_us| (shown.at_us - taken_us) as f64 / 1000.0));
        last = shown;
    }
    let network = path.network();
    let [most, gap99] = [1.0, 0.99].map(|part| percentile(&gaps, part));
    let age = percentile(&ages, 0.5);
    let lost = if again { format!("{percent} %") } else { format!("{percent} %, for good") };
    let sent_again = sent_again.load(Ordering::Relaxed);
    println!(
        "| {codec} | {rtt_ms} ms | {lost} | {sent_again} | {pictures} of {PICTURES} | {torn} \
         | {most:.0} ms | {gap99:.0} ms | {age:.1} ms | {} ms | {} | {} |",
        network.jitter_buffer_ms,
        network.packets_recovered - before.packets_recovered,
        network.packets_lost - before.packets_lost,
    );
    path.stop().await
}
