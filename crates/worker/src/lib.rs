//! A worker: it dials its master, runs what it is ordered to, and tells how it ended.
//!
//! [`run`] takes the data directory (`workspace`), ends what a dead predecessor has left there (`leftovers`), puts a
//! [`guard`](crate::guard()) beside itself, and begins to `serve`: it opens a session (`link`), and the next when that is
//! lost. Meanwhile the `driver` goes on. It owns the engine's slots, which decide, until the end of the lease without a
//! session too, and the `outbox` with what the master has yet to be told, which the `journal` keeps for the next process
//! should this one die; both go by the `clock`.
//!
//! The `executor` does what the slots decide: it starts a command (`spawn`) in its own `environment`, reads what it
//! writes (`capture`), waits for it (`watch`), signals its process `group`, and sees that nothing of it `remains` before
//! anything is said about its end; a `sweep` finds what that passed over. For that it knows the `children` of this process, and goes on the `hunt` among all
//! `processes`, by the `cgroup` where attempts have one. `usage` and `memory` say what a command used, and whether that
//! was too much.

mod config;
mod serve;
mod link;
mod driver;
mod clock;
mod outbox;
mod journal;
mod executor;
mod spawn;
mod environment;
mod capture;
mod watch;
mod group;
mod remains;
mod sweep;
mod children;
mod hunt;
mod processes;
mod cgroup;
mod usage;
mod memory;
mod workspace;
mod leftovers;
mod guard;
mod sys;

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::children::Children;
use crate::driver::Driver;
use crate::executor::Executor;
use crate::guard::Guard;
use crate::journal::Journal;
use crate::leftovers::Leftovers;
use crate::link::Link;
use crate::memory::Memory;
use crate::outbox::Outbox;
use crate::serve::Service;
use crate::spawn::Site;
use crate::usage::Meter;
use crate::workspace::Workspace;

pub use config::{Cgroups, Config};
pub use guard::guard;

/// What cannot get better by trying again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory cannot be used.
    #[error("the data directory {path} cannot be used: {source}")]
    DataDir {
        /// Which directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another worker uses the data directory.
    #[error(
        "another worker uses the data directory {path}, or what a dead one ran there does not end; give each its own"
    )]
    DataDirInUse {
        /// Which directory.
        path: PathBuf,
    },
    /// The master's address is none.
    #[error("`{url}` is not a master's address: {reason}")]
    Url {
        /// The address as it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The master refuses this worker for good.
    #[error("the master refuses the worker `{name}`: {reason}")]
    Refused {
        /// The worker's name.
        name: String,
        /// What the master says.
        reason: String,
    },
}

/// Runs a worker until `stop` is cancelled and everything that it ran has ended and was reported, or nobody listens.
///
/// What it runs outlives its sessions, and is killed when its lease ends before the master is heard of again.
/// Dropping the future kills everything that runs.
///
/// # Errors
/// What cannot get better by trying again; a master that cannot be reached is tried again for ever.
pub async fn run(config: Config, version: String, stop: CancellationToken) -> Result<(), Error> {
    let link = Link::new(&config, version)?;
    let Some(opened) = stop.run_until_cancelled(workspace::open(&config.data_dir)).await else { return Ok(()) };
    let (workspace, lock) = opened?;
    let unusable = |source| Error::DataDir { path: workspace.data_dir().to_owned(), source };
    // The master may give an attempt to this worker again once it has heard of it: what is left of it goes first.
    match stop.run_until_cancelled(Leftovers::of(workspace.data_dir()).kill_async()).await {
        Some(killed) => match killed.map_err(unusable)? {
            0 => {}
            killed => tracing::warn!(killed, "killed what a dead worker had left in this data directory"),
        },
        None => return Ok(()),
    }
    workspace.clear()?;
    let (journal, legacy) = Journal::open(workspace.data_dir()).map_err(unusable)?;
    let children = Children::new(config.exclusive);
    let (guard, _lock) = match config.guard {
        Some(exe) => (Some(Guard::start(exe, &workspace, lock, children.clone())), None),
        None => (None, Some(lock)),
    };
    let site = Site {
        cgroups: cgroups(config.cgroups, &workspace),
        workspace,
        worker: config.name.clone(),
        children,
        memory: Memory::own(),
        meter: Meter::default(),
    };
    let outbox = Outbox::new(journal, legacy);
    let driver = Driver::new(config.slots, Executor::new(site), outbox, &config.name, config.stop_timeout);
    Service::new(driver, link).run(&stop).await?;
    if let Some(guard) = guard {
        guard.dismiss().await;
    }
    Ok(())
}

fn cgroups(wanted: Cgroups, workspace: &Workspace) -> Option<cgroup::Cgroups> {
    match wanted {
        Cgroups::Off => None,
        Cgroups::On => cgroup::Cgroups::open(workspace.data_dir())
            .inspect_err(|error| {
                tracing::warn!(%error, "attempts have no cgroups: this process may not make and fill them below its own");
            })
            .ok(),
    }
}
