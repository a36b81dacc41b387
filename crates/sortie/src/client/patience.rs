//! Trying again: a master that is away for a moment, as it is while it is replaced, is awaited.
//!
//! Everything may be asked twice. A submission has a key, by which the master knows a repeat of it; cancelling and
//! draining say what shall be so; the rest only reads.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};
use tokio_retry2::strategy::{ExponentialBackoff, jitter_with_bounds};

use crate::exit::{Failure, Result};

/// The longest first wait between two tries, in milliseconds; each is at most twice the one before.
const FIRST_WAIT_MS: u64 = 100;
/// The longest wait between two tries: whoever watches notices soon that the master is back.
const LONGEST_WAIT: Duration = Duration::from_secs(3);
/// How long a master that had taken something on is awaited at the least by those who wait for the end of that: it goes
/// on without them, and giving up on it costs more than waiting.
const PATIENCE_IN_WAITING: Duration = Duration::from_secs(600);

/// For how long the same is asked again, from the first time that there was no answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience(Duration);

/// Why there was no answer, and how soon the master says that it may be asked again.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) failure: Failure,
    pub(super) after: Option<Duration>,
}

/// A time without answers.
struct Outage {
    end: Instant,
    waits: ExponentialBackoff,
}

impl Patience {
    /// Patience for so long; for no time at all, nothing is asked again.
    pub(super) fn new(longest: Duration) -> Self {
        Patience(longest)
    }

    /// That of somebody who waits for an end.
    pub(super) fn in_waiting(self) -> Self {
        if self.0.is_zero() { self } else { Patience(self.0.max(PATIENCE_IN_WAITING)) }
    }

    /// Asks until there is an answer, or a refusal that would be the same the next time, or the patience is over.
    pub(super) async fn ask<T>(self, ask: impl AsyncFn() -> std::result::Result<T, Unanswered>) -> Result<T> {
        let mut outage = None;
        loop {
            let Unanswered { failure, after } = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(unanswered) => unanswered,
            };
            if !failure.is_unavailable() {
                return Err(failure);
            }
            let now = Instant::now();
            let is_first = outage.is_none();
            let Some(wait) = outage.get_or_insert_with(|| self.begin(now)).next_wait(now, after) else {
                return Err(failure);
            };
            if is_first {
                failure.tell_and(&self.announcement(SystemTime::now()));
            }
            sleep(wait).await;
        }
    }

    fn begin(self, now: Instant) -> Outage {
        let waits = ExponentialBackoff::from_millis(2).factor(FIRST_WAIT_MS / 2).max_delay(LONGEST_WAIT);
        Outage { end: now + self.0, waits }
    }

    fn announcement(self, now: SystemTime) -> String {
        let (until, length) = (humantime::format_rfc3339_seconds(now + self.0), humantime::format_duration(self.0));
        format!("trying on for {length}, until {until}")
    }
}

impl Outage {
    /// How long to wait before the next try, `None` if there shall be none; `after` is the least that the master asks for.
    ///
    /// Full jitter, so that those who were sent away together do not come back together. The last try is at the end.
    fn next_wait(&mut self, now: Instant, after: Option<Duration>) -> Option<Duration> {
        let left = self.end.saturating_duration_since(now);
        let least = after.unwrap_or_default();
        if left.is_zero() || least > left {
            return None;
        }
        let longest = self.waits.next().unwrap_or(LONGEST_WAIT);
        Some((least + jitter_with_bounds(0.0, 1.0)(longest)).min(left))
    }
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        Unanswered { failure, after: None }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn outage(seconds: u64) -> (Outage, Instant) {
        let now = Instant::now();
        (Patience::new(Duration::from_secs(seconds)).begin(now), now)
    }

    #[test]
    fn waits_grow_up_to_a_cap_and_end_with_the_patience() {
        let (mut outage, now) = outage(30);
        for longest_ms in [100, 200, 400, 800, 1600, 3000, 3000] {
            let wait = outage.next_wait(now, None).expect("there is time");
            assert!(wait <= Duration::from_millis(longest_ms), "{wait:?} > {longest_ms} ms");
        }
        let almost = now + Duration::from_millis(29_999);
        assert!(outage.next_wait(almost, None).expect("a last try") <= Duration::from_millis(1));
        assert_eq!(outage.next_wait(now + Duration::from_secs(30), None), None);
    }

    #[test]
    fn nobody_comes_before_the_master_asks_for_it() {
        let (mut outage, now) = outage(30);
        let after = Duration::from_secs(20);
        assert!(outage.next_wait(now, Some(after)).expect("there is time") >= after);
        assert_eq!(outage.next_wait(now, Some(Duration::from_secs(31))), None, "that would be too late");
    }

    #[test]
    fn who_waits_for_an_end_has_more_patience_if_any() {
        let in_waiting = |seconds| Patience::new(Duration::from_secs(seconds)).in_waiting().0.as_secs();
        assert_eq!([in_waiting(0), in_waiting(5), in_waiting(3600)], [0, 600, 3600]);
    }

    #[test]
    fn the_end_of_the_patience_is_a_time() {
        let announcement = Patience::new(Duration::from_secs(90)).announcement(SystemTime::UNIX_EPOCH);
        assert_eq!(announcement, "trying on for 1m 30s, until 1970-01-01T00:01:30Z");
    }

    #[tokio::test]
    async fn only_what_may_pass_is_asked_again() {
        let asked = Cell::new(0);
        let ask = async |failure: Failure| {
            asked.set(asked.get() + 1);
            if asked.get() < 3 { Err(failure.into()) } else { Ok(()) }
        };
        let patience = Patience::new(Duration::from_secs(30));
        assert_eq!(patience.ask(async || ask(Failure::forced(69)).await).await, Ok(()));
        assert_eq!(asked.replace(0), 3);
        for (patience, code) in [(patience, 70), (patience, 1), (Patience::new(Duration::ZERO), 69)] {
            let failed = patience.ask(async || ask(Failure::forced(code)).await).await;
            assert_eq!((failed, asked.replace(0)), (Err(Failure::forced(code)), 1));
        }
    }
}
