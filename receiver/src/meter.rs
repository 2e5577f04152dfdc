//! What is measured of one camera while its pictures pass. Written by GStreamer's threads in a
//! few instructions each, read once a second by the report.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Frames between their arrival and their decoding, at most.
const IN_FLIGHT: usize = 64;

/// Pictures noted between two reports, at most.
const NOTED: usize = 1024;

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
    times: Mutex<Times>,
}

#[derive(Debug, Default)]
struct Times {
    /// Presentation time (ns) and RTP timestamp of frames that arrived.
    arrived: VecDeque<(u64, u32)>,
    /// RTP timestamp, and when the picture was there, in microseconds of this host's clock.
    shown: VecDeque<(u32, i64)>,
}

impl Meter {
    /// A packet of the frame with this RTP timestamp has arrived; it will be presented under `pts`.
    pub fn arrived(&self, pts: u64, rtp: u32) {
        let Ok(mut times) = self.times.lock() else { return };
        if times.arrived.back().is_none_or(|&(_, last)| last != rtp) {
            if times.arrived.len() == IN_FLIGHT {
                times.arrived.pop_front();
            }
            times.arrived.push_back((pts, rtp));
        }
    }

    /// The picture to be presented under `pts` is there.
    pub fn shown(&self, pts: u64, now_us: i64) {
        self.decoded.fetch_add(1, Ordering::Relaxed);
        let Ok(mut times) = self.times.lock() else { return };
        // The depayloader may take the time of any packet of the frame.
        let nearest = times.arrived.iter().min_by_key(|(arrived, _)| arrived.abs_diff(pts));
        if let Some(&(_, rtp)) = nearest {
            if times.shown.len() == NOTED {
                times.shown.pop_front();
            }
            times.shown.push_back((rtp, now_us));
        }
    }

    /// The pictures since the last call: RTP timestamp, and when each was there in microseconds.
    pub fn take_shown(&self) -> Vec<(u32, i64)> {
        self.times.lock().map(|mut times| times.shown.drain(..).collect()).unwrap_or_default()
    }

    /// A new session starts: its RTP timestamps have nothing to do with those before.
    pub fn forget_times(&self) {
        if let Ok(mut times) = self.times.lock() {
            *times = Times::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_find_their_rtp_timestamp() {
        let meter = Meter::default();
        for frame in 0..200u32 {
            let pts = u64::from(frame) * 33_333_333;
            meter.arrived(pts, frame * 3000);
            meter.arrived(pts + 900, frame * 3000);
            meter.shown(pts + 900, i64::from(frame));
        }
        let shown = meter.take_shown();
        assert_eq!(shown.len(), 200);
        assert!(shown.iter().all(|&(rtp, at)| i64::from(rtp) == at * 3000));
        assert!(meter.take_shown().is_empty());
    }

    #[test]
    fn what_nobody_reads_is_bounded() {
        let meter = Meter::default();
        for frame in 0..5000u32 {
            meter.arrived(u64::from(frame), frame);
            meter.shown(u64::from(frame), 0);
        }
        assert_eq!(meter.take_shown().len(), NOTED);
    }
}
