//! The invariants, for tests to call after every input.

use std::collections::{BTreeMap, BTreeSet};

use super::{Due, Scheduler};
use crate::fleet::Link;
use crate::id::{TaskId, WorkerId};

impl Scheduler {
    /// Checks every invariant of the state.
    ///
    /// # Errors
    /// The first that does not hold, in words.
    pub fn check(&self) -> Result<(), String> {
        self.fleet.check()?;
        self.check_jobs()?;
        self.check_holders()?;
        self.check_deadlines()?;
        self.check_nothing_placeable()
    }

    /// Every task of a live job waits, is held, or has ended; the queue has the jobs that wait.
    fn check_jobs(&self) -> Result<(), String> {
        for (id, live) in &self.jobs {
            let active = self.active.range(id.task(0)..=id.task(u32::MAX));
            let both = active.clone().find(|(task, _)| live.waiting.contains(task.index));
            if let Some((task, _)) = both {
                return Err(format!("{task} waits and is held"));
            }
            let held = u32::try_from(active.count()).unwrap_or(u32::MAX);
            let (waiting, ended, count) = (live.waiting.len(), live.tally.total(), live.job.submission.count);
            if waiting + held + ended != count || ended == count {
                return Err(format!("job {id} of {count}: {waiting} wait, {held} are held, {ended} have ended"));
            }
        }
        let queued: BTreeSet<_> = self.queue.iter().map(|(needs, job)| (needs.clone(), job)).collect();
        let waiting = self.jobs.values().filter(|live| !live.waiting.is_empty());
        let waiting: BTreeSet<_> = waiting.map(|live| (live.job.spec().needs.clone(), live.job.id)).collect();
        if queued != waiting {
            return Err(format!("the queue has {queued:?}, the jobs say {waiting:?}"));
        }
        Ok(())
    }

    /// A worker holds what the attempts say, within its slots while it has a session, and nothing once it is gone.
    fn check_holders(&self) -> Result<(), String> {
        let mut held: BTreeMap<WorkerId, (u32, BTreeSet<TaskId>)> = BTreeMap::new();
        for (task, active) in &self.active {
            let Some(live) = self.jobs.get(&task.job) else { return Err(format!("{task} is held and has no job")) };
            let (used, tasks) = held.entry(active.attempt.worker).or_default();
            let orphan = self.fleet.get(active.attempt.worker).is_some_and(|member| member.orphans.contains(task));
            *used += if orphan { 0 } else { live.job.spec().needs.slots };
            tasks.insert(*task);
        }
        for member in self.fleet.iter() {
            let worker = &member.worker;
            let (used, tasks) = held.remove(&worker.id).unwrap_or_default();
            let known: BTreeSet<TaskId> = member.held.union(&member.orphans).copied().collect();
            if (member.used, &known) != (used, &tasks) || !member.held.is_disjoint(&member.orphans) {
                return Err(format!("worker {} counts {} slots, its attempts {used}", worker.id, member.used));
            }
            let taken = used.saturating_add(member.given_up_slots());
            // A new process knows of no orphans: until the worker is back, they are among what it holds.
            let there = worker.link.session().is_some();
            if (there && used > worker.hello.slots) || (taken > 0 && matches!(worker.link, Link::Gone { .. })) {
                return Err(format!("{taken} slots are taken of worker {worker:?}"));
            }
        }
        match held.into_keys().next() {
            Some(worker) => Err(format!("worker {worker} holds tasks and is unknown")),
            None => Ok(()),
        }
    }

    /// Every state that is not final has exactly one deadline.
    fn check_deadlines(&self) -> Result<(), String> {
        let mut expected = BTreeSet::new();
        for (id, live) in &self.jobs {
            if !live.waiting.is_empty() {
                expected.insert((live.job.queue_deadline(), Due::Queue(*id)));
            }
        }
        for (task, active) in &self.active {
            let Some(live) = self.jobs.get(&task.job) else { continue };
            expected.insert((self.attempt_deadline(&live.job, active), Due::Attempt(*task)));
        }
        for member in self.fleet.iter() {
            let deadline = self.worker_deadline(member);
            expected.extend(deadline.map(|deadline| (deadline, Due::Worker(member.worker.id))));
        }
        match expected == self.deadlines {
            true => Ok(()),
            false => Err(format!("deadlines are {:?}, states need {expected:?}", self.deadlines)),
        }
    }

    /// No waiting task fits a free worker.
    fn check_nothing_placeable(&self) -> Result<(), String> {
        let placeable = self.queue.classes().find_map(|needs| self.fleet.pick(needs).map(|worker| (needs, worker)));
        match placeable {
            Some((needs, worker)) => Err(format!("tasks that need {needs:?} wait, and worker {worker} has room")),
            None => Ok(()),
        }
    }
}
