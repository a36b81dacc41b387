//! The invariants, for tests to call after every input.

use std::collections::{BTreeMap, BTreeSet};

use super::again::{Patience, again_deadline};
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
            let waits = |index: u32| live.waiting.contains(index) || live.again.contains_key(&index);
            if let Some((task, _)) = active.clone().find(|(task, _)| waits(task.index)) {
                return Err(format!("{task} waits and is held"));
            }
            if let Some(index) = live.again.keys().find(|index| live.waiting.contains(**index)) {
                return Err(format!("{} waits for its first attempt and for another one", id.task(*index)));
            }
            let held = u32::try_from(active.count()).unwrap_or(u32::MAX);
            let again = u32::try_from(live.again.len()).unwrap_or(u32::MAX);
            let (waiting, ended, count) = (live.waiting.len() + again, live.tally.total(), live.job.submission.count);
            if waiting + held + ended != count || ended == count {
                return Err(format!("job {id} of {count}: {waiting} wait, {held} are held, {ended} have ended"));
            }
        }
        let queued: BTreeSet<_> = self.queue.iter().map(|(needs, job)| (needs.clone(), job)).collect();
        if let Some(task) = self.ready.iter().find(|task| self.again(**task).is_none()) {
            return Err(format!("{task} is ready and waits for no other attempt"));
        }
        let bytes: usize = self.jobs.values().map(|live| live.job.spec().bytes()).sum();
        if bytes != self.spec_bytes {
            return Err(format!("specs take {bytes} bytes, {} are counted", self.spec_bytes));
        }
        let waiting = self.jobs.values().filter(|live| self.is_waiting(live.job.id));
        let waiting: BTreeSet<_> = waiting.map(|live| (live.job.spec().needs.clone(), live.job.id)).collect();
        if queued != waiting {
            return Err(format!("the queue has {queued:?}, the jobs say {waiting:?}"));
        }
        Ok(())
    }

    /// A worker holds what the attempts say, and nothing once it is gone.
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
            if taken > 0 && matches!(worker.link, Link::Gone { .. }) {
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
            for (index, again) in &live.again {
                let task = id.task(*index);
                let patience = if self.ready.contains(&task) { Patience::Ready } else { Patience::HeldBack };
                expected.insert((again_deadline(&live.job, again, patience), Due::Again(task)));
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
