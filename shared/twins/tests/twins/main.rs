//! Tests of the twins, each in a child process in which the twins that it needs exist.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;
mod encoding;
mod faces;
mod failures;
mod refusals;
