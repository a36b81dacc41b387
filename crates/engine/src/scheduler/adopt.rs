//! Sessions that end and come back: what a worker holds is cut off, adopted, or orphaned.
//!
//! A worker keeps its attempts while its lease lasts, and kills them when it ends. So an attempt that is cut off is
//! given up only when the lease, as the master counts it, and a margin have run out; a worker that is back in time
//! presents what it holds, and goes on with it.

use std::collections::BTreeMap;

use super::Scheduler;
use crate::event::Effects;
use crate::fleet::Held;
use crate::id::{AttemptId, TaskId, WorkerId};
use crate::task::{Active, LostReason, Outcome, Stage, Started};
use crate::time::Time;

impl Scheduler {
    /// Cuts an attempt off from the master. Its command may go on until the lease has run out; then it is lost.
    pub(super) fn cut(&mut self, now: Time, task: TaskId, until: Time, effects: &mut Effects) {
        let Some(active) = self.active.get(&task).cloned() else { return };
        if until <= now {
            let outcome = cut_off(&active, LostReason::LeaseEnded);
            self.release(now, task, outcome, None, effects);
            return;
        }
        let started = active.started();
        let stage = match &active.stage {
            Stage::Assigned | Stage::Running { .. } | Stage::Unreachable { .. } => {
                Stage::Unreachable { started, until }
            }
            Stage::Cancelling { requested, by, .. } => {
                Stage::Cancelling { started, requested: *requested, by: by.clone(), until }
            }
        };
        self.advance(task, Active { stage, ..active }, effects);
    }

    /// Takes up what a worker that joins still holds; what it must kill.
    ///
    /// What an earlier session held and this one does not present is an orphan: its command may go on where that
    /// session was, until that lease has run out. An orphan that is presented is one no more: an attempt is ordered
    /// once, so who presents it has it. A process that does not present what it was given has never received the order.
    pub(super) fn adopt(
        &mut self,
        now: Time,
        id: WorkerId,
        presented: &[Held],
        effects: &mut Effects,
    ) -> Vec<AttemptId> {
        let Some(member) = self.fleet.get(id) else { return Vec::new() };
        let mut presented: BTreeMap<AttemptId, Held> = presented.iter().map(|held| (held.attempt, *held)).collect();
        let mut room = member.worker.hello.slots;
        let earlier: Vec<TaskId> = member.held.union(&member.orphans).copied().collect();
        self.fleet.update(id, |member| {
            member.orphans.extend(std::mem::take(&mut member.held));
            member.used = 0;
            member.patience = now + self.limits.start_timeout;
        });
        for task in earlier {
            let Some(active) = self.active.get(&task) else { continue };
            let attempt = task.attempt(active.attempt.number);
            let slots = self.jobs.get(&task.job).map_or(0, |live| live.job.spec().needs.slots);
            let Some(held) = presented.get(&attempt).copied() else {
                self.unreceived(now, task, effects);
                continue;
            };
            // What has ended needs no room: a worker that has come back with fewer slots can still say how.
            if held.slots > 0 && slots > room {
                continue;
            }
            presented.remove(&attempt);
            room = room.saturating_sub(slots);
            self.fleet.update(id, |member| {
                member.orphans.remove(&task);
                member.held.insert(task);
                member.used += slots;
            });
            self.take_up(now, task, held, effects);
        }
        let unknown = presented.values().filter(|held| held.slots > 0).map(|held| (held.attempt, held.slots));
        self.fleet.update(id, |member| member.given_up = unknown.collect());
        presented.into_keys().collect()
    }

    /// The worker knows nothing of an attempt. If this very process was given it and has not said that it started, then
    /// the order was lost with the session that it was to go down.
    fn unreceived(&mut self, now: Time, task: TaskId, effects: &mut Effects) {
        let Some(active) = self.active.get(&task) else { return };
        let process = self.fleet.get(active.attempt.worker).map(|member| member.worker.incarnation);
        if process != Some(active.attempt.incarnation) || active.started().is_some() {
            return;
        }
        let outcome = match &active.stage {
            Stage::Assigned | Stage::Running { .. } | Stage::Unreachable { .. } => {
                Outcome::Lost { started: Started::No, reason: LostReason::OrderLost }
            }
            Stage::Cancelling { by, .. } => Outcome::Cancelled { by: by.clone(), confirmed: true },
        };
        self.release(now, task, outcome, None, effects);
    }

    /// Goes on with an attempt where its session left it.
    fn take_up(&mut self, now: Time, task: TaskId, held: Held, effects: &mut Effects) {
        let Some(live) = self.jobs.get(&task.job) else { return };
        let Some(active) = self.active.get(&task).cloned() else { return };
        let started = active.started().or(held.started.then_some(now));
        let stage = match (&active.stage, started) {
            (Stage::Cancelling { requested, by, .. }, started) => {
                let until = self.stop_deadline(now, &live.job);
                Stage::Cancelling { started, requested: *requested, by: by.clone(), until }
            }
            (Stage::Assigned | Stage::Running { .. } | Stage::Unreachable { .. }, Some(started)) => {
                Stage::Running { started }
            }
            (Stage::Assigned | Stage::Running { .. } | Stage::Unreachable { .. }, None) => Stage::Assigned,
        };
        self.advance(task, Active { stage, ..active }, effects);
    }

    /// Whether nobody can be told anything about an attempt: its session is over.
    pub(super) fn is_cut_off(&self, task: TaskId) -> bool {
        let holder = self.active.get(&task).and_then(|active| self.fleet.get(active.attempt.worker));
        holder.is_none_or(|member| member.orphans.contains(&task) || member.worker.link.session().is_none())
    }

    /// Tells a worker that is back what it was to stop before.
    pub(super) fn repeat_stops(&self, id: WorkerId, effects: &mut Effects) {
        let held = self.fleet.get(id).into_iter().flat_map(|member| member.held.iter());
        for task in held {
            let Some(active) = self.active.get(task) else { continue };
            match active.stage {
                Stage::Cancelling { .. } => self.order_stop(*task, active, effects),
                Stage::Assigned | Stage::Running { .. } | Stage::Unreachable { .. } => {}
            }
        }
    }
}

/// What becomes of an attempt that nobody will say anything more about.
pub(super) fn cut_off(active: &Active, reason: LostReason) -> Outcome {
    let started = if active.started().is_some() { Started::Yes } else { Started::Unknown };
    match &active.stage {
        Stage::Assigned | Stage::Running { .. } | Stage::Unreachable { .. } => Outcome::Lost { started, reason },
        Stage::Cancelling { by, .. } => Outcome::Cancelled { by: by.clone(), confirmed: false },
    }
}
