//! A wire on which packets are under way for a while: a thread between two TUN devices.
//!
//! Keeps their order, and loses none but those that a full wire or a device that is down refuses.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use nix::unistd::gettid;
use tun_rs::SyncDevice;

use super::run;

/// Packets under way in each direction; the newest goes when there would be more.
const UNDER_WAY: usize = 4096;

/// The longest packet: more than what any device here sends.
const PACKET_BYTES: usize = 2048;

/// How often an idle thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// The thread. Ends when dropped, and the devices with it.
#[derive(Debug)]
pub(super) struct Delay {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Delay {
    /// Moves packets from each device to the other: `delays[0]` after the first device had them,
    /// `delays[1]` after the second had. Counts in `refused` those that the wire cannot take.
    pub(super) fn start(
        devices: [SyncDevice; 2],
        delays: [Duration; 2],
        refused: Arc<AtomicU64>,
    ) -> anyhow::Result<Self> {
        for device in &devices {
            device.set_nonblocking(true)?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("wire".to_owned()).spawn({
            let stop = stop.clone();
            let mut wire = Wire { devices, delays, under_way: Default::default(), refused };
            move || {
                hurry();
                wire.run(&stop);
            }
        });
        Ok(Self { stop, thread: Some(thread.context("no thread for a link")?) })
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Has the calling thread run before all others, so that packets are in time on a busy computer, too.
/// Where that is not allowed they are late at times.
fn hurry() {
    let _ = run(Command::new("chrt").args(["--rr", "--pid", "10", &gettid().to_string()]));
}

struct Wire {
    devices: [SyncDevice; 2],
    delays: [Duration; 2],
    /// What came from each device, with the time when it is due at the other.
    under_way: [VecDeque<(Instant, Vec<u8>)>; 2],
    refused: Arc<AtomicU64>,
}

impl Wire {
    fn run(&mut self, stop: &AtomicBool) {
        let mut buffer = [0; PACKET_BYTES];
        while !stop.load(Ordering::Relaxed) {
            for from in [0, 1] {
                self.take(from, &mut buffer);
                self.give(from);
            }
            let due =
                self.under_way.iter().filter_map(|packets| packets.front()).map(|first| first.0);
            let wait = due.min().map_or(LOOK, |due| due.saturating_duration_since(Instant::now()));
            let mut ready = self
                .devices
                .each_ref()
                .map(|device| PollFd::new(device.as_fd(), PollFlags::POLLIN));
            // A signal or an error only wakes it early.
            let _ = ppoll(&mut ready, Some(TimeSpec::from_duration(wait.min(LOOK))), None);
        }
    }

    /// Takes all that a device has sent.
    fn take(&mut self, from: usize, buffer: &mut [u8]) {
        while let Ok(length) = self.devices[from].recv(buffer) {
            if self.under_way[from].len() == UNDER_WAY {
                self.refused.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let due = Instant::now() + self.delays[from];
            self.under_way[from].push_back((due, buffer[..length].to_vec()));
        }
    }

    /// Gives the other device what is due.
    fn give(&mut self, from: usize) {
        let now = Instant::now();
        while self.under_way[from].front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, packet)) = self.under_way[from].pop_front() else { return };
            if self.devices[1 - from].send(&packet).is_err() {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
