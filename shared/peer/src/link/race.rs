//! Attempts at the same thing beside each other, of which the first that succeeds counts. Not what is
//! attempted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, select_all};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::refusal::Refusal;

/// When attempts begin and end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// After so long without success another attempt is begun.
    pub(super) next: Duration,
    /// After so long all of them are given up.
    pub(super) within: Duration,
}

/// So many are under way at once: a broker that has too much to do is not given ever more.
const AT_ONCE: usize = 4;

/// By this an attempt tells that the other end is there: then it is worth waiting for.
#[derive(Debug, Clone, Default)]
pub(super) struct Reached(Arc<AtomicBool>);

impl Reached {
    /// The other end is there.
    pub(super) fn tell(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_told(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct Attempt<'a, T> {
    outcome: BoxFuture<'a, Result<T, Refusal>>,
    reached: Reached,
}

/// Attempts until one succeeds, none is left, or the time is up. The error is why one of them
/// failed; none when nobody answered.
///
/// While the other end is not reached, one attempt follows the other: TCP repeats a lost SYN late, and
/// ever later, but a network that is back is to be noticed at once. Of too many an early one gives way;
/// not the first, which has the time that a slow network takes.
pub(super) async fn first<'a, T>(
    pace: Pace,
    begin: impl Fn(Reached) -> BoxFuture<'a, Result<T, Refusal>>,
) -> Result<T, Option<Refusal>> {
    let begin = || {
        let reached = Reached::default();
        Attempt { outcome: begin(reached.clone()), reached }
    };
    let mut attempts = vec![begin()];
    let mut failure: Option<Refusal> = None;
    let mut next = interval_at(Instant::now() + pace.next, pace.next);
    next.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut give_up = std::pin::pin!(sleep(pace.within));
    loop {
        // A broker that says no is there: asking more often does not help it.
        let is_refused = failure.as_ref().is_some_and(|refusal| refusal.code.is_some());
        let ended = async {
            let outcomes = attempts.iter_mut().map(|attempt| &mut attempt.outcome);
            let (outcome, index, _) = select_all(outcomes).await;
            (outcome, index)
        };
        tokio::select! {
            biased;
            (outcome, index) = ended => match outcome {
                Ok(made) => return Ok(made),
                Err(refusal) => {
                    attempts.remove(index);
                    failure = failure.filter(|_| is_refused).or(Some(refusal));
                    if attempts.is_empty() {
                        return Err(failure);
                    }
                }
            },
            () = &mut give_up => return Err(failure),
            _ = next.tick(), if !is_refused => {
                if attempts.len() == AT_ONCE {
                    let lost = attempts.iter().skip(1).position(|one| !one.reached.is_told());
                    let Some(index) = lost else { continue };
                    attempts.remove(1 + index);
                }
                attempts.push(begin());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use rovercast_protocol::signaling::ErrorCode;
    use tokio::sync::watch;

    use super::*;

    const PACE: Pace = Pace { next: Duration::from_millis(10), within: Duration::from_secs(30) };

    /// What came of attempts, how many there were, and how many were under way at most. Each is told its
    /// number, and how many have begun.
    async fn race<F>(
        pace: Pace,
        attempt: impl Fn(usize, Begun, Reached) -> F,
    ) -> (Result<usize, Option<Refusal>>, usize, usize)
    where
        F: Future<Output = Result<usize, Refusal>> + Send + 'static,
    {
        let begun = watch::Sender::new(0);
        let under_way = watch::Sender::new(());
        let most = std::cell::Cell::new(0);
        let outcome = first(pace, |reached| {
            let attempt = attempt(*begun.borrow(), Begun(begun.subscribe()), reached);
            let one = under_way.subscribe();
            most.set(most.get().max(under_way.receiver_count()));
            begun.send_modify(|begun| *begun += 1);
            async move {
                let _one = one;
                attempt.await
            }
            .boxed()
        });
        let outcome = outcome.await;
        (outcome, *begun.borrow(), most.get())
    }

    /// How many attempts have begun.
    struct Begun(watch::Receiver<usize>);

    impl Begun {
        async fn are(mut self, wanted: usize) {
            let _ = self.0.wait_for(|&begun| begun >= wanted).await;
        }
    }

    fn refusal(code: Option<ErrorCode>) -> Refusal {
        Refusal { reason: "no".to_owned(), code }
    }

    #[tokio::test]
    async fn a_broker_that_is_slow_to_answer_is_not_asked_ever_more() {
        let (outcome, begun, _) = race(PACE, |number, _, reached| async move {
            reached.tell();
            sleep(PACE.next * 20).await;
            Ok(number)
        })
        .await;
        assert!(outcome.is_ok() && begun <= AT_ONCE, "{begun} attempts");
    }

    #[tokio::test]
    async fn a_network_that_is_back_is_noticed_by_the_next_attempt() {
        // What was sent before is lost.
        let (outcome, _, most) = race(PACE, |number, _, _| async move {
            if number < 12 { std::future::pending().await } else { Ok(number) }
        })
        .await;
        assert_eq!((outcome, most), (Ok(12), AT_ONCE));
    }

    #[tokio::test]
    async fn a_network_that_is_slow_has_the_time_it_takes() {
        let (outcome, ..) = race(PACE, |number, begun, _| async move {
            begun.are(number + 12).await;
            Ok(number)
        })
        .await;
        assert_eq!(outcome, Ok(0));
    }

    #[tokio::test]
    async fn one_that_fails_does_not_take_those_along_that_succeed() {
        for code in [None, Some(ErrorCode::TooManyConnections)] {
            let (outcome, ..) = race(PACE, move |number, begun, _| async move {
                begun.are(2).await;
                sleep(PACE.next * 2).await;
                if number == 1 {
                    Err(refusal(code))
                } else {
                    sleep(PACE.next).await;
                    Ok(number)
                }
            })
            .await;
            assert!(outcome.is_ok(), "{code:?}: {outcome:?}");
        }
    }

    #[tokio::test]
    async fn it_fails_when_none_is_left_or_nobody_answers() {
        let (outcome, begun, _) = race(PACE, |_, _, _| async { Err(refusal(None)) }).await;
        assert_eq!((outcome, begun), (Err(Some(refusal(None))), 1));
        let brief = Pace { within: PACE.next * 3, ..PACE };
        let (outcome, ..) = race(brief, |_, _, _| std::future::pending()).await;
        assert_eq!(outcome, Err(None));
        // What the broker says is told rather than what came of the way to it.
        let expired = Some(ErrorCode::TokenExpired);
        let (outcome, ..) = race(PACE, move |number, begun, _| async move {
            begun.are(2).await;
            if number == 1 {
                return Err(refusal(expired));
            }
            sleep(PACE.next * 5).await;
            Err(refusal(None))
        })
        .await;
        assert_eq!(outcome, Err(Some(refusal(expired))));
    }
}
