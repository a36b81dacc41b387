//! What clients can ask of a master, the same over HTTP and gRPC.

use std::time::Duration;

use sortie_engine::{
    Admission, Answer, Draft, Explanation, FieldError, JobId, Output, StateName, Submission, TaskId, check_count,
};
use sortie_store::{JobFilter, JobRow, ReadError, Reader, TaskFilter, TaskRow, WorkerFilter, WorkerRow};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::handle::{Ask, Handle, Unanswered};
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
    stop: CancellationToken,
}

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the request has fields that cannot be")]
    Invalid(Vec<FieldError>),
    #[error("there is no {what} `{id}`")]
    NotFound { what: &'static str, id: String },
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    #[error("the store cannot be read: {0}")]
    Store(#[from] ReadError),
    #[error("the master has a defect: it answered {0:?}")]
    Defect(Answer),
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
    pub(crate) fn new(handle: Handle, reader: Reader, stop: CancellationToken) -> Self {
        Service { handle, reader, stop }
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

    /// Checks and submits; the job is durable when its id comes back.
    pub(crate) async fn submit(
        &self,
        draft: Draft,
        count: Option<u32>,
        traceparent: Option<String>,
    ) -> Result<JobId, Error> {
        let (spec, count) = match (draft.check(), check_count(count)) {
            (Ok(spec), Ok(count)) => (spec, count),
            (spec, count) => {
                let mut errors = spec.err().unwrap_or_default();
                errors.extend(count.err());
                return Err(Error::Invalid(errors));
            }
        };
        match self.handle.ask(Ask::Submit(Submission { spec, count, traceparent })).await? {
            Answer::Submitted(job) => Ok(job),
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

    /// The task's state, and the output of its newest attempt; empty if it wrote nothing, or had not ended.
    pub(crate) async fn output(&self, id: TaskId) -> Result<(StateName, Output), Error> {
        let state = self.task(id).await?.state.name();
        let output = self.reader.output(id).await?;
        Ok((state, output.map(|(_, output)| output).unwrap_or_default()))
    }

    /// Cancels a task, if it has not ended; the task as it is then.
    pub(crate) async fn cancel_task(&self, id: TaskId, by: String) -> Result<TaskRow, Error> {
        self.expect_done(Ask::CancelTask { task: id, by }).await?;
        self.task(id).await
    }

    /// Cancels what has not ended of a job; the job as it is then.
    pub(crate) async fn cancel_job(&self, id: JobId, by: String) -> Result<JobRow, Error> {
        self.expect_done(Ask::CancelJob { job: id, by }).await?;
        self.job(id).await
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

    /// Waits for a task's end, but no longer than `timeout`; the task as it is then.
    pub(crate) async fn wait_task(&self, id: TaskId, timeout: Duration) -> Result<TaskRow, Error> {
        self.wait(id.job, timeout, || self.task(id)).await
    }

    /// Waits for a job's end, but no longer than `timeout`; the job as it is then.
    pub(crate) async fn wait_job(&self, id: JobId, timeout: Duration) -> Result<JobRow, Error> {
        self.wait(id, timeout, || self.job(id)).await
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
            answer @ (Answer::Submitted(_) | Answer::Joined { .. } | Answer::Refused(_)) => Err(Error::Defect(answer)),
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
