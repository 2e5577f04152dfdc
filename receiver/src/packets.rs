//! What a track's packets tell: when they come, and which frame they belong to. Looked at behind the
//! jitter buffer, and never changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use gst::prelude::*;
use gst_rtp::RTPBuffer;
use rovercast_peer::arrival::arrived;
use rovercast_peer::negotiation::Section;
use rovercast_peer::start::now_us;
use rovercast_protocol::frame_times::{CAPTURE_TIME, STAGES};

use crate::meter::{Arrival, Meter};
use crate::track_clock::TrackClock;

/// Where it is kept what a track's packets tell.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// Whose packets they are, in their headers; 0 before the first.
    pub ssrc: Arc<AtomicU32>,
    /// When one came last, in microseconds of this host's clock; 0 before the first.
    pub heard_us: Arc<AtomicI64>,
    /// By which their times are told.
    pub clock: TrackClock,
}

/// Notes of each packet that passes a pad when it came and which frame it belongs to. `section` is
/// that of the track.
pub fn note(pad: &gst::Pad, section: &Section, notes: Notes, meter: Arc<Meter>) {
    let ids = [CAPTURE_TIME, STAGES].map(|uri| section.extension(uri));
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(kinds, move |_, info| {
        match &info.data {
            Some(gst::PadProbeData::Buffer(packet)) => look(packet, ids, &notes, &meter),
            Some(gst::PadProbeData::BufferList(packets)) => {
                packets.iter().for_each(|packet| look(packet, ids, &notes, &meter));
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

fn look(packet: &gst::BufferRef, ids: [Option<u8>; 2], notes: &Notes, meter: &Meter) {
    let now_us = now_us();
    let (Ok(rtp), Some(pts)) = (RTPBuffer::from_buffer_readable(packet), packet.pts()) else {
        return;
    };
    notes.ssrc.store(rtp.ssrc(), Ordering::Relaxed);
    notes.heard_us.fetch_max(now_us, Ordering::Relaxed);
    let told = |id: Option<u8>| id.and_then(|id| rtp.extension_onebyte_header(id, 0));
    let [capture_time, stages] = ids.map(told);
    let arrived_us = arrived(packet).and_then(|at| i64::try_from(at.useconds()).ok());
    meter.arrived(Arrival {
        pts: pts.nseconds(),
        rtp: rtp.timestamp(),
        // What was restored from others is here since now.
        at_us: arrived_us.unwrap_or(now_us),
        origin: notes.clock.origin(rtp.timestamp(), capture_time, stages),
    });
}

#[cfg(test)]
mod tests {
    use gst_rtp::prelude::*;
    use rovercast_protocol::clock::Offset;
    use rovercast_protocol::frame_times::{Epoch, Stages};

    use super::*;

    const IDS: [Option<u8>; 2] = [Some(5), Some(7)];

    fn packet() -> gst::Buffer {
        let mut packet = gst::Buffer::new_rtp_with_sizes(20, 0, 0).unwrap();
        let inside = packet.make_mut();
        inside.set_pts(gst::ClockTime::from_seconds(9));
        let mut rtp = RTPBuffer::from_buffer_writable(inside).unwrap();
        rtp.set_timestamp(77);
        rtp.set_ssrc(88);
        drop(rtp);
        packet
    }

    fn notes() -> Notes {
        let notes = Notes::default();
        notes.clock.set_offset(Some(Offset { offset_us: 1_000, error_us: 3, rtt_us: 6 }));
        notes.clock.learn(Some(Epoch::from_ntp_us(0)), None);
        notes
    }

    #[test]
    fn packets_tell_their_frames_times() {
        gst::init().unwrap();
        let (notes, meter) = (notes(), Meter::default());
        let mut packet = packet();
        let came_us = now_us();
        {
            let mut rtp = RTPBuffer::from_buffer_writable(packet.make_mut()).unwrap();
            let told = Epoch::from_ntp_us(0).capture_time(5_000_000);
            rtp.add_extension_onebyte_header(5, &told).unwrap();
            rtp.add_extension_onebyte_header(7, &[0, 10, 0, 20]).unwrap();
        }
        look(&packet, IDS, &notes, &meter);
        assert_eq!(meter.capture_us(9_000_000_000), Some(4_999_000));
        meter.presented(9_000_000_000, 0);
        let [frame] = meter.take_frames()[..] else { panic!() };
        assert!((came_us..=now_us()).contains(&frame.arrived_us));
        let stages = Stages { encoded_us: Some(1_000), sent_us: Some(2_000) };
        assert_eq!(frame.origin.stages, stages);
        assert_eq!(notes.ssrc.load(Ordering::Relaxed), 88);
        assert!(notes.heard_us.load(Ordering::Relaxed) >= came_us);
    }

    #[test]
    fn garbage_is_passed_over() {
        gst::init().unwrap();
        let (notes, meter) = (notes(), Meter::default());
        let mut seed = 1_u64;
        for round in 0..20_000_usize {
            // A header that is right, now and then, with anything behind it.
            let mut bytes: Vec<u8> = (0..round % 61)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (seed >> 56) as u8
                })
                .collect();
            if let Some(first) = bytes.first_mut().filter(|_| round % 3 > 0) {
                *first = 0x90;
            }
            if bytes.len() > 14 && round % 4 > 0 {
                bytes[12..14].copy_from_slice(&[0xBE, 0xDE]);
            }
            let mut packet = gst::Buffer::from_mut_slice(bytes);
            packet.make_mut().set_pts(gst::ClockTime::from_mseconds(round as u64 * 10));
            look(&packet, IDS, &notes, &meter);
        }
        look(&packet(), IDS, &notes, &meter);
        meter.presented(9_000_000_000, 0);
        assert_eq!(meter.take_frames().len(), 1, "what is right is still noted");
    }
}
