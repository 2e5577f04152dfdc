//! Whether the STUN and TURN servers that the broker names are there.

use std::net::SocketAddr;
use std::time::Duration;

use rovercast_protocol::signaling::IceServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

use super::stun::{Answer, Question};
use crate::tools::address::host_and_port;
use crate::tools::finding::{Finding, Severity};

/// A request by UDP is sent so often, with this pause.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(700);

/// The longest that a connection by TCP may take, and an answer over it.
const TCP: Duration = Duration::from_secs(4);

/// A server as its URL names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    url: String,
    turn: bool,
    tcp: bool,
    host: String,
    port: u16,
}

impl Server {
    /// The error is why webrtcbin cannot use it.
    fn parse(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once(':').ok_or("it is no URL of a server")?;
        let turn = match scheme {
            "stun" => false,
            "turn" => true,
            "stuns" | "turns" => return Err("connections by TLS are not supported"),
            _ => return Err("only stun: and turn: can be used"),
        };
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, port) = host_and_port(address, 3478).ok_or("its address is wrong")?;
        let tcp = query == "transport=tcp";
        Ok(Self { url: url.to_owned(), turn, tcp, host, port })
    }

    /// Asks it. The error says what went wrong.
    async fn ask(&self) -> Result<Answer, String> {
        let question = if self.turn { Question::Allocate } else { Question::Binding };
        let found = lookup_host((self.host.as_str(), self.port)).await;
        let mut addresses =
            found.map_err(|error| format!("{} is not found: {error}", self.host))?;
        let address = addresses.next().ok_or_else(|| format!("{} has no address", self.host))?;
        if self.tcp {
            ask_by_tcp(question, address).await
        } else {
            ask_by_udp(question, address).await
        }
    }
}

/// Asks every server. None of them gets to know a password.
pub async fn look(servers: &[IceServer]) -> Vec<Finding> {
    let mut asked = Vec::new();
    for server in servers {
        for url in &server.urls {
            let known = server.username.is_some() && server.credential.is_some();
            let url = url.clone();
            asked.push(tokio::spawn(async move { look_at(&url, known).await }));
        }
    }
    if asked.is_empty() {
        let text = "the broker names no STUN or TURN server: viewers must be in the same network";
        return vec![Finding::ok("ice", text)];
    }
    let mut seen = Vec::new();
    for one in asked {
        seen.extend(one.await);
    }
    judged(seen)
}

/// What became of one server.
#[derive(Debug, Clone)]
struct Seen {
    turn: bool,
    tcp: bool,
    works: bool,
    /// Whether it was asked at all.
    asked: bool,
    finding: Finding,
}

async fn look_at(url: &str, credentials: bool) -> Seen {
    let server = match Server::parse(url) {
        Ok(server) => server,
        Err(reason) => {
            let remedy = "take it out of the broker's ice_servers, or name it by turn: or stun:";
            let finding = Finding::warn("ice", format!("{url} is not used: {reason}"), remedy);
            return Seen { turn: false, tcp: false, works: false, asked: false, finding };
        }
    };
    let (turn, tcp) = (server.turn, server.tcp);
    let seen = |works, finding| Seen { turn, tcp, works, asked: true, finding };
    match server.ask().await {
        Ok(Answer::Success(_)) if server.turn => {
            let text = format!("{url} relays for everybody");
            seen(true, Finding::warn("ice", text, "make it ask for credentials"))
        }
        Ok(Answer::Refused(401)) if server.turn && !credentials => {
            let text = format!("{url} is not used: the broker gives no user and credential for it");
            let remedy = "add username and credential to the broker's ice_servers";
            seen(false, Finding::warn("ice", text, remedy))
        }
        Ok(Answer::Refused(401)) if server.turn => {
            let text = format!("{url} answers, as a TURN server that asks for credentials");
            seen(true, Finding::ok("ice", text))
        }
        Ok(Answer::Success(Some(address))) => {
            seen(true, Finding::ok("ice", format!("{url} sees this computer as {address}")))
        }
        Ok(Answer::Success(None)) => seen(true, Finding::ok("ice", format!("{url} answers"))),
        Ok(Answer::Refused(code)) => {
            let text = format!("{url} refuses, with code {code}");
            seen(false, Finding::warn("ice", text, "look into the server's log"))
        }
        Err(reason) => {
            let text = format!("{url} does not answer: {reason}");
            let remedy = "start it, correct its address in the broker's ice_servers, or open the \
                          port in the firewalls on the way";
            seen(false, Finding::warn("ice", text, remedy))
        }
    }
}

/// What all of them together mean. Pure.
fn judged(seen: Vec<Seen>) -> Vec<Finding> {
    let any = |of: &dyn Fn(&Seen) -> bool| seen.iter().any(of);
    let relayed = any(&|one| one.turn && one.works);
    let (udp_asked, udp_works) =
        (any(&|one| one.asked && !one.tcp), any(&|one| !one.tcp && one.works));
    let tcp_works = any(&|one| one.tcp && one.works);
    let mut findings: Vec<_> = seen
        .into_iter()
        .map(|one| {
            // A relay is there because somebody needs it.
            let severity = match one.finding.severity {
                Severity::Warn if one.turn && !relayed => Severity::Fail,
                severity => severity,
            };
            Finding { severity, ..one.finding }
        })
        .collect();
    if udp_works {
        findings.push(Finding::ok("udp", "UDP gets out and back"));
    } else if udp_asked && tcp_works {
        let text = "no server answers by UDP, and one does by TCP: UDP seems to be blocked";
        let remedy = "open UDP in the firewalls on the way; over TCP pictures come late";
        findings.push(Finding::warn("udp", text, remedy));
    }
    findings
}

async fn ask_by_udp(question: Question, address: SocketAddr) -> Result<Answer, String> {
    let any: SocketAddr = if address.is_ipv4() {
        (std::net::Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let told = |error: std::io::Error| error.to_string();
    let socket = UdpSocket::bind(any).await.map_err(told)?;
    socket.connect(address).await.map_err(told)?;
    let id = rand::random();
    let mut buffer = [0; 1500];
    for _ in 0..TRIES {
        // A port that is closed shows as an error of whatever comes next.
        socket.send(&question.message(id)).await.map_err(told)?;
        let answered = async {
            loop {
                let length = socket.recv(&mut buffer).await?;
                if let Some(answer) = question.answer(id, &buffer[..length]) {
                    return Ok(answer);
                }
            }
        };
        match timeout(PAUSE, answered).await {
            Ok(answer) => return answer.map_err(told),
            Err(_) => continue,
        }
    }
    Err(format!("nothing came back by UDP within {:?}", TRIES * PAUSE))
}

async fn ask_by_tcp(question: Question, address: SocketAddr) -> Result<Answer, String> {
    let answered = async {
        let mut stream = TcpStream::connect(address).await?;
        let id = rand::random();
        stream.write_all(&question.message(id)).await?;
        let mut message = Vec::new();
        while message.len() < 1500 && stream.read_buf(&mut message).await? > 0 {
            if let Some(answer) = question.answer(id, &message) {
                return Ok(answer);
            }
        }
        Err(std::io::Error::other("what it says is no answer"))
    };
    match timeout(TCP, answered).await {
        Ok(answer) => answer.map_err(|error: std::io::Error| error.to_string()),
        Err(_) => Err(format!("nothing came back by TCP within {TCP:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_servers_are_read() {
        let turn = Server::parse("turn:t.example?transport=tcp").unwrap();
        assert_eq!(
            (turn.turn, turn.tcp, turn.host.as_str(), turn.port),
            (true, true, "t.example", 3478)
        );
        let stun = Server::parse("stun:[2001:db8::1]:19302").unwrap();
        assert_eq!((stun.turn, stun.host.as_str(), stun.port), (false, "2001:db8::1", 19302));
        for wrong in ["turns:t.example", "http://x", "stun:", "nonsense"] {
            assert!(Server::parse(wrong).is_err(), "{wrong}");
        }
    }

    fn seen(turn: bool, tcp: bool, works: bool) -> Seen {
        let finding =
            if works { Finding::ok("ice", "") } else { Finding::warn("ice", "", "remedy") };
        Seen { turn, tcp, works, asked: true, finding }
    }

    fn severities(seen: &[Seen]) -> Vec<(&'static str, Severity)> {
        judged(seen.to_vec()).iter().map(|finding| (finding.check, finding.severity)).collect()
    }

    #[test]
    fn a_relay_that_is_away_matters_unless_there_is_another() {
        use Severity::{Fail, Ok, Warn};
        let (away, there) = (seen(true, false, false), seen(true, true, true));
        assert_eq!(severities(std::slice::from_ref(&away)), [("ice", Fail)]);
        assert_eq!(severities(&[away, there]), [("ice", Warn), ("ice", Ok), ("udp", Warn)]);
        assert_eq!(severities(&[seen(false, false, false)]), [("ice", Warn)]);
        assert_eq!(severities(&[seen(false, false, true)]), [("ice", Ok), ("udp", Ok)]);
    }
}
