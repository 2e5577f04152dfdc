//! Trickled candidates as WHEP players send them: an `application/trickle-ice-sdpfrag` (RFC 8840).
//! Pure.

use rovercast_protocol::signaling::Candidate;

use super::sdp::{Offer, lines};

/// Candidates that one request may carry.
const MAX_CANDIDATES: usize = 64;

/// The longest candidate, in bytes.
const MAX_CANDIDATE_BYTES: usize = 1024;

/// Why a fragment is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// It cannot be read.
    #[error("the body is no trickle-ice-sdpfrag (RFC 8840): {0}")]
    Malformed(&'static str),
    /// It is of another ICE generation than the session.
    #[error(
        "the fragment's a=ice-ufrag is not that of the offer: ICE restarts are not possible, ask for \
         a new session"
    )]
    Restart,
}

/// The candidates in a fragment, for a session that began with this offer. An empty one says that
/// there are no more.
pub(crate) fn candidates(text: &str, offer: &Offer) -> Result<Vec<Candidate>, Unfit> {
    if text.contains('\0') {
        return Err(Unfit::Malformed("it holds a NUL"));
    }
    let mut found: Vec<Candidate> = Vec::new();
    // The section that the lines belong to. What stands before all sections is about their transport,
    // which is that of the first.
    let mut section = Some(0);
    let mut over = false;
    for line in lines(text) {
        if line.starts_with("m=") {
            section = None;
        } else if let Some(mid) = line.strip_prefix("a=mid:") {
            let named = offer.section(mid.trim());
            section = Some(named.ok_or(Unfit::Malformed("the offer has no such a=mid"))?);
        } else if let Some(ufrag) = line.strip_prefix("a=ice-ufrag:") {
            if !offer.ufrags.iter().any(|known| known == ufrag.trim()) {
                return Err(Unfit::Restart);
            }
        } else if line.starts_with("a=candidate:") {
            let index = section.ok_or(Unfit::Malformed("a candidate comes before its a=mid"))?;
            let candidate = line.trim_start_matches("a=");
            if candidate.len() > MAX_CANDIDATE_BYTES {
                return Err(Unfit::Malformed("a candidate is longer than 1024 bytes"));
            }
            if found.len() == MAX_CANDIDATES {
                return Err(Unfit::Malformed("it has more than 64 candidates"));
            }
            found.push(Candidate { candidate: candidate.to_owned(), sdp_m_line_index: index });
        } else if line.trim() == "a=end-of-candidates" {
            over = true;
        } else if !is_line(line) {
            return Err(Unfit::Malformed("a line does not begin with a letter and `=`"));
        }
    }
    if over {
        found.push(Candidate { candidate: String::new(), sdp_m_line_index: 0 });
    }
    Ok(found)
}

fn is_line(line: &str) -> bool {
    let bytes = line.as_bytes();
    bytes.len() >= 2 && bytes[0].is_ascii_lowercase() && bytes[1] == b'='
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Offer {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Offer { mids: names(&["0", "1"]), ufrags: names(&["EsAw"]) }
    }

    fn read(text: &str) -> Result<Vec<(String, u32)>, Unfit> {
        let found = candidates(text, &offer())?;
        Ok(found.into_iter().map(|one| (one.candidate, one.sdp_m_line_index)).collect())
    }

    const HOST: &str =
        "candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0";

    /// After the example of RFC 9725, section 4.3.
    #[test]
    fn candidates_go_to_the_sections_that_are_named() {
        let text = format!(
            "a=group:BUNDLE 0 1\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na={HOST}\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:1\r\na={HOST}\r\na=end-of-candidates\r\n"
        );
        let found = [(HOST.to_owned(), 0), (HOST.to_owned(), 1), (String::new(), 0)];
        assert_eq!(read(&text).unwrap(), found);
        assert_eq!(read(&text.replace("\r\n", "\n")).unwrap(), found);
        let bare = format!("a=ice-ufrag:EsAw\r\na={HOST}\r\n");
        assert_eq!(read(&bare).unwrap(), found[..1]);
        assert_eq!(read("").unwrap(), []);
        assert_eq!(read("a=end-of-candidates\r\n").unwrap(), found[2..]);
    }

    #[test]
    fn another_generation_is_a_restart() {
        assert_eq!(read("a=ice-ufrag:other\r\na=ice-pwd:x\r\n"), Err(Unfit::Restart));
    }

    #[test]
    fn nonsense_is_refused() {
        let many = format!("a={HOST}\r\n").repeat(MAX_CANDIDATES + 1);
        let long = format!("a=candidate:{}\r\n", "x".repeat(MAX_CANDIDATE_BYTES));
        let unnamed = format!("m=video 9 x 0\r\na={HOST}\r\n");
        for bad in [
            "hello",
            "{}",
            "a=mid:7\r\n",
            "a=mid:\r\n",
            "a=ice-ufrag:EsAw\0",
            &many,
            &long,
            &unnamed,
        ] {
            assert!(matches!(read(bad), Err(Unfit::Malformed(_))), "{bad:.60?}");
        }
    }
}
