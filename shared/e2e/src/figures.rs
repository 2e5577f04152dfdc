//! Figures: of processes, and of many values.

use std::fmt;
use std::fs;
use std::time::Duration;

use anyhow::Context;

/// What a process holds and has used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Threads.
    pub threads: usize,
    /// Open file descriptors.
    pub descriptors: usize,
    /// Memory of its own, in bytes: anonymous pages that are resident.
    pub memory: u64,
    /// Processor time since its start.
    pub cpu: Duration,
}

impl Usage {
    /// Of a process that runs.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let entries = |folder: &str| -> anyhow::Result<usize> {
            Ok(fs::read_dir(format!("/proc/{pid}/{folder}"))?.count())
        };
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kilobytes: u64 = anonymous
            .and_then(|value| value.trim().strip_suffix("kB")?.trim().parse().ok())
            .context("no RssAnon")?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let after_name = stat.rsplit_once(')').context("no name in stat")?.1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        // utime and stime, in ticks of 10 ms.
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(Self {
            threads: entries("task")?,
            descriptors: entries("fd")?,
            memory: kilobytes * 1024,
            cpu: Duration::from_millis(ticks * 10),
        })
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.memory as f64 / 1e6;
        write!(f, "{} threads, {} descriptors, {megabytes:.1} MB", self.threads, self.descriptors)
    }
}

/// How many threads of a process run encoders.
pub fn encoder_threads(pid: u32) -> anyhow::Result<usize> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))?;
    let names =
        tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    // The encoder's threads inherit the name of the thread that feeds it.
    Ok(names.filter(|name| name.starts_with("rovercast-frame")).count())
}

/// A value below which the given part (0 to 1) of the values lies.
pub fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}
