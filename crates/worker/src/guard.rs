//! What ends a worker's commands when the worker's own process cannot.
//!
//! A worker that is killed leaves its commands running, and nobody knows of them until another process of the worker is
//! started, on this machine, if ever. So beside it stands a guard, a process of its own. The worker holds one end of a
//! pipe, and the guard reads from the other: when the worker is gone, however it went, the system closes that, and the
//! guard kills what the worker has left. A worker that leaves in order says so, and the guard goes.
//!
//! The guard has a copy of the lock of the data directory too. So the next worker can have that only once the guard is
//! done: its commands are never taken for its predecessor's.

use std::fs;
use std::io::{self, PipeWriter, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::children::{Child, Children, Role};
use crate::leftovers::Leftovers;
use crate::sys;
use crate::watch::Watch;
use crate::workspace::{Lock, Workspace};

/// What a guard calls itself: something that is not meant by who kills all that is called like the worker.
const NAME: &str = "warden";

/// What a worker says that leaves in order.
const DISMISSED: &[u8] = b".";

/// How long to wait before a guard is replaced that has died, or could not be started.
const REPLACE_WAIT: Duration = Duration::from_secs(1);

/// How long a guard that was dismissed is waited for.
const DISMISS_TIMEOUT: Duration = Duration::from_secs(5);

/// A guard at its post, and whoever replaces it when it dies. Dropped, it leaves the guard to do its duty.
#[derive(Debug)]
pub(crate) struct Guard {
    dismissed: CancellationToken,
    post: AbortOnDropHandle<()>,
}

/// Where guards are put.
#[derive(Debug)]
struct Post {
    exe: PathBuf,
    data_dir: PathBuf,
    lock: Lock,
    children: Arc<Children>,
}

/// One guard.
#[derive(Debug)]
struct Sentry {
    child: Child,
    watch: Watch,
    pipe: PipeWriter,
}

impl Guard {
    /// Puts a guard beside this worker, which is `exe` with the arguments `guard` and the data directory.
    pub(crate) fn start(exe: PathBuf, workspace: &Workspace, lock: Lock, children: Arc<Children>) -> Self {
        let post = Post { exe, data_dir: workspace.data_dir().to_owned(), lock, children };
        // The first is there before any command can be.
        let first = post.man();
        let dismissed = CancellationToken::new();
        let post = AbortOnDropHandle::new(tokio::spawn(post.keep(first, dismissed.clone())));
        Guard { dismissed, post }
    }

    /// Has the guard go: nothing is left that it would be needed for.
    pub(crate) async fn dismiss(self) {
        self.dismissed.cancel();
        _ = tokio::time::timeout(DISMISS_TIMEOUT, self.post).await;
    }
}

impl Post {
    /// Sees that there is a guard, until it is dismissed.
    async fn keep(self, first: io::Result<Sentry>, dismissed: CancellationToken) {
        let mut sentry = self.check(first, false);
        while !dismissed.is_cancelled() {
            let was_missing = sentry.is_none();
            if let Some(standing) = &sentry
                && dismissed.run_until_cancelled(standing.watch.exited()).await.is_some()
            {
                standing.bury();
                sentry = None;
            }
            if sentry.is_none() && dismissed.run_until_cancelled(tokio::time::sleep(REPLACE_WAIT)).await.is_some() {
                sentry = self.check(self.man(), was_missing);
            }
        }
        if let Some(sentry) = sentry {
            sentry.dismiss().await;
        }
    }

    /// Starts a guard.
    fn man(&self) -> io::Result<Sentry> {
        let (reader, pipe) = io::pipe()?;
        let starting = self.children.starting();
        let child = Command::new(&self.exe)
            .arg("guard")
            .arg(&self.data_dir)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(reader))
            .stdout(Stdio::from(self.lock.share()?))
            .spawn()?;
        let child = starting.started(Pid::from_child(&child), Role::Helper);
        Ok(Sentry { watch: Watch::new(child.pid), child, pipe })
    }

    /// Says once, for as long as it stays so, that there is no guard.
    fn check(&self, started: io::Result<Sentry>, was_missing: bool) -> Option<Sentry> {
        match started {
            Ok(sentry) => Some(sentry),
            Err(error) => {
                if !was_missing {
                    let exe = self.exe.display();
                    tracing::warn!(%exe, %error, "no guard: what runs will outlive this worker if it is killed");
                }
                None
            }
        }
    }
}

impl Sentry {
    async fn dismiss(self) {
        let Sentry { child, watch, mut pipe } = self;
        // A guard that is gone needs no word.
        _ = pipe.write_all(DISMISSED);
        drop(pipe);
        watch.exited().await;
        _ = sys::reap(child.pid);
    }

    fn bury(&self) {
        let status = sys::reap(self.child.pid).ok().flatten().map(|reaped| reaped.status);
        tracing::warn!(?status, "the guard has ended; another one is put in its place");
    }
}

/// A guard's life: all that the program does that a worker has started as its guard.
///
/// It is single-threaded, and needs no runtime. Its standard input is the worker's pipe, its standard output a copy of
/// the lock of the data directory.
///
/// # Errors
/// When it was not started by the worker of the data directory.
pub fn guard(data_dir: &Path) -> io::Result<()> {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        sys::ignore(signal);
    }
    // Its own already, if it leads one.
    _ = rustix::process::setsid();
    _ = fs::write("/proc/self/comm", NAME);
    if !Lock::is_shared(data_dir, io::stdout().as_fd())? {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "a guard is started by its worker, and by nobody else",
        ));
    }
    let mut word = Vec::new();
    io::stdin().read_to_end(&mut word)?;
    if word != DISMISSED {
        let killed = Leftovers::of(data_dir).kill();
        tracing::warn!(killed, "the worker is gone; what it had left of its commands is, too");
    }
    Ok(())
}
