//! The window's other side: the handle by which pictures, reports and states come from other
//! threads. Nothing here draws, and nothing waits for who does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rovercast_peer::start::now_us;
use rovercast_protocol::ids::CameraId;

use crate::report::Report;
use crate::window::board::{Board, Face, Note, Recording};
use crate::window::verdict::Way;

/// A picture, and when it came: microseconds of the shared clock.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    pub(crate) sample: gst::Sample,
    pub(crate) arrived_us: i64,
}

/// Told of a picture that has reached the screen, on the window's thread: its presentation time in
/// nanoseconds, and when it was there, in microseconds of the shared clock.
pub type OnPresented = Arc<dyn Fn(u64, i64) + Send + Sync>;

/// A handle to the window. Clones are of the same window.
#[derive(Clone)]
pub struct Wall(Arc<Shared>);

struct Shared {
    /// The newest picture of each camera that was not drawn yet: one slot each, the newest wins.
    pictures: Mutex<BTreeMap<CameraId, Picture>>,
    board: Mutex<Board>,
    /// By camera.
    on_presented: Mutex<BTreeMap<CameraId, OnPresented>>,
    /// Whether the window knows that there is something new.
    woken: AtomicBool,
    closed: AtomicBool,
    wake: Box<dyn Fn() -> bool + Send + Sync>,
}

impl std::fmt::Debug for Wall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wall")
    }
}

impl Wall {
    /// One whose window is woken by `wake`, which never blocks, and may be called by any thread.
    /// It tells whether the window will look.
    pub(crate) fn new(wake: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            pictures: Mutex::default(),
            board: Mutex::default(),
            on_presented: Mutex::default(),
            woken: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            wake: Box::new(wake),
        }))
    }

    /// Shows a picture, in I420 or NV12, as soon as the window can. One that was not drawn yet
    /// gives way to it.
    pub fn picture(&self, camera: &CameraId, sample: gst::Sample) {
        let picture = Picture { sample, arrived_us: now_us() };
        let before = {
            let mut pictures = lock(&self.0.pictures);
            match pictures.get_mut(camera) {
                Some(slot) => Some(std::mem::replace(slot, picture)),
                None => pictures.insert(camera.clone(), picture),
            }
        };
        // Freeing a picture may take long: not while others wait for the lock.
        drop(before);
        self.wake();
    }

    /// Shows what the receiver reports.
    pub fn report(&self, report: &Report) {
        self.board(|board| board.report(report.clone(), now_us()));
    }

    /// Shows how far the receiver has come on its way to the robot.
    pub fn way(&self, way: Way) {
        if lock(&self.0.board).way != way {
            self.board(|board| board.way = way);
        }
    }

    /// Shows these cameras, in this order.
    pub fn cameras(&self, faces: Vec<Face>) {
        self.board(|board| board.introduce(faces));
    }

    /// The robot's clock minus this host's, in microseconds; none while that is not known. By it
    /// the window tells since when a camera has been lost.
    pub fn robot_clock(&self, ahead_us: Option<i64>) {
        lock(&self.0.board).robot_ahead_us = ahead_us;
    }

    /// Has this called for every picture of a camera that is on the screen.
    pub fn on_presented(&self, camera: &CameraId, call: OnPresented) {
        lock(&self.0.on_presented).insert(camera.clone(), call);
    }

    /// Shows that a recording goes on, or that none does.
    pub fn recording(&self, recording: Option<Recording>) {
        self.board(|board| board.recording = recording);
    }

    /// Tells the operator something in passing.
    pub fn note(&self, text: impl Into<String>, bad: bool) {
        let note = Note { text: text.into(), bad };
        self.board(|board| board.note = Some((note, now_us())));
    }

    /// Ends the window's loop.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.wake();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }

    /// Everything that is told from now on wakes the window again. Called before it looks.
    pub(crate) fn awake(&self) {
        self.0.woken.store(false, Ordering::Release);
    }

    /// A picture of this camera is on the screen.
    pub(crate) fn presented(&self, camera: &CameraId, pts: u64, at_us: i64) {
        if let Some(call) = lock(&self.0.on_presented).get(camera) {
            call(pts, at_us);
        }
    }

    /// The pictures that were not drawn yet.
    pub(crate) fn take_pictures(&self) -> BTreeMap<CameraId, Picture> {
        std::mem::take(&mut lock(&self.0.pictures))
    }

    /// What is known, for the window itself: it is not woken.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&mut Board) -> T) -> T {
        at(&mut lock(&self.0.board))
    }

    fn board(&self, change: impl FnOnce(&mut Board)) {
        change(&mut lock(&self.0.board));
        self.wake();
    }

    fn wake(&self) {
        if !self.0.woken.swap(true, Ordering::AcqRel) && !(self.0.wake)() {
            // It was not told: the next news tries again.
            self.awake();
        }
    }
}

/// What a thread that panicked has left is still whole: no lock is held over more than a
/// replacement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    fn counted() -> (Wall, Arc<AtomicU32>) {
        let wakes = Arc::new(AtomicU32::new(0));
        let counter = wakes.clone();
        (Wall::new(move || counter.fetch_add(1, Ordering::Relaxed) < 1000), wakes)
    }

    fn sample(pts_ms: u64) -> gst::Sample {
        gst::init().unwrap();
        let mut buffer = gst::Buffer::new();
        buffer.get_mut().unwrap().set_pts(gst::ClockTime::from_mseconds(pts_ms));
        gst::Sample::builder().buffer(&buffer).build()
    }

    #[test]
    fn the_newest_picture_of_each_camera_wins() {
        let (wall, wakes) = counted();
        let (a, b): (CameraId, CameraId) = ("a".parse().unwrap(), "b".parse().unwrap());
        for n in 0..100 {
            wall.picture(&a, sample(n));
        }
        wall.picture(&b, sample(7));
        assert_eq!(wakes.load(Ordering::Relaxed), 1, "many pictures are one piece of news");
        wall.awake();
        let pictures = wall.take_pictures();
        let pts = |id: &CameraId| pictures[id].sample.buffer().unwrap().pts().unwrap().mseconds();
        assert_eq!((pictures.len(), pts(&a), pts(&b)), (2, 99, 7));
        assert!(wall.take_pictures().is_empty());
        wall.picture(&a, sample(100));
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_is_told_twice_wakes_once() {
        let (wall, wakes) = counted();
        wall.way(Way::Connected);
        wall.awake();
        wall.way(Way::Connected);
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_window_that_was_not_reached_is_tried_again() {
        let wakes = Arc::new(AtomicU32::new(0));
        let counter = wakes.clone();
        let wall = Wall::new(move || counter.fetch_add(1, Ordering::Relaxed) > 0);
        wall.note("a", false);
        wall.note("b", false);
        wall.note("c", false);
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
    }
}
