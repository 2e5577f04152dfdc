//! Tells a viewer the times of each frame: in header extensions of its RTP packets, those that the
//! viewer has accepted. They are part of the packet, so that one that is sent again has them, too.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gst::prelude::*;
use gst_app::AppSrc;
use gst_rtp::RTPBuffer;
use rovercast_peer::negotiation::Section;
use rovercast_peer::start::now;
use rovercast_protocol::frame_times::{
    CAPTURE_TIME, Epoch, PLAYOUT_DELAY, SHOW_AT_ONCE, STAGES, Stages,
};

use crate::camera::counters::Counters;
use crate::camera::stamp::{Times, times};

/// The extensions' numbers, the same on all tracks, since these are in one bundle.
const CAPTURE_TIME_ID: u8 = 1;
const STAGES_ID: u8 = 2;
const PLAYOUT_DELAY_ID: u8 = 3;

/// What a robot tells its viewers.
#[derive(Debug, Clone, Copy)]
pub struct Telling {
    /// By which times of the shared clock become times of day.
    pub epoch: Epoch,
    /// Whether browsers are asked to show pictures as they come.
    pub playout_delay: bool,
}

impl Telling {
    /// What a viewer is offered.
    pub fn offered(self) -> Told {
        Told {
            capture_time: Some(CAPTURE_TIME_ID),
            stages: Some(STAGES_ID),
            playout_delay: self.playout_delay.then_some(PLAYOUT_DELAY_ID),
        }
    }

    /// What can be told to a viewer that offers this, by its own numbers.
    pub fn asked(self, offer: &Section) -> Told {
        Told {
            capture_time: offer.extension(CAPTURE_TIME),
            stages: offer.extension(STAGES),
            playout_delay: offer.extension(PLAYOUT_DELAY).filter(|_| self.playout_delay),
        }
    }
}

/// Extensions, each with its number in the packets of one track.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    capture_time: Option<u8>,
    stages: Option<u8>,
    playout_delay: Option<u8>,
}

impl Told {
    /// What of it this answer takes.
    pub fn accepted_by(self, answer: &Section) -> Self {
        let taken = |id: Option<u8>, uri| id.filter(|id| answer.extension(uri) == Some(*id));
        Self {
            capture_time: taken(self.capture_time, CAPTURE_TIME),
            stages: taken(self.stages, STAGES),
            playout_delay: taken(self.playout_delay, PLAYOUT_DELAY),
        }
    }

    /// As caps say it: field and value.
    pub fn fields(self) -> impl Iterator<Item = (String, &'static str)> {
        let all = [
            (self.capture_time, CAPTURE_TIME),
            (self.stages, STAGES),
            (self.playout_delay, PLAYOUT_DELAY),
        ];
        all.into_iter().filter_map(|(id, uri)| Some((format!("extmap-{}", id?), uri)))
    }
}

/// Writes the times of what comes out of `appsrc` on the packets that leave by `packets`. A payloader
/// is between them, on the same thread.
pub fn tell(
    appsrc: &AppSrc,
    packets: &gst::Pad,
    telling: Telling,
    told: Told,
    counters: Arc<Counters>,
) {
    let Some(units) = appsrc.static_pad("src") else { return };
    let frame = Arc::new(Mutex::new(Frame::default()));
    let noted = frame.clone();
    units.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let (Some(unit), Ok(mut frame)) = (info.buffer(), noted.lock()) {
            *frame = Frame::of(unit);
        }
        gst::PadProbeReturn::Ok
    });
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    packets.add_probe(kinds, move |_, info| {
        let Ok(mut frame) = frame.lock() else { return gst::PadProbeReturn::Ok };
        let mut each = |packet: &mut gst::BufferRef| {
            let sent = frame.write(packet, telling.epoch, told, now());
            if let Some(took) = sent {
                counters.send.observe(took);
            }
        };
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(packet)) => each(packet.make_mut()),
            Some(gst::PadProbeData::BufferList(list)) => {
                let list = list.make_mut();
                for index in 0..list.len() {
                    if let Some(packet) = list.get_mut(index) {
                        each(packet);
                    }
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// The frame that is being put into packets.
#[derive(Debug, Default)]
struct Frame {
    pts: Option<gst::ClockTime>,
    times: Option<Times>,
    key_frame: bool,
    begun: bool,
}

impl Frame {
    fn of(unit: &gst::BufferRef) -> Self {
        let key_frame = !unit.flags().contains(gst::BufferFlags::DELTA_UNIT);
        Self { pts: unit.pts(), times: times(unit), key_frame, begun: false }
    }

    /// Writes on one of its packets what belongs there. With the last, how long it took since it was
    /// encoded.
    fn write(
        &mut self,
        packet: &mut gst::BufferRef,
        epoch: Epoch,
        told: Told,
        now: gst::ClockTime,
    ) -> Option<Duration> {
        if packet.pts() != self.pts {
            return None;
        }
        let first = !std::mem::replace(&mut self.begun, true);
        // Browsers keep to what the first packet of a frame says until another says otherwise.
        if let Some(id) = told.playout_delay.filter(|_| first && self.key_frame) {
            add(packet, id, &SHOW_AT_ONCE);
        }
        let mut header = [0; 2];
        let last = packet.copy_to_slice(0, &mut header).is_ok() && header[1] & MARKER != 0;
        // Nothing that the sender does comes after the last packet; and the time of one packet is
        // that of the frame (it goes by the RTP timestamp, which all of them share).
        let Times { captured, encoded } = self.times.filter(|_| last)?;
        if let Some(id) = told.capture_time {
            add(packet, id, &epoch.capture_time(captured.useconds() as i64));
        }
        if let Some(id) = told.stages {
            let since =
                |time: gst::ClockTime| u32::try_from(time.checked_sub(captured)?.useconds()).ok();
            let stages = Stages { encoded_us: since(encoded), sent_us: since(now) };
            add(packet, id, &stages.to_bytes());
        }
        now.checked_sub(encoded).map(Into::into)
    }
}

/// In the second byte of a packet: it is the last of its frame (RFC 3550, section 5.1).
const MARKER: u8 = 0x80;

fn add(packet: &mut gst::BufferRef, id: u8, data: &[u8]) {
    if let Ok(mut packet) = RTPBuffer::from_buffer_writable(packet) {
        // Refused only where there is no memory.
        let _ = packet.add_extension_onebyte_header(id, data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::stamp::Stamp;
    use gst::ClockTime;
    use gst_rtp::prelude::*;
    use rovercast_protocol::frame_times::MAX_BYTES;

    const ALL: Told = Told {
        capture_time: Some(CAPTURE_TIME_ID),
        stages: Some(STAGES_ID),
        playout_delay: Some(PLAYOUT_DELAY_ID),
    };
    const PAYLOAD: u32 = 100;
    const EPOCH: i64 = 3_900_000_000_123_456;

    fn unit(key_frame: bool) -> gst::Buffer {
        let mut unit = gst::Buffer::new();
        let inside = unit.make_mut();
        inside.set_pts(ClockTime::from_seconds(3600));
        if !key_frame {
            inside.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        let (captured, encoded) =
            (ClockTime::from_useconds(7_000_001), ClockTime::from_mseconds(7002));
        Stamp::default().put(inside, Times { captured, encoded });
        unit
    }

    fn packet(frame: &mut Frame, last: bool, told: Told) -> (gst::Buffer, Option<Duration>) {
        let mut packet = gst::Buffer::new_rtp_with_sizes(PAYLOAD, 0, 0).unwrap();
        let inside = packet.make_mut();
        inside.set_pts(ClockTime::from_seconds(3600));
        RTPBuffer::from_buffer_writable(inside).unwrap().set_marker(last);
        let epoch = Epoch::from_ntp_us(EPOCH);
        let took = frame.write(inside, epoch, told, ClockTime::from_mseconds(7005));
        (packet, took)
    }

    fn extensions(packet: &gst::Buffer) -> [Option<Vec<u8>>; 3] {
        let packet = RTPBuffer::from_buffer_readable(packet).unwrap();
        assert_eq!(packet.payload().unwrap().len(), PAYLOAD as usize);
        [CAPTURE_TIME_ID, STAGES_ID, PLAYOUT_DELAY_ID]
            .map(|id| packet.extension_onebyte_header(id, 0).map(<[u8]>::to_vec))
    }

    #[test]
    fn the_last_packet_tells_when() {
        gst::init().unwrap();
        let mut frame = Frame::of(&unit(true));
        let (first, took) = packet(&mut frame, false, ALL);
        assert_eq!((extensions(&first), took), ([None, None, Some(SHOW_AT_ONCE.to_vec())], None));
        assert_eq!(extensions(&packet(&mut frame, false, ALL).0), [None, None, None]);
        let (last, took) = packet(&mut frame, true, ALL);
        assert_eq!(took, Some(Duration::from_millis(3)));
        let [Some(captured), Some(stages), None] = extensions(&last) else { panic!("{last:?}") };
        assert_eq!(Epoch::from_ntp_us(EPOCH).capture_us(&captured), Some(7_000_001));
        let told = Stages { encoded_us: Some(2_000), sent_us: Some(5_000) };
        assert_eq!(Stages::from_bytes(&stages), Some(told));
        assert!(extensions(&packet(&mut Frame::of(&unit(false)), false, ALL).0)[2].is_none());
    }

    /// As webrtcbin does it: a packet goes by once, and again when it is asked for.
    #[test]
    fn a_packet_that_is_sent_again_tells_the_same() {
        gst::init().unwrap();
        let pipeline = gst::parse::launch(
            "appsrc name=in format=time \
             caps=application/x-rtp,media=video,clock-rate=90000,payload=96,ssrc=(uint)7 \
             ! rtprtxsend name=send ! rtprtxreceive name=receive ! appsink name=out sync=false",
        );
        let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
        let element = |name: &str| pipeline.by_name(name).unwrap();
        let numbers =
            gst::Structure::builder("application/x-rtp-pt-map").field("96", 97u32).build();
        for name in ["send", "receive"] {
            element(name).set_property("payload-type-map", &numbers);
        }
        let input = element("in").downcast::<AppSrc>().unwrap();
        let output = element("out").downcast::<gst_app::AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let (mut packet, _) = packet(&mut Frame::of(&unit(true)), true, ALL);
        {
            let mut packet = RTPBuffer::from_buffer_writable(packet.make_mut()).unwrap();
            packet.set_ssrc(7);
            packet.set_payload_type(96);
            packet.set_seq(1234);
        }
        input.push_buffer(packet.clone()).unwrap();
        let first = output.pull_sample().unwrap();
        let request = gst::Structure::builder("GstRTPRetransmissionRequest")
            .field("seqnum", 1234u32)
            .field("ssrc", 7u32)
            .field("running-time", ClockTime::from_seconds(1))
            .field("rtx-delay", ClockTime::ZERO)
            .build();
        let asked = output.static_pad("sink").unwrap();
        assert!(asked.push_event(gst::event::CustomUpstream::new(request)));
        let again = output.pull_sample().unwrap();
        pipeline.set_state(gst::State::Null).unwrap();
        let told = extensions(&packet);
        assert!(told.iter().all(Option::is_some), "{told:?}");
        for sample in [first, again] {
            let buffer = sample.buffer_owned().unwrap();
            assert_eq!(extensions(&buffer), told);
            let rtp = RTPBuffer::from_buffer_readable(&buffer).unwrap();
            assert_eq!((rtp.seq(), rtp.payload_type(), rtp.ssrc()), (1234, 96, 7));
        }
    }

    #[test]
    fn nothing_is_written_that_was_not_accepted() {
        gst::init().unwrap();
        let bytes = |told| {
            let (packet, took) = packet(&mut Frame::of(&unit(true)), true, told);
            assert!(took.is_some());
            packet.size() - PAYLOAD as usize - 12
        };
        assert_eq!(bytes(Told::default()), 0);
        assert_eq!(bytes(ALL), MAX_BYTES as usize);
        assert_eq!(bytes(Told { playout_delay: None, ..ALL }), 20);
        assert_eq!(bytes(Told { stages: None, playout_delay: None, ..ALL }), 16);
        // What belongs to no frame that is known stays as it is.
        let (other, took) = packet(&mut Frame::default(), true, ALL);
        assert_eq!((extensions(&other), took), ([None, None, None], None));
    }
}
