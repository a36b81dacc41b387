//! A worker: it dials its master, runs what it is ordered to, and tells how it ended.
//!
//! [`run`] takes the data directory (`workspace`), opens a session (`link`), and lets the `driver` serve it until it is
//! lost; then it opens the next. The driver owns the engine's slots, which decide; the `executor` does what they decide:
//! it starts a command (`spawn`) in its own `environment`, reads what it writes (`capture`), and sees that its process
//! `group` is gone before anything is said about its end.

mod config;
mod driver;
mod link;
mod executor;
mod spawn;
mod environment;
mod capture;
mod group;
mod workspace;

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::driver::{Driver, Over};
use crate::executor::Executor;
use crate::link::Link;

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

/// Runs a worker until `stop` is cancelled and everything that it ran has ended and was reported.
///
/// Dropping the future kills everything that runs.
///
/// # Errors
/// What cannot get better by trying again; a master that cannot be reached is tried again for ever.
pub async fn run(config: Config, version: String, stop: CancellationToken) -> Result<(), Error> {
    let (workspace, _lock) = workspace::open(&config.data_dir)?;
    let mut link = Link::new(&config, version)?;
    let executor = Executor::new(workspace, &config.name);
    let mut driver = Driver::new(config.slots, executor, &config.name, config.stop_timeout);
    while let Some(session) = stop.run_until_cancelled(link.connect()).await.transpose()? {
        let opened = session.opened();
        match driver.serve(session, &stop).await {
            Over::Stopped => break,
            Over::Lost(reason) => link.lost(opened, &reason),
        }
    }
    Ok(())
}
