//! Runs commands: each attempt is started in one step, and brought to its end in another.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use sortie_engine::{AttemptId, Exit, Output};
use sortie_wire::node::StartOrder;
use sortie_wire::trace;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe::Sender;
use tokio::signal::unix::SignalKind;
use tokio::task::JoinError;
use tokio_util::task::{AbortOnDropHandle, JoinMap};
use tracing::{Instrument as _, Span};

use crate::capture::Capture;
use crate::group::Group;
use crate::spawn::{self, SpawnError, Spawned};
use crate::workspace::Workspace;

/// How long a command's output is read on after its exit: a daemon that left the group may hold the pipe for ever.
const LINGER: Duration = Duration::from_millis(500);

/// The end of a command that ran and whose exit status nobody knows: by a signal that does not exist, for it may not
/// pass for a success, nor for anything that the command chose.
const UNKNOWN: Exit = Exit::Signal(0);

/// The commands that run or are about to. Dropped, it kills them all.
#[derive(Debug)]
pub(crate) struct Executor {
    workspace: Workspace,
    worker: Arc<str>,
    under_way: JoinMap<AttemptId, Reached>,
    running: BTreeMap<AttemptId, Arc<Group>>,
    #[expect(dead_code, reason = "held, not used")]
    children: Option<tokio::signal::unix::Signal>,
}

/// What has happened to an attempt.
#[derive(Debug)]
pub(crate) enum Step {
    /// Its command runs.
    Spawned,
    /// Its command could not be started.
    Failed(SpawnError),
    /// Its command and its process group are gone, and this is what they wrote.
    Ended(Exit, Output),
}

/// How far the task of an attempt has come.
#[derive(Debug)]
enum Reached {
    Started(Result<Spawned, SpawnError>),
    Ended(Exit, Output),
}

impl Executor {
    /// An executor that runs nothing yet.
    pub(crate) fn new(workspace: Workspace, worker: &str) -> Self {
        let (under_way, running) = (JoinMap::new(), BTreeMap::new());
        Executor { workspace, worker: worker.into(), under_way, running, children: mind_children() }
    }

    /// Starts an attempt, whose life `span` is.
    pub(crate) fn start(&mut self, order: StartOrder, span: Span) {
        let attempt = order.attempt;
        let starting = start(self.workspace.clone(), Arc::clone(&self.worker), order);
        self.under_way.spawn(attempt, starting.instrument(span));
    }

    /// Sends a signal to an attempt's process group, if it has one that is not gone.
    pub(crate) fn signal(&self, attempt: AttemptId, signal: Signal) {
        if let Some(group) = self.running.get(&attempt) {
            group.signal(signal);
        }
    }

    /// Waits for the next step; there is none if nothing is under way. Nothing is lost if it is dropped.
    pub(crate) async fn next(&mut self) -> Option<(AttemptId, Step)> {
        let (attempt, reached) = self.under_way.join_next().await?;
        let step = match reached {
            Ok(Reached::Started(Ok(spawned))) => {
                self.running.insert(attempt, Arc::clone(&spawned.group));
                self.under_way.spawn(attempt, finish(spawned));
                return Some((attempt, Step::Spawned));
            }
            Ok(Reached::Started(Err(error))) => Step::Failed(error),
            Ok(Reached::Ended(exit, output)) => Step::Ended(exit, output),
            Err(error) => self.broken(attempt, &error),
        };
        self.running.remove(&attempt);
        Some((attempt, step))
    }

    /// A task of ours has panicked, which must not happen; what it ran is killed as it is dropped.
    fn broken(&self, attempt: AttemptId, error: &JoinError) -> Step {
        tracing::error!(%attempt, %error, "the executor failed");
        if self.running.contains_key(&attempt) {
            Step::Ended(UNKNOWN, Output::default())
        } else {
            Step::Failed(broken(error))
        }
    }
}

impl Drop for Executor {
    /// The tasks end some time after they were aborted; the commands shall end now.
    fn drop(&mut self) {
        for group in self.running.values() {
            group.signal(Signal::KILL);
        }
    }
}

/// Has the system tell of children that end: a parent may have left us its wish to ignore them, and then their exit
/// statuses are lost and their numbers another's before we have looked.
fn mind_children() -> Option<tokio::signal::unix::Signal> {
    let minded = tokio::signal::unix::signal(SignalKind::child());
    minded.inspect_err(|error| tracing::warn!(%error, "exit statuses may be lost: SIGCHLD cannot be handled")).ok()
}

async fn start(workspace: Workspace, worker: Arc<str>, order: StartOrder) -> Reached {
    let traceparent = trace::current().or_else(|| order.traceparent.clone());
    let span = tracing::info_span!("spawn");
    let spawning = move || span.in_scope(|| spawn::spawn(&workspace, &worker, order, traceparent.as_deref()));
    let spawned = tokio::task::spawn_blocking(spawning).await;
    Reached::Started(spawned.unwrap_or_else(|error| Err(broken(&error))))
}

/// Sees a command to its end: nothing of its group lives on, and its directory is removed.
async fn finish(spawned: Spawned) -> Reached {
    let Spawned { group, mut capture, stdin, dir } = spawned;
    let feed = stdin.map(|(pipe, text)| AbortOnDropHandle::new(tokio::spawn(feed(pipe, text))));
    tokio::select! {
        () = exited_and_settled(&group) => {}
        () = read_for_ever(&mut capture) => {}
    }
    drop(feed);
    let exit = group.reap().map_or_else(|error| untold(&error), exit);
    // What was written before the exit is in the pipes already, and is read before anything that may come later.
    let lingering = tokio::time::timeout(LINGER, capture.read_to_end());
    _ = futures_util::future::join(lingering, group.gone()).await;
    _ = tokio::task::spawn_blocking(move || dir.remove()).await;
    Reached::Ended(exit, capture.into_output())
}

async fn exited_and_settled(group: &Group) {
    group.exited().await;
    group.settled().await;
}

/// A command may close its output and run on.
async fn read_for_ever(capture: &mut Capture) {
    capture.read_to_end().await;
    std::future::pending().await
}

/// A command need not read what it is given.
async fn feed(mut pipe: Sender, text: String) {
    _ = pipe.write_all(text.as_bytes()).await;
}

fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    }
}

fn untold(error: &io::Error) -> Exit {
    tracing::warn!(%error, "a command ended, but its exit status was taken by another");
    UNKNOWN
}

/// A task of ours that panicked; what it ran was killed as it was dropped.
fn broken(error: &JoinError) -> SpawnError {
    SpawnError::new(&io::Error::from(rustix::io::Errno::IO), format!("the worker's executor failed: {error}"))
}

#[cfg(test)]
mod tests;
