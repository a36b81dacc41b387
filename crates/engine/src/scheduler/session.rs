//! Workers: they join, connect, report, drain and leave.

use super::{Due, Scheduler};
use crate::event::{Answer, CloseReason, Effects, End, Order, Record, Refusal, Report};
use crate::fleet::{Admission, Hello, Link, Worker};
use crate::id::{AttemptId, SessionId, TaskId, WorkerId};
use crate::task::{Active, LostReason, Outcome, Stage, Started};
use crate::time::Time;

impl Scheduler {
    pub(super) fn join(&mut self, now: Time, session: SessionId, hello: Hello, effects: &mut Effects) -> Answer {
        let known = self.fleet.by_name(&hello.name).map(|member| member.worker.clone());
        let link = Link::Joining { session, until: now + self.limits.join_timeout };
        let Some(known) = known else {
            let worker = Worker { id: self.fleet.next_id(), hello, admission: Admission::Open, link };
            self.fleet.insert(worker.clone());
            self.set_link(worker.id, link, effects);
            return Answer::Done;
        };
        if let Some(old) = known.link.session() {
            if known.hello.instance != hello.instance {
                return Answer::Refused(Refusal::NameTaken);
            }
            effects.orders.push((old, Order::Close(CloseReason::Superseded)));
            self.disconnect(now, old, effects);
        }
        self.fleet.update(known.id, |member| member.worker.hello = hello);
        self.set_link(known.id, link, effects);
        Answer::Done
    }

    pub(super) fn connect(&mut self, now: Time, session: SessionId, effects: &mut Effects) -> Answer {
        let Some(worker) = self.fleet.by_session(session).map(|member| &member.worker) else {
            return Answer::Refused(Refusal::NoSession);
        };
        match worker.link {
            Link::Joining { .. } => {}
            Link::Connected { .. } | Link::Leaving { .. } | Link::Gone { .. } => {
                return Answer::Refused(Refusal::NoSession);
            }
        }
        let id = worker.id;
        self.set_link(id, Link::Connected { session, since: now }, effects);
        self.fill_worker(now, id, effects);
        Answer::Done
    }

    pub(super) fn disconnect(&mut self, now: Time, session: SessionId, effects: &mut Effects) {
        let Some(member) = self.fleet.by_session(session) else { return };
        let (id, held) = (member.worker.id, member.held.clone());
        self.set_link(id, Link::Gone { since: now }, effects);
        self.fleet.update(id, |member| member.given_up.clear());
        for task in held {
            let Some(active) = self.active.get(&task) else { continue };
            let outcome = cut_off(active, LostReason::SessionEnded);
            self.release(now, task, outcome, effects);
        }
    }

    pub(super) fn admit(&mut self, now: Time, name: &str, admission: Admission, effects: &mut Effects) -> Answer {
        let Some(id) = self.fleet.by_name(name).map(|member| member.worker.id) else { return Answer::NotLive };
        let changed = self.fleet.update(id, |member| {
            let changed = member.worker.admission != admission;
            member.worker.admission = admission;
            changed.then(|| member.worker.clone())
        });
        effects.records.extend(changed.flatten().map(Record::Worker));
        self.fill_worker(now, id, effects);
        Answer::Done
    }

    pub(super) fn report(&mut self, now: Time, session: SessionId, report: Report, effects: &mut Effects) {
        match report {
            Report::Started(attempt) => self.started(now, session, attempt, effects),
            Report::Ended(attempt, end) => self.ended(now, session, attempt, end, effects),
            Report::Leaving => self.leaving(now, session, effects),
        }
    }

    /// Whether a session may speak about an attempt: it holds it, and no newer one has been made.
    #[must_use]
    pub fn holds(&self, session: SessionId, attempt: AttemptId) -> bool {
        self.held(session, attempt).is_some()
    }

    fn held(&self, session: SessionId, attempt: AttemptId) -> Option<&Active> {
        let worker = self.fleet.by_session(session)?.worker.id;
        let active = self.active.get(&attempt.task)?;
        (active.attempt.worker == worker && active.attempt.number == attempt.number).then_some(active)
    }

    fn started(&mut self, now: Time, session: SessionId, attempt: AttemptId, effects: &mut Effects) {
        let Some(active) = self.held(session, attempt).cloned() else {
            effects.stale_reports += 1;
            effects.orders.push((session, Order::Stop(attempt)));
            return;
        };
        let stage = match active.stage {
            Stage::Assigned => Stage::Running { started: now },
            Stage::Cancelling { started: None, requested, by } => {
                Stage::Cancelling { started: Some(now), requested, by }
            }
            Stage::Running { .. } | Stage::Cancelling { .. } => {
                effects.stale_reports += 1;
                return;
            }
        };
        self.advance(attempt.task, Active { attempt: active.attempt, stage }, effects);
    }

    fn ended(&mut self, now: Time, session: SessionId, attempt: AttemptId, end: End, effects: &mut Effects) {
        let Some(active) = self.held(session, attempt) else {
            effects.stale_reports += 1;
            self.take_back(now, session, attempt, effects);
            return;
        };
        let outcome = outcome(active, end);
        self.end_task(now, attempt.task, outcome, effects);
    }

    /// The answer tells the worker that no order is under way to it any more.
    fn leaving(&mut self, now: Time, session: SessionId, effects: &mut Effects) {
        let worker = self.fleet.by_session(session).map(|member| (member.worker.id, member.worker.link));
        match worker {
            Some((id, Link::Connected { .. })) => {
                self.set_link(id, Link::Leaving { session, since: now }, effects);
                effects.orders.push((session, Order::Drain));
            }
            // A session that has no stream yet keeps its deadline for opening one.
            Some((_, Link::Joining { .. } | Link::Leaving { .. } | Link::Gone { .. })) | None => {
                effects.stale_reports += 1;
            }
        }
    }

    /// Sets a worker's link; the one place that keeps the deadline for joining true.
    pub(super) fn set_link(&mut self, id: WorkerId, link: Link, effects: &mut Effects) {
        let changed = self.fleet.update(id, |member| {
            let old = std::mem::replace(&mut member.worker.link, link);
            (old, member.worker.clone())
        });
        let Some((old, worker)) = changed else { return };
        if let Link::Joining { until, .. } = old {
            self.deadlines.remove(&(until, Due::Join(id)));
        }
        if let Link::Joining { until, .. } = link {
            self.deadlines.insert((until, Due::Join(id)));
        }
        effects.records.push(Record::Worker(worker));
    }

    /// Ends a task whose attempt the master gives up. Its room stays taken until the worker says that it is gone:
    /// a worker with a command that cannot be killed must not be handed the whole queue.
    pub(super) fn give_up(&mut self, now: Time, task: TaskId, reason: LostReason, effects: &mut Effects) {
        let Some(active) = self.active.get(&task) else { return };
        let Some(live) = self.jobs.get(&task.job) else { return };
        let (attempt, slots) = (task.attempt(active.attempt.number), live.job.spec().needs.slots);
        self.order_stop(task, active, effects);
        let outcome = cut_off(active, reason);
        let Some(worker) = self.release(now, task, outcome, effects) else { return };
        self.fleet.update(worker, |member| member.given_up.insert(attempt, slots));
    }

    /// Gives away the room of an attempt that was given up, now that its worker says that it is gone.
    fn take_back(&mut self, now: Time, session: SessionId, attempt: AttemptId, effects: &mut Effects) {
        let Some(id) = self.fleet.by_session(session).map(|member| member.worker.id) else { return };
        if self.fleet.update(id, |member| member.given_up.remove(&attempt)).flatten().is_some() {
            self.fill_worker(now, id, effects);
        }
    }
}

/// What becomes of an attempt that nobody will say anything more about.
pub(super) fn cut_off(active: &Active, reason: LostReason) -> Outcome {
    match &active.stage {
        Stage::Assigned => Outcome::Lost { started: Started::Unknown, reason },
        Stage::Running { .. } => Outcome::Lost { started: Started::Yes, reason },
        Stage::Cancelling { by, .. } => Outcome::Cancelled { by: by.clone(), confirmed: false },
    }
}

fn outcome(active: &Active, end: End) -> Outcome {
    match (end, &active.stage) {
        (End::Exited(code), _) => Outcome::Exited { code },
        (End::Signaled(signal), _) => Outcome::Signaled { signal },
        (End::CouldNotStart { errno, detail }, _) => Outcome::CouldNotStart { errno, detail },
        (End::TimedOut, _) => Outcome::TimedOut,
        // A cancelled attempt that is gone for any other reason than its own end is gone: that is what was asked.
        (End::Stopped | End::WorkerStopped | End::Refused, Stage::Cancelling { by, .. }) => {
            Outcome::Cancelled { by: by.clone(), confirmed: true }
        }
        (End::Refused, Stage::Assigned) => Outcome::Lost { started: Started::No, reason: LostReason::WorkerStopped },
        // A worker that had said that the command ran cannot take that back by a refusal.
        (End::Refused, Stage::Running { .. })
        | (End::Stopped | End::WorkerStopped, Stage::Assigned | Stage::Running { .. }) => {
            Outcome::Lost { started: Started::Yes, reason: LostReason::WorkerStopped }
        }
    }
}
