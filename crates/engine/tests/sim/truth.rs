//! P4 and P7: the recorded end of an attempt is what has happened to it.

use std::time::Duration;

use sortie_engine::{AttemptId, Ended, Exit, Limits, LostReason, Outcome, SessionId, Started, TaskId};

use crate::clients::SOMEBODY;
use crate::faults::Kind;
use crate::process::{Process, usage_of};
use crate::world::World;

impl World {
    pub(crate) fn check_true(&mut self, task: TaskId, ended: &Ended) {
        let attempt = task.attempt(ended.attempt.number);
        let process = self.processes.get(&attempt);
        let is_true = match &ended.outcome {
            Outcome::Exited { code } => is_told(process, ended, Exit::Code(*code)),
            Outcome::Signaled { signal } => is_told(process, ended, Exit::Signal(*signal)),
            Outcome::OutOfMemory => is_told(process, ended, Exit::OutOfMemory),
            Outcome::CouldNotStart { .. } => process.is_none() && self.unstartable.contains(&attempt),
            Outcome::TimedOut => self.has_timed_out(task, process, ended),
            Outcome::Cancelled { by, confirmed } => {
                by == SOMEBODY
                    && self.clients.cancelled.contains_key(&task)
                    && if *confirmed { is_gone(process) } else { self.is_given_up(attempt, process) }
            }
            Outcome::Lost { started, reason } => self.is_lost(attempt, process, ended, *started, *reason),
        };
        assert!(is_true, "{attempt}: {ended:?} of {process:?}");
        assert!(ended.started.is_none() || process.is_some(), "{attempt} has a start and did not run: {ended:?}");
        self.note(attempt, &ended.outcome);
    }

    /// The worker has stopped it, not before its time.
    fn has_timed_out(&self, task: TaskId, process: Option<&Process>, ended: &Ended) -> bool {
        let Some(process) = process.filter(|process| process.touched) else { return false };
        let Some(gone) = process.gone else { return false };
        ended.usage == Some(usage_of(process)) && self.is_past(process.began, gone, self.timeout(task))
    }

    /// Whoever is not there cannot run it any more; who is there has not said in time that it is gone.
    fn is_given_up(&self, attempt: AttemptId, process: Option<&Process>) -> bool {
        let running = process.filter(|process| self.is_running(process));
        let is_silent = |process| self.is_stop_overdue(attempt.task) && self.is_hindered(process);
        self.kind.is_rough() && running.is_none_or(is_silent)
    }

    /// Whether a command that runs on has been told to stop, or its worker could not be told.
    fn is_hindered(&self, process: &Process) -> bool {
        let agent = self.machines[process.machine].agent.as_ref().filter(|agent| agent.life == process.life);
        let connection = agent.and_then(|agent| agent.link.connection());
        let is_late = connection.is_none_or(|id| self.network.is_late(id, self.now));
        let is_frozen = agent.is_some_and(|agent| agent.frozen_until > self.now);
        process.touched || is_late || is_frozen
    }

    fn is_stop_overdue(&self, task: TaskId) -> bool {
        let asked = self.clients.cancelled.get(&task).copied();
        let patience = self.store.jobs[&task.job].spec().kill_grace + Limits::default().stop_margin;
        asked.is_some_and(|asked| self.is_past(asked, self.now, patience))
    }

    fn is_lost(
        &self,
        attempt: AttemptId,
        process: Option<&Process>,
        ended: &Ended,
        started: Started,
        reason: LostReason,
    ) -> bool {
        let is_running = process.is_some_and(|process| self.is_running(process));
        let is_cause = match reason {
            // Nothing is given to a worker whose time is over.
            LostReason::LeaseEnded => !is_running && self.placed[&attempt] < self.now,
            LostReason::WorkerStopped | LostReason::WorkerDied | LostReason::OrderLost => is_gone(process),
            LostReason::Overdue => self.is_overdue(attempt, process),
        };
        let is_start = match started {
            Started::No => process.is_none(),
            Started::Yes => process.is_some(),
            Started::Unknown => ended.started.is_none() && !self.is_presented(attempt, ended),
        };
        let is_possible = match self.kind {
            Kind::Calm => false,
            Kind::Upgrades => started == Started::No,
            Kind::Rough | Kind::Frozen | Kind::Hanging => true,
        };
        is_cause && is_start && is_possible
    }

    /// Whether the worker that is there has said when it joined that the command had started.
    fn is_presented(&self, attempt: AttemptId, ended: &Ended) -> bool {
        let session = self.store.workers[&ended.attempt.worker].link.session();
        let presented = session.map(|SessionId(id)| &self.network.get(id).presented);
        presented.is_some_and(|held| held.iter().any(|held| held.attempt == attempt && held.started))
    }

    /// The worker has not said in time that it has started it, or that it is gone.
    fn is_overdue(&self, attempt: AttemptId, process: Option<&Process>) -> bool {
        let limits = Limits::default();
        let spec = self.store.jobs[&attempt.task.job].spec();
        let longest = self.timeout(attempt.task) + spec.kill_grace + limits.stop_margin;
        let is_late = process.is_some_and(|process| self.is_past(process.began, self.now, longest));
        is_late || self.is_past(self.placed[&attempt], self.now, limits.start_timeout)
    }

    fn timeout(&self, task: TaskId) -> Duration {
        self.store.jobs[&task.job].spec().timeout
    }

    /// Whether so much time has passed by any clock that there is.
    fn is_past(&self, from: u64, to: u64, wait: Duration) -> bool {
        u128::from(to - from) * 102 / 100 >= wait.as_millis()
    }

    /// What nobody has confirmed may still run, or begin to.
    fn note(&mut self, attempt: AttemptId, outcome: &Outcome) {
        match outcome {
            Outcome::Lost { reason, started } => {
                if *reason == LostReason::Overdue {
                    self.unproven.insert(attempt);
                }
                self.saw(lost_name(*reason, *started));
            }
            Outcome::Cancelled { confirmed: false, .. } => {
                if self.is_stop_overdue(attempt.task) {
                    self.unproven.insert(attempt);
                }
                self.saw("cancelled, unconfirmed");
            }
            Outcome::Cancelled { confirmed: true, .. } => self.saw("cancelled"),
            Outcome::TimedOut => self.saw("timed out"),
            Outcome::OutOfMemory => self.saw("out of memory"),
            Outcome::CouldNotStart { .. } => self.saw("could not start"),
            Outcome::Exited { code: 0 } => self.saw("succeeded"),
            Outcome::Exited { .. } | Outcome::Signaled { .. } => self.saw("failed"),
        }
    }
}

/// It ended by itself, with all that it started, and this is what it used.
fn is_told(process: Option<&Process>, ended: &Ended, exit: Exit) -> bool {
    let by_itself = |process: &&Process| process.exit == Some(exit) && !process.touched && process.gone.is_some();
    process.filter(by_itself).is_some_and(|process| ended.usage == Some(usage_of(process)))
}

fn is_gone(process: Option<&Process>) -> bool {
    process.is_none_or(|process| process.gone.is_some())
}

fn lost_name(reason: LostReason, started: Started) -> &'static str {
    match (reason, started) {
        (LostReason::LeaseEnded, Started::Unknown) => "lost at the lease's end, perhaps started",
        (LostReason::LeaseEnded, _) => "lost at the lease's end",
        (LostReason::WorkerStopped, Started::No) => "refused",
        (LostReason::WorkerStopped, _) => "lost with a worker that was stopped",
        (LostReason::WorkerDied, _) => "lost with a worker that died",
        (LostReason::OrderLost, _) => "lost with its order",
        (LostReason::Overdue, Started::Unknown) => "overdue, perhaps started",
        (LostReason::Overdue, _) => "overdue",
    }
}
