//! This computer's processors in two halves, so that a broker does not compete with what loads it.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Half for the broker, half for the load.
pub(crate) struct Halves {
    all: CpuSet,
    broker: CpuSet,
    load: CpuSet,
}

impl Halves {
    /// Keeps this thread, and those that it starts, to the load's half, for as long as this lives. None
    /// where there is but one processor.
    pub(crate) fn take() -> anyhow::Result<Option<Self>> {
        let all = sched_getaffinity(Pid::from_raw(0))?;
        let mut usable =
            (0..CpuSet::count()).filter(|processor| all.is_set(*processor) == Ok(true));
        let (mut broker, mut load) = (CpuSet::new(), CpuSet::new());
        while let (Some(one), Some(other)) = (usable.next(), usable.next()) {
            broker.set(one)?;
            load.set(other)?;
        }
        if load == CpuSet::new() {
            return Ok(None);
        }
        keep_to(&load)?;
        Ok(Some(Self { all, broker, load }))
    }

    /// Starts a broker on its half.
    pub(crate) fn lend<T>(&self, start: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        keep_to(&self.broker)?;
        let started = start();
        keep_to(&self.load)?;
        started
    }
}

impl Drop for Halves {
    fn drop(&mut self) {
        // It was so before.
        let _ = keep_to(&self.all);
    }
}

fn keep_to(processors: &CpuSet) -> anyhow::Result<()> {
    Ok(sched_setaffinity(Pid::from_raw(0), processors)?)
}
