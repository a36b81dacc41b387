//! What must hold at any time, seen from outside: by the processes that there are, and by what the store has.

use sortie_engine::{Active, AttemptId, CloseReason, Order, Scheduler, SessionId, Snapshot, Stage};

use crate::faults::Kind;
use crate::process::Process;
use crate::store::State;
use crate::world::World;

impl World {
    /// P3: nothing else of the task runs, and this attempt neither has run nor is over.
    pub(crate) fn check_begin(&self, attempt: AttemptId, index: usize) {
        let task = attempt.task;
        assert!(!self.processes.contains_key(&attempt), "{attempt} has run before");
        let others = self.processes.range(task.attempt(0)..=task.attempt(u32::MAX));
        let running = others.into_iter().find(|(_, process)| self.is_running(process));
        let is_excused = self.is_excused(index);
        assert!(is_excused || running.is_none(), "{attempt} begins while {running:?} runs");
        let end = self.store.end_of(attempt).filter(|_| !self.unproven.contains(&attempt));
        assert!(is_excused || end.is_none(), "{attempt} begins and is over: {end:?}");
    }

    /// Whether any of a command still does something, and may not be excused.
    pub(crate) fn is_running(&self, process: &Process) -> bool {
        process.stopped.is_none() && !self.is_excused(process.machine)
    }

    /// P3's exception: a worker that is frozen for longer than its lease cannot kill what it runs.
    fn is_excused(&self, index: usize) -> bool {
        self.kind == Kind::Frozen && self.now <= self.machines[index].excused_until
    }

    /// What the scheduler itself can say.
    pub(crate) fn check_scheduler(&self) {
        assert_eq!(self.scheduler().map(Scheduler::check), Some(Ok(())));
    }

    /// P5: once what is due has been done, no task is past its deadline.
    pub(crate) fn check_gauge(&self) {
        let now = self.master.clock.at(self.now);
        assert_eq!(self.scheduler().map(|scheduler| scheduler.overdue(now)), Some(0), "tasks past their deadline");
    }

    /// P8: what is on disk is all that another process needs to go on.
    pub(crate) fn check_snapshot(&mut self) {
        if !self.rng.chance(100) {
            return;
        }
        let Some(live) = self.scheduler().map(Scheduler::snapshot) else { return };
        assert_same(&self.store.snapshot(), &live);
        let restored = Scheduler::restore(self.master.limits.clone(), 0, live.clone());
        assert_same(&restored.snapshot(), &live);
    }

    /// Nothing is turned away while there is room.
    pub(crate) fn check_full(&mut self) {
        self.saw("the queue is full");
        let Some(live) = self.scheduler().map(Scheduler::snapshot) else { return };
        let bytes: usize = live.jobs.iter().map(|live| live.job.spec().bytes()).sum();
        // Specs here are all about as large.
        let each = live.jobs.iter().map(|live| live.job.spec().bytes()).max().unwrap_or_default();
        let limits = &self.master.limits;
        let is_full = live.jobs.len() >= limits.max_jobs || bytes + each + 100 > limits.max_spec_bytes;
        assert!(is_full, "{} jobs of {bytes} bytes are too many for {limits:?}", live.jobs.len());
    }

    /// P2: a worker forgets only what is on record.
    pub(crate) fn check_acknowledged(&self, attempt: AttemptId) {
        assert!(self.store.end_of(attempt).is_some(), "the end of {attempt} is acknowledged and on no record");
    }

    /// P3 and P7: a worker that comes back must kill, or forget, all that is over.
    pub(crate) fn check_joined(&self, id: u64, kill: &[AttemptId]) {
        let presented = self.network.get(id).presented.iter().map(|held| held.attempt);
        let mut over = presented.filter(|attempt| self.store.end_of(*attempt).is_some());
        let missed = over.find(|attempt| !kill.contains(attempt));
        assert_eq!(missed, None, "s{id} goes on with what is over");
    }

    /// P7: a worker that takes orders again is told at once what it must stop.
    pub(crate) fn check_connected(&self, id: u64, orders: &[(SessionId, Order)]) {
        for attempt in self.network.get(id).presented.iter().map(|held| held.attempt) {
            let state = self.store.tasks.get(&attempt.task).map(|task| &task.state);
            let Some(State::Active(Active { stage: Stage::Cancelling { .. }, .. })) = state else { continue };
            let is_told =
                self.store.end_of(attempt).is_some() || orders.contains(&(SessionId(id), Order::Stop(attempt)));
            assert!(is_told, "{attempt} is cancelled, and s{id} is not told to stop it");
        }
    }

    /// Only a worker itself takes the place of a session of its own.
    pub(crate) fn check_order(&self, id: u64, order: &Order) {
        let is_over = matches!(order, Order::Close(CloseReason::Superseded));
        assert!(!is_over || self.network.is_superseded(id), "s{id} is superseded by another process");
    }

    /// P8: a worker is only told to kill, or to forget, what is over.
    pub(crate) fn check_unwanted(&self, attempt: AttemptId) {
        assert!(self.store.end_of(attempt).is_some(), "{attempt} is not wanted and not over");
    }

    /// P2 and P5: what was acknowledged is there, and everything has come to one end.
    pub(crate) fn check_end(&self) {
        for (job, submission) in self.clients.acknowledged() {
            let stored = self.store.jobs.get(&job).map(|job| &job.submission);
            assert_eq!(stored, Some(submission), "job {job} was acknowledged");
        }
        let open = self.store.tasks.iter().find(|(_, task)| !task.is_over());
        assert!(open.is_none(), "{open:?} has not ended");
    }
}

/// Compares part by part: the whole of two states is too much to read.
fn assert_same(stored: &Snapshot, live: &Snapshot) {
    assert_eq!(stored.next_job, live.next_job, "the next job, on disk and live");
    assert_eq!(stored.workers, live.workers, "the workers, on disk and live");
    assert_eq!(stored.active, live.active, "what is held, on disk and live");
    let ids = |snapshot: &Snapshot| snapshot.jobs.iter().map(|live| live.job.id).collect::<Vec<_>>();
    assert_eq!(ids(stored), ids(live), "the jobs, on disk and live");
    stored.jobs.iter().zip(&live.jobs).for_each(|(stored, live)| assert_eq!(stored, live, "a job, on disk and live"));
}
