//! What clients can ask of a master, the same over HTTP and gRPC.

use std::time::Duration;

use sortie_engine::{Admission, Answer, Explanation, JobId, Output, StateName, Submission, TaskId};
use sortie_store::{JobFilter, JobRow, ReadError, Reader, TaskFilter, TaskRow, WorkerFilter, WorkerRow};
use sortie_wire::draft::{Draft, FieldError, check_count};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::handle::{Ask, Handle, Unanswered};
use crate::key::Key;
use crate::metrics::Metrics;
use crate::summary;

/// The most rows on one page.
pub(crate) const MAX_LIMIT: u32 = 1000;
/// The rows on a page unless the client says otherwise.
pub(crate) const DEFAULT_LIMIT: u32 = 100;
/// The longest that one request waits for an end.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(300);

/// The operations of a master.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    handle: Handle,
    reader: Reader,
    metrics: Metrics,
    stop: CancellationToken,
}

/// A submission, as a client makes it.
#[derive(Debug, Default)]
pub(crate) struct NewJob {
    pub(crate) draft: Draft,
    pub(crate) count: Option<u32>,
    pub(crate) key: Option<Key>,
    pub(crate) traceparent: Option<String>,
}

/// A job that a submission stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Submitted {
    pub(crate) job: JobId,
    /// Whether it was submitted before, under the same key.
    pub(crate) replayed: bool,
}

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the request has fields that cannot be")]
    Invalid(Vec<FieldError>),
    #[error("there is no {what} `{id}`")]
    NotFound { what: &'static str, id: String },
    #[error("this idempotency key stands for job {0}, which asks for something else; choose a new key")]
    KeyTaken(JobId),
    #[error(
        "as many jobs wait as may wait, or their specs take all the memory that they may; try again when some have ended"
    )]
    QueueFull,
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    #[error("the store cannot be read: {0}")]
    Store(#[from] ReadError),
    #[error("the master has a defect: it answered {0:?}")]
    Defect(Answer),
}

/// What an attempt wrote; nothing until it has ended.
#[derive(Debug)]
pub(crate) struct Written {
    /// The task's state.
    pub(crate) state: StateName,
    /// The attempt's number; nothing if there has been none yet.
    pub(crate) attempt: Option<u32>,
    pub(crate) output: Output,
}

/// One page of rows, and where the next one begins.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) next: Option<String>,
}

/// A row that is followed until its end.
trait Row {
    fn is_final(&self) -> bool;
}

impl Service {
    pub(crate) fn new(handle: Handle, reader: Reader, metrics: Metrics, stop: CancellationToken) -> Self {
        Service { handle, reader, metrics, stop }
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends when the master begins to stop.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Whether the scheduler and the store answer.
    pub(crate) async fn ready(&self) -> Result<(), Error> {
        if self.stop.is_cancelled() {
            return Err(Unanswered::Stopping.into());
        }
        let nothing = JobId(0);
        self.handle.explain(nothing.task(0)).await?;
        self.reader.job(nothing).await?;
        Ok(())
    }

    /// What is counted, up to date.
    pub(crate) async fn metrics(&self) -> Result<&Metrics, Error> {
        self.handle.measure().await?;
        Ok(&self.metrics)
    }

    /// Checks and submits; the job is durable when its id comes back.
    pub(crate) async fn submit(&self, new: NewJob) -> Result<Submitted, Error> {
        let NewJob { draft, count, key, traceparent } = new;
        let (spec, count) = match (draft.check(), check_count(count)) {
            (Ok(spec), Ok(count)) => (spec, count),
            (spec, count) => {
                let mut errors = spec.err().unwrap_or_default();
                errors.extend(count.err());
                return Err(Error::Invalid(errors));
            }
        };
        let submission = Submission { spec, count, traceparent, key: key.map(|Key(key)| key) };
        match self.handle.ask(Ask::Submit(Box::new(submission))).await? {
            Answer::Submitted(job) => Ok(Submitted { job, replayed: false }),
            Answer::Repeated(job) => Ok(Submitted { job, replayed: true }),
            Answer::KeyTaken(job) => Err(Error::KeyTaken(job)),
            Answer::QueueFull => Err(Error::QueueFull),
            answer @ (Answer::Done | Answer::Joined { .. } | Answer::NotLive | Answer::Refused(_)) => {
                Err(Error::Defect(answer))
            }
        }
    }

    pub(crate) async fn task(&self, id: TaskId) -> Result<TaskRow, Error> {
        let not_found = || Error::NotFound { what: "task", id: id.to_string() };
        self.reader.task(id).await?.ok_or_else(not_found)
    }

    pub(crate) async fn job(&self, id: JobId) -> Result<JobRow, Error> {
        let not_found = || Error::NotFound { what: "job", id: id.to_string() };
        self.reader.job(id).await?.ok_or_else(not_found)
    }

    pub(crate) async fn worker(&self, name: &str) -> Result<WorkerRow, Error> {
        let not_found = || Error::NotFound { what: "worker", id: name.to_owned() };
        self.reader.worker(name).await?.ok_or_else(not_found)
    }

    pub(crate) async fn tasks(
        &self,
        filter: TaskFilter,
        limit: u32,
        after: Option<TaskId>,
    ) -> Result<Page<TaskRow>, Error> {
        let rows = self.reader.tasks(filter, after, limit + 1).await?;
        let mut page = Page::cut(rows, limit, |row| row.id.to_string());
        page.rows.iter_mut().for_each(|row| summary::shorten(&mut row.job));
        Ok(page)
    }

    pub(crate) async fn jobs(
        &self,
        filter: JobFilter,
        limit: u32,
        after: Option<JobId>,
    ) -> Result<Page<JobRow>, Error> {
        let rows = self.reader.jobs(filter, after, limit + 1).await?;
        let mut page = Page::cut(rows, limit, |row| row.job.id.to_string());
        page.rows.iter_mut().for_each(|row| summary::shorten(&mut row.job));
        Ok(page)
    }

    pub(crate) async fn workers(
        &self,
        filter: WorkerFilter,
        limit: u32,
        after: Option<String>,
    ) -> Result<Page<WorkerRow>, Error> {
        let rows = self.reader.workers(filter, after, limit + 1).await?;
        Ok(Page::cut(rows, limit, |row| row.worker.hello.name.clone()))
    }

    /// What an attempt at a task wrote: the last one, unless another one is asked for.
    pub(crate) async fn output(&self, id: TaskId, attempt: Option<u32>) -> Result<Written, Error> {
        let state = self.task(id).await?.state.name();
        match (self.reader.output(id, attempt).await?, attempt) {
            (Some((attempt, output)), _) => Ok(Written { state, attempt: Some(attempt), output }),
            (None, None) => Ok(Written { state, attempt: None, output: Output::default() }),
            (None, Some(number)) => Err(Error::NotFound { what: "attempt", id: id.attempt(number).to_string() }),
        }
    }

    /// Cancels a task, if it has not ended. The task as it is then; with `wait` when it has ended, or when that time
    /// is over.
    pub(crate) async fn cancel_task(&self, id: TaskId, by: String, wait: Option<Duration>) -> Result<TaskRow, Error> {
        self.expect_done(Ask::CancelTask { task: id, by }).await?;
        self.task_after(id, wait).await
    }

    /// Cancels what has not ended of a job. The job as it is then; with `wait` when it has ended, or when that time is
    /// over.
    pub(crate) async fn cancel_job(&self, id: JobId, by: String, wait: Option<Duration>) -> Result<JobRow, Error> {
        self.expect_done(Ask::CancelJob { job: id, by }).await?;
        self.job_after(id, wait).await
    }

    /// Drains a worker or opens it again.
    pub(crate) async fn admit(&self, name: String, admission: Admission) -> Result<WorkerRow, Error> {
        self.expect_done(Ask::Admit { worker: name.clone(), admission }).await?;
        self.worker(&name).await
    }

    /// Why a task is not running; nothing if it has ended.
    pub(crate) async fn explain(&self, id: TaskId) -> Result<Option<Explanation>, Error> {
        match self.handle.explain(id).await? {
            Some(explanation) => Ok(Some(explanation)),
            None => self.task(id).await.map(|_| None),
        }
    }

    /// A task as it is; with `wait` when it has ended, or when that time is over.
    pub(crate) async fn task_after(&self, id: TaskId, wait: Option<Duration>) -> Result<TaskRow, Error> {
        match wait {
            None => self.task(id).await,
            Some(timeout) => self.wait(id.job, timeout, || self.task(id)).await,
        }
    }

    /// A job as it is; with `wait` when it has ended, or when that time is over.
    pub(crate) async fn job_after(&self, id: JobId, wait: Option<Duration>) -> Result<JobRow, Error> {
        match wait {
            None => self.job(id).await,
            Some(timeout) => self.wait(id, timeout, || self.job(id)).await,
        }
    }

    /// Wakes at every change of a job, and closes at its end.
    pub(crate) async fn watch(&self, job: JobId) -> Result<watch::Receiver<()>, Error> {
        Ok(self.handle.watch(job).await?)
    }

    /// Reads, and reads again at every change, until the row is final or the time is over.
    async fn wait<R: Row, F: Future<Output = Result<R, Error>>>(
        &self,
        job: JobId,
        timeout: Duration,
        read: impl Fn() -> F,
    ) -> Result<R, Error> {
        let deadline = Instant::now() + timeout.min(MAX_WAIT);
        // Watched before it is read: a change in between wakes. A master that is too busy to watch, or is stopping,
        // answers with the row as it is: what is on record must not look as if it had been refused.
        let Ok(mut changes) = self.watch(job).await else { return read().await };
        loop {
            let row = read().await?;
            if row.is_final() {
                return Ok(row);
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() {
                    return read().await;
                },
                () = tokio::time::sleep_until(deadline) => return Ok(row),
                () = self.stop.cancelled() => return Ok(row),
            }
        }
    }

    /// What is not live has ended or never was: the row that is read next tells which.
    async fn expect_done(&self, ask: Ask) -> Result<(), Error> {
        match self.handle.ask(ask).await? {
            Answer::Done | Answer::NotLive => Ok(()),
            answer @ (Answer::Submitted(_)
            | Answer::Repeated(_)
            | Answer::KeyTaken(_)
            | Answer::QueueFull
            | Answer::Joined { .. }
            | Answer::Refused(_)) => Err(Error::Defect(answer)),
        }
    }
}

impl<T> Page<T> {
    /// A page of `limit` rows of which one more was read, to know whether another page follows.
    fn cut(mut rows: Vec<T>, limit: u32, key: impl Fn(&T) -> String) -> Self {
        let limit = limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(key);
        Page { rows, next }
    }
}

impl Row for TaskRow {
    fn is_final(&self) -> bool {
        self.state.name().is_final()
    }
}

impl Row for JobRow {
    fn is_final(&self) -> bool {
        self.ended.is_some()
    }
}

/// The limit that a page is asked for with, checked.
pub(crate) fn checked_limit(limit: Option<u32>) -> Result<u32, FieldError> {
    match limit.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        limit => Err(FieldError::new("/limit", format!("must be 1 to {MAX_LIMIT}, not {limit}"))),
    }
}
