//! What restores whose packets, as offer and answer agree on it.

use gst_sdp::SDPMessageRef;

use super::{Correction, Fec, OVERHEAD, Sending, sdp};
use crate::negotiation::Section;

/// One end's part of it.
#[derive(Debug, Clone)]
pub(crate) struct Agreement {
    fec: Fec,
    /// The SSRCs of the tracks that are sent, with the section of each that has a place.
    tracks: Vec<(Option<usize>, u32)>,
}

impl Agreement {
    /// An end that sends so many packets that restore others behind a hundred; with 0 none.
    pub(crate) fn new(percent: u32) -> Self {
        let sending = Sending { percent, ..Sending::default() };
        Self { fec: Fec { sending, ..Fec::default() }, tracks: Vec::new() }
    }

    /// What does it.
    pub(crate) fn fec(&self) -> &Fec {
        &self.fec
    }

    /// A track is sent.
    pub(crate) fn add_track(&mut self, section: Option<usize>, ssrc: u32) {
        if self.fec.sending.percent > 0 {
            self.tracks.push((section, ssrc));
        }
    }

    /// By how many bytes packets that restore are longer than the longest of the others.
    pub(crate) fn overhead(&self) -> u32 {
        if self.fec.sending.percent > 0 { OVERHEAD } else { 0 }
    }

    /// Writes into our offer what may restore the packets of each track.
    pub(crate) fn offer(&self, offer: &mut SDPMessageRef) {
        let Some(payload_type) = sdp::free_payload_type(offer) else { return };
        let video = offer.medias_mut().filter(|media| media.media() == Some("video"));
        for (media, (_, ssrc)) in video.zip(&self.tracks) {
            sdp::write(media, restoring(*ssrc, payload_type));
        }
    }

    /// Our offer is answered: from now on that is sent which the answer takes.
    pub(crate) fn answered(&self, offered: &[Section], answer: &[Section]) {
        for (offered, answer) in offered.iter().zip(answer) {
            let taken = answer.correction.map(|correction| correction.payload_type);
            if let Some(offered) = offered.correction.filter(|it| Some(it.payload_type) == taken) {
                self.fec.sending.protect(offered);
            }
        }
    }

    /// Restores from now on what an offer protects, and writes into our answer that it may: webrtcbin does
    /// not know how.
    pub(crate) fn accept(&self, answer: &mut SDPMessageRef, offered: &[Section]) {
        for (media, offered) in answer.medias_mut().zip(offered) {
            if let Some(offered) = offered.correction.filter(|_| media.port() != 0) {
                self.fec.receiving.expect(offered);
                sdp::write(media, Correction { streams: None, ..offered });
            }
        }
    }

    /// Sends from now on what an offer takes, and writes into our answer what that is.
    pub(crate) fn grant(&self, answer: &mut SDPMessageRef, offered: &[Section]) {
        for (section, ssrc) in &self.tracks {
            let wanted = section.and_then(|at| Some((at, offered.get(at)?.correction?)));
            let Some((at, Correction { payload_type, .. })) = wanted else { continue };
            if let Some(media) = answer.media_mut(at as u32) {
                let restoring = restoring(*ssrc, payload_type);
                sdp::write(media, restoring);
                self.fec.sending.protect(restoring);
            }
        }
    }
}

fn restoring(ssrc: u32, payload_type: u8) -> Correction {
    Correction { payload_type, streams: Some([ssrc, rand::random()]) }
}

#[cfg(test)]
mod tests {
    use gst_sdp::SDPMessage;

    use super::*;
    use crate::negotiation::Description;

    const SECTION: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:video0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n\
        a=fingerprint:sha-256 AB:CD\r\na=rtpmap:96 H264/90000\r\n";

    /// An end that sends the track 7 in the first section.
    fn robot(percent: u32) -> Agreement {
        let mut robot = Agreement::new(percent);
        robot.add_track(Some(0), 7);
        robot
    }

    fn sections(message: &SDPMessage) -> Vec<Section> {
        Description::parse(&message.as_text().unwrap()).unwrap().sections
    }

    fn message() -> SDPMessage {
        gst::init().unwrap();
        SDPMessage::parse_buffer(SECTION.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_offered_is_sent_if_the_answer_takes_it() {
        for (percent, takes, sent) in [(0, true, false), (20, false, false), (20, true, true)] {
            let (robot, viewer) = (robot(percent), Agreement::new(0));
            let (mut offer, mut answer) = (message(), message());
            robot.offer(&mut offer);
            if takes {
                viewer.accept(&mut answer, &sections(&offer));
            }
            robot.answered(&sections(&offer), &sections(&answer));
            assert_eq!(robot.fec.sending.protects(7), sent, "{percent} % {takes}");
            assert_eq!(viewer.fec.receiving.restored(7).is_some(), sent, "{percent} % {takes}");
        }
    }

    #[test]
    fn what_an_offer_takes_is_sent_by_its_number() {
        for (percent, takes, sent) in [(0, true, false), (20, false, false), (20, true, true)] {
            let (robot, mut offer, mut answer) = (robot(percent), message(), message());
            if takes {
                let correction = Correction { payload_type: 49, streams: None };
                sdp::write(offer.media_mut(0).unwrap(), correction);
            }
            robot.grant(&mut answer, &sections(&offer));
            assert_eq!(robot.fec.sending.protects(7), sent, "{percent} % {takes}");
            let said = sections(&answer)[0].correction;
            assert_eq!(said.map(|said| said.payload_type), sent.then_some(49));
        }
    }
}
