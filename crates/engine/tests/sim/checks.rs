//! What must hold, seen from outside: by the processes that there are, and by what the store has.

use sortie_engine::{AttemptId, Ended, Exit, LostReason, Outcome, QueueOutcome, Record, Started, TaskId};

use crate::world::World;

impl World {
    /// P3: no other process of the task runs, none has, and its end is not on record.
    pub(crate) fn check_begin(&self, attempt: AttemptId) {
        let task = attempt.task;
        let others = self.processes.range(task.attempt(0)..=task.attempt(u32::MAX));
        let live = others.clone().find(|(_, process)| process.ended.is_none());
        assert!(live.is_none(), "{attempt} starts while {live:?} runs");
        assert_eq!(others.count(), 0, "{attempt} has run before");
        assert!(!self.store.ended.contains_key(&task), "{attempt} starts after its end: {:?}", self.store.ended[&task]);
    }

    /// A final state is the truth: whatever it says, no process of the task is alive from then on.
    pub(crate) fn check_record(&self, record: &Record) {
        match record {
            Record::Ended(task, ended) => self.check_ended(*task, ended),
            Record::EndedInQueue { job, range, at: _, outcome } => {
                for task in range.clone().map(|index| job.task(index)) {
                    assert!(!self.processes.contains_key(&task.attempt(1)), "{task} ends in the queue and ran");
                }
                let asked = !matches!(outcome, QueueOutcome::Cancelled { .. }) || self.cancelled.contains(job);
                assert!(asked, "nobody cancelled {job}");
            }
            Record::Submitted(_)
            | Record::Placed(..)
            | Record::Moved(..)
            | Record::Counted { .. }
            | Record::Worker(_) => {}
        }
    }

    fn check_ended(&self, task: TaskId, ended: &Ended) {
        let attempt = task.attempt(ended.attempt.number);
        let process = self.processes.get(&attempt);
        assert!(process.is_none_or(|process| process.ended.is_some()), "{attempt} is alive: {ended:?}, {process:?}");
        let ran = process.is_some();
        let exit = process.and_then(|process| process.ended).map(|(_, exit)| exit);
        let touched = process.is_some_and(|process| process.touched);
        let ran_for = process.and_then(|p| p.ended.map(|(at, _)| at - p.began)).unwrap_or_default();
        let timeout = self.store.jobs[&task.job].spec().timeout.as_millis() as u64;
        let is_true = match &ended.outcome {
            Outcome::Exited { code } => exit == Some(Exit::Code(*code)) && !touched,
            Outcome::Signaled { signal } => exit == Some(Exit::Signal(*signal)) && !touched,
            Outcome::CouldNotStart { .. } => !ran && self.unstartable.contains(&attempt),
            Outcome::TimedOut => touched && ran_for * 102 / 100 >= timeout,
            Outcome::Cancelled { by, confirmed } => {
                by == "ann" && self.cancelled.contains(&task.job) && (*confirmed || self.had_fault)
            }
            Outcome::Lost { started, reason } => {
                let started = match started {
                    Started::No => !ran,
                    Started::Yes => ran,
                    Started::Unknown => ended.started.is_none(),
                };
                // Every worker here does what it is told in time, so nothing is ever overdue.
                started && self.had_fault && *reason != LostReason::Overdue
            }
        };
        assert!(is_true, "{attempt}: {ended:?} of {process:?}");
        assert!(ended.started.is_none() || ran, "{attempt} has a start and did not run: {ended:?}");
    }

    /// P2 and P5: what was acknowledged is there, and everything has come to one end.
    pub(crate) fn check_end(&self) {
        for job in &self.acknowledged {
            assert!(self.store.jobs.contains_key(job), "job {job} was acknowledged and is lost");
        }
        for job in self.store.jobs.values() {
            let missing = (0..job.submission.count).find(|index| !self.store.ended.contains_key(&job.id.task(*index)));
            assert_eq!(missing, None, "job {} has ended", job.id);
        }
        let live = self.processes.iter().find(|(_, process)| process.ended.is_none());
        assert!(live.is_none(), "{live:?} is left");
    }
}
