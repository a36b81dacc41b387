//! Workers: they join, connect, report, drain and leave.

use super::adopt::cut_off;
use super::{Due, Scheduler};
use crate::event::{Answer, CloseReason, Effects, End, Order, Record, Refusal, Report};
use crate::fleet::{Admission, Held, Hello, Link, Member, Worker};
use crate::id::{AttemptId, SessionId, TaskId, WorkerId};
use crate::task::{Active, LostReason, Outcome, Stage, Started, Usage};
use crate::time::Time;

impl Scheduler {
    pub(super) fn join(
        &mut self,
        now: Time,
        session: SessionId,
        hello: Hello,
        introduction: u64,
        held: &[Held],
        effects: &mut Effects,
    ) -> Answer {
        let link = Link::Joining { session, until: now + self.limits.join_timeout };
        let known = self.fleet.by_name(&hello.name).map(|member| (member.worker.clone(), member.introduction));
        let id = match known {
            None => {
                let id = self.fleet.next_id();
                let gone = Link::Gone { since: now };
                self.fleet.insert(Worker { id, hello, incarnation: 1, admission: Admission::Open, link: gone });
                id
            }
            Some((known, last)) => {
                let is_same_process = known.hello.instance == hello.instance;
                if is_same_process && introduction <= last {
                    return Answer::Refused(Refusal::Outdated);
                }
                if let Some(old) = known.link.session() {
                    if !is_same_process {
                        return Answer::Refused(Refusal::NameTaken);
                    }
                    effects.orders.push((old, Order::Close(CloseReason::Superseded)));
                    self.disconnect(now, old, effects);
                }
                self.fleet.update(known.id, |member| {
                    member.worker.hello = hello;
                    member.worker.incarnation += u32::from(!is_same_process);
                });
                known.id
            }
        };
        self.fleet.update(id, |member| member.introduction = introduction);
        let kill = self.adopt(now, id, held, effects);
        self.hear(id, now);
        self.set_link(id, link, effects);
        Answer::Joined { kill }
    }

    pub(super) fn connect(&mut self, now: Time, session: SessionId, effects: &mut Effects) -> Answer {
        let Some(worker) = self.fleet.by_session(session).map(|member| &member.worker) else {
            return Answer::Refused(Refusal::NoSession);
        };
        match worker.link {
            Link::Joining { .. } => {}
            Link::Connected { .. } | Link::Leaving { .. } | Link::Unreachable { .. } | Link::Gone { .. } => {
                return Answer::Refused(Refusal::NoSession);
            }
        }
        let id = worker.id;
        self.set_link(id, Link::Connected { session, since: now }, effects);
        self.repeat_stops(id, effects);
        self.fill_worker(now, id, effects);
        Answer::Done
    }

    /// Ends a session. What its worker holds goes on until the lease has run out.
    pub(super) fn disconnect(&mut self, now: Time, session: SessionId, effects: &mut Effects) {
        let Some(member) = self.fleet.by_session(session) else { return };
        let (id, until) = (member.worker.id, self.lease_end(member.heard));
        let held: Vec<TaskId> = member.held.iter().copied().collect();
        self.fleet.update(id, |member| member.given_up.clear());
        let link = match held.is_empty() || until <= now {
            true => Link::Gone { since: now },
            false => Link::Unreachable { since: now, until },
        };
        self.set_link(id, link, effects);
        for task in held {
            self.cut(now, task, until, effects);
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
            Report::Ended(attempt, end, usage) => self.ended(now, session, attempt, end, usage, effects),
            Report::Leaving => self.leaving(now, session, effects),
            Report::Heartbeat { sent } => self.heartbeat(now, session, sent, effects),
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
        let holds = self.fleet.get(worker).is_some_and(|member| member.held.contains(&attempt.task));
        (holds && active.attempt.number == attempt.number).then_some(active)
    }

    fn started(&mut self, now: Time, session: SessionId, attempt: AttemptId, effects: &mut Effects) {
        let Some(active) = self.held(session, attempt).cloned() else {
            effects.stale_reports += 1;
            effects.orders.push((session, Order::Stop(attempt)));
            return;
        };
        let stage = match &active.stage {
            Stage::Assigned => Stage::Running { started: now },
            Stage::Cancelling { started: None, requested, by, until } => {
                Stage::Cancelling { started: Some(now), requested: *requested, by: by.clone(), until: *until }
            }
            Stage::Running { .. } | Stage::Unreachable { .. } | Stage::Cancelling { .. } => {
                effects.stale_reports += 1;
                return;
            }
        };
        self.advance(attempt.task, Active { stage, ..active }, effects);
    }

    /// Acknowledged in any case: what does not fit will not fit later either.
    fn ended(
        &mut self,
        now: Time,
        session: SessionId,
        attempt: AttemptId,
        end: End,
        usage: Option<Usage>,
        effects: &mut Effects,
    ) {
        if self.fleet.by_session(session).is_some() {
            effects.orders.push((session, Order::Acknowledge(attempt)));
        }
        let Some(active) = self.held(session, attempt) else {
            effects.stale_reports += 1;
            self.take_back(now, session, attempt, effects);
            return;
        };
        let (worker, outcome) = (active.attempt.worker, outcome(active, end));
        // A worker may have presented it before it was ordered: what is gone takes no room of any kind.
        self.fleet.update(worker, |member| member.given_up.remove(&attempt));
        self.end_attempt(now, attempt.task, outcome, usage, effects);
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
            Some((_, Link::Joining { .. } | Link::Leaving { .. } | Link::Unreachable { .. } | Link::Gone { .. }))
            | None => effects.stale_reports += 1,
        }
    }

    fn heartbeat(&mut self, now: Time, session: SessionId, sent: Time, effects: &mut Effects) {
        let member = self.fleet.by_session(session).map(|member| (member.worker.id, member.worker.link));
        match member {
            Some((id, Link::Connected { .. } | Link::Leaving { .. })) => {
                self.hear(id, now);
                effects.orders.push((session, Order::Renew { sent }));
            }
            Some((_, Link::Joining { .. } | Link::Unreachable { .. } | Link::Gone { .. })) | None => {
                effects.stale_reports += 1;
            }
        }
    }

    /// Counts a worker's lease from `now`.
    fn hear(&mut self, id: WorkerId, now: Time) {
        self.change_member(id, |member| member.heard = now);
    }

    /// Sets a worker's link.
    pub(super) fn set_link(&mut self, id: WorkerId, link: Link, effects: &mut Effects) {
        self.change_member(id, |member| member.worker.link = link);
        effects.records.extend(self.fleet.get(id).map(|member| Record::Worker(member.worker.clone())));
    }

    /// Changes what is known of a worker; the one place that keeps its deadline true.
    pub(super) fn change_member(&mut self, id: WorkerId, change: impl FnOnce(&mut Member)) {
        let deadline = |scheduler: &Self| scheduler.fleet.get(id).and_then(|member| scheduler.worker_deadline(member));
        let old = deadline(self);
        self.fleet.update(id, change);
        let new = deadline(self);
        if old != new {
            old.map(|old| self.deadlines.remove(&(old, Due::Worker(id))));
            self.deadlines.extend(new.map(|new| (new, Due::Worker(id))));
        }
    }

    /// Ends a task whose attempt the master gives up. Its room stays taken until the worker says that it is gone:
    /// a worker with a command that cannot be killed must not be handed the whole queue.
    pub(super) fn give_up(&mut self, now: Time, task: TaskId, reason: LostReason, effects: &mut Effects) {
        let Some(active) = self.active.get(&task) else { return };
        let Some(live) = self.jobs.get(&task.job) else { return };
        let (attempt, slots) = (task.attempt(active.attempt.number), live.job.spec().needs.slots);
        self.order_stop(task, active, effects);
        let outcome = cut_off(active, reason);
        let Some(worker) = self.release(now, task, outcome, None, effects) else { return };
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

fn outcome(active: &Active, end: End) -> Outcome {
    // A worker that had said that the command ran cannot take that back by a refusal.
    let started = match (active.started(), &end) {
        (Some(_), _) => Started::Yes,
        (None, End::Refused) => Started::No,
        (None, _) => Started::Unknown,
    };
    // A cancelled attempt that is gone for any other reason than its own end is gone: that is what was asked.
    let cut_short = |reason| match &active.stage {
        Stage::Cancelling { by, .. } => Outcome::Cancelled { by: by.clone(), confirmed: true },
        Stage::Assigned | Stage::Running { .. } | Stage::Unreachable { .. } => Outcome::Lost { started, reason },
    };
    match end {
        End::Exited(code) => Outcome::Exited { code },
        End::Signaled(signal) => Outcome::Signaled { signal },
        End::OutOfMemory => Outcome::OutOfMemory,
        End::CouldNotStart { errno, detail } => Outcome::CouldNotStart { errno, detail },
        End::TimedOut => Outcome::TimedOut,
        End::Stopped | End::WorkerStopped | End::Refused => cut_short(LostReason::WorkerStopped),
        End::LeaseEnded => cut_short(LostReason::LeaseEnded),
        End::Abandoned => cut_short(LostReason::WorkerDied),
    }
}
