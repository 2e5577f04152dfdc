//! What becomes of pictures when packets are lost on the way: none is shown that is not whole, and
//! they go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use rovercast_e2e::detour::{Datagram, Detour, End, Rtp};
use rovercast_e2e::lossy::{Lossy, Shown};
use rovercast_protocol::codec::Codec;
use rovercast_receiver::playout::Settings;

type Outcome = anyhow::Result<()>;

const CODECS: [Codec; 2] = [Codec::H264, Codec::Vp8];

/// From end to end.
const ONE_WAY: Duration = Duration::from_millis(10);

/// What a path did.
#[derive(Debug, Default)]
struct Path {
    /// Packets lost.
    lost: AtomicU64,
    /// Packets that came again, or would have, and those that restore others.
    again: AtomicU64,
    /// Whether it loses anything.
    loses: AtomicBool,
}

/// A path that loses the packets of the camera for which `loses` says so, and those that come again
/// for which `loses_again` does. Each packet of the camera is counted from 0 on from when it begins
/// to lose.
async fn path(
    loses: impl Fn(u64, &Rtp) -> bool + Send + 'static,
    loses_again: impl Fn(&Rtp) -> bool + Send + 'static,
) -> anyhow::Result<(Detour, Arc<Path>)> {
    let path = Arc::new(Path::default());
    let (told, mut camera, mut count) = (path.clone(), None, 0);
    let detour = Detour::new(move |from, datagram| {
        if let (End::Robot, Datagram::Rtp(rtp)) = (from, datagram) {
            // What comes again does so in a stream of its own, which is never the first.
            let is_camera = *camera.get_or_insert(rtp.ssrc) == rtp.ssrc;
            let lost = if !told.loses.load(Ordering::Relaxed) {
                false
            } else if is_camera {
                count += 1;
                loses(count - 1, &rtp)
            } else {
                told.again.fetch_add(1, Ordering::Relaxed);
                loses_again(&rtp)
            };
            if lost {
                told.lost.fetch_add(1, Ordering::Relaxed);
                return None;
            }
        }
        Some(ONE_WAY)
    });
    Ok((detour.await?, path))
}

/// A camera that was watched for some pictures on such a path, which loses from now on. So many packets that
/// restore others leave behind a hundred.
async fn losing(
    codec: Codec,
    fec_percent: u32,
    loses: impl Fn(u64, &Rtp) -> bool + Send + 'static,
    loses_again: impl Fn(&Rtp) -> bool + Send + 'static,
) -> anyhow::Result<(Lossy, Arc<Path>)> {
    let (detour, path) = path(loses, loses_again).await?;
    let mut pair = Lossy::start(codec, Settings::default(), fec_percent, detour).await?;
    watch(&mut pair, 15).await?;
    path.loses.store(true, Ordering::Relaxed);
    Ok((pair, path))
}

/// Watches so many pictures. None may be torn.
async fn watch(pair: &mut Lossy, pictures: usize) -> anyhow::Result<Vec<Shown>> {
    let mut seen = Vec::new();
    while seen.len() < pictures {
        let shown = pair.next().await?;
        ensure!(!shown.is_torn(), "{shown:?}, after {} pictures", seen.len());
        seen.push(shown);
    }
    ensure!(seen.is_sorted_by(|a, b| a.taken_us < b.taken_us), "time goes back: {seen:?}");
    Ok(seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_comes_again_and_no_picture_is_missing() -> Outcome {
    for codec in CODECS {
        let (mut pair, path) = losing(codec, 0, |count, _| count % 20 == 7, |_| false).await?;
        watch(&mut pair, 90).await?;
        let (lost, network) = (path.lost.load(Ordering::Relaxed), pair.network());
        ensure!(lost > 10 && network.packets_recovered > 10, "{codec}: {path:?}, {network:?}");
        // A host that stands still for long may miss one.
        ensure!(network.packets_recovered > network.packets_lost * 5, "{codec}: {network:?}");
        pair.stop().await?;
    }
    Ok(())
}

/// Wherever a picture is hit: each time another of its packets is lost.
#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_comes_again_only_whole_pictures_are_shown_and_they_go_on() -> Outcome {
    for codec in CODECS {
        let (mut pair, path) = losing(codec, 0, |count, _| count % 151 == 9, |_| true).await?;
        watch(&mut pair, 90).await?;
        let network = pair.network();
        ensure!(network.packets_lost > 2, "{codec}: {path:?}, {network:?}");
        ensure!(network.packets_recovered == 0, "{codec}: {path:?}, {network:?}");
        pair.stop().await?;
    }
    Ok(())
}

/// Key frames are asked for all the time, and some of each is lost, too: at another place each time.
#[tokio::test(flavor = "multi_thread")]
async fn halves_of_key_frames_are_not_shown() -> Outcome {
    for codec in CODECS {
        let loses = |count, _: &Rtp| count < 400 && count % 31 < 12 && count % 3 != 0;
        let (mut pair, path) = losing(codec, 0, loses, |_| true).await?;
        while path.lost.load(Ordering::Relaxed) < 100 {
            watch(&mut pair, 1).await?;
        }
        watch(&mut pair, 15).await?;
        pair.stop().await?;
    }
    Ok(())
}

/// The payload type of packets that restore others: the highest, which nothing else has here.
const RESTORES: u8 = 127;

/// Of each picture with as many packets three in a row are lost, and nothing comes again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_restored_from_others() -> Outcome {
    for codec in CODECS {
        let loses = |count: u64, _: &Rtp| count % 10 < 3;
        let (mut pair, path) =
            losing(codec, 100, loses, |rtp| rtp.payload_type != RESTORES).await?;
        watch(&mut pair, 90).await?;
        let network = pair.network();
        ensure!(network.packets_restored > 30, "{codec}: {path:?}, {network:?}");
        ensure!(network.packets_lost == 0, "{codec}: {path:?}, {network:?}");
        pair.stop().await?;
    }
    Ok(())
}

/// Of each picture more is lost than what leaves behind it can restore.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_restored_comes_again() -> Outcome {
    for codec in CODECS {
        let loses = |count: u64, _: &Rtp| count % 9 < 2;
        let (mut pair, path) = losing(codec, 1, loses, |_| false).await?;
        watch(&mut pair, 90).await?;
        let network = pair.network();
        ensure!(network.packets_restored > 10, "{codec}: {path:?}, {network:?}");
        ensure!(network.packets_recovered > 10, "{codec}: {path:?}, {network:?}");
        ensure!(
            network.packets_recovered > network.packets_lost * 5,
            "{codec}: {path:?}, {network:?}"
        );
        pair.stop().await?;
    }
    Ok(())
}
