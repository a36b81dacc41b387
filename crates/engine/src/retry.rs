//! Which attempts are followed by another one, and how long after.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::spec::TaskSpec;
use crate::task::{LostReason, Outcome, Started, Tries};

/// The most attempts of one task, those included that count for nothing because they never started.
pub(crate) const MAX_ATTEMPTS: u32 = 10_000;
/// How often a task may be lost and tried again unless it says otherwise.
pub(crate) const DEFAULT_MAX_LOST: u32 = 3;
/// The longest first wait before another attempt unless the task says otherwise.
const DEFAULT_BACKOFF: Duration = Duration::from_secs(1);
/// The longest wait before another attempt unless the task says otherwise.
const DEFAULT_MAX_BACKOFF: Duration = Duration::from_secs(300);

/// What is done about a command that failed, or ran into its timeout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often it is tried again.
    pub count: u32,
    /// The longest wait before the second attempt; it doubles with each that fails.
    pub backoff: Duration,
    /// The longest wait before any attempt.
    pub max_backoff: Duration,
    /// The exit codes that are worth another attempt; none stands for every failure, signals and timeouts among them.
    pub exit_codes: BTreeSet<i32>,
}

/// Whether a task may run again of which an attempt was lost that had started, or may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLost {
    /// It may.
    #[default]
    Retry,
    /// It may not: the task is lost.
    Fail,
}

impl Default for Retry {
    /// It is not tried again.
    fn default() -> Self {
        Retry { count: 0, backoff: DEFAULT_BACKOFF, max_backoff: DEFAULT_MAX_BACKOFF, exit_codes: BTreeSet::new() }
    }
}

impl TaskSpec {
    /// What is counted if an attempt that ended so is followed by another one; `None` if it is the task's end.
    pub(crate) fn tries_after(&self, tries: Tries, outcome: &Outcome) -> Option<Tries> {
        let failed = Tries { failed: tries.failed + 1, ..tries };
        let lost = Tries { lost: tries.lost + 1, ..tries };
        let may_fail = tries.failed < self.retry.count;
        match outcome {
            Outcome::Exited { code: 0 } | Outcome::Cancelled { .. } => None,
            Outcome::Exited { code } => (may_fail && self.retry.is_worth(*code)).then_some(failed),
            Outcome::Signaled { .. } | Outcome::OutOfMemory | Outcome::CouldNotStart { .. } | Outcome::TimedOut => {
                (may_fail && self.retry.exit_codes.is_empty()).then_some(failed)
            }
            // What never ran was not tried.
            Outcome::Lost { started: Started::No, .. } => Some(tries),
            // Its worker is there and cannot say that the command is gone: it may still run.
            Outcome::Lost { reason: LostReason::Overdue, .. } => None,
            Outcome::Lost { .. } => (self.on_lost == OnLost::Retry && tries.lost < self.max_lost).then_some(lost),
        }
    }
}

impl Retry {
    fn is_worth(&self, code: i32) -> bool {
        self.exit_codes.is_empty() || self.exit_codes.contains(&code)
    }

    /// How long a task is held back: exponential backoff with full jitter
    /// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>), by a number that chance gave.
    pub(crate) fn wait(&self, tries: Tries, chance: u64) -> Duration {
        let doublings = tries.failed.max(tries.lost).saturating_sub(1);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        let longest = self.backoff.saturating_mul(factor).min(self.max_backoff);
        let longest_ms = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(chance % longest_ms.saturating_add(1))
    }
}

/// A number that looks random, for each value another one (the finaliser of `SplitMix64`,
/// <https://doi.org/10.1145/2714064.2660195>).
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Command;

    fn spec(retry: Retry, on_lost: OnLost) -> TaskSpec {
        TaskSpec { retry, on_lost, max_lost: 1, ..TaskSpec::new(Command::Line("x".into())) }
    }

    #[test]
    fn each_kind_of_end_has_its_own_count() {
        let spec = spec(Retry { count: 1, ..Retry::default() }, OnLost::Retry);
        let (fresh, lost) = (Tries::default(), Tries { failed: 0, lost: 1 });
        let lease = Outcome::Lost { started: Started::Yes, reason: LostReason::LeaseEnded };
        let overdue = Outcome::Lost { started: Started::Unknown, reason: LostReason::Overdue };
        let unstarted = Outcome::Lost { started: Started::No, reason: LostReason::OrderLost };
        assert_eq!(spec.tries_after(fresh, &Outcome::Exited { code: 0 }), None);
        assert_eq!(spec.tries_after(fresh, &Outcome::Exited { code: 7 }), Some(Tries { failed: 1, lost: 0 }));
        assert_eq!(spec.tries_after(fresh, &Outcome::TimedOut), Some(Tries { failed: 1, lost: 0 }));
        assert_eq!(spec.tries_after(Tries { failed: 1, lost: 0 }, &Outcome::OutOfMemory), None);
        assert_eq!(spec.tries_after(fresh, &lease), Some(lost));
        assert_eq!(spec.tries_after(lost, &lease), None);
        assert_eq!(spec.tries_after(lost, &unstarted), Some(lost));
        assert_eq!(spec.tries_after(fresh, &overdue), None);
        assert_eq!(spec.tries_after(fresh, &Outcome::Cancelled { by: "ann".into(), confirmed: true }), None);
    }

    #[test]
    fn exit_codes_narrow_what_is_tried_again() {
        let retry = Retry { count: 9, exit_codes: [75].into(), ..Retry::default() };
        let spec = spec(retry, OnLost::Fail);
        let again = |outcome| spec.tries_after(Tries::default(), &outcome).is_some();
        assert!(again(Outcome::Exited { code: 75 }));
        assert!(!again(Outcome::Exited { code: 1 }) && !again(Outcome::TimedOut));
        assert!(!again(Outcome::Lost { started: Started::Yes, reason: LostReason::LeaseEnded }));
        assert!(again(Outcome::Lost { started: Started::No, reason: LostReason::OrderLost }));
    }

    #[test]
    fn waits_double_up_to_a_cap_and_are_spread_from_nothing() {
        let retry = Retry { max_backoff: Duration::from_secs(4), ..Retry::default() };
        let longest = |failed| {
            let waits = (0..2_000).map(|n| retry.wait(Tries { failed, lost: 0 }, mix(n)));
            (waits.clone().min().expect("a wait"), waits.max().expect("a wait"))
        };
        for (failed, seconds) in [(0, 1), (1, 1), (2, 2), (3, 4), (4, 4), (1_000, 4)] {
            let (least, most) = longest(failed);
            assert!(least < Duration::from_millis(20), "{least:?}");
            assert!(most <= Duration::from_secs(seconds) && most > Duration::from_millis(seconds * 980), "{most:?}");
        }
    }
}
