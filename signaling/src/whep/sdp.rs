//! What the broker reads in a player's SDP, and what it writes into a robot's. Pure. Whether an offer
//! makes sense is for the robot to say: here only what could not be relayed, or be trickled to, is
//! refused.

use rovercast_protocol::signaling::Candidate;

/// More media sections than any robot answers.
const MAX_SECTIONS: usize = 65;

/// What stands in a player's offer that later requests refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The name (`a=mid`) of each media section; empty where it has none.
    pub mids: Vec<String>,
    /// The ICE user names that it gives: one, or one for each section.
    pub ufrags: Vec<String>,
}

impl Offer {
    /// Looks an offer over. The error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.starts_with("v=0") {
            return Err("the body is no SDP: it begins with `v=0`");
        }
        if text.contains(|c: char| c.is_control() && !matches!(c, '\r' | '\n' | '\t')) {
            return Err("the SDP holds control characters");
        }
        let mut mids: Vec<String> = Vec::new();
        let (mut ufrags, mut has_video) = (Vec::new(), false);
        for line in lines(text) {
            if let Some(media) = line.strip_prefix("m=") {
                has_video |= media.starts_with("video ");
                mids.push(String::new());
            } else if let Some(name) = line.strip_prefix("a=mid:") {
                let section = mids.last_mut().ok_or("an a=mid of the SDP is in no section")?;
                name.trim().clone_into(section);
            } else if let Some(ufrag) = line.strip_prefix("a=ice-ufrag:") {
                ufrags.push(ufrag.trim().to_owned());
            }
        }
        if !has_video {
            return Err("the SDP offers no video section: a robot sends nothing else");
        }
        if mids.len() > MAX_SECTIONS {
            return Err("the SDP has more media sections than any robot has cameras");
        }
        Ok(Self { mids, ufrags })
    }

    /// The number of the section with this name.
    pub(crate) fn section(&self, mid: &str) -> Option<u32> {
        let index = self.mids.iter().position(|name| !name.is_empty() && name == mid)?;
        u32::try_from(index).ok()
    }
}

/// An answer with these candidates in it, for players that hear of no later ones. Those for a section
/// that is refused stand in the first that is not, which has the same transport. `complete`: there will
/// be no more.
pub(crate) fn with_candidates(answer: &str, candidates: &[Candidate], complete: bool) -> String {
    let refused: Vec<bool> = lines(answer)
        .filter_map(|line| line.strip_prefix("m="))
        .map(|media| media.split(' ').nth(1) == Some("0"))
        .collect();
    let first_used = refused.iter().position(|refused| !refused);
    let section_of = |candidate: &Candidate| {
        let section = usize::try_from(candidate.sdp_m_line_index).ok()?;
        if refused.get(section) == Some(&false) { Some(section) } else { first_used }
    };
    let mut written = String::with_capacity(answer.len() + 128 * candidates.len());
    let end_section = |written: &mut String, section: Option<usize>| {
        let Some(section) = section else { return };
        for candidate in candidates.iter().filter(|one| section_of(one) == Some(section)) {
            if let Some(attribute) = attribute_of(candidate) {
                written.push_str(&format!("a={attribute}\r\n"));
            }
        }
        if complete && first_used == Some(section) {
            written.push_str("a=end-of-candidates\r\n");
        }
    };
    let mut section = None;
    for line in lines(answer) {
        if line.starts_with("m=") {
            end_section(&mut written, section);
            section = Some(section.map_or(0, |section| section + 1));
        }
        written.push_str(line);
        written.push_str("\r\n");
    }
    end_section(&mut written, section);
    written
}

/// A candidate as an attribute; none where it could say more than that.
fn attribute_of(candidate: &Candidate) -> Option<&str> {
    let text = candidate.candidate.trim();
    let text = text.strip_prefix("a=").unwrap_or(text);
    (text.starts_with("candidate:") && !text.contains(char::is_control)).then_some(text)
}

/// The lines of an SDP, however they end.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\r', '\n']).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
        a=group:BUNDLE a v\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a\r\na=ice-ufrag:uf\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\na=ice-ufrag:uf\r\n";

    fn candidate(text: &str, section: u32) -> Candidate {
        Candidate { candidate: text.to_owned(), sdp_m_line_index: section }
    }

    #[test]
    fn sections_are_found_by_their_names() {
        for text in [OFFER.to_owned(), OFFER.replace("\r\n", "\n")] {
            let offer = Offer::parse(&text).unwrap();
            assert_eq!((offer.section("a"), offer.section("v")), (Some(0), Some(1)));
            assert_eq!((offer.section("x"), offer.section("")), (None, None));
            assert_eq!(offer.ufrags, ["uf", "uf"]);
        }
        let nameless = OFFER.replace("a=mid:a\r\n", "");
        assert_eq!(Offer::parse(&nameless).unwrap().section(""), None);
    }

    #[test]
    fn what_cannot_be_an_offer_is_refused() {
        let no_video = OFFER.replace("m=video", "m=audio");
        let many = OFFER.to_owned() + &"m=video 9 x 1\r\n".repeat(MAX_SECTIONS);
        let outside = OFFER.replacen("a=group", "a=mid:x\r\na=group", 1);
        for (bad, why) in [
            ("", "v=0"),
            ("{\"type\":\"offer\"}", "v=0"),
            ("v=0\0", "control"),
            ("v=0\r\n", "no video"),
            (no_video.as_str(), "no video"),
            (many.as_str(), "sections"),
            (outside.as_str(), "in no section"),
        ] {
            let said = Offer::parse(bad).unwrap_err();
            assert!(said.contains(why), "{bad:?}: {said}");
        }
    }

    #[test]
    fn candidates_stand_in_their_sections() {
        let first = "candidate:1 1 UDP 1 192.0.2.1 1000 typ host";
        let second = "a=candidate:2 1 UDP 1 192.0.2.1 2000 typ host";
        let merged = with_candidates(OFFER, &[candidate(first, 0), candidate(second, 1)], true);
        let expected = OFFER
            .replace("\r\nm=video", &format!("\r\na={first}\r\na=end-of-candidates\r\nm=video"))
            + &format!("{second}\r\n");
        assert_eq!(merged, expected);
        assert_eq!(with_candidates(OFFER, &[], false), OFFER);
        assert_eq!(with_candidates(&OFFER.replace("\r\n", "\n"), &[], false), OFFER);
    }

    #[test]
    fn candidates_of_refused_sections_stand_in_the_first_that_is_used() {
        let answer = OFFER.replace("m=audio 9", "m=audio 0");
        let text = "candidate:1 1 UDP 1 192.0.2.1 1000 typ host";
        for section in [0, 1, 7] {
            let merged = with_candidates(&answer, &[candidate(text, section)], true);
            assert_eq!(merged, format!("{answer}a={text}\r\na=end-of-candidates\r\n"));
        }
        let all_refused = answer.replace("m=video 9", "m=video 0");
        assert_eq!(with_candidates(&all_refused, &[candidate(text, 1)], true), all_refused);
    }

    #[test]
    fn a_candidate_cannot_say_anything_else() {
        for bad in ["", "x", "candidate:1\r\na=setup:passive", "candidate:1\0"] {
            assert_eq!(with_candidates(OFFER, &[candidate(bad, 1)], false), OFFER, "{bad:?}");
        }
    }
}
