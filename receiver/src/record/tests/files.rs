//! What is in the files is what was fed.

use mcap::sans_io::LinearReaderOptions;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rovercast_protocol::codec::Codec;
use serde_json::json;

use super::super::{Recorder, queue};
use super::*;

/// Times in files are rounded to their ticks: a millisecond in Matroska.
const TICK_US: i64 = 1_000;

fn assert_same(codec: Codec, fed: &[(i64, gst::Buffer)], recorded: &[(i64, Vec<u8>)]) {
    assert_eq!(recorded.len(), fed.len());
    for ((fed_us, fed), (at_us, data)) in fed.iter().zip(recorded) {
        assert!((fed_us - at_us).abs() <= TICK_US, "fed at {fed_us}, recorded at {at_us}");
        let fed = fed.map_readable().unwrap();
        assert!(!pictures(codec, &fed).is_empty());
        assert_eq!(pictures(codec, data), pictures(codec, &fed), "at {at_us}");
    }
}

/// Access units at even distances, from a time on.
fn timed(units: Vec<gst::Buffer>, from_us: i64) -> Vec<(i64, gst::Buffer)> {
    (0..).map(|count| from_us + count * FRAME_US).zip(units).collect()
}

#[test]
fn every_access_unit_is_in_the_files_byte_by_byte() {
    for (format, codec, ending) in [
        (Format::Mp4, Codec::H264, "mp4"),
        (Format::Mp4, Codec::H265, "mp4"),
        (Format::Mkv, Codec::H264, "mkv"),
        (Format::Mkv, Codec::H265, "mkv"),
        (Format::Mkv, Codec::Vp8, "mkv"),
        // These formats know no VP8.
        (Format::Mp4, Codec::Vp8, "mkv"),
        (Format::Mcap, Codec::Vp8, "mkv"),
    ] {
        let folder = Folder::new();
        let mut fed = timed(encode(codec, 60, (160, 120), 20), 40_000);
        // The camera is away for half a minute: that is how long the gap is.
        let later = timed(encode(codec, 30, (160, 120), 20), 33_000_000);
        fed.extend(later);
        let mut recording = Recording::new(settings(&folder.0, format));
        for (at_us, unit) in &fed {
            recording.feed("front", codec, unit, *at_us, 20_000);
        }
        let state = recording.finish(35_000_000);
        let mcap = usize::from(format == Format::Mcap);
        assert_eq!((state.files as usize, &state.warning), (1 + mcap, &None), "{format:?} {codec}");
        assert_eq!(state.access_units_lost, 0);
        let [path] = &files(&folder.0, ending)[..] else { panic!("one file") };
        assert_eq!(probe(path), 90, "{format:?} {codec}");
        if mcap == 0 {
            assert_same(codec, &fed, &recorded(&folder.0, "front", codec, ending));
            let sum: u64 = std::fs::read_dir(&folder.0)
                .unwrap()
                .map(|entry| entry.unwrap().metadata().unwrap().len())
                .sum();
            assert_eq!(state.bytes, sum);
        }
    }
}

#[test]
fn files_change_at_key_frames_and_nothing_is_lost_between_them() {
    let folder = Folder::new();
    let settings = Settings { split_s: 2, ..settings(&folder.0, Format::Mp4) };
    // Key frames at 0, 1.5 and 3 s, and so on: each file has two of these groups.
    let fed = timed(encode(Codec::H264, 450, (64, 48), 45), 0);
    let mut recording = Recording::new(settings);
    for (at_us, unit) in &fed {
        recording.feed("front", Codec::H264, unit, *at_us, 0);
    }
    assert_eq!(recording.finish(15_000_000).files, 5);
    assert_same(Codec::H264, &fed, &recorded(&folder.0, "front", Codec::H264, "mp4"));
    for path in files(&folder.0, "mp4") {
        assert_eq!(probe(&path), 90);
    }
}

#[test]
fn a_large_file_gives_way_and_a_key_frame_is_asked_for_when_none_comes() {
    let folder = Folder::new();
    let settings = Settings { split_mb: 1, ..settings(&folder.0, Format::Mkv) };
    let units = encode(Codec::H264, 2, (64, 48), 2);
    // What fills an access unit is of no concern to decoders.
    let filled = |unit: &gst::Buffer| {
        let mut unit = unit.copy();
        let filler: Vec<u8> = [0, 0, 0, 1, 12]
            .into_iter()
            .chain(std::iter::repeat_n(0xff, 300_000))
            .chain([0x80])
            .collect();
        unit.make_mut().append_memory(gst::Memory::from_slice(filler));
        unit
    };
    let mut recording = Recording::new(settings);
    let delta = |camera: &str, queue: &Queue| {
        let mut buffer = gst::Buffer::with_size(1).unwrap();
        buffer.make_mut().set_flags(gst::BufferFlags::DELTA_UNIT);
        let (camera, codec) = (camera.parse().unwrap(), Codec::H264);
        queue.unit(queue::Unit { camera, codec, buffer, arrived_us: START_US, captured_us: None })
    };
    assert!(delta("front", &recording.queue), "nobody has asked yet");
    recording.feed("front", Codec::H264, &filled(&units[0]), 0, 0);
    for count in 1..4 {
        recording.feed("front", Codec::H264, &filled(&units[1]), count * FRAME_US, 0);
        assert!(delta("front", &recording.queue), "not yet due after {count}");
    }
    recording.feed("front", Codec::H264, &filled(&units[1]), 4 * FRAME_US, 0);
    assert!(!delta("front", &recording.queue), "due: a key frame is asked for");
    recording.feed("front", Codec::H264, &filled(&units[0]), 5 * FRAME_US, 0);
    assert_eq!(recording.finish(1_000_000).files, 2);
    let [first, second] = &files(&folder.0, "mkv")[..] else { panic!("two files") };
    assert_eq!((probe(first), probe(second)), (5, 1));
}

#[test]
fn another_picture_size_begins_a_file_and_parameter_sets_are_never_missing() {
    let folder = Folder::new();
    let mut fed = timed(encode(Codec::H264, 20, (160, 120), 10), 0);
    fed.extend(timed(encode(Codec::H264, 20, (64, 48), 10), 20 * FRAME_US));
    let mut recording = Recording::new(settings(&folder.0, Format::Mp4));
    // What comes before the first key frame can be shown by nobody.
    recording.feed("front", Codec::H264, &fed[1].1, -FRAME_US, 0);
    for (count, (at_us, unit)) in fed.iter().enumerate() {
        // Some producers tell the parameter sets only once.
        let bare = [10, 30].contains(&count).then(|| {
            let slices = pictures(Codec::H264, &unit.map_readable().unwrap());
            let stream: Vec<u8> =
                slices.into_iter().flat_map(|slice| [vec![0, 0, 0, 1], slice].concat()).collect();
            gst::Buffer::from_slice(stream)
        });
        recording.feed("front", Codec::H264, bare.as_ref().unwrap_or(unit), *at_us, 0);
    }
    assert_eq!(recording.finish(2_000_000).files, 2);
    assert_same(Codec::H264, &fed, &recorded(&folder.0, "front", Codec::H264, "mp4"));
    for path in files(&folder.0, "mp4") {
        assert_eq!(probe(&path), 20);
    }
}

#[test]
fn a_camera_that_sends_nonsense_harms_neither_the_others_nor_the_disk() {
    for format in [Format::Mp4, Format::Mkv, Format::Mcap] {
        let folder = Folder::new();
        let good = timed(encode(Codec::H264, 120, (64, 48), 30), 0);
        let mut recording = Recording::new(settings(&folder.0, format));
        let heads: [(Codec, &[u8]); 3] = [
            (Codec::H264, &[0, 0, 0, 1, 0x67, 66, 0, 0, 1, 0x68, 0xce, 0, 0, 1, 0x65]),
            (
                Codec::H265,
                &[0, 0, 1, 0x40, 1, 0, 0, 1, 0x42, 1, 9, 0, 0, 1, 0x44, 1, 0, 0, 1, 0x26],
            ),
            (Codec::Vp8, &[0x10, 0, 0, 0x9d, 1, 0x2a, 0, 0, 0, 0]),
        ];
        let mut random = StdRng::seed_from_u64(1);
        for (count, (at_us, unit)) in good.iter().enumerate() {
            recording.feed("good", Codec::H264, unit, *at_us, 0);
            for (codec, head) in heads {
                let noise: Vec<u8> = (0..count).map(|_| random.random()).collect();
                let head = if count % 3 == 2 { &[] } else { head };
                let bytes = gst::Buffer::from_slice([head, &noise].concat());
                recording.feed(&format!("bad-{codec}"), codec, &bytes, *at_us, 0);
                // All kinds from one camera, too.
                recording.feed("bad", codec, &bytes, *at_us, 0);
            }
        }
        let state = recording.finish(4_000_000);
        assert_eq!(state.warning, None, "{format:?}");
        if format == Format::Mcap {
            let [path] = &files(&folder.0, "mcap")[..] else { panic!("one file") };
            let good = messages(path).into_iter().filter(|(topic, ..)| topic == "/video/good");
            assert_eq!(good.count(), 120);
        } else {
            let ending = if format == Format::Mp4 { "mp4" } else { "mkv" };
            assert_same(Codec::H264, &good, &recorded(&folder.0, "good", Codec::H264, ending));
        }
        let count = std::fs::read_dir(&folder.0).unwrap().count();
        assert!(count < 10, "{format:?}: {count} files");
    }
}

/// What an MCAP file has, also one that was never finished: topic, time (ns) and bytes of each
/// message.
fn messages(path: &Path) -> Vec<(String, u64, Vec<u8>)> {
    let options = LinearReaderOptions::default().with_skip_end_magic(true);
    let bytes = std::io::Cursor::new(std::fs::read(path).unwrap());
    let messages = mcap::io::MessageReader::new_with_options(bytes, options);
    messages
        .map_while(Result::ok)
        .map(|message| (message.channel.topic.clone(), message.log_time, message.data.to_vec()))
        .collect()
}

#[test]
fn mcap_files_have_every_camera_and_every_line() {
    let folder = Folder::new();
    let split = Settings { split_s: 2, ..settings(&folder.0, Format::Mcap) };
    let mut recording = Recording::new(split);
    let front = timed(encode(Codec::H264, 150, (160, 120), 45), 0);
    let rear = timed(encode(Codec::H265, 150, (160, 120), 45), 500_000);
    for ((front_us, front), (rear_us, rear)) in front.iter().zip(&rear) {
        recording.feed("front", Codec::H264, front, *front_us, 1_000);
        recording.feed("rear", Codec::H265, rear, *rear_us, 1_000);
        recording.tell(*front_us, &json!({ "type": "telemetry", "seq": front_us }));
    }
    // Killed now, all but what came since the last look can be read.
    let killed: usize = files(&folder.0, "mcap").iter().map(|path| messages(path).len()).sum();
    assert!(killed > 450 - 100, "{killed}");
    assert_eq!(recording.finish(6_000_000).files, 3);
    let paths = files(&folder.0, "mcap");
    let all: Vec<_> = paths.iter().map(|path| messages(path)).collect();
    for (camera, codec, fed) in [("front", Codec::H264, front), ("rear", Codec::H265, rear)] {
        let topic = format!("/video/{camera}");
        for file in &all {
            let first = file.iter().find(|(of, ..)| *of == topic).unwrap();
            assert!(video(&first.2).key_frame, "each file of {camera} begins with a key frame");
        }
        let mut recorded: Vec<_> =
            all.iter().flatten().filter(|(of, ..)| *of == topic).map(video_of).collect();
        recorded.sort_by_key(|(at_us, _)| *at_us);
        for (_, data) in &recorded {
            assert!(data.starts_with(&[0, 0]), "a byte stream");
        }
        assert_same(codec, &fed, &recorded);
    }
    let told: Vec<_> = all.iter().flatten().filter(|(of, ..)| of == "/telemetry").collect();
    assert_eq!(told.len(), 150);
    for (_, time_ns, line) in told {
        let line: Value = serde_json::from_slice(line).unwrap();
        let at_us = line["seq"].as_i64().unwrap();
        assert_eq!(i64::try_from(*time_ns / 1000).unwrap(), START_UTC_US + at_us);
        assert!((line["t"].as_f64().unwrap() * 1e6 - at_us as f64).abs() < 1.0);
    }
    // A finished file has its index, which is how Foxglove opens it.
    for path in &paths {
        let bytes = std::fs::read(path).unwrap();
        let summary = mcap::Summary::read(&bytes).unwrap().expect("an index");
        let schemas: Vec<_> = summary.schemas.values().map(|schema| &*schema.name).collect();
        assert!(schemas.contains(&"foxglove.CompressedVideo"), "{schemas:?}");
    }
}

/// The access unit in a message, by the first bytes of each field.
fn access_unit(message: &[u8]) -> &[u8] {
    fn field(message: &[u8]) -> (u8, &[u8], &[u8]) {
        let (mut length, mut at) = (0_usize, 1);
        loop {
            length |= usize::from(message[at] & 0x7f) << (7 * (at - 1));
            at += 1;
            if message[at - 1] < 0x80 {
                break (message[0] >> 3, &message[at..at + length], &message[at + length..]);
            }
        }
    }
    let mut rest = message;
    loop {
        let (number, value, after) = field(rest);
        if number == 3 {
            return value;
        }
        rest = after;
    }
}

fn video(message: &[u8]) -> super::super::annexb::Look {
    let unit = access_unit(message);
    let codec = if message.ends_with(b"h265") { Codec::H265 } else { Codec::H264 };
    super::super::annexb::look(codec, unit)
}

fn video_of((_, time_ns, message): &(String, u64, Vec<u8>)) -> (i64, Vec<u8>) {
    (i64::try_from(time_ns / 1000).unwrap() - START_UTC_US, access_unit(message).to_vec())
}

#[test]
fn a_recording_runs_on_a_thread_of_its_own_and_is_finished_when_it_is_stopped() {
    gst::init().unwrap();
    let folder = Folder::new();
    let directory = folder.0.join("made/for/it");
    let settings = settings(&directory, Format::Mp4);
    let (recorder, handle) = Recorder::start(settings, &"rover".parse().unwrap()).unwrap();
    let mut state = recorder.state();
    let camera = "front".parse().unwrap();
    let caps: gst::Caps = "video/x-h264,stream-format=byte-stream,alignment=au".parse().unwrap();
    for mut unit in encode(Codec::H264, 30, (160, 120), 30) {
        let now = rovercast_peer::start::now();
        unit.make_mut().set_pts(now);
        let sample = gst::Sample::builder().buffer(&unit).caps(&caps).build();
        assert!(handle.access_unit(&camera, &sample, None));
    }
    handle.telemetry(&json!({ "type": "telemetry", "seq": 7 }));
    let raw = gst::Sample::builder().caps(&gst::Caps::new_empty_simple("video/x-raw")).build();
    assert!(handle.access_unit(&camera, &raw, None), "what is no access unit is left alone");
    let seen = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(async { state.wait_for(|state| state.files == 1).await.unwrap().clone() });
    assert_eq!(seen.warning, None);
    let state = recorder.stop();
    assert_eq!((state.files, state.access_units_lost, state.paused), (1, 0, false));
    let [path] = &files(&directory, "mp4")[..] else { panic!("one file") };
    assert_eq!(probe(path), 30);
    assert!(journal(&directory).iter().any(|line| line["seq"] == 7));
}
