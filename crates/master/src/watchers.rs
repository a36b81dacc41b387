//! Who waits for a job to change.

use std::collections::HashMap;

use sortie_engine::{JobId, Record};
use tokio::sync::watch;

/// The jobs that somebody watches. A watcher learns that something has changed, and reads what from the store.
#[derive(Debug, Default)]
pub(crate) struct Watchers(HashMap<JobId, watch::Sender<()>>);

impl Watchers {
    /// A receiver that wakes at every change of a live job, and closes at its end.
    pub(crate) fn subscribe(&mut self, job: JobId) -> watch::Receiver<()> {
        self.0.entry(job).or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    /// Wakes the watchers of `job`; those of an ended one for the last time.
    pub(crate) fn wake(&mut self, change: Change) {
        match change {
            Change::Moved(job) => {
                if self.0.get(&job).is_some_and(|watchers| watchers.send(()).is_err()) {
                    self.0.remove(&job);
                }
            }
            Change::Ended(job) => _ = self.0.remove(&job),
        }
    }
}

/// What a record means to the watchers of its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A task moved on.
    Moved(JobId),
    /// The last task ended.
    Ended(JobId),
}

impl Change {
    /// What `record` means to watchers, if anything.
    pub(crate) fn of(record: &Record) -> Option<Change> {
        match record {
            Record::Placed(task, _) | Record::Moved(task, _) | Record::Retried(task, ..) => {
                Some(Change::Moved(task.job))
            }
            Record::Counted { job, ended: None, .. } => Some(Change::Moved(*job)),
            Record::Counted { job, ended: Some(_), .. } => Some(Change::Ended(*job)),
            // An end is always counted, and a job that was just submitted has no watchers.
            Record::Ended(..)
            | Record::GivenUp { .. }
            | Record::EndedInQueue { .. }
            | Record::Submitted(_)
            | Record::Worker(_) => None,
        }
    }
}
