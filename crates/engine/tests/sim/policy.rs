//! What a task's policy says, told by the ends on record alone: the scheduler's own counts are not asked.

use std::time::Duration;

use sortie_engine::{Ended, LostReason, OnLost, Outcome, Started, TaskSpec};

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another attempt.
    Again,
    /// Nothing: it was the task's last.
    Over,
}

/// In what way an attempt was in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vain {
    /// The command failed, or ran into its timeout.
    Failed,
    /// It was lost once it had started, or may have.
    Lost,
    /// It never started.
    Unstarted,
}

/// What must follow an attempt of a task whose earlier attempts ended like this.
pub(crate) fn next(spec: &TaskSpec, past: &[Ended], outcome: &Outcome, is_cancelling: bool) -> Next {
    let before = |kind| past.iter().filter(|ended| vain(&ended.outcome) == Some(kind)).count();
    let may_again = match vain(outcome) {
        None => false,
        Some(Vain::Unstarted) => true,
        Some(Vain::Failed) => is_worth(spec, outcome) && before(Vain::Failed) < spec.retry.count as usize,
        Some(Vain::Lost) => {
            // Who is there and says nothing may still run it.
            let is_overdue = matches!(outcome, Outcome::Lost { reason: LostReason::Overdue, .. });
            !is_overdue && spec.on_lost == OnLost::Retry && before(Vain::Lost) < spec.max_lost as usize
        }
    };
    if may_again && !is_cancelling { Next::Again } else { Next::Over }
}

/// The longest that a task is held back after the last of these ends.
pub(crate) fn longest_wait(spec: &TaskSpec, past: &[Ended], outcome: &Outcome) -> Duration {
    let outcomes = past.iter().map(|ended| &ended.outcome).chain([outcome]);
    let (mut failed, mut lost) = (0_u32, 0_u32);
    for vain in outcomes.filter_map(vain) {
        match vain {
            Vain::Failed => failed += 1,
            Vain::Lost => lost += 1,
            Vain::Unstarted => {}
        }
    }
    let doubled = spec.retry.backoff * 2_u32.pow(failed.max(lost).saturating_sub(1));
    doubled.min(spec.retry.max_backoff)
}

fn vain(outcome: &Outcome) -> Option<Vain> {
    match outcome {
        Outcome::Exited { code: 0 } | Outcome::Cancelled { .. } => None,
        Outcome::Exited { .. }
        | Outcome::Signaled { .. }
        | Outcome::OutOfMemory
        | Outcome::CouldNotStart { .. }
        | Outcome::TimedOut => Some(Vain::Failed),
        Outcome::Lost { started: Started::No, .. } => Some(Vain::Unstarted),
        Outcome::Lost { started: Started::Yes | Started::Unknown, .. } => Some(Vain::Lost),
    }
}

/// Whether a failure is one that its task's policy names.
fn is_worth(spec: &TaskSpec, outcome: &Outcome) -> bool {
    let codes = &spec.retry.exit_codes;
    codes.is_empty() || matches!(outcome, Outcome::Exited { code } if codes.contains(code))
}
