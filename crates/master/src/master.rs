//! Starting and stopping a master.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use sortie_engine::{Effects, Scheduler};
use sortie_store::{Batch, CommitError, OpenError, Reader, Writer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Config;
use crate::driver::Driver;
use crate::handle::Handle;
use crate::metrics::{Counts, Metrics};
use crate::service::Service;
use crate::{grpc, http};

/// How long open connections may take to finish once the master stops.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A running master.
#[derive(Debug)]
pub struct Master {
    http_addr: SocketAddr,
    grpc_addr: SocketAddr,
    stop: CancellationToken,
    /// Everything that was asked over HTTP has been answered.
    answered: CancellationToken,
    driver: JoinHandle<Result<(), CommitError>>,
    servers: Vec<JoinHandle<()>>,
}

/// Why a master cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can be reached by others, and nothing says that they may.
    #[error(
        "{addr} can be reached from other machines, and everybody who reaches it can run anything; \
         listen on a loopback address, or set auth = \"none\" if that is what you want"
    )]
    NotAllowed {
        /// The address.
        addr: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}; is another master running?")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store cannot be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A task of the master's own has died.
    #[error("the master has a defect: {0}")]
    Defect(String),
}

/// Why a master ended that nobody stopped.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The store could not commit; nobody was told of what it did not keep.
    #[error(transparent)]
    Store(#[from] CommitError),
    /// A task of the master's own has died.
    #[error("the master has a defect: {0}")]
    Defect(String),
}

impl Master {
    /// Opens the store, takes up what it remembers, and serves until `stop` is cancelled.
    ///
    /// # Errors
    /// When an address may not or cannot be listened on, or the store cannot be opened or written.
    pub async fn start(config: Config, version: String, stop: CancellationToken) -> Result<Master, StartError> {
        let http_listener = listen(&config, config.http_addr).await?;
        let grpc_listener = listen(&config, config.grpc_addr).await?;
        let clock = Clock::new();
        let (scheduler, writer, reader, metrics) = take_up(&config, clock).await?;
        let (handle, messages) = Handle::new();
        let (http_addr, grpc_addr) = (local_addr(&http_listener)?, local_addr(&grpc_listener)?);
        let service = Service::new(handle, reader, metrics.clone(), stop.clone());
        // The driver outlives the requests that were taken: without it they could only be refused.
        let answered = CancellationToken::new();
        let driver = tokio::spawn(Driver::new(clock, scheduler, writer, metrics).run(messages, answered.clone()));
        let until_answered = answered.clone().drop_guard();
        let http = http::serve(http_listener, service.clone(), config.auth);
        let servers = vec![
            serve("http", async move {
                let _until_answered = until_answered;
                http.await
            }),
            serve("grpc", grpc::serve(grpc_listener, service, version, config.limits.lease)),
        ];
        tracing::info!(%http_addr, %grpc_addr, data_dir = %config.data_dir.display(), "the master is ready");
        Ok(Master { http_addr, grpc_addr, stop, answered, driver, servers })
    }

    /// Where it serves HTTP.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Where it serves gRPC.
    #[must_use]
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// Waits until the master has been stopped and everything is closed.
    ///
    /// # Errors
    /// When it ended by itself.
    pub async fn join(self) -> Result<(), Failure> {
        let Master { stop, answered, mut driver, servers, .. } = self;
        let overdue = async {
            stop.cancelled().await;
            tokio::time::sleep(CLOSE_TIMEOUT).await;
        };
        let driven = tokio::select! {
            driven = &mut driver => driven,
            () = overdue => {
                answered.cancel();
                driver.await
            }
        };
        stop.cancel();
        let closed = async {
            for server in servers {
                _ = server.await;
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, closed).await.is_err() {
            tracing::warn!("connections were still open after {CLOSE_TIMEOUT:?}; they are cut");
        }
        driven.map_err(|error| Failure::Defect(error.to_string()))??;
        tracing::info!("the master has stopped");
        Ok(())
    }
}

async fn listen(config: &Config, addr: SocketAddr) -> Result<TcpListener, StartError> {
    if !config.auth.allows(addr) {
        return Err(StartError::NotAllowed { addr });
    }
    TcpListener::bind(addr).await.map_err(|source| StartError::Listen { addr, source })
}

fn local_addr(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|error| StartError::Defect(error.to_string()))
}

/// Opens the store, and makes durable what a restart changes before anybody can ask.
async fn take_up(config: &Config, clock: Clock) -> Result<(Scheduler, Writer, Reader, Metrics), StartError> {
    let data_dir = config.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || sortie_store::open(&data_dir)).await;
    let (writer, reader, snapshot) = opened.map_err(|error| StartError::Defect(error.to_string()))??;
    let metrics = Metrics::new(snapshot.jobs.len());
    // Chance, and not the clock: masters that start together must not hold their tasks back together.
    let seed = getrandom::u64().map_err(|error| StartError::Defect(format!("no random numbers: {error}")))?;
    let mut effects = Effects::default();
    let scheduler = Scheduler::recover(config.limits(), seed, snapshot, clock.now(), &mut effects);
    let counts = Counts::of(&effects);
    if !effects.records.is_empty() {
        writer.commit(Batch { records: effects.records, ..Batch::default() }).await?;
    }
    metrics.count(&counts);
    Ok((scheduler, writer, reader, metrics))
}

fn serve(name: &'static str, server: impl Future<Output = std::io::Result<()>> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(server = name, %error, "a server ended");
        }
    })
}
