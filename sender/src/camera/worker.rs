//! Work that blocks, and that may hang for ever where hardware or its driver does: each piece on a
//! thread of its own, waited for only so long. A few such threads may be left behind; a camera that
//! has too many is to begin nothing that may hang, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

/// What takes longer hangs: generous, since slow boards free slow devices.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// As many threads may hang at once.
const MAX_HUNG: usize = 4;

/// Who works for one camera.
#[derive(Debug, Clone, Default)]
pub struct Workers {
    hung: Arc<AtomicUsize>,
}

impl Workers {
    /// Does it and returns what comes of it, or why nothing does: in `limit` it has not ended, or
    /// it panicked. What comes of it later goes to `late`, on its thread.
    pub async fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
        late: impl FnOnce(T) + Send + 'static,
    ) -> Result<T, String> {
        let (result_tx, mut result) = oneshot::channel();
        let hung = self.hung.clone();
        let begun = std::thread::Builder::new().name("camera-work".to_owned()).spawn(move || {
            if let Err(unwanted) = result_tx.send(work()) {
                late(unwanted);
                hung.fetch_sub(1, Ordering::Relaxed);
            }
        });
        begun.map_err(|error| format!("no thread for it: {error}"))?;
        match timeout(limit, &mut result).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) => Err("it panicked".to_owned()),
            Err(_) => {
                // Counted before the thread can see that nobody waits.
                self.hung.fetch_add(1, Ordering::Relaxed);
                result.close();
                result.try_recv().inspect(|_| self.free()).map_err(|_| {
                    format!("it hangs (not done within {} s) and is left behind", limit.as_secs())
                })
            }
        }
    }

    /// Why nothing more is to be begun that may hang.
    pub fn refusal(&self) -> Option<String> {
        (self.hung.load(Ordering::Relaxed) >= MAX_HUNG).then(|| {
            format!(
                "{MAX_HUNG} of its sources and encoders hang in their drivers: restart \
                 rovercast-sender, or the robot's computer"
            )
        })
    }

    fn free(&self) {
        self.hung.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    #[tokio::test]
    async fn work_is_done_and_its_panic_told() {
        let workers = Workers::default();
        assert_eq!(workers.run(PATIENCE, || 7, |_| ()).await, Ok(7));
        let panics = workers.run(PATIENCE, || panic!("as expected here"), |()| ());
        assert_eq!(panics.await, Err("it panicked".to_owned()));
        assert_eq!(workers.refusal(), None);
    }

    #[tokio::test]
    async fn what_hangs_is_left_behind_but_not_too_often() {
        let workers = Workers::default();
        let (late_tx, late) = mpsc::channel();
        let ends: Vec<_> = (0..MAX_HUNG).map(|_| mpsc::channel::<()>()).collect();
        let mut let_go = Vec::new();
        for (go, goes) in ends {
            assert_eq!(workers.refusal(), None);
            let late_tx = late_tx.clone();
            let hangs = move || goes.recv().is_err();
            let result = workers.run(AT_ONCE, hangs, move |it| late_tx.send(it).unwrap()).await;
            assert!(result.unwrap_err().contains("left behind"));
            let_go.push(go);
        }
        assert!(workers.refusal().unwrap().contains("restart"));
        drop(let_go);
        for _ in 0..MAX_HUNG {
            assert!(late.recv().unwrap(), "what came late was not handed over");
        }
        while workers.refusal().is_some() {
            tokio::task::yield_now().await;
        }
    }
}
