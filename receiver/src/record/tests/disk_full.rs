//! Disks that are full, and disks that are gone.

use std::process::Command;

use serde_json::json;

use super::*;

/// A disk of 8 MB of memory, mounted for the test.
struct SmallDisk(Folder);

impl SmallDisk {
    /// None where the test may not mount.
    fn new() -> Option<Self> {
        let folder = Folder::new();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(&folder.0);
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self(folder)),
            _ => {
                println!("skipped: mounting a disk needs root");
                None
            }
        }
    }

    fn fill(&self, bytes: usize) -> PathBuf {
        let path = self.0.0.join("filler");
        let _ = std::fs::write(&path, vec![0; bytes]);
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0.0).status();
    }
}

/// Seconds of a camera, with a key frame at the beginning of each. Time is the test's.
struct Camera(Vec<gst::Buffer>);

impl Camera {
    fn new() -> Self {
        Self(encode(Codec::H264, 30, (160, 120), 30))
    }

    fn feed(&self, recording: &mut Recording, seconds: std::ops::Range<i64>) {
        for second in seconds {
            for (count, unit) in (0..).zip(&self.0) {
                recording.feed(
                    "front",
                    Codec::H264,
                    unit,
                    second * 1_000_000 + count * FRAME_US,
                    0,
                );
            }
            recording.tell(second * 1_000_000, &json!({ "type": "telemetry", "seq": second }));
        }
    }
}

#[test]
fn a_full_disk_pauses_the_recording_until_there_is_room() {
    for format in [Format::Mp4, Format::Mkv, Format::Mcap] {
        let Some(disk) = SmallDisk::new() else { return };
        let camera = Camera::new();
        let mut recording = Recording::new(settings(&disk.0.0, format));
        camera.feed(&mut recording, 0..5);
        let filler = disk.fill(8_000_000 * 2);
        camera.feed(&mut recording, 5..15);
        let state = recording.state.borrow().clone();
        assert!(state.paused && state.access_units_lost > 0, "{format:?} {state:?}");
        let warning = state.warning.unwrap();
        assert!(warning.contains(disk.0.0.to_str().unwrap()), "{warning}");
        assert!(warning.contains("No space left"), "{warning}");
        assert!(warning.contains("0 MB are free") && warning.contains("delete"), "{warning}");

        std::fs::remove_file(filler).unwrap();
        // It tries again less and less often, but at least twice a minute.
        camera.feed(&mut recording, 15..60);
        let state = recording.state.borrow().clone();
        assert_eq!((state.paused, state.warning), (false, None), "{format:?}");
        let lost = state.access_units_lost;
        let state = recording.finish(60_000_000);
        assert_eq!((state.access_units_lost, state.files), (lost, 2), "{format:?}");
        if format != Format::Mcap {
            let paths = files(&disk.0.0, &format!("{format:?}").to_lowercase());
            let counts: Vec<usize> = paths.iter().map(|path| probe_what_is_there(path)).collect();
            // Of the first file nothing is missing but what was under way.
            assert!(counts[0] >= 4 * 30, "{format:?} {counts:?}");
            assert!(counts[1] >= 14 * 30 && counts[1].is_multiple_of(30), "{format:?} {counts:?}");
            let lines = journal_of_a_full_disk(&disk.0.0);
            let resumed = lines.iter().filter(|line| line["pausedUs"].as_i64() > Some(1_000_000));
            assert_eq!(resumed.count(), 1, "{lines:?}");
        }
    }
}

#[test]
fn what_is_to_be_left_free_is_left_free() {
    let Some(disk) = SmallDisk::new() else { return };
    let camera = Camera::new();
    let settings = Settings { min_free_mb: 3, ..settings(&disk.0.0, Format::Mkv) };
    // Not before it begins.
    let filler = disk.fill(6_000_000);
    let mut recording = Recording::new(settings);
    camera.feed(&mut recording, 0..2);
    assert!(recording.state.borrow().paused);
    let found = std::fs::read_dir(&disk.0.0).unwrap().count();
    assert_eq!(found, 1, "nothing is written but the filler");
    std::fs::remove_file(filler).unwrap();
    camera.feed(&mut recording, 2..10);
    assert!(!recording.state.borrow().paused);
    // Nor while it runs: the file is finished then.
    disk.fill(6_000_000);
    camera.feed(&mut recording, 10..12);
    let state = recording.state.borrow().clone();
    let warning = state.warning.unwrap();
    assert!(state.paused && warning.contains("min_free_mb is 3"), "{warning}");
    let [path] = &files(&disk.0.0, "mkv")[..] else { panic!("one file") };
    assert!(probe(path) >= 6 * 30);
    recording.finish(12_000_000);
}

#[test]
fn a_disk_that_is_gone_costs_the_recording_alone() {
    let folder = Folder::new();
    let camera = Camera::new();
    let mut recording = Recording::new(settings(&folder.0, Format::Mp4));
    camera.feed(&mut recording, 0..2);
    let away = folder.0.with_extension("away");
    std::fs::rename(&folder.0, &away).unwrap();
    camera.feed(&mut recording, 2..10);
    let state = recording.state.borrow().clone();
    assert!(state.paused, "{state:?}");
    assert!(state.warning.unwrap().contains("No such file"));
    std::fs::rename(&away, &folder.0).unwrap();
    camera.feed(&mut recording, 10..50);
    let state = recording.finish(50_000_000);
    assert_eq!((state.files, state.warning), (2, None));
    let counts: Vec<usize> = files(&folder.0, "mp4").iter().map(|path| probe(path)).collect();
    assert!(counts[0] >= 60 && counts[1] >= 30 * 20, "{counts:?}");
}

/// Like [`probe`], of a file whose last bytes may be missing.
fn probe_what_is_there(path: &Path) -> usize {
    read(path, Codec::H264).len()
}

/// Like [`journal`]; a line may have been cut short by the disk.
fn journal_of_a_full_disk(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(&files(folder, ".telemetry.jsonl")[0]).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
