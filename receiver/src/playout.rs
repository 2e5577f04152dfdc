//! How long a missing packet is waited for. Pure.
//!
//! It is a deadline, not a delay: jitter buffers pass on at once what came in order, and what waits
//! behind a gap as soon as the gap is filled. So a longer deadline costs nothing as long as nothing
//! is missing, and afterwards less than giving up does: a packet that is sent again takes a round
//! trip, a key frame takes a round trip, an encoder, and many packets that can be lost, too.

use std::time::Duration;

use serde::Deserialize;

/// A packet is asked for so many times, where the bound has room for that.
const TRIES: u32 = 4;

/// Requests for one packet are at least so far apart.
pub const REQUESTS_APART: Duration = Duration::from_millis(10);

/// A packet that is sent again may take this much longer than the round trip.
const SLACK: Duration = Duration::from_millis(8);

/// Packets that overtake each other do so within this time.
const REORDERING: Duration = Duration::from_millis(10);

/// How often the mean jitter fits into what is allowed for it: few packets are later.
const JITTERS: u32 = 4;

/// A deadline is lowered to what was needed in this time.
const MEMORY: Duration = Duration::from_secs(5);

/// Who answered none of so many requests does not send packets again.
const UNANSWERED: u64 = 20;

/// Deadlines are multiples of this, so that they do not change all the time.
const STEP_MS: u128 = 5;

/// How missing packets are waited for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A missing packet is waited for at least this long, in milliseconds: 0 to `max_ms`.
    pub min_ms: u32,
    /// A missing packet is waited for at most this long, in milliseconds: 0 to 2000. With 0 nothing
    /// is waited for: every loss costs a key frame.
    pub max_ms: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { min_ms: 0, max_ms: 200 }
    }
}

impl Settings {
    /// The longest that a missing packet is ever waited for.
    pub fn longest(&self) -> Duration {
        Duration::from_millis(self.max_ms.into())
    }

    /// Checks the ranges. The error names the setting.
    pub fn check(&self) -> Result<(), String> {
        if self.max_ms > 2000 {
            return Err(format!("max_ms is {}: give 0 to 2000", self.max_ms));
        }
        if self.min_ms > self.max_ms {
            return Err(format!("min_ms is {}: give 0 to max_ms, {}", self.min_ms, self.max_ms));
        }
        Ok(())
    }
}

/// What a jitter buffer has counted since it is there, and what is known of the path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that were given up.
    pub lost: u64,
    /// Packets that came when they were not waited for any more.
    pub late: u64,
    /// Requests to send a packet again.
    pub requested: u64,
    /// Packets that came because they were asked for, in time.
    pub recovered: u64,
    /// The mean time from such a request to the packet; zero before the first.
    pub request_rtt: Duration,
    /// The mean deviation of the packets' spacing from that of their timestamps.
    pub jitter: Duration,
    /// The round trip of a ping, once one is answered.
    pub ping_rtt: Option<Duration>,
}

/// How a jitter buffer is to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The longest that a missing packet is waited for.
    pub deadline: Duration,
    /// A packet that did not come is asked for again after this time.
    pub ask_again: Duration,
}

/// Follows one jitter buffer.
#[derive(Debug)]
pub struct Playout {
    settings: Settings,
    deadline: Duration,
    /// What jitter and packets that came too late ask for.
    spread: Duration,
    late: u64,
    /// The highest deadline wanted since.
    highest: Duration,
    since: Duration,
}

impl Playout {
    /// One of which nothing is known: the first packet that is missing is waited for as long as
    /// may be.
    pub fn new(settings: Settings) -> Self {
        let deadline = settings.longest();
        let zero = Duration::ZERO;
        Self { settings, deadline, spread: zero, late: 0, highest: zero, since: zero }
    }

    /// How to wait from `now` on; `now` never goes back. To be asked some times a second.
    pub fn look(&mut self, now: Duration, counts: &Counts) -> Waiting {
        let most = self.settings.longest();
        let least = Duration::from_millis(self.settings.min_ms.into()).min(most);
        self.widen(counts, most);
        let unanswered =
            counts.request_rtt.is_zero() && counts.recovered == 0 && counts.requested >= UNANSWERED;
        let rtt = counts.ping_rtt.max(known(counts.request_rtt)).filter(|_| !unanswered);
        // From a request to the packet, if it is not lost again; and how long there is for that.
        let comes = rtt.map(|rtt| rtt + self.spread / 4 + SLACK);
        let room = most.saturating_sub(self.spread);
        let (wanted, ask_again) = match comes {
            None if unanswered => (self.spread + REORDERING, most),
            None => (most, most / 2),
            Some(comes) if comes > room => (self.spread + REORDERING, comes),
            Some(comes) => {
                // Where there is no room for three round trips, three requests have their chance all
                // the same when they do not wait for answers. A packet may then come twice; given
                // up, it would cost a key frame.
                let ask_again = comes.min((room - comes) / 2).max(REQUESTS_APART);
                (self.spread + comes.saturating_mul(TRIES).min(room), ask_again)
            }
        };
        self.follow(now, rounded_up(wanted).clamp(least, most));
        Waiting { deadline: self.deadline, ask_again }
    }

    fn widen(&mut self, counts: &Counts, most: Duration) {
        let jitter = (counts.jitter * JITTERS).min(most / 2);
        let mut spread = jitter.max(self.spread * 99 / 100);
        if counts.late > self.late {
            // Whatever made them late, more time would have saved them.
            spread = (spread + self.deadline / 4).min(most / 2);
        }
        (self.spread, self.late) = (spread, counts.late);
    }

    /// Up at once, down to what was needed lately.
    fn follow(&mut self, now: Duration, wanted: Duration) {
        self.highest = self.highest.max(wanted);
        self.deadline = self.deadline.max(wanted);
        if now.saturating_sub(self.since) >= MEMORY {
            self.deadline = self.highest;
            (self.highest, self.since) = (wanted, now);
        }
    }
}

fn known(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

fn rounded_up(time: Duration) -> Duration {
    let steps = time.as_micros().div_ceil(STEP_MS * 1000);
    Duration::from_millis((steps * STEP_MS) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn path(rtt_ms: u64) -> Counts {
        Counts { ping_rtt: Some(ms(rtt_ms)), ..Counts::default() }
    }

    /// Looks ten times a second, from `from` on for so many seconds. Returns the deadlines.
    fn watch(playout: &mut Playout, from: u64, seconds: u64, counts: &Counts) -> Vec<u128> {
        let looks = (0..seconds * 10).map(|look| ms(from * 1000 + look * 100));
        looks.map(|now| playout.look(now, counts).deadline.as_millis()).collect()
    }

    fn settled(counts: &Counts) -> u128 {
        let mut playout = Playout::new(Settings::default());
        *watch(&mut playout, 0, 30, counts).last().unwrap()
    }

    #[test]
    fn before_anything_is_known_the_first_loss_has_all_the_time() {
        let mut playout = Playout::new(Settings::default());
        assert_eq!(watch(&mut playout, 0, 10, &Counts::default()), [200; 100]);
    }

    #[test]
    fn a_packet_can_be_asked_for_as_often_as_pays() {
        for (rtt_ms, tries) in [(1, 4), (20, 4), (35, 4), (80, 3), (120, 3), (170, 3), (185, 1)] {
            let mut playout = Playout::new(Settings::default());
            watch(&mut playout, 0, 30, &path(rtt_ms));
            let Waiting { deadline, ask_again } = playout.look(ms(30_000), &path(rtt_ms));
            let last_comes = ask_again * (tries - 1) + ms(rtt_ms + 5);
            assert!(last_comes <= deadline, "{rtt_ms} ms: {ask_again:?}, {deadline:?}");
            assert!(deadline <= ms(200).min(ms(rtt_ms * 4 + 40)), "{rtt_ms} ms: {deadline:?}");
        }
    }

    #[test]
    fn what_cannot_come_in_time_is_not_waited_for() {
        assert_eq!(settled(&path(300)), 10, "only for packets that were overtaken");
    }

    #[test]
    fn who_sends_nothing_again_is_not_waited_for() {
        let silent = Counts { requested: 20, ..path(20) };
        assert_eq!(settled(&silent), 10);
        let slow = Counts { requested: 20, request_rtt: ms(60), ..path(20) };
        assert!(settled(&slow) > 120, "it answers");
    }

    #[test]
    fn uneven_packets_get_more_time() {
        let uneven = Counts { jitter: ms(10), ..path(20) };
        assert!(settled(&uneven) >= settled(&path(20)) + 40);
    }

    #[test]
    fn packets_that_come_too_late_raise_it_at_once_and_for_a_while() {
        let mut playout = Playout::new(Settings::default());
        let calm = *watch(&mut playout, 0, 30, &path(5)).last().unwrap();
        let late = Counts { late: 3, ..path(5) };
        let raised = playout.look(ms(30_000), &late).deadline.as_millis();
        assert!(raised > calm, "{calm} then {raised}");
        let after = watch(&mut playout, 30, 120, &late);
        assert!(after[..40].iter().all(|deadline| *deadline == raised), "{after:?}");
        assert_eq!(after.last(), Some(&calm));
        assert!(after.is_sorted_by(|a, b| a >= b), "down, and down only: {after:?}");
    }

    #[test]
    fn a_jitter_that_comes_and_goes_does_not_make_it_flap() {
        let mut playout = Playout::new(Settings::default());
        watch(&mut playout, 0, 30, &path(20));
        let looks: Vec<_> = (0..600u64)
            .map(|look| {
                let jitter = if look % 10 == 0 { ms(8) } else { ms(1) };
                let counts = Counts { jitter, ..path(20) };
                playout.look(ms(30_000 + look * 100), &counts).deadline
            })
            .collect();
        let changes = looks.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(changes <= 2, "{changes} changes: {looks:?}");
    }

    #[test]
    fn the_bounds_hold() {
        for (min_ms, max_ms) in [(0, 0), (0, 20), (50, 60), (150, 2000), (90, 30)] {
            let mut playout = Playout::new(Settings { min_ms, max_ms });
            for (now, rtt_ms) in [0, 1, 30, 500, 5000, 1, 1, 1].into_iter().enumerate() {
                let jitter = ms(rtt_ms / 3);
                let counts = Counts { jitter, late: rtt_ms, ..path(rtt_ms) };
                let deadline = playout.look(ms(now as u64 * 3000), &counts).deadline;
                let (least, most) = (ms(min_ms.min(max_ms).into()), ms(max_ms.into()));
                assert!((least..=most).contains(&deadline), "{min_ms} {max_ms}: {deadline:?}");
            }
        }
    }
}
