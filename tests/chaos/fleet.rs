//! The master and its two workers, as processes of the real binary.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use sortie_tests::eventually;

use crate::process::Process;
use crate::proxy::Proxy;
use crate::sandbox::Sandbox;

/// The lease that the master grants; its own margin comes on top.
pub(crate) const LEASE: Duration = Duration::from_millis(2_000);
/// How many commands run at once in each worker.
const SLOTS: &str = "8";
/// How long a worker that is stopped lets its commands go on, in the settings' own words.
const STOP_TIMEOUT: &str = "3s";

/// The processes. Dropped, all of them are killed, with what they run.
pub(crate) struct Fleet {
    sandbox: Sandbox,
    http: SocketAddr,
    grpc: SocketAddr,
    master: Option<Process>,
    pub(crate) workers: [Worker; 2],
}

pub(crate) struct Worker {
    name: &'static str,
    pub(crate) proxy: Proxy,
    process: Option<Process>,
}

/// One of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Master,
    Worker(usize),
}

impl Fleet {
    pub(crate) async fn start() -> Result<Fleet> {
        let (http, grpc) = (free_address()?, free_address()?);
        let sandbox = Sandbox::new()?;
        std::fs::create_dir(sandbox.path("locks"))?;
        let worker =
            async |name| Ok::<_, anyhow::Error>(Worker { name, proxy: Proxy::start(grpc).await?, process: None });
        let workers = [worker("a").await?, worker("b").await?];
        let mut fleet = Fleet { sandbox, http, grpc, master: None, workers };
        fleet.heal().await?;
        Ok(fleet)
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.sandbox.path(name)
    }

    /// Starts what does not run. A process that could not start, because its predecessor had not gone yet, is tried
    /// again by the next call.
    pub(crate) fn raise(&mut self, who: Who) -> Result<()> {
        match who {
            Who::Master => {
                let mut command = self.sandbox.sortie(&["master"]);
                command.env("SORTIE_MASTER_HTTP_ADDR", self.http.to_string());
                command.env("SORTIE_MASTER_GRPC_ADDR", self.grpc.to_string());
                command.env("SORTIE_MASTER_DATA_DIR", self.sandbox.path("master"));
                command.env("SORTIE_MASTER_LEASE", format!("{}ms", LEASE.as_millis()));
                self.master = Some(self.sandbox.start(command)?);
            }
            Who::Worker(index) => {
                let worker = &mut self.workers[index];
                let mut command = self.sandbox.sortie(&["worker"]);
                command.env("SORTIE_WORKER_MASTER_URL", format!("http://{}", worker.proxy.addr));
                command.env("SORTIE_WORKER_NAME", worker.name).env("SORTIE_WORKER_SLOTS", SLOTS);
                command.env("SORTIE_WORKER_DATA_DIR", self.sandbox.path(worker.name));
                command.env("SORTIE_WORKER_STOP_TIMEOUT", STOP_TIMEOUT);
                worker.process = Some(self.sandbox.start(command)?);
            }
        }
        Ok(())
    }

    pub(crate) fn signal(&self, who: Who, signal: Signal) -> Result<()> {
        self.process(who).map_or(Ok(()), |process| process.signal(signal))
    }

    /// Waits until a process that was killed, or asked to end, has ended.
    pub(crate) async fn ended(&mut self, who: Who) -> Result<()> {
        let process = match who {
            Who::Master => self.master.take(),
            Who::Worker(index) => self.workers[index].process.take(),
        };
        if let Some(process) = process {
            process.ended().await?;
        }
        Ok(())
    }

    /// Sees to it that everything runs and is in touch.
    pub(crate) async fn heal(&mut self) -> Result<()> {
        for who in [Who::Master, Who::Worker(0), Who::Worker(1)] {
            self.signal(who, Signal::CONT)?;
            if let Who::Worker(index) = who {
                self.workers[index].proxy.silence(false);
            }
            let is_up = match self.process(who) {
                Some(process) => process.runs()?,
                None => false,
            };
            if !is_up {
                self.raise(who)?;
            }
        }
        Ok(())
    }

    /// Once every task has ended and the workers have been stopped, no process is left that they started.
    pub(crate) async fn check_nothing_is_left(mut self) -> Result<()> {
        for index in 0..self.workers.len() {
            self.signal(Who::Worker(index), Signal::TERM)?;
            self.ended(Who::Worker(index)).await?;
        }
        self.signal(Who::Master, Signal::TERM)?;
        self.ended(Who::Master).await?;
        eventually("all processes are gone", async || Ok(self.sandbox.processes()?.is_empty())).await?;
        ensure!(self.sandbox.processes()?.is_empty(), "processes are left");
        Ok(())
    }

    fn process(&self, who: Who) -> Option<&Process> {
        match who {
            Who::Master => self.master.as_ref(),
            Who::Worker(index) => self.workers[index].process.as_ref(),
        }
    }
}

/// An address that nobody listens on, for one that has to come back to it.
fn free_address() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
