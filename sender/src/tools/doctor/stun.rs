//! As much of STUN (RFC 8489) and TURN (RFC 8656) as it takes to see whether a server is there.
//! Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Makes a request one's own.
pub type TransactionId = [u8; 12];

/// What is asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// As what address one is seen: STUN servers answer.
    Binding,
    /// A relay for UDP: TURN servers refuse it to strangers.
    Allocate,
}

/// What a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It does as asked; as what address it sees who asks.
    Success(Option<SocketAddr>),
    /// It refuses, with this code.
    Refused(u16),
}

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const HEADER: usize = 20;

const ERROR_CODE: u16 = 0x0009;
const REQUESTED_TRANSPORT: u16 = 0x0019;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

/// The number of UDP among the protocols.
const UDP: u8 = 17;

impl Question {
    fn method(self) -> u16 {
        match self {
            Self::Binding => 0x0001,
            Self::Allocate => 0x0003,
        }
    }

    /// The request.
    pub fn message(self, id: TransactionId) -> Vec<u8> {
        let mut attributes = Vec::new();
        if self == Self::Allocate {
            attributes.extend(REQUESTED_TRANSPORT.to_be_bytes());
            attributes.extend([0, 4, UDP, 0, 0, 0]);
        }
        let mut message = self.method().to_be_bytes().to_vec();
        message.extend((attributes.len() as u16).to_be_bytes());
        message.extend(COOKIE);
        message.extend(id);
        message.extend(attributes);
        message
    }

    /// The answer in a message; none if it is no answer to this request.
    pub fn answer(self, id: TransactionId, message: &[u8]) -> Option<Answer> {
        let (header, rest) = message.split_at_checked(HEADER)?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        if header[4..8] != COOKIE || header[8..] != id {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let attributes = rest.get(..length)?;
        match kind.checked_sub(self.method())? {
            0x0100 => {
                let mapped = attribute(attributes, XOR_MAPPED_ADDRESS);
                Some(Answer::Success(mapped.and_then(|value| address(value, id))))
            }
            0x0110 => {
                let code = attribute(attributes, ERROR_CODE)?;
                let (class, number) = (*code.get(2)? & 0x07, *code.get(3)?);
                Some(Answer::Refused(u16::from(class) * 100 + u16::from(number)))
            }
            _ => None,
        }
    }
}

/// The value of the first attribute of this type.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (head, rest) = attributes.split_at_checked(4)?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(..length)?;
        if u16::from_be_bytes([head[0], head[1]]) == wanted {
            return Some(value);
        }
        // Values are padded to four bytes.
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
}

/// An address that is hidden from routers which would translate it.
fn address(value: &[u8], id: TransactionId) -> Option<SocketAddr> {
    let (head, bytes) = value.split_at_checked(4)?;
    let port = u16::from_be_bytes([head[2] ^ COOKIE[0], head[3] ^ COOKIE[1]]);
    let mask = COOKIE.iter().chain(&id);
    let plain: Vec<u8> = bytes.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    let ip: IpAddr = match head[1] {
        1 => Ipv4Addr::from(<[u8; 4]>::try_from(plain).ok()?).into(),
        2 => Ipv6Addr::from(<[u8; 16]>::try_from(plain).ok()?).into(),
        _ => return None,
    };
    Some((ip, port).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TransactionId =
        [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

    /// The IPv4 response of RFC 5769, section 2.2.
    const RESPONSE: &[u8] = b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\
        \xfa\x87\xdf\xae\x80\x22\x00\x0b\x74\x65\x73\x74\x20\x76\x65\x63\x74\x6f\x72\x20\
        \x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\x00\x08\x00\x14\x2b\x91\xf5\x99\
        \xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\x80\x28\x00\x04\
        \xc0\x7d\x4c\x96";

    #[test]
    fn the_rfcs_own_response_is_understood() {
        let seen = "192.0.2.1:32853".parse().unwrap();
        assert_eq!(Question::Binding.answer(ID, RESPONSE), Some(Answer::Success(Some(seen))));
        assert_eq!(Question::Allocate.answer(ID, RESPONSE), None, "another method");
        assert_eq!(Question::Binding.answer([0; 12], RESPONSE), None, "another request");
    }

    #[test]
    fn requests_are_as_long_as_they_say() {
        let binding = Question::Binding.message(ID);
        assert_eq!((binding.len(), &binding[..4]), (20, &[0, 1, 0, 0][..]));
        let allocate = Question::Allocate.message(ID);
        assert_eq!(allocate[..4], [0, 3, 0, 8]);
        assert_eq!(allocate[20..], [0, 0x19, 0, 4, 17, 0, 0, 0]);
    }

    #[test]
    fn refusals_are_told() {
        let mut message = vec![0x01, 0x13, 0, 8];
        message.extend(COOKIE);
        message.extend(ID);
        message.extend([0, 9, 0, 4, 0, 0, 4, 1]);
        assert_eq!(Question::Allocate.answer(ID, &message), Some(Answer::Refused(401)));
    }

    #[test]
    fn no_nonsense_is_an_answer() {
        for end in 0..RESPONSE.len() {
            assert_eq!(Question::Binding.answer(ID, &RESPONSE[..end]), None, "{end}");
        }
        let mut wrong = RESPONSE.to_vec();
        for at in 20..wrong.len() {
            wrong[at] = 0xff;
            let _ = Question::Binding.answer(ID, &wrong);
        }
    }
}
