//! Work that may hang in a driver, on threads that can be left behind.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

/// Does `work` on a thread of its own, and waits for it up to `limit`; longer while it is `alive`.
/// None when it has not come back by then: its thread is left behind, and should it come back
/// later, `late` gets what it brings.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    alive: impl Fn() -> bool,
    work: impl FnOnce() -> T + Send + 'static,
    late: impl FnOnce(T) + Send + 'static,
) -> Option<T> {
    // Without room in between it is certain who has the result.
    let (done_tx, done) = sync_channel(0);
    let thread = thread::Builder::new().name("decoder".into()).spawn(move || {
        if let Err(unwanted) = done_tx.send(work()) {
            late(unwanted.0);
        }
    });
    thread.ok().and_then(|_| wait(&done, limit, alive))
}

fn wait<T>(done: &Receiver<T>, limit: Duration, alive: impl Fn() -> bool) -> Option<T> {
    loop {
        match done.recv_timeout(limit) {
            Ok(result) => return Some(result),
            Err(RecvTimeoutError::Timeout) if alive() => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn what_comes_back_in_time_is_taken() {
        let unwanted = |_| panic!("it was not late");
        assert_eq!(within(PATIENCE, || false, || 7, unwanted), Some(7));
    }

    #[test]
    fn what_hangs_is_left_behind_and_what_it_brings_later_is_cleared_away() {
        let (go, wait) = channel();
        let (cleared_tx, cleared) = channel();
        let work = move || wait.recv().map(|()| 7);
        let late = move |result| cleared_tx.send(result).unwrap();
        assert_eq!(within(Duration::from_millis(1), || false, work, late), None);
        go.send(()).unwrap();
        assert_eq!(cleared.recv_timeout(PATIENCE).unwrap(), Ok(7));
    }

    #[test]
    fn what_is_alive_has_its_time() {
        let (go, wait) = channel();
        let looks = std::cell::Cell::new(0);
        let alive = || {
            looks.set(looks.get() + 1);
            if looks.get() == 3 {
                go.send(()).unwrap();
            }
            true
        };
        let done = within(Duration::from_millis(1), alive, move || wait.recv(), |_| {});
        assert_eq!(done, Some(Ok(())));
        assert!(looks.get() >= 3);
    }
}
