//! The services: `sortie master` and `sortie worker`.

use std::path::PathBuf;

use sortie_master::{Master, StartError};
use tokio_util::sync::CancellationToken;

use crate::cli::{MasterArgs, VERSION, WorkerArgs};
use crate::exit::{Failure, Result};
use crate::settings::env::Environment;
use crate::settings::{MasterSettings, WorkerSettings, load};
use crate::signals::{self, Signals};

/// Serves as the master until it is stopped.
pub(crate) async fn master(args: MasterArgs, environment: &Environment) -> Result<u8> {
    let settings = load::<MasterSettings>(environment, args.config.as_deref(), &args)?.settings;
    let signals = Signals::new()?;
    let stop = CancellationToken::new();
    let master = start_master(settings.into(), stop.clone()).await?;
    signals::obeying(signals, &stop, join_master(master)).await??;
    Ok(0)
}

/// Serves as a worker until it is stopped. A second signal drops what runs the commands, which kills them.
pub(crate) async fn worker(args: WorkerArgs, environment: &Environment) -> Result<u8> {
    let settings = load::<WorkerSettings>(environment, args.config.as_deref(), &args)?.settings;
    let config = sortie_worker::Config { guard: Some(this_program()?), exclusive: true, ..settings.into() };
    let signals = Signals::new()?;
    let stop = CancellationToken::new();
    signals::obeying(signals, &stop, run_worker(config, stop.clone())).await??;
    Ok(0)
}

/// Where this binary is: it is the guard of its own workers too.
fn this_program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|error| Failure::internal(format!("cannot tell where this program is: {error}")))
}

/// Starts a master.
pub(crate) async fn start_master(config: sortie_master::Config, stop: CancellationToken) -> Result<Master> {
    Master::start(config, VERSION.to_owned(), stop).await.map_err(|error| match &error {
        StartError::NotAllowed { .. } => Failure::not_allowed(error.to_string()),
        StartError::Listen { .. } => {
            Failure::unavailable(format!("{error} --http-addr and --grpc-addr choose other addresses"))
        }
        StartError::Store(_) | StartError::Commit(_) | StartError::Defect(_) => Failure::internal(error.to_string()),
    })
}

/// Waits until a master has been stopped and everything is closed.
pub(crate) async fn join_master(master: Master) -> Result<()> {
    master.join().await.map_err(|error| Failure::internal(error.to_string()))
}

/// Runs a worker until `stop`; dropping the future kills what runs.
pub(crate) async fn run_worker(config: sortie_worker::Config, stop: CancellationToken) -> Result<()> {
    sortie_worker::run(config, VERSION.to_owned(), stop).await.map_err(|error| match &error {
        sortie_worker::Error::Refused { .. } => Failure::not_allowed(error.to_string()),
        sortie_worker::Error::Url { .. } => Failure::usage(error.to_string()),
        sortie_worker::Error::DataDir { .. } | sortie_worker::Error::DataDirInUse { .. } => {
            Failure::internal(error.to_string())
        }
    })
}
