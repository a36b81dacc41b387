//! The one thread that writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use sortie_engine::{Job, Time};
use tokio::sync::{mpsc, oneshot};

use crate::commit::commit;
use crate::error::{CommitError, Fault, OpenError};
use crate::fold::Batch;
use crate::keys;
use crate::open::Owned;

/// How many batches may wait for the thread; the driver waits for each, so there is hardly ever one.
const QUEUE: usize = 4;

/// The store's write side. Dropping it ends its thread and frees the directory; [`close`](Writer::close) also
/// tidies up.
#[derive(Debug)]
pub struct Writer {
    // The order matters: the thread ends when the requests do, and is waited for after that.
    requests: mpsc::Sender<Request>,
    _thread: Joined,
}

/// What the thread is asked to do, and whom to tell.
#[derive(Debug)]
enum Request {
    Commit(Batch, oneshot::Sender<Result<(), CommitError>>),
    Known(Vec<String>, Time, oneshot::Sender<Result<BTreeMap<String, Arc<Job>>, CommitError>>),
    Close(oneshot::Sender<Result<(), CommitError>>),
}

/// A thread that is waited for when it is dropped, so that the lock is free afterwards.
#[derive(Debug)]
struct Joined(Option<JoinHandle<()>>);

impl Writer {
    pub(crate) fn start(owned: Owned) -> Result<Self, OpenError> {
        let (requests, queue) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new().name("sortie-store".into()).spawn(move || serve(owned, queue))?;
        Ok(Writer { requests, _thread: Joined(Some(thread)) })
    }

    /// Writes a batch in one transaction; it is on the disk when this returns. A batch that has been handed
    /// over is written even if nobody waits for the answer any more.
    ///
    /// # Errors
    /// When it could not be written. Nothing of it is visible then, and no later batch is taken.
    pub async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.ask(|answer| Request::Commit(batch, answer)).await?
    }

    /// The jobs that were submitted under these keys in the last [`KEY_LIFETIME`](crate::KEY_LIFETIME) and are
    /// committed, by their keys. Asking for none costs nothing.
    ///
    /// It is asked here and not of the [`Reader`](crate::Reader) because the driver waits for it: it must not stand
    /// in line behind what clients read, and this connection has what it wrote last in its cache.
    ///
    /// # Errors
    /// When the database cannot be read: no batch can be written then either.
    pub async fn known(&self, keys: Vec<String>, now: Time) -> Result<BTreeMap<String, Arc<Job>>, CommitError> {
        match keys.is_empty() {
            true => Ok(BTreeMap::new()),
            false => self.ask(|answer| Request::Known(keys, now, answer)).await?,
        }
    }

    /// Takes the write-ahead log into the database, ends the thread and frees the directory.
    ///
    /// # Errors
    /// When the log could not be taken in; nothing is lost, the next opening does it.
    pub async fn close(self) -> Result<(), CommitError> {
        self.ask(Request::Close).await?
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, CommitError> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| CommitError::Closed)?;
        answered.await.map_err(|_| CommitError::Closed)
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        // A thread that panicked has said so on its own; here there is nobody to tell.
        self.0.take().map(JoinHandle::join);
    }
}

/// Serves until everybody who could ask is gone. After a failed commit it takes no other: what the scheduler
/// believes is then ahead of what is written.
fn serve(mut owned: Owned, mut queue: mpsc::Receiver<Request>) {
    let mut failed = false;
    while let Some(request) = queue.blocking_recv() {
        match request {
            Request::Commit(_, answer) if failed => _ = answer.send(Err(CommitError::Closed)),
            Request::Commit(batch, answer) => {
                let result = commit(&mut owned.db, batch).map_err(CommitError::from);
                if let Err(error) = &result {
                    tracing::error!(%error, "a commit failed");
                    failed = true;
                }
                _ = answer.send(result);
            }
            Request::Known(keys, now, answer) => {
                _ = answer.send(keys::known(&mut owned.db, keys, now).map_err(CommitError::from));
            }
            Request::Close(answer) => {
                let result = close(owned).map_err(CommitError::from);
                _ = answer.send(result);
                return;
            }
        }
    }
}

fn close(owned: Owned) -> Result<(), Fault> {
    let Owned { db, lock, .. } = owned;
    let checkpoint = db.pragma(None, "wal_checkpoint", "TRUNCATE", |_| Ok(()));
    drop(db);
    drop(lock);
    Ok(checkpoint?)
}
