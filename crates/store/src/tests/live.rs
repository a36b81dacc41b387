//! Loading equals the live state, and listings equal the records, whatever happens to a scheduler.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use sortie_engine::{
    Admission, Effects, End, Held, Hello, Input, Job, JobId, Limits, Report, RequestId, Scheduler, SessionId,
    StateName, TaskId, Time,
};

use super::actions::{Action, WORKERS, action};
use super::model::Model;
use super::{labels, wait};
use crate::load::load;
use crate::open::reading;
use crate::{Batch, JobFilter, Reader, TaskFilter, WorkerFilter, Writer, open};

/// Any will do: the tests compare what came of it.
const SEED: u64 = 1;

/// A scheduler, and what a test needs to know to go on with it.
struct Live {
    scheduler: Scheduler,
    effects: Effects,
    now: Time,
    sessions: Vec<SessionId>,
    /// What the store knew of the batch's keys before the batch.
    known: BTreeMap<String, Arc<Job>>,
}

fn pick<T: Clone>(from: &[T], number: usize) -> Option<T> {
    from.get(number % from.len().max(1)).cloned()
}

impl Live {
    /// With two workers that are connected, so that something runs from the beginning.
    fn new() -> Self {
        let mut live = Live {
            scheduler: Scheduler::new(Limits::default(), SEED),
            effects: Effects::default(),
            now: Time(1_700_000_000_000),
            sessions: Vec::new(),
            known: BTreeMap::new(),
        };
        for worker in [0, 1] {
            live.act(Action::Join { worker, instance: 0, keeps: true });
            live.act(Action::Connect(0));
        }
        live
    }

    /// Asks the store for the keys of a batch, as a driver does, and compares its answer with the model's.
    fn look_up(&mut self, batch: &[Action], writer: &Writer, model: &Model) {
        let keys = batch.iter().filter_map(|action| {
            let Action::Submit(submission) = action else { return None };
            submission.key.clone()
        });
        let keys: Vec<String> = keys.collect();
        self.known = wait(writer.known(keys.clone(), self.now)).expect("known keys");
        let expected = keys.into_iter().filter_map(|key| model.known(&key, self.now).map(|job| (key, job)));
        assert_eq!(self.known, expected.collect());
    }

    fn act(&mut self, action: Action) -> Option<()> {
        let request = RequestId(0);
        let input = match action {
            Action::Submit(submission) => {
                let known = submission.key.as_ref().and_then(|key| self.known.get(key)).cloned();
                Input::Submit { request, submission, known }
            }
            Action::CancelTask(task) => Input::CancelTask { request, task: self.any_task(task)?, by: "ann".into() },
            Action::CancelJob(job) => Input::CancelJob { request, job: self.any_task(job)?.job, by: "bob".into() },
            Action::Join { worker, instance, keeps } => self.join(worker, instance, keeps),
            Action::Connect(session) => Input::Connect { request, session: self.session(session)? },
            Action::Disconnect(session) => Input::Disconnect { session: self.session(session)? },
            Action::Leave(session) => Input::Report { session: self.session(session)?, report: Report::Leaving },
            Action::Started(task) => self.report(task, Report::Started)?,
            Action::Ended(task, end, usage) => self.report(task, |attempt| Report::Ended(attempt, end, usage))?,
            Action::Stale(task, number) => {
                let report = Report::Ended(self.any_task(task)?.attempt(number), End::TimedOut, None);
                Input::Report { session: self.session(task)?, report }
            }
            Action::Admit { worker, draining } => {
                let admission = if draining { Admission::Draining } else { Admission::Open };
                Input::Admit { request, worker: WORKERS[worker].0.into(), admission }
            }
            Action::Pass(ms) => return self.pass(ms),
            Action::Wake => {
                self.now = self.now.max(self.scheduler.next_deadline()?);
                Input::Wake
            }
        };
        self.handle(input);
        Some(())
    }

    fn handle(&mut self, input: Input) {
        self.scheduler.handle(self.now, input, &mut self.effects);
        self.scheduler.check().expect("the invariants");
    }

    fn pass(&mut self, ms: u64) -> Option<()> {
        self.now = self.now + Duration::from_millis(ms);
        self.handle(Input::Wake);
        Some(())
    }

    /// Sessions' ids have their highest bit set, which a signed column must bear. A worker presents all that it was
    /// given, or nothing.
    fn join(&mut self, worker: usize, instance: u8, keeps: bool) -> Input {
        let session = SessionId(u64::MAX - self.sessions.len() as u64);
        self.sessions.push(session);
        let introduction = self.sessions.len() as u64;
        let (name, labels_text, slots) = WORKERS[worker];
        let instance = format!("{name}-{instance}");
        let hello = Hello { name: name.into(), instance, version: "1".into(), labels: labels(labels_text), slots };
        let held = if keeps { self.held(name) } else { Vec::new() };
        Input::Join { request: RequestId(0), session, hello, introduction, held }
    }

    fn held(&self, name: &str) -> Vec<Held> {
        let snapshot = self.scheduler.snapshot();
        let worker = snapshot.workers.iter().find(|worker| worker.hello.name == name).map(|worker| worker.id);
        let held = snapshot.active.iter().filter(|(_, active)| Some(active.attempt.worker) == worker);
        let held = held.map(|(task, active)| Held {
            attempt: task.attempt(active.attempt.number),
            slots: 1,
            started: active.started().is_some(),
        });
        held.collect()
    }

    /// One of the sessions, counted from the newest.
    fn session(&self, number: usize) -> Option<SessionId> {
        let newest_first: Vec<SessionId> = self.sessions.iter().rev().copied().collect();
        pick(&newest_first, number)
    }

    /// A report on an attempt by the worker that holds it.
    fn report(&self, task: usize, report: impl FnOnce(sortie_engine::AttemptId) -> Report) -> Option<Input> {
        let snapshot = self.scheduler.snapshot();
        let (task, active) = pick(&snapshot.active, task)?;
        let worker = snapshot.workers.iter().find(|worker| worker.id == active.attempt.worker)?;
        Some(Input::Report { session: worker.link.session()?, report: report(task.attempt(active.attempt.number)) })
    }

    fn any_task(&self, number: usize) -> Option<TaskId> {
        let jobs = self.scheduler.snapshot().next_job.0 - 1;
        (jobs > 0).then(|| JobId(number as u64 % jobs + 1).task(number as u32 / 16 % 12))
    }
}

/// All pages of a listing, a few rows at a time.
async fn all_tasks(reader: &Reader, filter: &TaskFilter) -> Vec<crate::TaskRow> {
    let mut rows: Vec<crate::TaskRow> = Vec::new();
    loop {
        let after = rows.last().map(|row| row.id);
        let page = reader.tasks(filter.clone(), after, 5).await.expect("a page");
        let last = page.len() < 5;
        rows.extend(page);
        assert!(rows.is_sorted_by(|a, b| a.id > b.id), "{filter:?}");
        if last {
            return rows;
        }
    }
}

async fn all_jobs(reader: &Reader, filter: &JobFilter) -> Vec<crate::JobRow> {
    let mut rows: Vec<crate::JobRow> = Vec::new();
    loop {
        let after = rows.last().map(|row| row.job.id);
        let page = reader.jobs(filter.clone(), after, 3).await.expect("a page");
        let last = page.len() < 3;
        rows.extend(page);
        assert!(rows.is_sorted_by(|a, b| a.job.id > b.job.id), "{filter:?}");
        if last {
            return rows;
        }
    }
}

fn filters(now: Time) -> Vec<TaskFilter> {
    let all = TaskFilter::default();
    let states = StateName::ALL.into_iter().map(|state| TaskFilter { states: vec![state], ..all.clone() });
    let mut filters: Vec<TaskFilter> = states.collect();
    let several = vec![StateName::Cancelled, StateName::Queued, StateName::Failed, StateName::Failed];
    let team: sortie_engine::Selector = "team=x".parse().expect("a selector");
    filters.extend([
        all.clone(),
        TaskFilter { states: several.clone(), ..all.clone() },
        TaskFilter { job: Some(JobId(2)), ..all.clone() },
        TaskFilter { job: Some(JobId(2)), name: Some("adhoc".into()), states: several.clone(), ..all.clone() },
        TaskFilter { worker: Some("w1".into()), ..all.clone() },
        TaskFilter { worker: Some("v".into()), states: several, ..all.clone() },
        TaskFilter { worker: Some("v".into()), name: Some("nightly".into()), ..all.clone() },
        TaskFilter { worker: Some("nobody".into()), ..all.clone() },
        TaskFilter { name: Some("nightly".into()), ..all.clone() },
        TaskFilter { selector: team.clone(), ..all.clone() },
        TaskFilter { selector: team, job: Some(JobId(1)), worker: Some("w2".into()), ..all.clone() },
        TaskFilter { selector: "!team".parse().expect("a selector"), ..all.clone() },
        TaskFilter { submitted_from: Some(Time(now.0 - 50)), ..all.clone() },
        TaskFilter { submitted_until: Some(Time(now.0 - 50)), ..all },
    ]);
    filters
}

async fn check_reads(reader: &Reader, model: &Model, now: Time) {
    for filter in filters(now) {
        assert_eq!(all_tasks(reader, &filter).await, model.tasks(&filter), "{filter:?}");
        let TaskFilter { job, states, worker, name, selector, submitted_from, submitted_until } = filter;
        if job.is_none() && worker.is_none() {
            let filter = JobFilter { states, name, selector, submitted_from, submitted_until };
            assert_eq!(all_jobs(reader, &filter).await, model.jobs(&filter), "{filter:?}");
        }
    }
    for row in model.tasks(&TaskFilter::default()) {
        let past = row.job.id.task(row.job.submission.count);
        assert_eq!(reader.task(past).await, Ok(None));
        assert_eq!(reader.task(row.id).await, Ok(Some(model.task(row))));
    }
    for row in model.jobs(&JobFilter::default()) {
        assert_eq!(reader.job(row.job.id).await, Ok(Some(row)));
    }
    let states = vec!["connected".to_owned(), "leaving".to_owned()];
    let labelled = WorkerFilter { states: vec![], selector: "gpu".parse().expect("a selector") };
    for filter in [WorkerFilter::default(), WorkerFilter { states, ..WorkerFilter::default() }, labelled] {
        let rows = model.workers(&filter);
        assert_eq!(reader.workers(filter.clone(), None, 2).await.expect("a page"), rows[..rows.len().min(2)]);
        for (i, row) in rows.iter().enumerate() {
            let name = row.worker.hello.name.clone();
            assert_eq!(reader.worker(&name).await, Ok(Some(row.clone())));
            assert_eq!(reader.workers(filter.clone(), Some(name), 9).await.expect("a page"), rows[i + 1..]);
        }
    }
}

fn run(batches: Vec<Vec<Action>>) {
    let dir = tempfile::tempdir().expect("a directory");
    let (writer, reader, _) = open(dir.path()).expect("a store");
    let db = reading(&dir.path().join("sortie.db")).expect("a connection");
    let (mut live, mut model) = (Live::new(), Model::default());
    for batch in batches {
        live.look_up(&batch, &writer, &model);
        for action in batch {
            live.act(action);
        }
        let records = std::mem::take(&mut live.effects).records;
        records.iter().for_each(|record| model.apply(record));
        super::commit(&writer, records);
        let snapshot = load(&db).expect("a snapshot");
        assert_eq!(snapshot, live.scheduler.snapshot());
        assert_eq!(Scheduler::restore(Limits::default(), SEED, snapshot.clone()).snapshot(), snapshot);
    }
    wait(check_reads(&reader, &model, live.now));
    drop(db);
    wait(writer.close()).expect("a close");
    let (writer, _, snapshot) = open(dir.path()).expect("a store");
    assert_eq!(snapshot, live.scheduler.snapshot());
    recover(&writer, dir.path(), snapshot, live.now);
}

/// What a new process makes of the state is a batch like any other.
fn recover(writer: &Writer, dir: &std::path::Path, snapshot: sortie_engine::Snapshot, now: Time) {
    let mut effects = Effects::default();
    let scheduler = Scheduler::recover(Limits::default(), SEED, snapshot, now, &mut effects);
    scheduler.check().expect("the invariants");
    wait(writer.commit(Batch { records: effects.records, outputs: vec![] })).expect("a commit");
    let db = reading(&dir.join("sortie.db")).expect("a connection");
    assert_eq!(load(&db).expect("a snapshot"), scheduler.snapshot());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_loaded_is_what_was_live(
        batches in prop::collection::vec(prop::collection::vec(action(), 1..16), 1..16),
    ) {
        run(batches);
    }
}
