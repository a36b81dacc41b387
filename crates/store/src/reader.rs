//! The read side: connections of its own, which see whole commits and hold up no writer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use sortie_engine::{JobId, Output, TaskId};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::error::{Fault, ReadError};
use crate::filter::{JobFilter, TaskFilter, WorkerFilter};
use crate::jobs::{self, JobRow};
use crate::open::reading;
use crate::outputs;
use crate::tasks::{self, TaskRow};
use crate::workers::{self, WorkerRow};

/// How many reads run at once; the others wait for their turn.
const CONNECTIONS: usize = 4;

/// The store's read side. Each answer is of one moment; a page has at most [`MAX_PAGE`](crate::MAX_PAGE) rows.
#[derive(Clone, Debug)]
pub struct Reader(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    path: PathBuf,
    turns: Arc<Semaphore>,
    /// Connections that nobody uses; one is opened when there is none.
    idle: Mutex<Vec<Connection>>,
}

impl Reader {
    pub(crate) fn new(path: PathBuf) -> Self {
        Reader(Arc::new(Pool { path, turns: Arc::new(Semaphore::new(CONNECTIONS)), idle: Mutex::default() }))
    }

    /// One task, with its attempts.
    ///
    /// # Errors
    /// When the database cannot be read, as for every method here.
    pub async fn task(&self, id: TaskId) -> Result<Option<TaskRow>, ReadError> {
        self.read(move |db| tasks::one(db, id)).await
    }

    /// One job.
    ///
    /// # Errors
    /// See [`task`](Reader::task).
    pub async fn job(&self, id: JobId) -> Result<Option<JobRow>, ReadError> {
        self.read(move |db| jobs::one(db, id)).await
    }

    /// A page of tasks: the newest job first, within it the highest index; `after` is the last id of the page
    /// before. They come without their [attempts](TaskRow::attempts).
    ///
    /// # Errors
    /// See [`task`](Reader::task).
    pub async fn tasks(
        &self,
        filter: TaskFilter,
        after: Option<TaskId>,
        limit: u32,
    ) -> Result<Vec<TaskRow>, ReadError> {
        self.read(move |db| tasks::page(db, &filter, after, limit)).await
    }

    /// A page of jobs: the newest first; `after` is the last id of the page before.
    ///
    /// # Errors
    /// See [`task`](Reader::task).
    pub async fn jobs(&self, filter: JobFilter, after: Option<JobId>, limit: u32) -> Result<Vec<JobRow>, ReadError> {
        self.read(move |db| jobs::page(db, &filter, after, limit)).await
    }

    /// One worker, by its name.
    ///
    /// # Errors
    /// See [`task`](Reader::task).
    pub async fn worker(&self, name: &str) -> Result<Option<WorkerRow>, ReadError> {
        let name = name.to_owned();
        self.read(move |db| workers::one(db, &name)).await
    }

    /// A page of workers: by name; `after` is the last name of the page before.
    ///
    /// # Errors
    /// See [`task`](Reader::task).
    pub async fn workers(
        &self,
        filter: WorkerFilter,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<WorkerRow>, ReadError> {
        self.read(move |db| workers::page(db, &filter, after, limit)).await
    }

    /// What one attempt at a task wrote, with the attempt's number: the last, unless another one is asked for.
    /// Nothing if there was no such attempt.
    ///
    /// # Errors
    /// See [`task`](Reader::task).
    pub async fn output(&self, task: TaskId, attempt: Option<u32>) -> Result<Option<(u32, Output)>, ReadError> {
        self.read(move |db| outputs::of_task(db, task, attempt)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, ReadError> {
        let turn = self.0.turns.clone().acquire_owned().await;
        let turn = turn.map_err(|error| ReadError::Io(error.to_string()))?;
        let pool = self.0.clone();
        let reading = spawn_blocking(move || {
            let result = pool.read(read);
            drop(turn);
            result
        });
        let result = reading.await.map_err(|error| ReadError::Io(error.to_string()))?;
        Ok(result?)
    }
}

impl Pool {
    /// Reads in one transaction, so that what several statements say is of one moment.
    fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut db = idle.map_or_else(|| reading(&self.path), Ok)?;
        let transaction = db.transaction()?;
        let result = read(&transaction);
        transaction.finish()?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(db);
        result
    }
}
