//! Figures of a running program, for Prometheus and whatever else reads OpenMetrics: how they are
//! written, and the small server that gives them away. What the figures are is the programs' own.

pub mod address;
pub mod page;
pub mod seconds;
pub mod server;
