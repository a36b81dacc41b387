//! What the commands of a dead worker have left, found by its data directory alone.
//!
//! It is killed by the worker's guard, and by the next worker before it says that it is there.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cgroup;
use crate::hunt::{Hunt, Pass};
use crate::processes::{self, Mark, Stat};
use crate::workspace;

/// How long to wait for what was killed to go; at first, and at last, each wait twice the one before.
const POLL: Duration = Duration::from_millis(1);
const POLL_MAX: Duration = Duration::from_secs(1);

/// How long after a search that finds nothing the next must find nothing too: one may start another that the search does
/// not come to see, and end before it is seen itself.
const CONFIRM_WAIT: Duration = Duration::from_millis(10);

/// How long a process is waited for of which it cannot be told yet whose it is.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// A search for what is left of all attempts of one worker.
#[derive(Debug)]
pub(crate) struct Leftovers {
    data_dir: PathBuf,
    began: Instant,
    hunt: Hunt,
    was_clean: bool,
    wait: Duration,
}

impl Leftovers {
    /// A search for the commands of the worker of this data directory, which is named by its one true path.
    pub(crate) fn of(data_dir: &Path) -> Self {
        let (began, hunt) = (Instant::now(), Hunt::default());
        Leftovers { data_dir: data_dir.to_owned(), began, hunt, was_clean: false, wait: POLL }
    }

    /// Kills what one search finds. How long to wait until the next, or nothing if nothing is left. It takes its time.
    pub(crate) fn pass(&mut self) -> Option<Duration> {
        let unsettled = Cell::new(cgroup::kill_left(&self.data_dir));
        let census = match processes::census() {
            Ok(census) => census,
            Err(error) => {
                tracing::warn!(%error, "the processes cannot be listed");
                return Some(POLL_MAX);
            }
        };
        let own = rustix::process::getpid();
        let attempts = workspace::attempts(&self.data_dir);
        let wanted = |stat: &Stat| {
            let mark = processes::settled_mark(stat.pid);
            unsettled.set(unsettled.get() || (mark == Mark::Unsettled && self.began.elapsed() < SETTLE_TIMEOUT));
            mark.is_in(&attempts)
        };
        let pass = self.hunt.strike(&census, |stat| stat.pid != own, wanted);
        let is_clean = pass == Pass::Clean && !unsettled.get();
        let was_clean = std::mem::replace(&mut self.was_clean, is_clean);
        match (pass, is_clean) {
            (Pass::Struck, _) => Some(Duration::ZERO),
            (_, true) if was_clean => None,
            (_, true) => Some(CONFIRM_WAIT),
            (Pass::Clean | Pass::Dying, false) => Some(self.next_wait()),
        }
    }

    /// Searches until nothing is left, and says how many processes were killed.
    pub(crate) fn kill(mut self) -> usize {
        while let Some(wait) = self.pass() {
            std::thread::sleep(wait);
        }
        self.hunt.struck()
    }

    /// The same, for a runtime that has other things to do; it ends early if it is dropped.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub(crate) async fn kill_async(mut self) -> io::Result<usize> {
        loop {
            let searching = move || {
                let wait = self.pass();
                (self, wait)
            };
            let wait;
            (self, wait) = tokio::task::spawn_blocking(searching).await.map_err(io::Error::other)?;
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Ok(self.hunt.struck()),
            }
        }
    }

    fn next_wait(&mut self) -> Duration {
        if self.wait < POLL_MAX && self.wait * 2 >= POLL_MAX {
            tracing::warn!("what a dead worker has left was killed, but is stuck in the system");
        }
        self.wait = (self.wait * 2).min(POLL_MAX);
        self.wait
    }
}
