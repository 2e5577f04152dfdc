//! The queue between the threads that bring the stream and the one that writes it: bounded, and
//! nobody who puts something into it waits for the disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rovercast_protocol::codec::Codec;
use rovercast_protocol::ids::CameraId;
use rovercast_protocol::keyframes::KeyFrameGate;

use super::journal::Line;

/// What may wait to be written: seconds of several cameras.
const MAX_ITEMS: usize = 4096;

/// And how much.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Cameras that are recorded at once; a robot that makes up more has them ignored.
const MAX_CAMERAS: usize = 64;

/// A key frame is asked for again after this time, in microseconds.
const KEY_FRAME_REQUESTS_US: i64 = 500_000;

/// What is to be written.
#[derive(Debug)]
pub(super) enum Item {
    /// An access unit.
    Unit(Unit),
    /// Something that was told.
    Line(Line),
}

/// An access unit of a camera.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) camera: CameraId,
    pub(super) codec: Codec,
    pub(super) buffer: gst::Buffer,
    /// When it came: this host's monotonic clock, in microseconds.
    pub(super) arrived_us: i64,
    /// When it was captured, on the same clock.
    pub(super) captured_us: Option<i64>,
}

/// What the writer is to do next.
#[derive(Debug)]
pub(super) enum Next {
    /// Write this.
    Item(Item),
    /// Nothing has come for a while.
    Nothing,
    /// Everything is written, and nothing more will come.
    End,
}

/// See above.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    cameras: BTreeMap<CameraId, Entry>,
    lines_dropped: u64,
    ended: bool,
}

#[derive(Debug, Default)]
struct Entry {
    gate: KeyFrameGate,
    gap: bool,
    dropped: u64,
    wants_key_frame: bool,
    asked_us: Option<i64>,
}

impl Queue {
    /// Takes an access unit. When there is no room for it, it is dropped, and with it all of the
    /// camera's up to the next key frame. False when a key frame should be asked for.
    pub(super) fn unit(&self, unit: Unit) -> bool {
        let mut waiting = self.lock();
        let waiting = &mut *waiting;
        let known = waiting.cameras.contains_key(&unit.camera);
        if waiting.ended || (!known && waiting.cameras.len() == MAX_CAMERAS) {
            return true;
        }
        let entry = waiting.cameras.entry(unit.camera.clone()).or_default();
        let size = unit.buffer.size();
        let full = waiting.items.len() >= MAX_ITEMS || waiting.bytes + size > MAX_BYTES;
        let key_frame = !unit.buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let passes = entry.gate.passes(entry.gap, key_frame) && !full;
        entry.gap = full;
        entry.wants_key_frame = (entry.wants_key_frame && !key_frame) || !passes;
        if !passes {
            entry.dropped += 1;
        }
        let rested = |asked_us| unit.arrived_us.saturating_sub(asked_us) >= KEY_FRAME_REQUESTS_US;
        // While there is no room, a key frame would be dropped, too.
        let asks = entry.wants_key_frame && !full && entry.asked_us.is_none_or(rested);
        if asks {
            entry.asked_us = Some(unit.arrived_us);
        }
        if passes {
            waiting.bytes += size;
            waiting.items.push_back(Item::Unit(unit));
            self.news.notify_one();
        }
        !asks
    }

    /// Takes something that was told; drops it when there is no room.
    pub(super) fn line(&self, line: Line) {
        let mut waiting = self.lock();
        if waiting.ended {
            return;
        }
        if waiting.items.len() >= MAX_ITEMS || waiting.bytes + line.size() > MAX_BYTES {
            waiting.lines_dropped += 1;
            return;
        }
        waiting.bytes += line.size();
        waiting.items.push_back(Item::Line(line));
        self.news.notify_one();
    }

    /// The writer cannot go on with this camera without a key frame.
    pub(super) fn want_key_frame(&self, camera: &CameraId) {
        if let Some(entry) = self.lock().cameras.get_mut(camera) {
            entry.wants_key_frame = true;
        }
    }

    /// How many access units of each camera were dropped since the last call, and how many lines.
    pub(super) fn take_dropped(&self) -> (Vec<(CameraId, u64)>, u64) {
        let mut waiting = self.lock();
        let lines = std::mem::take(&mut waiting.lines_dropped);
        let cameras = waiting.cameras.iter_mut().filter(|(_, entry)| entry.dropped > 0);
        let cameras = cameras
            .map(|(camera, entry)| (camera.clone(), std::mem::take(&mut entry.dropped)))
            .collect();
        (cameras, lines)
    }

    /// What is next; waits for it for so long.
    pub(super) fn next(&self, patience: Duration) -> Next {
        let idle = |waiting: &mut Waiting| waiting.items.is_empty() && !waiting.ended;
        let waited = self.news.wait_timeout_while(self.lock(), patience, idle);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match waiting.items.pop_front() {
            Some(item) => {
                waiting.bytes -= match &item {
                    Item::Unit(unit) => unit.buffer.size(),
                    Item::Line(line) => line.size(),
                };
                Next::Item(item)
            }
            None if waiting.ended => Next::End,
            None => Next::Nothing,
        }
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.news.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(camera: &str, key_frame: bool, size: usize, arrived_us: i64) -> Unit {
        gst::init().unwrap();
        let mut buffer = gst::Buffer::with_size(size).unwrap();
        if !key_frame {
            buffer.make_mut().set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        let camera = camera.parse().unwrap();
        Unit { camera, codec: Codec::H264, buffer, arrived_us, captured_us: None }
    }

    fn line() -> Line {
        Line::new(0, &serde_json::json!({ "type": "telemetry" })).unwrap()
    }

    fn sizes(queue: &Queue) -> Vec<usize> {
        let mut sizes = Vec::new();
        while let Next::Item(item) = queue.next(Duration::ZERO) {
            if let Item::Unit(unit) = item {
                sizes.push(unit.buffer.size());
            }
        }
        sizes
    }

    #[test]
    fn what_has_no_room_is_dropped_up_to_the_next_key_frame() {
        let queue = Queue::default();
        assert!(queue.unit(unit("a", true, MAX_BYTES - 10, 0)));
        assert!(queue.unit(unit("a", false, 11, 0)), "there is no room for a key frame either");
        assert!(queue.unit(unit("b", true, 10, 0)), "another camera may still have its small ones");
        queue.line(line());
        assert_eq!(sizes(&queue), [MAX_BYTES - 10, 10]);
        assert!(!queue.unit(unit("a", false, 1, 1)), "now it would help");
        assert!(queue.unit(unit("a", false, 2, 2)), "asked for a moment ago");
        assert!(!queue.unit(unit("a", false, 3, KEY_FRAME_REQUESTS_US + 1)));
        assert!(queue.unit(unit("a", true, 4, KEY_FRAME_REQUESTS_US + 2)));
        assert!(queue.unit(unit("a", false, 5, KEY_FRAME_REQUESTS_US + 3)));
        assert_eq!(sizes(&queue), [4, 5]);
        assert_eq!(queue.take_dropped(), (vec![("a".parse().unwrap(), 4)], 1));
        assert_eq!(queue.take_dropped(), (vec![], 0));
    }

    #[test]
    fn neither_small_access_units_nor_cameras_nor_lines_grow_without_bound() {
        let queue = Queue::default();
        for _ in 0..MAX_ITEMS + 5 {
            queue.unit(unit("a", true, 1, 0));
            queue.line(line());
        }
        let (cameras, lines) = queue.take_dropped();
        assert_eq!(cameras[0].1 + lines, MAX_ITEMS as u64 + 10);
        assert_eq!(sizes(&queue).len(), MAX_ITEMS / 2);
        for camera in 0..MAX_CAMERAS + 5 {
            queue.unit(unit(&format!("c{camera}"), true, 1, 0));
        }
        assert_eq!(sizes(&queue).len(), MAX_CAMERAS - 1);
    }

    #[test]
    fn a_key_frame_is_asked_for_until_it_comes_and_the_end_is_behind_everything() {
        let queue = Queue::default();
        assert!(queue.unit(unit("a", true, 1, 0)));
        queue.want_key_frame(&"a".parse().unwrap());
        assert!(!queue.unit(unit("a", false, 1, 1)));
        assert!(queue.unit(unit("a", false, 1, 2)));
        assert!(!queue.unit(unit("a", false, 1, KEY_FRAME_REQUESTS_US + 1)));
        assert!(queue.unit(unit("a", true, 1, KEY_FRAME_REQUESTS_US * 3)));
        assert!(queue.unit(unit("a", false, 1, KEY_FRAME_REQUESTS_US * 3)));
        queue.end();
        assert!(queue.unit(unit("a", false, 1, KEY_FRAME_REQUESTS_US * 3)));
        assert_eq!(sizes(&queue).len(), 6);
        assert!(matches!(queue.next(Duration::from_secs(60)), Next::End));
    }
}
