//! What tests and benches across the programs share: real processes on free ports, receivers that
//! look at the pictures, encoders that are measured, and figures of processes.

pub mod browser;
pub mod control;
pub mod coturn;
pub mod detour;
pub mod encode;
pub mod figures;
pub mod grid;
pub mod lab;
pub mod lossy;
pub mod net;
pub mod pictures;
pub mod quality;
pub mod scrape;
pub mod shown;
pub mod source;
pub mod vivid;
pub mod watcher;
pub mod ways;
pub mod wire;
