//! Session descriptions that are good, and those that are not.

use super::*;

const HASH: &str = "AB:CD";

fn sdp(section: &str) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{section}")
}

fn video(attributes: &str) -> String {
    sdp(&format!("m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\n{attributes}"))
}

fn whole() -> String {
    video(&format!(
        "a=mid:video0\r\na=label:front\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=fingerprint:sha-256 {HASH}\r\n"
    ))
}

#[test]
fn sections_tell_mid_and_camera() {
    gst::init().unwrap();
    let description = Description::parse(&whole()).unwrap();
    let section = &description.sections[0];
    assert_eq!((section.kind.as_str(), section.mid.as_str()), ("video", "video0"));
    assert_eq!(section.label.as_ref().unwrap().as_str(), "front");
    assert_eq!(description.fingerprints(), [[Fingerprint::parse("sha-256 AB:CD").unwrap()]]);
    let offered = description.sections.clone();
    assert_eq!(description.answers(&offered), Ok(()));
    assert!(description.answers(&[]).is_err());
    for change in [("mid:video0", "mid:other"), ("m=video", "m=audio")] {
        let other = Description::parse(&whole().replace(change.0, change.1)).unwrap();
        assert_eq!(other.answers(&offered), Err(Refused::OtherSections));
    }
}

#[test]
fn a_section_tells_the_codec_that_it_prefers() {
    gst::init().unwrap();
    let codec = |payloads: &str, maps: &str| {
        let text = whole().replace("SAVPF 96", &format!("SAVPF {payloads}"));
        Description::parse(&(text + maps)).unwrap().sections[0].codec
    };
    let maps = "a=rtpmap:96 h265/90000\r\na=rtpmap:97 rtx/90000\r\na=rtpmap:98 VP8/90000\r\n";
    assert_eq!(codec("96 97 98", maps), Some(Codec::H265));
    assert_eq!(codec("97 98 96", maps), Some(Codec::Vp8));
    assert_eq!(codec("97", maps), None);
    assert_eq!(codec("96", "a=rtpmap:96\r\n"), None);
}

#[test]
fn sections_tell_their_header_extensions() {
    gst::init().unwrap();
    let text = whole()
        + "a=extmap:3 urn:a\r\na=extmap:4/sendrecv urn:b x=1\r\na=extmap:5/inactive urn:c\r\n\
           a=extmap:15 urn:d\r\na=extmap:0 urn:e\r\na=extmap:6\r\na=extmap:x urn:f\r\na=extmap\r\n";
    let section = Description::parse(&text).unwrap().sections.remove(0);
    assert_eq!((section.extension("urn:a"), section.extension("urn:b")), (Some(3), Some(4)));
    assert_eq!(section.extensions.len(), 2, "{section:?}");
}

#[test]
fn answers_take_the_extensions_that_are_read() {
    gst::init().unwrap();
    let answered = |offered: &str, answer: &str| {
        let offer = Description::parse(&(whole() + offered)).unwrap();
        let mut message = SDPMessage::parse_buffer((whole() + answer).as_bytes()).unwrap();
        accept_extensions(&mut message, &offer.sections);
        Description::parse(&message.as_text().unwrap()).unwrap().sections[0].extensions.clone()
    };
    let extmap = |id: u8, uri: &str| format!("a=extmap:{id} {uri}\r\n");
    let offered = extmap(9, STAGES) + &extmap(4, CAPTURE_TIME) + &extmap(5, "urn:other");
    let both =
        [(4, CAPTURE_TIME), (9, STAGES)].map(|(id, uri)| Extension { id, uri: uri.to_owned() });
    assert_eq!(answered(&offered, ""), both);
    assert_eq!(answered(&offered, &extmap(4, CAPTURE_TIME)), both, "what is there stays");
    assert_eq!(answered("", ""), []);
    assert_eq!(answered(&extmap(5, "urn:other"), ""), []);
}

#[test]
fn only_h264_is_given_a_profile() {
    gst::init().unwrap();
    let parameters = "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n";
    let second = "m=video 0 UDP/TLS/RTP/SAVPF 100\r\na=rtpmap:100 VP8/90000\r\n";
    let text = whole() + parameters + second;
    let mut message = SDPMessage::parse_buffer(text.as_bytes()).unwrap();
    let cameras = ["front", "rear"].map(|camera| camera.parse().unwrap());
    label_tracks(&mut message, &cameras);
    let text = message.as_text().unwrap();
    let (first, second) = text.split_once("m=video 0").unwrap();
    let whole = "a=fmtp:96 packetization-mode=1;profile-level-id=42e01f;level-asymmetry-allowed=1";
    assert!(first.contains(whole), "{first}");
    assert!(second.contains("a=label:rear") && !second.contains("fmtp"), "{second}");
}

#[test]
fn a_first_offer_refuses_nothing_and_names_each_section_once() {
    gst::init().unwrap();
    let other = whole().replace("mid:video0", "mid:other");
    let second = other.split_once("t=0 0\r\n").unwrap().1;
    let two = whole().replacen("t=0 0\r\n", "t=0 0\r\na=group:BUNDLE video0 other\r\n", 1) + second;
    let is_offer = |text: &str| Description::parse(text).unwrap().is_offer();
    assert_eq!(is_offer(&two), Ok(()));
    assert_eq!(is_offer(&two.replace("mid:other", "mid:video0")), Err(Refused::NotOffered(1)));
    let refused = two.replacen("m=video 9", "m=video 0", 1);
    assert_eq!(is_offer(&refused), Err(Refused::NotOffered(0)));
    let bad = whole() + "a=candidate:nonsense\r\n";
    assert_eq!(Description::parse(&bad).unwrap_err(), Refused::Candidate);
}

#[test]
fn a_bundle_has_the_transport_of_its_first_section() {
    gst::init().unwrap();
    let host = "a=candidate:1 1 UDP 1 192.0.2.1 1 typ host\r\n";
    let section = |mid: &str| {
        let text = whole().replace("video0", mid).replace("ufrag:u", &format!("ufrag:u{mid}"));
        text.split_once("t=0 0\r\n").unwrap().1.to_owned() + host
    };
    let text = |group: &str| sdp(&format!("{group}{}{}", section("a"), section("b")));
    let mut offer = Description::parse(&text("a=group:BUNDLE b a\r\n")).unwrap();
    offer.share_transport();
    let written = offer.message.as_text().unwrap();
    assert_eq!((written.matches("ufrag:ub").count(), written.matches("ufrag:ua").count()), (2, 0));
    assert_eq!((written.matches("ice-pwd:p").count(), written.matches("typ host").count()), (2, 1));
    let mut alone = Description::parse(&whole()).unwrap();
    alone.share_transport();
    assert_eq!(alone.message.as_text().unwrap(), whole());
}

#[test]
fn an_answer_names_its_cameras_and_promises_no_feedback_that_nobody_reads() {
    gst::init().unwrap();
    let feedback = "a=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 transport-cc\r\n\
                    a=rtcp-fb:96 goog-remb\r\n";
    let text = whole().replace("a=label:front\r\n", "") + feedback;
    let mut message = SDPMessage::parse_buffer(text.as_bytes()).unwrap();
    finish_answer(&mut message, &[(0, "rear".parse().unwrap())]);
    let text = message.as_text().unwrap();
    assert!(text.contains("a=label:rear") && text.contains("nack pli"), "{text}");
    assert!(!text.contains("transport-cc") && !text.contains("goog-remb"), "{text}");
}

#[test]
fn sections_tell_whether_they_receive() {
    gst::init().unwrap();
    let receives = |text: &str| Description::parse(text).unwrap().sections[0].receives;
    for (direction, wanted) in [
        ("", true),
        ("sendrecv", true),
        ("recvonly", true),
        ("sendonly", false),
        ("inactive", false),
    ] {
        let line = if direction.is_empty() { String::new() } else { format!("a={direction}\r\n") };
        assert_eq!(receives(&(whole() + &line)), wanted, "{direction}");
        let session = whole().replacen("t=0 0\r\n", &format!("t=0 0\r\n{line}"), 1);
        assert_eq!(receives(&session), wanted, "{direction} of the session");
    }
    let both = whole().replacen("t=0 0\r\n", "t=0 0\r\na=inactive\r\n", 1) + "a=recvonly\r\n";
    assert!(receives(&both), "the section's own word counts");
}

#[test]
fn sections_must_share_one_connection() {
    gst::init().unwrap();
    let second = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:data\r\n\
                  a=ice-ufrag:u\r\na=ice-pwd:p\r\na=fingerprint:sha-256 AB:CD\r\n";
    let two = whole() + second;
    assert_eq!(Description::parse(&two).unwrap_err(), Refused::NotBundled(0));
    let group =
        |mids: &str| two.replacen("t=0 0\r\n", &format!("t=0 0\r\na=group:BUNDLE {mids}\r\n"), 1);
    assert_eq!(Description::parse(&group("video0")).unwrap_err(), Refused::NotBundled(1));
    assert!(Description::parse(&group("video0 data")).is_ok());
}

#[test]
fn a_sections_own_fingerprint_replaces_that_of_the_session() {
    gst::init().unwrap();
    let both = whole().replacen("t=0 0\r\n", "t=0 0\r\na=fingerprint:sha-256 EE:FF\r\n", 1);
    let own = [[Fingerprint::parse("sha-256 AB:CD").unwrap()]];
    assert_eq!(Description::parse(&both).unwrap().fingerprints(), own);
}

#[test]
fn what_webrtcbin_could_choke_on_is_refused() {
    gst::init().unwrap();
    for attribute in ["mid", "ice-ufrag", "ice-pwd", "fingerprint"] {
        let broken: String = whole()
            .split_inclusive("\r\n")
            .filter(|line| !line.starts_with(&format!("a={attribute}")))
            .collect();
        let missing = Refused::Missing { section: 0, attribute };
        assert_eq!(Description::parse(&broken).unwrap_err(), missing);
    }
    assert_eq!(Description::parse(&sdp("")).unwrap_err(), Refused::Sections(0));
    for text in ["", "hello", "v=0\0", "m=video"] {
        assert_eq!(Description::parse(text).unwrap_err(), Refused::Unparsable, "{text:?}");
    }
    let weak = whole().replace("sha-256", "sha-1");
    assert!(Description::parse(&weak).is_err());
}

#[test]
fn candidates_are_checked() {
    let good = "candidate:1 1 UDP 2015363327 192.0.2.1 46304 typ host";
    assert_eq!(check_candidate(good), Ok(()));
    assert_eq!(check_candidate(&format!("a={good}")), Ok(()));
    for bad in ["", "candidate:1", "x 1 UDP 1 192.0.2.1 1 typ host", &good.replace("46304", "x")] {
        assert_eq!(check_candidate(bad), Err(Refused::Candidate), "{bad}");
    }
}
