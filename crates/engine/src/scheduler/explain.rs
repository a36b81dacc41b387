//! Why a task is not running, computed from the scheduler's own state.

use super::Scheduler;
use crate::fleet::{Admission, Link, Member};
use crate::id::TaskId;
use crate::task::StateName;
use crate::time::Time;

/// The most tasks ahead that are counted, so that an answer costs little.
const MAX_AHEAD: u32 = 100_000;

/// Why a task is where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The task's state.
    pub state: StateName,
    /// The reason.
    pub why: Why,
    /// Waiting tasks with the same needs that go first; counted up to 100,000.
    pub ahead: u32,
    /// Connected workers.
    pub connected: u32,
    /// Of these, how many the selector matches.
    pub matching: u32,
    /// Of these, how many have as many slots in all as the task takes.
    pub large_enough: u32,
    /// Of these, how many are not draining.
    pub open: u32,
}

/// The first thing that keeps a task from running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It does not wait: a worker holds it.
    Held,
    /// Its last attempt has ended, and it is held back before the next.
    HeldBack {
        /// Until when.
        until: Time,
    },
    /// No worker is connected.
    NoWorker,
    /// No connected worker has the labels that it asks for.
    NoMatch,
    /// No matching worker has that many slots.
    TooSmall,
    /// Every worker that could run it is draining.
    Draining,
    /// Every worker that could run it is busy.
    Busy,
}

impl Scheduler {
    /// Why a task is not running; `None` if it has ended or never was.
    #[must_use]
    pub fn explain(&self, task: TaskId) -> Option<Explanation> {
        let live = self.jobs.get(&task.job)?;
        let needs = &live.job.spec().needs;
        let count =
            |fits: &dyn Fn(&Member) -> bool| -> u32 { self.fleet.iter().map(|member| u32::from(fits(member))).sum() };
        let connected = |m: &Member| matches!(m.worker.link, Link::Connected { .. });
        let matching = |m: &Member| connected(m) && needs.selector.matches(&m.worker.hello.labels);
        let large_enough = |m: &Member| matching(m) && m.worker.hello.slots >= needs.slots;
        let open = |m: &Member| large_enough(m) && m.worker.admission == Admission::Open;
        let held = self.active.get(&task);
        let again = live.again.get(&task.index);
        if held.is_none() && again.is_none() && !live.waiting.contains(task.index) {
            return None;
        }
        let held_back = again.filter(|_| !self.ready.contains(&task)).map(|again| again.not_before);
        let mut explanation = Explanation {
            state: held.map_or(StateName::Queued, |active| active.name()),
            why: Why::Held,
            ahead: if held.is_some() || held_back.is_some() { 0 } else { self.ahead(task) },
            connected: count(&connected),
            matching: count(&matching),
            large_enough: count(&large_enough),
            open: count(&open),
        };
        match (held, held_back) {
            (Some(_), _) => {}
            (None, Some(until)) => explanation.why = Why::HeldBack { until },
            (None, None) => explanation.why = explanation.waits_for(),
        }
        Some(explanation)
    }

    fn ahead(&self, task: TaskId) -> u32 {
        let Some(live) = self.jobs.get(&task.job) else { return 0 };
        let ready_before =
            |end: TaskId| u32::try_from(self.ready.range(end.job.task(0)..end).count()).unwrap_or(u32::MAX);
        let own = match self.ready.contains(&task) {
            true => ready_before(task),
            false => {
                let fresh = live.waiting.iter().map(|range| task.index.min(range.end).saturating_sub(range.start));
                fresh.sum::<u32>().saturating_add(ready_before(task.job.task(u32::MAX)))
            }
        };
        let mut ahead = own.min(MAX_AHEAD);
        for job in self.queue.ahead(task.job, live.job.spec()) {
            let fresh = self.jobs.get(&job).map_or(0, |live| live.waiting.len());
            ahead = ahead.saturating_add(fresh).saturating_add(ready_before(job.task(u32::MAX)));
            if ahead >= MAX_AHEAD {
                return MAX_AHEAD;
            }
        }
        ahead
    }
}

impl Explanation {
    fn waits_for(&self) -> Why {
        match self {
            Explanation { connected: 0, .. } => Why::NoWorker,
            Explanation { matching: 0, .. } => Why::NoMatch,
            Explanation { large_enough: 0, .. } => Why::TooSmall,
            Explanation { open: 0, .. } => Why::Draining,
            Explanation { .. } => Why::Busy,
        }
    }
}
