//! Runs commands: each attempt is started in one step, and brought to its end in another.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use sortie_engine::{AttemptId, Exit, Output, Usage};
use sortie_wire::node::StartOrder;
use sortie_wire::trace;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe::Sender;
use tokio::signal::unix::SignalKind;
use tokio::task::JoinError;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::task::{AbortOnDropHandle, JoinMap};
use tracing::{Instrument as _, Span};

use crate::capture::Capture;
use crate::group::Group;
use crate::leftovers::Leftovers;
use crate::remains::Remains;
use crate::spawn::{self, Site, SpawnError, Spawned};
use crate::sweep;
use crate::sys::Reaped;

/// How long a command's output is read on after all that it started has gone: who was handed the pipe otherwise may
/// hold it for ever.
const LINGER: Duration = Duration::from_millis(500);

/// How often it is looked for what commands have left that still run.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The end of a command that ran and whose exit status nobody knows: by a signal that does not exist, for it may not
/// pass for a success, nor for anything that the command chose.
const UNKNOWN: Exit = Exit::Signal(0);

/// The commands that run or are about to. Dropped, it kills them all.
#[derive(Debug)]
pub(crate) struct Executor {
    site: Arc<Site>,
    under_way: JoinMap<AttemptId, Reached>,
    /// Those that are about to be started, and whether they are not to be after all.
    starting: BTreeMap<AttemptId, Arc<AtomicBool>>,
    running: BTreeMap<AttemptId, Arc<Group>>,
    sweeps: Interval,
    #[expect(dead_code, reason = "held, not used")]
    children: Option<tokio::signal::unix::Signal>,
}

/// What has happened to an attempt.
#[derive(Debug)]
pub(crate) enum Step {
    /// Its command runs.
    Spawned,
    /// Its command was not started, as was wished meanwhile.
    Withheld,
    /// Its command could not be started.
    Failed(SpawnError),
    /// Its command and all that it started are gone, and this is what they used and wrote.
    Ended(Exit, Usage, Output),
}

/// How far the task of an attempt has come.
#[derive(Debug)]
enum Reached {
    Started(Box<Spawned>),
    Withheld,
    Failed(SpawnError),
    Ended(Exit, Usage, Output),
}

impl Executor {
    /// An executor that runs nothing yet.
    pub(crate) fn new(site: Site) -> Self {
        let mut sweeps = tokio::time::interval(SWEEP_INTERVAL);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (under_way, starting, running) = (JoinMap::new(), BTreeMap::new(), BTreeMap::new());
        Executor { site: Arc::new(site), under_way, starting, running, sweeps, children: mind_children() }
    }

    /// Starts an attempt, whose life `span` is.
    pub(crate) fn start(&mut self, order: StartOrder, span: Span) {
        let (attempt, withheld) = (order.attempt, Arc::new(AtomicBool::new(false)));
        self.starting.insert(attempt, Arc::clone(&withheld));
        self.under_way.spawn(attempt, start(Arc::clone(&self.site), order, withheld).instrument(span));
    }

    /// Has an attempt not be started, unless it is too late for that.
    pub(crate) fn withhold(&self, attempt: AttemptId) {
        if let Some(withheld) = self.starting.get(&attempt) {
            withheld.store(true, Ordering::Relaxed);
        }
    }

    /// Sends a signal to an attempt's process group, if it has one that is not gone.
    pub(crate) fn signal(&self, attempt: AttemptId, signal: Signal) {
        if let Some(group) = self.running.get(&attempt) {
            group.signal(signal);
        }
    }

    /// Waits for the next step; there is none if nothing is under way. Nothing is lost if it is dropped.
    pub(crate) async fn next(&mut self) -> Option<(AttemptId, Step)> {
        let (attempt, reached) = self.join_next().await?;
        self.starting.remove(&attempt);
        let step = match reached {
            Ok(Reached::Started(spawned)) => {
                self.running.insert(attempt, Arc::clone(&spawned.group));
                self.under_way.spawn(attempt, finish(Arc::clone(&self.site), *spawned));
                return Some((attempt, Step::Spawned));
            }
            Ok(Reached::Withheld) => Step::Withheld,
            Ok(Reached::Failed(error)) => Step::Failed(error),
            Ok(Reached::Ended(exit, usage, output)) => Step::Ended(exit, usage, output),
            Err(error) => self.broken(attempt, &error),
        };
        self.running.remove(&attempt);
        if self.under_way.is_empty() {
            self.sweep();
        }
        Some((attempt, step))
    }

    async fn join_next(&mut self) -> Option<(AttemptId, Result<Reached, JoinError>)> {
        loop {
            tokio::select! {
                joined = self.under_way.join_next() => return joined,
                _ = self.sweeps.tick() => self.sweep(),
            }
        }
    }

    /// Sees to what commands have left, and who has left it cannot.
    fn sweep(&self) {
        if let Some(litter) = sweep::look(&self.site.children) {
            let site = Arc::clone(&self.site);
            tokio::task::spawn_blocking(move || sweep::sweep(&site.children, site.workspace.attempts(), litter));
        }
    }

    /// A task of ours has panicked, which must not happen; what it ran is killed as it is dropped.
    fn broken(&self, attempt: AttemptId, error: &JoinError) -> Step {
        tracing::error!(%attempt, %error, "the executor failed");
        if self.running.contains_key(&attempt) {
            Step::Ended(UNKNOWN, Usage::default(), Output::default())
        } else {
            Step::Failed(broken(error))
        }
    }
}

impl Drop for Executor {
    /// The tasks end some time after they were aborted; the commands shall end now, with what has left their groups.
    fn drop(&mut self) {
        for group in self.running.values() {
            group.signal(Signal::KILL);
        }
        if !self.under_way.is_empty() {
            _ = Leftovers::of(self.site.workspace.data_dir()).pass();
        }
    }
}

/// Has the system tell of children that end: a parent may have left us its wish to ignore them, and then their exit
/// statuses are lost and their numbers another's before we have looked.
fn mind_children() -> Option<tokio::signal::unix::Signal> {
    let minded = tokio::signal::unix::signal(SignalKind::child());
    minded.inspect_err(|error| tracing::warn!(%error, "exit statuses may be lost: SIGCHLD cannot be handled")).ok()
}

async fn start(site: Arc<Site>, order: StartOrder, withheld: Arc<AtomicBool>) -> Reached {
    let traceparent = trace::current().or_else(|| order.traceparent.clone());
    let span = tracing::info_span!("spawn");
    let is_withheld = move || withheld.load(Ordering::Relaxed);
    let spawning = move || span.in_scope(|| spawn::spawn(&site, order, traceparent.as_deref(), is_withheld));
    match tokio::task::spawn_blocking(spawning).await {
        Ok(Ok(Some(spawned))) => Reached::Started(Box::new(spawned)),
        Ok(Ok(None)) => Reached::Withheld,
        Ok(Err(error)) => Reached::Failed(error),
        Err(error) => Reached::Failed(broken(&error)),
    }
}

/// Sees a command to its end: nothing that it started lives on, and its directory is removed.
async fn finish(site: Arc<Site>, spawned: Spawned) -> Reached {
    let Spawned { group, cgroup, mut capture, stdin, dir, begun, memory } = spawned;
    let feed = stdin.map(|(pipe, text)| AbortOnDropHandle::new(tokio::spawn(feed(pipe, text))));
    while_reading(&mut capture, exited_and_settled(&group)).await;
    drop(feed);
    let remains = Remains {
        children: Arc::clone(&site.children),
        group: Arc::clone(&group),
        cgroup: cgroup.clone(),
        dir: dir.path().to_owned(),
        begun,
    };
    let toll = while_reading(&mut capture, remains.clear()).await;
    let leader = group.reap();
    let killed = leader.as_ref().is_ok_and(|leader| group.was_killed_by(leader.status));
    let usage = site.meter.usage(leader.as_ref().ok(), killed, &toll);
    let counted = || cgroup.as_ref().and_then(|cgroup| cgroup.oom_kills());
    let out_of_memory = || counted().map_or_else(|| site.memory.explains(memory), |kills| kills > 0);
    let exit = leader.map_or_else(|error| untold(&error), |leader| exit(&leader, killed, out_of_memory));
    // Whoever could write is gone: what is in the pipes yet is all that there will be.
    _ = tokio::time::timeout(LINGER, capture.read_to_end()).await;
    let removing = move || {
        dir.remove();
        cgroup.inspect(|cgroup| cgroup.remove());
    };
    _ = tokio::task::spawn_blocking(removing).await;
    Reached::Ended(exit, usage, capture.into_output())
}

async fn exited_and_settled(group: &Group) {
    group.exited().await;
    group.settled().await;
}

/// Reads on while something else takes its time: a command may close its output and run on, or write without an end.
async fn while_reading<T>(capture: &mut Capture, other: impl Future<Output = T>) -> T {
    let mut other = pin!(other);
    tokio::select! {
        done = &mut other => return done,
        () = capture.read_to_end() => {}
    }
    other.await
}

/// A command need not read what it is given.
async fn feed(mut pipe: Sender, text: String) {
    _ = pipe.write_all(text.as_bytes()).await;
}

fn exit(leader: &Reaped, killed: bool, out_of_memory: impl FnOnce() -> bool) -> Exit {
    match (leader.status.code(), leader.status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) if signal == Signal::KILL.as_raw() && !killed && out_of_memory() => Exit::OutOfMemory,
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
