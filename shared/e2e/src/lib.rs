//! What tests and benches across the programs share: real processes on free ports, receivers that
//! look at the pictures, and figures of processes.

pub mod figures;
pub mod lab;
pub mod watcher;
