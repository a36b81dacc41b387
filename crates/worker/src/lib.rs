//! A worker: it dials its master, runs what it is ordered to, and tells how it ended.
//!
//! [`run`] takes the data directory (`workspace`) and begins to `serve`: it opens a session (`link`), and the next when
//! that is lost. Meanwhile the `driver` goes on. It owns the engine's slots, which decide, until the end of the lease
//! without a session too, and the `outbox` with what the master has yet to be told; both go by the `clock`. The
//! `executor` does what the slots decide: it starts a command (`spawn`) in its own `environment`, reads what it writes
//! (`capture`), and sees that its process `group` is gone before anything is said about its end.

mod config;
mod serve;
mod link;
mod driver;
mod clock;
mod outbox;
mod executor;
mod spawn;
mod environment;
mod capture;
mod group;
mod workspace;

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::driver::Driver;
use crate::executor::Executor;
use crate::link::Link;
use crate::serve::Service;

pub use config::Config;

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
    #[error("another worker uses the data directory {path}; give each worker its own")]
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
    let (workspace, _lock) = workspace::open(&config.data_dir)?;
    let link = Link::new(&config, version)?;
    let executor = Executor::new(workspace, &config.name);
    let driver = Driver::new(config.slots, executor, &config.name, config.stop_timeout);
    Service::new(driver, link).run(&stop).await
}
