//! One end of a session, for sender and receiver alike: the link to the broker and the WebRTC
//! connection. It does the IO and decides nothing.

pub mod addresses;
pub mod arrival;
pub mod channel;
pub mod connection;
mod fec;
pub mod fingerprint;
pub mod ice;
pub mod link;
pub mod negotiation;
pub mod payloads;
mod reports;
mod resend;
mod retry;
pub mod start;
mod webrtcbin;
