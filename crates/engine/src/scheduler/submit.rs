//! Submitting: once for every key, and only as much as may wait.

use std::sync::Arc;

use super::{LiveJob, Scheduler};
use crate::event::{Answer, Effects, Record};
use crate::id::JobId;
use crate::job::{Job, Submission};
use crate::ranges::Ranges;
use crate::time::Time;

impl Scheduler {
    /// Takes a submission in, unless it was taken in before: `known` is what is on disk under its key, and what is
    /// not on disk yet stands in the same effects.
    pub(super) fn submit(
        &mut self,
        now: Time,
        submission: Submission,
        known: Option<Arc<Job>>,
        effects: &mut Effects,
    ) -> Answer {
        let known = known.or_else(|| effects.keys.get(submission.key.as_ref()?).cloned());
        if let Some(known) = known {
            return match known.submission.is_same(&submission) {
                true => Answer::Repeated(known.id),
                false => Answer::KeyTaken(known.id),
            };
        }
        let bytes = self.spec_bytes.saturating_add(submission.spec.bytes());
        if self.jobs.len() >= self.limits.max_jobs || bytes > self.limits.max_spec_bytes {
            return Answer::QueueFull;
        }
        let id = self.next_job;
        self.next_job = JobId(id.0 + 1);
        let waiting = Ranges::new(0..submission.count);
        let job = Arc::new(Job { id, submitted: now, submission });
        if let Some(key) = &job.submission.key {
            effects.keys.insert(key.clone(), job.clone());
        }
        effects.records.push(Record::Submitted(job.clone()));
        self.insert_job(LiveJob { job, waiting, again: Default::default(), tally: Default::default() });
        self.place_job(now, id, effects);
        Answer::Submitted(id)
    }
}
