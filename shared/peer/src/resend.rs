//! Packets that a receiver asks for again when they are no longer kept: then a key frame helps it, and
//! nothing else. Browsers ask for one only when they have shown nothing for three seconds.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gst::prelude::*;
use gst_rtp::RTPBuffer;

use crate::start::now;

/// How long packets are kept to be sent again: longer than any receiver waits.
const KEPT: Duration = Duration::from_millis(2000);

/// How many of a track are kept at most: two seconds of 15 Mbit/s.
const KEPT_PACKETS: u32 = 4096;

/// When packets left is noted so often.
const NOTED_EVERY: Duration = Duration::from_millis(100);

/// By this name an element is asked to send a packet again.
const REQUEST: &str = "GstRTPRetransmissionRequest";

/// Sets up the element that keeps packets.
pub(crate) fn set_up(rtxsend: &gst::Element) {
    rtxsend.set_property("max-size-time", KEPT.as_millis() as u32);
    rtxsend.set_property("max-size-packets", KEPT_PACKETS);
    let (Some(sink), Some(src)) = (rtxsend.static_pad("sink"), rtxsend.static_pad("src")) else {
        return;
    };
    let sent = Arc::new(Mutex::new(HashMap::<u32, Sent>::new()));
    let noted = sent.clone();
    sink.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, info| {
        // Of a list, which is one picture, the first will do.
        let packet = match &info.data {
            Some(gst::PadProbeData::Buffer(packet)) => Some(packet.as_ref()),
            Some(gst::PadProbeData::BufferList(packets)) => packets.get(0),
            _ => None,
        };
        let packet = packet.and_then(|packet| RTPBuffer::from_buffer_readable(packet).ok());
        if let (Some(packet), Ok(mut noted)) = (packet, noted.lock()) {
            noted.entry(packet.ssrc()).or_default().note(now().into(), packet.seq());
        }
        gst::PadProbeReturn::Ok
    });
    let sink = sink.downgrade();
    src.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        let request = info.event().and_then(|event| event.structure());
        let Some(request) = request.filter(|request| request.name() == REQUEST) else {
            return gst::PadProbeReturn::Ok;
        };
        let (Ok(ssrc), Ok(seq)) = (request.get::<u32>("ssrc"), request.get::<u32>("seqnum")) else {
            return gst::PadProbeReturn::Ok;
        };
        let keeps = |sent: &Sent| sent.keeps(seq as u16);
        let kept = sent.lock().map_or(true, |sent| sent.get(&ssrc).is_none_or(keeps));
        if !kept && let Some(sink) = sink.upgrade() {
            // As webrtcbin passes on what a receiver asks for.
            let key_frame = gst_video::UpstreamForceKeyUnitEvent::builder()
                .all_headers(true)
                .other_field("ssrc", ssrc)
                .build();
            sink.push_event(key_frame);
        }
        gst::PadProbeReturn::Ok
    });
}

/// When the packets of a track left.
#[derive(Debug, Default)]
struct Sent(VecDeque<(Duration, u16)>);

impl Sent {
    fn note(&mut self, now: Duration, seq: u16) {
        if self.0.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= NOTED_EVERY) {
            self.0.push_back((now, seq));
        }
        // The first that is left is as old as what is kept, or the first of all.
        while self.0.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= KEPT) {
            self.0.pop_front();
        }
    }

    /// Whether this one can be sent again: it is neither too old nor too far back.
    fn keeps(&self, seq: u16) -> bool {
        let (Some((_, first)), Some((_, last))) = (self.0.front(), self.0.back()) else {
            return true;
        };
        seq.wrapping_sub(*first) as i16 >= 0
            && i32::from(last.wrapping_sub(seq) as i16) < KEPT_PACKETS as i32
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use gst_rtp::prelude::*;

    use super::*;

    #[test]
    fn what_is_kept_is_known_by_its_age() {
        let mut sent = Sent::default();
        assert!(sent.keeps(7), "nobody knows");
        // A hundred packets a second, which are counted anew meanwhile.
        let first = u16::MAX - 250;
        for n in 0..500u16 {
            sent.note(Duration::from_millis(10 * u64::from(n)), first.wrapping_add(n));
        }
        let newest = first.wrapping_add(499);
        for (back, kept) in [(0, true), (150, true), (195, true), (215, false), (499, false)] {
            assert_eq!(sent.keeps(newest.wrapping_sub(back)), kept, "{back}");
        }
        assert!(sent.0.len() < 25, "{}", sent.0.len());
        sent.note(Duration::from_secs(60), newest.wrapping_add(1));
        assert!(!sent.keeps(newest.wrapping_sub(20)), "the camera was away");
        let mut fast = Sent::default();
        fast.note(Duration::ZERO, 0);
        fast.note(Duration::from_secs(1), 5_000);
        assert_eq!([900, 905, 5_010].map(|seq| fast.keeps(seq)), [false, true, true]);
    }

    #[test]
    fn who_asks_for_what_is_gone_gets_a_key_frame() {
        gst::init().unwrap();
        let rtxsend = gst::ElementFactory::make("rtprtxsend").build().unwrap();
        set_up(&rtxsend);
        let (sink, src) = (rtxsend.static_pad("sink").unwrap(), rtxsend.static_pad("src").unwrap());
        let key_frames = Arc::new(AtomicU32::new(0));
        let asked = key_frames.clone();
        let camera = gst::Pad::builder(gst::PadDirection::Src)
            .event_function(move |_, _, event| {
                if gst_video::ForceKeyUnitEvent::is(&event) {
                    assert_eq!(event.structure().unwrap().get("ssrc"), Ok(7u32));
                    asked.fetch_add(1, Ordering::SeqCst);
                }
                true
            })
            .build();
        let network = gst::Pad::builder(gst::PadDirection::Sink)
            .chain_function(|_, _, _| Ok(gst::FlowSuccess::Ok))
            .build();
        camera.link(&sink).unwrap();
        src.link(&network).unwrap();
        for pad in [&camera, &network] {
            pad.set_active(true).unwrap();
        }
        rtxsend.set_state(gst::State::Playing).unwrap();
        let caps: gst::Caps =
            "application/x-rtp, media=video, clock-rate=90000, payload=96, ssrc=(uint)7"
                .parse()
                .unwrap();
        camera.push_event(gst::event::StreamStart::new("camera"));
        camera.push_event(gst::event::Caps::new(&caps));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        camera.push_event(gst::event::Segment::new(&segment));
        for seq in 1000..1010 {
            let mut packet = gst::Buffer::new_rtp_with_sizes(10, 0, 0).unwrap();
            {
                let mut packet = RTPBuffer::from_buffer_writable(packet.make_mut()).unwrap();
                packet.set_ssrc(7);
                packet.set_payload_type(96);
                packet.set_seq(seq);
            }
            camera.push(packet).unwrap();
        }
        let ask = |seq: u32| {
            let request = gst::Structure::builder(REQUEST)
                .field("seqnum", seq)
                .field("ssrc", 7u32)
                .field("running-time", gst::ClockTime::ZERO)
                .field("rtx-delay", gst::ClockTime::ZERO)
                .build();
            network.push_event(gst::event::CustomUpstream::new(request));
            key_frames.load(Ordering::SeqCst)
        };
        assert_eq!(ask(1005), 0, "it is kept");
        assert_eq!(ask(900), 1);
        rtxsend.set_state(gst::State::Null).unwrap();
    }
}
