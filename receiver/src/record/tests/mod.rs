//! Recordings of real streams, read again: what the tests of this module share.

mod disk_full;
mod files;
mod hours;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use gst::prelude::*;
use rovercast_protocol::codec::Codec;
use serde_json::Value;
use tokio::sync::watch;

use super::journal::Line;
use super::queue::{Item, Queue, Unit};
use super::recorder::State;
use super::timeline::Epoch;
use super::writer::Writer;
use super::{Format, Settings};

/// When recordings of these tests begin, on the monotonic clock.
const START_US: i64 = 5_000_000;

/// And what time that is: 2023-11-14T22:13:20Z.
const START_UTC_US: i64 = 1_700_000_000_000_000;

/// From picture to picture, in microseconds.
const FRAME_US: i64 = 33_333;

/// A folder of its own, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rovercast-record-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A recording fed by the test, in the time that the test says it is.
struct Recording {
    writer: Writer,
    queue: Arc<Queue>,
    state: watch::Receiver<State>,
}

impl Recording {
    fn new(settings: Settings) -> Self {
        gst::init().unwrap();
        let (state_tx, state) = watch::channel(State::new(SystemTime::UNIX_EPOCH));
        let (queue, epoch) = (Arc::<Queue>::default(), epoch());
        let robot = "rover".parse().unwrap();
        let writer = Writer::new(settings, robot, epoch, queue.clone(), state_tx);
        Self { writer, queue, state }
    }

    /// An access unit that was captured so long after the start, and came a little later.
    fn feed(&mut self, camera: &str, codec: Codec, data: &gst::Buffer, at_us: i64, way_us: i64) {
        let arrived_us = START_US + at_us + way_us;
        let mut buffer = data.copy();
        let presented = gst::ClockTime::from_useconds(arrived_us.unsigned_abs());
        buffer.make_mut().set_pts(presented);
        let camera = camera.parse().unwrap();
        let captured_us = Some(START_US + at_us);
        let unit = Unit { camera, codec, buffer, arrived_us, captured_us };
        self.writer.take(Item::Unit(unit), arrived_us);
        self.writer.tick(arrived_us);
    }

    fn tell(&mut self, at_us: i64, told: &Value) {
        let line = Line::new(START_US + at_us, told).unwrap();
        self.writer.take(Item::Line(line), START_US + at_us);
    }

    fn finish(self, at_us: i64) -> State {
        self.writer.finish(START_US + at_us);
        self.state.borrow().clone()
    }
}

fn epoch() -> Epoch {
    Epoch { mono_us: START_US, utc_us: START_UTC_US }
}

fn settings(folder: &Path, format: Format) -> Settings {
    Settings { directory: folder.to_owned(), format, min_free_mb: 0, ..Settings::default() }
}

/// Access units of moving pictures, with a key frame every `key_frames` of them.
fn encode(codec: Codec, count: u32, size: (u32, u32), key_frames: u32) -> Vec<gst::Buffer> {
    gst::init().unwrap();
    let encoder = match codec {
        Codec::H264 => format!(
            "x264enc tune=zerolatency speed-preset=ultrafast bitrate=300 \
             key-int-max={key_frames} ! video/x-h264,stream-format=byte-stream,alignment=au"
        ),
        Codec::H265 => format!(
            "x265enc tune=zerolatency speed-preset=ultrafast key-int-max={key_frames} \
             option-string=repeat-headers=1:scenecut=0 \
             ! video/x-h265,stream-format=byte-stream,alignment=au"
        ),
        Codec::Vp8 => {
            format!("vp8enc deadline=1 keyframe-max-dist={key_frames} keyframe-mode=disabled")
        }
    };
    let (width, height) = size;
    let launch = format!(
        "videotestsrc num-buffers={count} pattern=ball \
         ! video/x-raw,format=I420,width={width},height={height},framerate=30/1 ! {encoder} \
         ! appsink name=out sync=false"
    );
    let pipeline = gst::parse::launch(&launch).unwrap().downcast::<gst::Pipeline>().unwrap();
    let out = pipeline.by_name("out").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let buffers = std::iter::from_fn(|| out.pull_sample().ok()?.buffer_owned()).collect();
    pipeline.set_state(gst::State::Null).unwrap();
    buffers
}

/// What a file has: when each access unit is to be shown, in microseconds, and its bytes.
fn read(path: &Path, codec: Codec) -> Vec<(i64, Vec<u8>)> {
    let demuxer = if path.extension().unwrap() == "mkv" { "matroskademux" } else { "qtdemux" };
    let launch = format!("filesrc name=file ! {demuxer} ! appsink name=out sync=false");
    let pipeline = gst::parse::launch(&launch).unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.by_name("file").unwrap().set_property("location", path.to_str().unwrap());
    let out = pipeline.by_name("out").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let samples = std::iter::from_fn(|| out.pull_sample().ok());
    let units = samples
        .map(|sample| {
            let buffer = sample.buffer().unwrap();
            let data = buffer.map_readable().unwrap();
            let data = if codec == Codec::Vp8 { data.to_vec() } else { from_lengths(&data) };
            (i64::try_from(buffer.pts().unwrap().useconds()).unwrap(), data)
        })
        .collect();
    pipeline.set_state(gst::State::Null).unwrap();
    units
}

/// Slices of an access unit, of which each begins with its length: as if each began with a start
/// code.
fn from_lengths(mut data: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<4>() {
        let (unit, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        stream.extend([0, 0, 0, 1]);
        stream.extend(unit);
        data = rest;
    }
    stream
}

/// The units of a byte stream that are pictures: what describes the stream may be elsewhere in a
/// file.
fn pictures(codec: Codec, stream: &[u8]) -> Vec<Vec<u8>> {
    if codec == Codec::Vp8 {
        return vec![stream.to_vec()];
    }
    let starts =
        (0..stream.len().saturating_sub(2)).filter(|&at| stream[at..].starts_with(&[0, 0, 1]));
    let starts: Vec<usize> = starts.map(|at| at + 3).collect();
    let ends = starts.iter().skip(1).map(|start| start - 3).chain([stream.len()]);
    let units = starts.iter().zip(ends).map(|(&start, end)| {
        let unit = &stream[start..end];
        &unit[..unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)]
    });
    let slices = units.filter(|unit| match codec {
        Codec::H265 => (unit[0] >> 1) & 0x3f < 32,
        _ => (1..=5).contains(&(unit[0] & 0x1f)),
    });
    slices.map(<[u8]>::to_vec).collect()
}

/// The files of a folder with this ending, in order.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.to_str().unwrap().ends_with(ending)).collect();
    files.sort();
    files
}

/// The lines of the one journal in a folder.
fn journal(folder: &Path) -> Vec<Value> {
    let [path] = &files(folder, ".telemetry.jsonl")[..] else { panic!("one journal") };
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// When each file began on the recording's clock, in microseconds, as the journal tells.
fn starts(folder: &Path) -> BTreeMap<String, i64> {
    let lines = journal(folder);
    let files = lines.iter().filter(|line| line["type"] == "file");
    files
        .map(|line| (line["path"].as_str().unwrap().to_owned(), line["startUs"].as_i64().unwrap()))
        .collect()
}

/// The access units of a camera from all of its files: when, on the recording's clock, and bytes.
fn recorded(folder: &Path, camera: &str, codec: Codec, ending: &str) -> Vec<(i64, Vec<u8>)> {
    let starts = starts(folder);
    let paths = files(folder, ending);
    let of_camera = paths.iter().filter(|path| {
        path.file_name().unwrap().to_str().unwrap().starts_with(&format!("rover_{camera}_"))
    });
    of_camera
        .flat_map(|path| {
            let start_us = starts[path.file_name().unwrap().to_str().unwrap()];
            let units = read(path, codec).into_iter();
            units.map(move |(at_us, data)| (start_us + at_us, data))
        })
        .collect()
}

/// How many access units ffmpeg finds in a file.
fn probe(path: &Path) -> usize {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets"]);
    let output = ffprobe.args(["-of", "csv=p=0"]).arg(path).output();
    let output = output.expect("ffprobe is needed: install the package ffmpeg");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{}: {complaints}", path.display());
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}
