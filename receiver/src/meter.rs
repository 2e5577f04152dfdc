//! What is measured of one camera while its pictures pass. Written by GStreamer's threads in a
//! few instructions each, read once a second by the report.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::track_clock::Origin;

/// Frames that are known by their presentation time: those under way, and some that were shown.
const KNOWN: usize = 64;

/// Frames noted between two reports, at most.
const NOTED: usize = 1024;

/// Packets of one frame are presented within this time, in nanoseconds: further away it is another.
const SAME_FRAME_NS: u64 = 5_000_000;

/// The figures of one camera, through all sessions.
#[derive(Debug, Default)]
pub struct Meter {
    /// Access units that arrived whole.
    pub received: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Pictures that came out of the decoder.
    pub decoded: AtomicU64,
    /// Access units that were not given to the decoder, because it was too slow.
    pub dropped: AtomicU64,
    /// Picture width in pixels; 0 before the first.
    pub width: AtomicU32,
    /// Picture height in pixels; 0 before the first.
    pub height: AtomicU32,
    frames: Mutex<Frames>,
}

/// A packet, when it came, and what is known of its frame.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// When the frame will be presented, as its packet and its access unit have it, in nanoseconds.
    pub pts: u64,
    /// The RTP timestamp, which all packets of the frame share.
    pub rtp: u32,
    /// When it came, in microseconds of this host's clock.
    pub at_us: i64,
    /// Whence.
    pub origin: Origin,
}

/// The times of one frame, in microseconds of this host's clock: each is later than those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameTimes {
    /// Capture, and how long it was on the robot.
    pub origin: Origin,
    /// Its last packet came.
    pub arrived_us: i64,
    /// The whole access unit was given to the decoder.
    pub delivered_us: Option<i64>,
    /// The picture came out of the decoder.
    pub decoded_us: Option<i64>,
    /// It was shown, or whatever the output does with pictures.
    pub presented_us: Option<i64>,
}

impl FrameTimes {
    /// From its capture to the decoded picture, in microseconds; none while that is not known.
    pub fn decoded_after_us(&self) -> Option<i64> {
        Some(self.decoded_us?.saturating_sub(self.origin.captured?.at_us))
    }
}

#[derive(Debug)]
struct Frame {
    pts: u64,
    rtp: u32,
    times: FrameTimes,
    reported: bool,
}

#[derive(Debug, Default)]
struct Frames {
    known: VecDeque<Frame>,
    /// Of those that are not known any more, the ones that nobody has asked for yet.
    past: VecDeque<FrameTimes>,
}

impl Frames {
    fn add(&mut self, frame: Frame) {
        if self.known.len() == KNOWN
            && let Some(oldest) = self.known.pop_front()
            && oldest.times.decoded_us.is_some()
            && !oldest.reported
        {
            if self.past.len() == NOTED {
                self.past.pop_front();
            }
            self.past.push_back(oldest.times);
        }
        self.known.push_back(frame);
    }

    /// The frame that is presented at this time: depayloaders take that of any of its packets.
    fn find(&mut self, pts: u64) -> Option<&mut Frame> {
        let nearest = self.known.iter_mut().min_by_key(|frame| frame.pts.abs_diff(pts));
        nearest.filter(|frame| frame.pts.abs_diff(pts) <= SAME_FRAME_NS)
    }
}

impl Meter {
    /// A packet has come.
    pub fn arrived(&self, packet: Arrival) {
        let Arrival { pts, rtp, at_us, origin } = packet;
        let mut frames = self.lock();
        let Some(frame) = frames.known.iter_mut().rev().find(|frame| frame.rtp == rtp) else {
            let times = FrameTimes { origin, arrived_us: at_us, ..FrameTimes::default() };
            return frames.add(Frame { pts, rtp, times, reported: false });
        };
        let times = &mut frame.times;
        times.arrived_us = times.arrived_us.max(at_us);
        // The last packet tells the most; one that was sent again may come after it.
        times.origin.captured = times.origin.captured.or(origin.captured);
        if origin.stages.sent_us.is_some() {
            times.origin = origin;
        }
    }

    /// The access unit to be presented at `pts` is given to the decoder.
    pub fn delivered(&self, pts: u64, now_us: i64) {
        self.note(pts, |times| &mut times.delivered_us, now_us);
    }

    /// The picture to be presented at `pts` came out of the decoder.
    pub fn decoded(&self, pts: u64, now_us: i64) {
        self.decoded.fetch_add(1, Ordering::Relaxed);
        self.note(pts, |times| &mut times.decoded_us, now_us);
    }

    /// The picture to be presented at `pts` is on the screen, or wherever the output puts pictures.
    /// What counts is the first time.
    pub fn presented(&self, pts: u64, now_us: i64) {
        self.note(pts, |times| &mut times.presented_us, now_us);
    }

    fn note(&self, pts: u64, time: impl Fn(&mut FrameTimes) -> &mut Option<i64>, now_us: i64) {
        if let Some(frame) = self.lock().find(pts) {
            time(&mut frame.times).get_or_insert(now_us);
        }
    }

    /// When the picture that is presented at `pts` was captured, in microseconds of this host's
    /// clock. None of pictures long past, and while the robot's clock is not known.
    pub fn capture_us(&self, pts: u64) -> Option<i64> {
        let captured = self.lock().find(pts)?.times.origin.captured?;
        Some(captured.at_us)
    }

    /// The frames since the last call: those that were shown, and those that were decoded and will
    /// never be, since a later one was decoded after them.
    pub fn take_frames(&self) -> Vec<FrameTimes> {
        let mut frames = self.lock();
        let mut taken: Vec<FrameTimes> = frames.past.drain(..).collect();
        let newest_us = frames.known.iter().filter_map(|frame| frame.times.decoded_us).max();
        for frame in frames.known.iter_mut().filter(|frame| !frame.reported) {
            let times = frame.times;
            let over = times.decoded_us.is_some() && times.decoded_us < newest_us;
            if times.presented_us.is_some() || over {
                frame.reported = true;
                taken.push(times);
            }
        }
        taken
    }

    /// A new session starts: its RTP timestamps have nothing to do with those before.
    pub fn forget_times(&self) {
        *self.lock() = Frames::default();
    }

    fn lock(&self) -> MutexGuard<'_, Frames> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rovercast_protocol::frame_times::Stages;

    use super::*;
    use crate::track_clock::Captured;

    const FRAME_NS: u64 = 33_333_333;

    fn packet(frame: u32, at_us: i64, last: bool) -> Arrival {
        let captured = Some(Captured { at_us: i64::from(frame), error_us: 1 });
        let sent_us = last.then_some(3_000);
        let origin = Origin { captured, stages: Stages { encoded_us: sent_us, sent_us } };
        Arrival { pts: u64::from(frame) * FRAME_NS, rtp: frame * 3000, at_us, origin }
    }

    #[test]
    fn every_frame_gets_its_times() {
        let meter = Meter::default();
        for frame in 0..200u32 {
            let us = i64::from(frame) * 1000;
            meter.arrived(packet(frame, us, false));
            let last = packet(frame, us + 10, true);
            meter.arrived(Arrival { pts: last.pts + 900, ..last });
            // It was lost and sent again.
            meter.arrived(packet(frame, us + 20, false));
            let pts = last.pts + 900;
            meter.delivered(pts, us + 30);
            assert_eq!(meter.capture_us(pts), Some(i64::from(frame)));
            meter.decoded(pts, us + 40);
            if frame % 2 == 0 {
                meter.presented(pts, us + 50);
                meter.presented(pts, us + 60);
            }
        }
        let frames = meter.take_frames();
        assert_eq!((frames.len(), meter.decoded.load(Ordering::Relaxed)), (199, 200));
        for (frame, times) in frames.iter().enumerate() {
            let us = frame as i64 * 1000;
            let expected = FrameTimes {
                origin: packet(frame as u32, 0, true).origin,
                arrived_us: us + 20,
                delivered_us: Some(us + 30),
                decoded_us: Some(us + 40),
                presented_us: (frame % 2 == 0).then_some(us + 50),
            };
            assert_eq!(*times, expected);
        }
        assert!(meter.take_frames().is_empty(), "the newest may still be shown");
        meter.presented(199 * FRAME_NS, 0);
        assert_eq!(meter.take_frames().len(), 1);
    }

    #[test]
    fn other_pictures_are_not_taken_for_a_frame() {
        let meter = Meter::default();
        meter.arrived(packet(1, 0, true));
        assert_eq!(meter.capture_us(FRAME_NS), Some(1));
        assert_eq!(meter.capture_us(2 * FRAME_NS), None);
        meter.decoded(2 * FRAME_NS, 5);
        meter.presented(u64::MAX, 5);
        assert!(meter.take_frames().is_empty());
        meter.forget_times();
        assert_eq!(meter.capture_us(FRAME_NS), None);
    }

    #[test]
    fn what_nobody_reads_is_bounded() {
        let meter = Meter::default();
        for frame in 0..5000u32 {
            meter.arrived(packet(frame, 0, true));
            meter.decoded(u64::from(frame) * FRAME_NS, 0);
            meter.presented(u64::from(frame) * FRAME_NS, 0);
        }
        assert_eq!(meter.take_frames().len(), NOTED + KNOWN);
    }
}
