//! What has happened in the histories: a simulation in which nothing goes wrong any more proves nothing.

use std::collections::BTreeMap;

/// How often each thing has happened.
#[derive(Debug, Default)]
pub(crate) struct Seen(BTreeMap<&'static str, u64>);

/// What must happen sooner or later.
const EXPECTED: [&str; 36] = [
    "a key is taken",
    "a machine dies",
    "a machine is cut off",
    "a name has changed hands, and something runs on",
    "a name is taken",
    "a report is about an older attempt at what its worker holds",
    "a report is stale",
    "a session is over before its stream is opened",
    "a start is withheld",
    "a submit is known as a repeat",
    "a task is given up that was tried",
    "a task is tried again",
    "a worker comes back with what is over and not gone",
    "a worker is frozen",
    "a worker is frozen for long",
    "a worker is stopped",
    "a worker's process is killed",
    "an introduction is outdated",
    "cancelled",
    "cancelled, unconfirmed",
    "could not start",
    "failed",
    "lost at the lease's end",
    "lost at the lease's end, perhaps started",
    "lost with a worker that died",
    "lost with a worker that was stopped",
    "lost with its order",
    "out of memory",
    "overdue",
    "overdue, perhaps started",
    "refused",
    "succeeded",
    "the disk stalls",
    "the master is killed",
    "the queue is full",
    "timed out",
];

impl Seen {
    pub(crate) fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn add_all(&mut self, other: Seen) {
        for (what, count) in other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// What has never happened.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        EXPECTED.into_iter().filter(|what| !self.0.contains_key(what)).collect()
    }
}
