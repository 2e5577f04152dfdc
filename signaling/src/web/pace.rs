//! What one address may ask by HTTP, and how much of the answers may wait for it: as much as one peer
//! may say and have waiting, since requests have no connection of their own that could be dropped.
//! Reads no clock.

use std::collections::HashMap;
use std::mem;
use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::limits::{Bucket, Count, LimitSettings, Rate, counted};

/// So many addresses that ask are remembered at least, and twice as many at most. Whoever has more of
/// them wins nothing by being forgotten: each may ask as much as this one.
const ADDRESSES: usize = 8 * 1024;

/// The shares of all addresses.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: Rate,
    bytes_of_one: usize,
    bytes_in_all: usize,
    waiting_in_all: Arc<AtomicUsize>,
    book: Mutex<Book>,
}

/// Those that asked last, and those before them.
#[derive(Debug, Default)]
struct Book {
    recent: HashMap<IpAddr, Share>,
    older: HashMap<IpAddr, Share>,
}

#[derive(Debug)]
struct Share {
    requests: Bucket,
    waiting: Arc<AtomicUsize>,
}

/// An answer that waits to be read, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Waiting {
    here: Count,
    in_all: Count,
}

/// Why an answer may not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crowded {
    /// Enough waits for this address.
    Address,
    /// Enough waits for all.
    Full,
}

impl Pace {
    /// Nobody has asked yet. What waits is added to `waiting_in_all`.
    pub(crate) fn new(limits: &LimitSettings, waiting_in_all: Arc<AtomicUsize>) -> Self {
        Self {
            rate: limits.messages(),
            bytes_of_one: limits.queue_bytes as usize,
            bytes_in_all: limits.queue_bytes_in_all as usize,
            waiting_in_all,
            book: Mutex::default(),
        }
    }

    /// Counts a request as one message; false when the address has none left.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> bool {
        self.of(address, now, |share| share.requests.take(1, now))
    }

    /// Counts a request as so many messages more.
    pub(crate) fn charge(&self, address: IpAddr, messages: u32, now: Instant) {
        self.of(address, now, |share| share.requests.charge(messages));
    }

    /// Lets an answer of so many bytes wait. One alone may be as long as it is.
    pub(crate) fn wait(
        &self,
        address: IpAddr,
        bytes: usize,
        now: Instant,
    ) -> Result<Waiting, Crowded> {
        let here = self.of(address, now, |share| Count::of(&share.waiting, bytes));
        let waiting = Waiting { here, in_all: Count::of(&self.waiting_in_all, bytes) };
        if waiting.here.exceeds(self.bytes_of_one) {
            Err(Crowded::Address)
        } else if waiting.in_all.exceeds(self.bytes_in_all) {
            Err(Crowded::Full)
        } else {
            Ok(waiting)
        }
    }

    fn of<T>(&self, address: IpAddr, now: Instant, use_it: impl FnOnce(&mut Share) -> T) -> T {
        let address = counted(address);
        // No code that holds the lock leaves things half done, should it panic.
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if book.recent.len() >= ADDRESSES {
            book.older = mem::take(&mut book.recent);
        }
        let known = book.older.remove(&address);
        let fresh = || Share { requests: Bucket::full(self.rate, now), waiting: Arc::default() };
        use_it(book.recent.entry(address).or_insert_with(|| known.unwrap_or_else(fresh)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::*;

    fn pace(in_all: usize) -> Pace {
        let limits = LimitSettings {
            messages_per_s: 1,
            message_burst: 3,
            queue_bytes: 100,
            queue_bytes_in_all: u32::try_from(in_all).unwrap(),
            ..LimitSettings::default()
        };
        Pace::new(&limits, Arc::default())
    }

    fn at(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    #[test]
    fn an_address_asks_so_much_and_others_are_untouched() {
        let (pace, start) = (pace(1_000), Instant::now());
        let network = ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:3", "2001:db8::4"].map(at);
        assert_eq!(network.map(|one| pace.take(one, start)), [true, true, true, false]);
        assert!(pace.take(at("2001:db8:0:1::1"), start));
        pace.charge(at("192.0.2.1"), 4, start);
        let later = |s| start + Duration::from_secs(s);
        let took = [0, 1, 2, 3].map(|s| pace.take(at("192.0.2.1"), later(s)));
        assert_eq!(took, [false, false, true, true]);
    }

    #[test]
    fn what_waits_is_bounded_for_one_and_for_all() {
        let (pace, now) = (pace(250), Instant::now());
        let [here, there] = ["192.0.2.1", "192.0.2.2"].map(at);
        let wait = |address, bytes| pace.wait(address, bytes, now);
        let first = wait(here, 60).unwrap();
        let _second = wait(here, 40).unwrap();
        assert_eq!(wait(here, 1).unwrap_err(), Crowded::Address);
        let long = wait(there, 150).unwrap();
        assert_eq!(wait(at("192.0.2.3"), 1).unwrap_err(), Crowded::Full);
        drop(first);
        assert_eq!(wait(there, 1).unwrap_err(), Crowded::Address);
        drop(long);
        let _third = wait(here, 60).unwrap();
        assert_eq!(pace.waiting_in_all.load(Ordering::Relaxed), 100);
    }

    #[test]
    fn only_so_many_are_remembered_and_never_those_forgotten_that_still_ask() {
        let (pace, now) = (pace(1_000), Instant::now());
        let one = at("192.0.2.1");
        while pace.take(one, now) {}
        for number in 0..3 * ADDRESSES {
            let other = u32::try_from(number).unwrap() | 0x0a00_0000;
            assert!(pace.take(IpAddr::from(other.to_be_bytes()), now));
            if number % (ADDRESSES / 2) == 0 {
                assert!(!pace.take(one, now));
            }
        }
        let book = pace.book.lock().unwrap();
        assert!(book.recent.len() <= ADDRESSES && book.older.len() <= ADDRESSES);
    }
}
