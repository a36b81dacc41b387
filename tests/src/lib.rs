//! A cluster in this process: a master and any number of workers, with real sockets, a real store and real processes.
//!
//! Every node runs on a runtime of its own, so that a test can end it as a crash does: its tasks stop where they are,
//! and nothing is said to anybody. Nothing sleeps: what has to become true is waited for, with a limit.

mod http;
mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sortie_master::{Master, StartError};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use http::{Client, Response};
pub use serde_json::{Value, json};
pub use wire::Wire;

/// The longest that a test waits for something to become true.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A master, its workers and their directories.
pub struct Cluster {
    /// A client of the master.
    pub http: Client,
    dir: TempDir,
    config: sortie_master::Config,
    master: Option<Node>,
    workers: BTreeMap<String, Node>,
}

/// A master or a worker on a runtime of its own.
struct Node {
    runtime: Runtime,
    stop: CancellationToken,
    done: JoinHandle<Result<()>>,
}

impl Cluster {
    /// A cluster without workers.
    ///
    /// # Errors
    /// When the master cannot start.
    pub async fn start() -> Result<Cluster> {
        Cluster::start_with(|_| ()).await
    }

    /// A cluster without workers, whose master is told what `configure` says.
    ///
    /// # Errors
    /// When the master cannot start.
    pub async fn start_with(configure: impl FnOnce(&mut sortie_master::Config)) -> Result<Cluster> {
        let dir = tempfile::tempdir()?;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let data_dir = dir.path().join("master");
        let mut config =
            sortie_master::Config { http_addr: any, grpc_addr: any, data_dir, ..sortie_master::Config::default() };
        configure(&mut config);
        let http = Client::new(any)?;
        let mut cluster = Cluster { http, dir, config, master: None, workers: BTreeMap::new() };
        cluster.start_master().await?;
        Ok(cluster)
    }

    /// A cluster with one worker, `w1`, that has `slots` slots.
    ///
    /// # Errors
    /// When a node cannot start.
    pub async fn with_worker(slots: u32) -> Result<Cluster> {
        let mut cluster = Cluster::start().await?;
        cluster.add_worker("w1", slots, "").await?;
        Ok(cluster)
    }

    /// Starts the master, at the addresses that it had before.
    ///
    /// # Errors
    /// When it cannot start.
    pub async fn start_master(&mut self) -> Result<()> {
        let (stop, runtime) = (CancellationToken::new(), runtime()?);
        let deadline = Instant::now() + PATIENCE;
        let master = loop {
            match runtime.spawn(Master::start(self.config.clone(), "test".to_owned(), stop.clone())).await? {
                Ok(master) => break master,
                // A command that is just being started has copies of this process' files, of the last master's too.
                Err(StartError::Store(_) | StartError::Listen { .. })
                    if self.has_had_master() && Instant::now() < deadline =>
                {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => {
                    runtime.shutdown_background();
                    return Err(error.into());
                }
            }
        };
        self.config.http_addr = master.http_addr();
        self.config.grpc_addr = master.grpc_addr();
        self.http = Client::new(master.http_addr())?;
        let done = runtime.spawn(async { Ok(master.join().await?) });
        self.master = Some(Node { runtime, stop, done });
        Ok(())
    }

    fn has_had_master(&self) -> bool {
        self.config.http_addr.port() != 0
    }

    /// Stops the master as SIGTERM does.
    ///
    /// # Errors
    /// When it ends with an error, or not in time.
    pub async fn stop_master(&mut self) -> Result<()> {
        self.master.take().context("the master does not run")?.stop().await
    }

    /// Ends the master as SIGKILL does.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill_master(&mut self) -> Result<()> {
        let master = self.master.take().context("the master does not run")?;
        // Its port and its store are free once everything of it has been dropped.
        Ok(tokio::task::spawn_blocking(|| master.runtime.shutdown_timeout(PATIENCE)).await?)
    }

    /// Starts a worker and waits until it is connected.
    ///
    /// # Errors
    /// When it does not connect in time.
    pub async fn add_worker(&mut self, name: &str, slots: u32, labels: &str) -> Result<()> {
        self.spawn_worker(name, slots, labels)?;
        self.worker_is(name, "connected").await
    }

    /// Starts a worker.
    ///
    /// # Errors
    /// When the labels are malformed, or there are no threads.
    pub fn spawn_worker(&mut self, name: &str, slots: u32, labels: &str) -> Result<()> {
        self.spawn_worker_at(self.config.grpc_addr, name, slots, labels)
    }

    /// Starts a worker that reaches the master over a wire of its own, and waits until it is connected.
    ///
    /// # Errors
    /// When it does not connect in time.
    pub async fn add_worker_on_wire(&mut self, name: &str, slots: u32) -> Result<Wire> {
        let wire = Wire::to(self.config.grpc_addr).await?;
        self.spawn_worker_at(wire.addr(), name, slots, "")?;
        self.worker_is(name, "connected").await?;
        Ok(wire)
    }

    fn spawn_worker_at(&mut self, master: SocketAddr, name: &str, slots: u32, labels: &str) -> Result<()> {
        let config = sortie_worker::Config {
            master_url: format!("http://{master}"),
            name: name.to_owned(),
            slots,
            labels: sortie_engine::parse_labels(labels)?,
            data_dir: self.dir.path().join(name),
            ..sortie_worker::Config::default()
        };
        let (stop, runtime) = (CancellationToken::new(), runtime()?);
        let run = sortie_worker::run(config, "test".to_owned(), stop.clone());
        let done = runtime.spawn(async { Ok(run.await?) });
        self.workers.insert(name.to_owned(), Node { runtime, stop, done });
        Ok(())
    }

    /// Starts a worker of this cluster's directory that joins the master of `other`.
    ///
    /// # Errors
    /// When there are no threads.
    pub fn join(&mut self, other: &Cluster, name: &str, slots: u32) -> Result<()> {
        self.config.grpc_addr = other.config.grpc_addr;
        self.spawn_worker(name, slots, "")
    }

    /// Stops a worker as SIGTERM does.
    ///
    /// # Errors
    /// When it ends with an error, or not in time.
    pub async fn stop_worker(&mut self, name: &str) -> Result<()> {
        self.workers.remove(name).context("no such worker")?.stop().await
    }

    /// Begins to stop a worker as SIGTERM does, and does not wait for it.
    pub fn begin_to_stop_worker(&mut self, name: &str) {
        if let Some(worker) = self.workers.get(name) {
            worker.stop.cancel();
        }
    }

    /// Cuts a worker off without a word. Unlike after SIGKILL its commands are killed too.
    pub fn kill_worker(&mut self, name: &str) {
        if let Some(worker) = self.workers.remove(name) {
            worker.kill();
        }
    }

    /// Waits until the master says that a worker is in `state`.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn worker_is(&self, name: &str, state: &str) -> Result<()> {
        self.eventually(&format!("worker {name} is {state}"), async || {
            let worker = self.http.get(&format!("/v1/workers/{name}")).await?;
            Ok(worker.status == 200 && worker.json["state"] == state)
        })
        .await
    }

    /// Waits until a task is in `state`; the task.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn task_is(&self, id: &str, state: &str) -> Result<Value> {
        let mut last = Value::Null;
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                last = self.http.get(&format!("/v1/tasks/{id}")).await?.json;
                if last["state"] == state {
                    return Ok(last.clone());
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => bail!("task {id} did not become {state}: {last}"),
        }
    }

    /// Waits until `fact` holds.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn eventually(&self, what: &str, fact: impl AsyncFn() -> Result<bool>) -> Result<()> {
        eventually(what, fact).await
    }

    /// A path in the cluster's directory, which is removed with it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where the master serves gRPC.
    #[must_use]
    pub fn grpc_url(&self) -> String {
        format!("http://{}", self.config.grpc_addr)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let workers = std::mem::take(&mut self.workers);
        workers.into_values().chain(self.master.take()).for_each(Node::kill);
    }
}

impl Node {
    async fn stop(self) -> Result<()> {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.done).await;
        self.runtime.shutdown_background();
        ended.context("it did not stop in time")??
    }

    fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// Waits until `fact` holds: asked again and again, for at most [`PATIENCE`].
///
/// # Errors
/// When it does not in time, or cannot be asked for.
pub async fn eventually(what: &str, fact: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let asked = tokio::time::timeout(PATIENCE, async {
        while !fact().await? {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    });
    asked.await.with_context(|| format!("not in time: {what}"))?
}

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
