//! The verdict on streams that an encoder made, and on bytes that nobody would send.

use std::time::Duration;

use gst::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use rovercast_sender::camera::inputs::h264::{Inspector, Reason, Verdict};

/// Sixty access units of 192x112.
fn encoded(format: &str, encoder: &str) -> Vec<Vec<u8>> {
    gst::init().unwrap();
    let launch = format!(
        "videotestsrc num-buffers=60 pattern=ball \
         ! video/x-raw,format={format},width=192,height=112,framerate=30/1 ! {encoder} \
         ! video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=out sync=false"
    );
    let pipeline = gst::parse::launch(&launch).unwrap().downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("out").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let units = std::iter::from_fn(|| sink.pull_sample().ok())
        .map(|sample| sample.buffer().unwrap().map_readable().unwrap().to_vec())
        .collect();
    pipeline.set_state(gst::State::Null).unwrap();
    units
}

const FRAME: Duration = Duration::from_millis(33);

/// The verdict after every unit.
fn verdicts(units: &[Vec<u8>]) -> Vec<Verdict> {
    let mut inspector = Inspector::new();
    (1..).zip(units).map(|(n, unit)| inspector.look(unit, None, FRAME * n)).collect()
}

fn last(format: &str, encoder: &str) -> Verdict {
    *verdicts(&encoded(format, encoder)).last().unwrap()
}

const X264: &str = "x264enc speed-preset=veryfast key-int-max=20";

/// The NAL units of a type, with their start codes of four bytes.
fn without_reordering_told(unit: &[u8]) -> Vec<u8> {
    // x264 tells it at the end of the parameter set: without the set, nothing is told.
    let at = unit.windows(5).position(|w| w[..4] == [0, 0, 0, 1] && w[4] & 0x1f == 7);
    at.map_or(unit.to_vec(), |at| unit[..at].to_vec())
}

#[test]
fn what_tells_that_it_is_in_order_passes_from_the_first_key_frame_on() {
    for (profile, idc) in [("constrained-baseline", 66), ("main", 77), ("high", 100)] {
        let units = encoded(
            "I420",
            &format!("{X264} bframes=0 ! capsfilter caps=video/x-h264,profile={profile}"),
        );
        assert_eq!(units.len(), 60);
        let Verdict::PassThrough(stream) = verdicts(&units)[0] else { panic!("{profile}") };
        assert_eq!((stream.profile, stream.width, stream.height), (idc, 192, 112), "{profile}");
        assert!((10..=40).contains(&stream.level), "{}", stream.level);
        // Between two key frames nothing is known.
        let late = verdicts(&units[5..30]);
        assert_eq!((late[0], late[14]), (Verdict::Undecided, Verdict::Undecided), "{profile}");
        assert!(matches!(late[15], Verdict::PassThrough(_)), "{profile}");
    }
}

#[test]
fn what_viewers_cannot_show_at_once_or_at_all_does_not_pass() {
    let reordered = Verdict::Transcode(Reason::Reordered);
    assert_eq!(last("I420", &format!("{X264} bframes=2 b-adapt=false")), reordered);
    let fields = "capssetter caps=video/x-raw,interlace-mode=interleaved";
    let interlaced = format!("{fields} ! {X264} bframes=0 interlaced=true");
    assert_eq!(last("I420", &interlaced), Verdict::Transcode(Reason::Interlaced));
    let plain = format!("{X264} bframes=0");
    assert_eq!(last("Y444", &plain), Verdict::Transcode(Reason::Profile(244)));
    assert_eq!(last("I420_10LE", &plain), Verdict::Transcode(Reason::Profile(110)));
}

#[test]
fn a_stream_that_nobody_can_join_is_transcoded() {
    let units = encoded("I420", &format!("{X264} bframes=0 intra-refresh=true"));
    let between: Vec<_> = units[1..].iter().map(|unit| without_reordering_told(unit)).collect();
    let mut inspector = Inspector::new();
    let mut look = |n: u32, second| inspector.look(&between[n as usize], None, second);
    assert_eq!(look(0, Duration::from_secs(0)), Verdict::Undecided);
    assert_eq!(look(1, Duration::from_secs(9)), Verdict::Undecided);
    assert_eq!(look(2, Duration::from_secs(11)), Verdict::Transcode(Reason::NoKeyFrame));
}

/// A small writer of parameter sets: main profile without anything told about reordering.
fn silent_parameters() -> Vec<u8> {
    // sps id 0, frame_num of 4 bits, order by count 0 of 4 bits, 1 reference, 12 x 7 macroblocks,
    // frames only, direct inference, no cropping, no VUI, stop bit.
    let bits = "1 1 1 1 010 0 0001100 00111 1 1 0 0 1".replace(' ', "");
    let mut set = vec![0, 0, 0, 1, 0x67, 77, 0, 30];
    for byte in bits.as_bytes().chunks(8) {
        let text = format!("{:0<8}", std::str::from_utf8(byte).unwrap());
        set.push(u8::from_str_radix(&text, 2).unwrap());
    }
    set
}

#[test]
fn where_nothing_is_told_the_first_pictures_are_watched() {
    // first_mb 0; slice type I 2, P 0, B 1.
    let slice = |header: u8, kind: &str| {
        let bits = u8::from_str_radix(&format!("{:0<8}", format!("1{kind}1")), 2).unwrap();
        vec![0, 0, 1, header, bits, 0x88]
    };
    let mut first = silent_parameters();
    first.extend(slice(0x65, "011"));
    let (p, b) = (slice(0x41, "1"), slice(0x01, "010"));

    let mut inspector = Inspector::new();
    assert_eq!(inspector.look(&first, None, Duration::ZERO), Verdict::Undecided);
    for n in 1..29 {
        assert_eq!(inspector.look(&p, None, FRAME * n), Verdict::Undecided, "{n}");
    }
    let Verdict::PassThrough(stream) = inspector.look(&p, None, FRAME * 29) else { panic!() };
    assert_eq!((stream.width, stream.height, stream.level), (192, 112, 30));
    // Later it shows nevertheless, and is not forgotten.
    let reordered = Verdict::Transcode(Reason::Reordered);
    assert_eq!(inspector.look(&b, None, FRAME * 30), reordered);
    assert_eq!(inspector.look(&first, None, FRAME * 31), reordered);

    // A slow camera is not watched for 30 pictures.
    let mut inspector = Inspector::new();
    let mut slow = |n, unit| inspector.look(unit, None, Duration::from_millis(400) * n);
    assert_eq!(slow(0, &first), Verdict::Undecided);
    assert_eq!(slow(3, &p), Verdict::Undecided, "too few pictures");
    assert_eq!((slow(4, &p), slow(5, &p)), (Verdict::Undecided, Verdict::Undecided));
    assert!(matches!(slow(6, &p), Verdict::PassThrough(_)));

    // Timestamps tell it, too; but those of a new beginning tell nothing.
    let mut inspector = Inspector::new();
    let mut at = |ms, unit| inspector.look(unit, Some(Duration::from_millis(ms)), Duration::ZERO);
    assert_eq!((at(9000, &first), at(9033, &p)), (Verdict::Undecided, Verdict::Undecided));
    assert_eq!((at(0, &first), at(66, &p)), (Verdict::Undecided, Verdict::Undecided));
    assert_eq!(at(33, &p), reordered);
}

#[test]
fn damaged_streams_are_survived() {
    let units = encoded("I420", &format!("{X264} bframes=0"));
    let start = &units[0][..200.min(units[0].len())];
    for length in 0..start.len() {
        Inspector::new().look(&start[..length], None, Duration::ZERO);
    }
    let mut random = StdRng::seed_from_u64(3);
    for round in 0..20_000 {
        let mut bytes = start.to_vec();
        for _ in 0..1 + round % 8 {
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= 1 << random.random_range(0..8);
        }
        Inspector::new().look(&bytes, None, Duration::ZERO);
        // A parameter set of nothing but chance.
        let mut chance = [0; 64];
        random.fill_bytes(&mut chance);
        chance[..6].copy_from_slice(&[0, 0, 1, 0x67, 100, 0]);
        Inspector::new().look(&chance, None, Duration::ZERO);
    }
    let cut = [0, 0, 1, 0x67, 77, 0, 30];
    let verdict = Inspector::new().look(&cut, None, Duration::ZERO);
    assert_eq!(verdict, Verdict::Transcode(Reason::Unreadable));
}
