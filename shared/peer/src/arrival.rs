//! When packets arrived: noted before the jitter buffer, to be read behind it, however long they
//! waited there.

use gst::prelude::*;
use gst::{ClockTime, ReferenceTimestampMeta};

use crate::start::now;

/// By this name the meta is known from others of its kind.
const NAME: &str = "timestamp/x-rovercast-arrival";

/// A packet is on its way from the socket to the jitter buffer for no longer than that: a time
/// further in the past was not this clock's.
const LONGEST_WAY: ClockTime = ClockTime::from_seconds(1);

/// Notes it of every packet that a jitter buffer gets from now on.
pub(crate) fn note(jitter_buffer: &gst::Element) {
    let Some(pad) = jitter_buffer.static_pad("sink") else { return };
    let reference = gst::Caps::new_empty_simple(NAME);
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(kinds, move |_, info| {
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(packet)) => put(packet.make_mut(), &reference),
            Some(gst::PadProbeData::BufferList(packets)) => {
                let packets = packets.make_mut();
                for index in 0..packets.len() {
                    if let Some(packet) = packets.get_mut(index) {
                        put(packet, &reference);
                    }
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

fn put(packet: &mut gst::BufferRef, reference: &gst::Caps) {
    let now = now();
    // The source stamps what it gets from the socket.
    let stamped = packet.dts_or_pts().filter(|&at| at <= now && now - at <= LONGEST_WAY);
    ReferenceTimestampMeta::add(packet, reference, stamped.unwrap_or(now), ClockTime::NONE);
}

/// When a packet arrived, on the shared clock; none where that was not noted.
pub fn arrived(packet: &gst::BufferRef) -> Option<ClockTime> {
    let mut metas = packet.iter_meta::<ReferenceTimestampMeta>();
    let ours = metas.find(|meta| meta.reference().structure(0).is_some_and(|it| it.name() == NAME));
    ours.map(|meta| meta.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_keep_when_they_arrived() {
        gst::init().unwrap();
        let reference = gst::Caps::new_empty_simple(NAME);
        let arrived_at = |stamp: Option<ClockTime>| {
            let mut packet = gst::Buffer::new();
            packet.make_mut().set_dts(stamp);
            put(packet.make_mut(), &reference);
            // As jitter buffers do.
            packet.make_mut().set_dts(ClockTime::NONE);
            arrived(&packet.copy()).unwrap()
        };
        let start = now();
        let before = start - ClockTime::from_mseconds(5);
        assert_eq!(arrived_at(Some(before)), before);
        for implausible in [None, Some(ClockTime::ZERO), Some(start * 2)] {
            let at = arrived_at(implausible);
            assert!((start..=now()).contains(&at), "{implausible:?}");
        }
        assert_eq!(arrived(&gst::Buffer::new()), None);
    }
}
