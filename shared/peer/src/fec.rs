//! Forward error correction: behind each picture leave packets by which lost ones are restored, without
//! the round trip that it takes to have them sent again. Both ends do it around webrtcbin, which up to
//! GStreamer 1.22 restores in a way that hides further losses (`rtpulpfecdec`).

mod agreement;
mod packet;
pub(crate) mod sdp;
mod window;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gst::prelude::*;
use gst_rtp::RTPBuffer;

use packet::{Header, Repair, SPAN, protecting};
use window::Window;

pub(crate) use agreement::Agreement;
use packet::OVERHEAD;
pub use sdp::Correction;

/// Streams of a peer that are looked after: as many as a session has tracks.
const MOST_STREAMS: usize = 64;

const PACKETS: gst::PadProbeType = gst::PadProbeType::BUFFER.union(gst::PadProbeType::BUFFER_LIST);

/// Both directions of a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fec {
    pub(crate) sending: Sending,
    pub(crate) receiving: Receiving,
}

/// What leaves behind the pictures of each stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sending {
    /// So many packets leave behind a hundred, but at least one behind each picture; with 0 none.
    percent: u32,
    /// By their SSRCs.
    streams: Arc<Mutex<HashMap<u32, Protection>>>,
}

impl Sending {
    /// Protects a stream from now on.
    fn protect(&self, correction: Correction) {
        let Correction { payload_type, streams: Some([ssrc, own]) } = correction else { return };
        let protection = Protection {
            payload_type,
            ssrc: own,
            percent: self.percent,
            sequence: rand::random(),
            picture: vec![],
        };
        lock(&self.streams).insert(ssrc, protection);
    }

    #[cfg(test)]
    fn protects(&self, ssrc: u32) -> bool {
        lock(&self.streams).contains_key(&ssrc)
    }

    /// Sends them behind what comes out of the element that sends packets again.
    pub(crate) fn set_up(&self, rtxsend: &gst::Element) {
        let Some(pad) = rtxsend.static_pad("src").filter(|_| self.percent > 0) else { return };
        let this = self.clone();
        pad.add_probe(PACKETS, move |pad, info| {
            let behind: Vec<gst::Buffer> = match &info.data {
                Some(gst::PadProbeData::Buffer(packet)) => this.take(packet),
                Some(gst::PadProbeData::BufferList(packets)) => {
                    packets.iter().flat_map(|packet| this.take(packet)).collect()
                }
                _ => vec![],
            };
            let Some(next) = pad.peer().filter(|_| !behind.is_empty()) else {
                return gst::PadProbeReturn::Ok;
            };
            info.flow_res = match info.data.take() {
                Some(gst::PadProbeData::Buffer(packet)) => next.chain(packet),
                Some(gst::PadProbeData::BufferList(packets)) => next.chain_list(packets),
                _ => Ok(gst::FlowSuccess::Ok),
            };
            for packet in behind {
                // Refused only if those before were, too.
                let _ = next.chain(packet);
            }
            gst::PadProbeReturn::Handled
        });
    }

    fn take(&self, packet: &gst::BufferRef) -> Vec<gst::Buffer> {
        let mut streams = lock(&self.streams);
        let Ok(bytes) = packet.map_readable() else { return vec![] };
        let header = Header::parse(&bytes);
        let protection = header.and_then(|header| Some((header, streams.get_mut(&header.ssrc)?)));
        let Some((header, protection)) = protection else { return vec![] };
        let made = protection.take(header, &bytes).into_iter();
        made.map(|made| at_times_of(packet, made)).collect()
    }
}

/// One stream's.
#[derive(Debug)]
struct Protection {
    payload_type: u8,
    ssrc: u32,
    percent: u32,
    sequence: u16,
    /// The packets of this picture, up to now.
    picture: Vec<Vec<u8>>,
}

impl Protection {
    /// A packet leaves; returns what leaves behind it. Each of those protects every n-th packet of the
    /// picture: several that are lost in a row are restored by as many.
    fn take(&mut self, header: Header, packet: &[u8]) -> Vec<Vec<u8>> {
        self.picture.push(packet.to_vec());
        if !header.ends && self.picture.len() < usize::from(SPAN) {
            return vec![];
        }
        let picture = std::mem::take(&mut self.picture);
        let count = (picture.len() * self.percent as usize).div_ceil(100).clamp(1, picture.len());
        let protecting_every = |first: usize| {
            let packets = picture.iter().skip(first).step_by(count);
            let packets: Vec<&[u8]> = packets.map(Vec::as_slice).collect();
            self.sequence = self.sequence.wrapping_add(1);
            let Self { payload_type, ssrc, sequence, .. } = *self;
            protecting(Header { payload_type, ends: false, sequence, ssrc, ..header }, &packets)
        };
        (0..count).filter_map(protecting_every).collect()
    }
}

/// Restores what is lost.
#[derive(Debug, Clone, Default)]
pub(crate) struct Receiving(Arc<Mutex<Restoring>>);

#[derive(Debug, Default)]
struct Restoring {
    payload_type: Option<u8>,
    streams: HashMap<u32, Stream>,
    /// Whether what comes now was sent again.
    again: bool,
}

/// One that is protected.
#[derive(Debug, Default)]
struct Stream {
    window: Window,
    restored: u64,
}

impl Receiving {
    /// Restores packets of a stream from now on.
    fn expect(&self, correction: Correction) {
        let Correction { payload_type, streams: Some([ssrc, _]) } = correction else { return };
        let mut restoring = lock(&self.0);
        restoring.payload_type = Some(payload_type);
        if restoring.streams.len() < MOST_STREAMS {
            restoring.streams.entry(ssrc).or_default();
        }
    }

    /// How many packets of this stream were restored; none if it is not protected.
    pub(crate) fn restored(&self, ssrc: u32) -> Option<u64> {
        lock(&self.0).streams.get(&ssrc).map(|stream| stream.restored)
    }

    /// Restores them at the element that makes packets of those that are sent again.
    pub(crate) fn set_up(&self, rtxreceive: &gst::Element) {
        let (Some(sink), Some(src)) = (rtxreceive.static_pad("sink"), rtxreceive.static_pad("src"))
        else {
            return;
        };
        let this = self.clone();
        sink.add_probe(PACKETS, move |_, info| {
            let packet = match &info.data {
                Some(gst::PadProbeData::Buffer(packet)) => Some(packet.as_ref()),
                // Those of a list are of one stream.
                Some(gst::PadProbeData::BufferList(packets)) => packets.get(0),
                _ => None,
            };
            let mut restoring = lock(&this.0);
            if let Some(packet) = packet.filter(|_| restoring.payload_type.is_some()) {
                restoring.again = restoring.is_sent_again(packet);
            }
            gst::PadProbeReturn::Ok
        });
        let this = self.clone();
        src.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let (Some(packet), Some(next)) = (info.buffer(), pad.peer()) else {
                return gst::PadProbeReturn::Ok;
            };
            let (goes_on, restored) = lock(&this.0).take(packet);
            for restored in restored {
                // Refused only if the others are, too.
                let _ = next.chain(restored);
            }
            if goes_on { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Drop }
        });
    }
}

impl Restoring {
    fn is_sent_again(&self, packet: &gst::BufferRef) -> bool {
        let header = packet.map_readable().ok().and_then(|bytes| Header::parse(&bytes));
        header.is_some_and(|header| !self.streams.contains_key(&header.ssrc))
    }

    /// Takes a packet. Returns whether it goes on, and what is restored by it.
    fn take(&mut self, packet: &gst::BufferRef) -> (bool, Vec<gst::Buffer>) {
        let Some(own) = self.payload_type else { return (true, vec![]) };
        let Ok(bytes) = packet.map_readable() else { return (true, vec![]) };
        let Some(header) = Header::parse(&bytes) else { return (true, vec![]) };
        let (goes_on, stream) = if let Some(stream) = self.streams.get_mut(&header.ssrc) {
            // One that is sent again goes on in any case: the jitter buffer learns how long that takes.
            (stream.window.came(header.sequence, &bytes) || self.again, Some(stream))
        } else if header.payload_type == own {
            let packet = RTPBuffer::from_buffer_readable(packet).ok();
            let repair = packet.and_then(|packet| Repair::parse(packet.payload().ok()?));
            let stream = repair.and_then(|repair| {
                let stream = self.streams.get_mut(&repair.ssrc)?;
                stream.window.repair(repair);
                Some(stream)
            });
            (false, stream)
        } else {
            (true, None)
        };
        let restored = stream.into_iter().flat_map(|stream| {
            let restored = std::iter::from_fn(|| stream.window.restored());
            restored.inspect(|_| stream.restored += 1).collect::<Vec<_>>()
        });
        (goes_on, restored.map(|restored| at_times_of(packet, restored)).collect())
    }
}

/// A packet with the times of another.
fn at_times_of(other: &gst::BufferRef, packet: Vec<u8>) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(packet);
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(other.pts());
        buffer.set_dts(other.dts());
    }
    buffer
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORRECTION: Correction = Correction { payload_type: 127, streams: Some([7, 8]) };

    /// A picture of so many packets, and what leaves behind it.
    fn picture(percent: u32, packets: u16) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let mut protection =
            Protection { payload_type: 127, ssrc: 8, percent, sequence: u16::MAX, picture: vec![] };
        let packets: Vec<Vec<u8>> = (0..packets)
            .map(|sequence| {
                let ends = if sequence + 1 == packets { 0x80 } else { 0 };
                let mut packet = vec![0x80, 96 | ends];
                packet.extend(sequence.to_be_bytes());
                packet.extend([0, 0, 0, 5, 0, 0, 0, 7]);
                packet.extend(vec![sequence as u8; 100]);
                packet
            })
            .collect();
        let behind = packets.iter().map(|packet| {
            let header = Header::parse(packet).unwrap();
            protection.take(header, packet)
        });
        let behind: Vec<Vec<Vec<u8>>> = behind.collect();
        (packets, behind.concat())
    }

    #[test]
    fn behind_a_picture_leaves_what_was_asked_for() {
        for (percent, packets, expected) in
            [(1, 1, 1), (20, 1, 1), (20, 5, 1), (20, 6, 2), (100, 6, 6), (50, 218, 110)]
        {
            let (_, behind) = picture(percent, packets);
            assert_eq!(behind.len(), expected, "{percent} % of {packets}");
            let headers: Vec<Header> =
                behind.iter().map(|packet| Header::parse(packet).unwrap()).collect();
            let numbered = (0_u16..).zip(&headers).all(|(number, it)| it.sequence == number);
            assert!(numbered && headers.iter().all(|it| (it.payload_type, it.ssrc) == (127, 8)));
        }
    }

    #[test]
    fn as_many_in_a_row_are_restored_as_leave_behind() {
        let (packets, behind) = picture(25, 20);
        for first in 0..=packets.len() - behind.len() {
            let lost = first..first + behind.len();
            let receiving = Receiving::default();
            receiving.expect(CORRECTION);
            let came = packets.iter().enumerate().filter(|(at, _)| !lost.contains(at));
            let came = came.map(|(_, packet)| packet).chain(&behind);
            let mut restored = Vec::new();
            gst::init().unwrap();
            for packet in came {
                let is_media = packet[1] & 0x7f == 96;
                let buffer = gst::Buffer::from_slice(packet.clone());
                let (goes_on, made) = lock(&receiving.0).take(&buffer);
                assert_eq!(goes_on, is_media);
                restored.extend(made.iter().map(|made| made.map_readable().unwrap().to_vec()));
            }
            restored.sort_by_key(|packet| [packet[2], packet[3]]);
            assert_eq!(restored, packets[lost]);
            assert_eq!((receiving.restored(7), receiving.restored(8)), (Some(5), None));
        }
    }

    #[test]
    fn what_was_restored_does_not_come_twice_unless_it_is_sent_again() {
        gst::init().unwrap();
        let (packets, behind) = picture(20, 5);
        let receiving = Receiving::default();
        receiving.expect(CORRECTION);
        let take = |packet: &Vec<u8>| {
            let (goes_on, restored) =
                lock(&receiving.0).take(&gst::Buffer::from_slice(packet.clone()));
            (goes_on, restored.len())
        };
        packets[1..].iter().for_each(|packet| assert_eq!(take(packet), (true, 0)));
        assert_eq!(take(&behind[0]), (false, 1));
        assert_eq!(take(&packets[0]), (false, 0), "it was only overtaken");
        lock(&receiving.0).again = true;
        assert_eq!(take(&packets[0]), (true, 0), "the jitter buffer counts those");
    }
}
