//! The broker over real WebSockets: every test starts one of its own on a free port.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod attack;
mod attack_floods;
mod attack_frames;
mod attack_whep;
mod client;
mod expiry;
mod frames;
mod front;
mod guarded;
mod http;
mod lifetime;
mod limits;
mod memory;
mod pages;
mod sessions;
mod stalled;
mod stop;
mod whep;
