//! A master and its workers, each a process of its own, and the command line that asks them.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result};
use sortie_tests::{Client, Value, eventually};

use crate::process::{Ended, Process};
use crate::sandbox::Sandbox;

/// A master.
pub(crate) struct Master {
    pub(crate) process: Process,
    /// A client of it.
    pub(crate) http: Client,
    /// Where it listens.
    pub(crate) at: Addresses,
}

/// Where a master listens, and the next one in its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
}

impl Sandbox {
    /// Starts a master on ports of its own, and waits until it is ready.
    pub(crate) async fn master(&self) -> Result<Master> {
        self.master_with(&[]).await
    }

    /// Starts a master with these further variables.
    pub(crate) async fn master_with(&self, variables: &[(&str, &str)]) -> Result<Master> {
        self.master_at(Addresses { http: self.any_port(), grpc: self.any_port() }, variables).await
    }

    /// Starts a master, in the place of one before it perhaps.
    pub(crate) async fn master_at(&self, at: Addresses, variables: &[(&str, &str)]) -> Result<Master> {
        let mut command = self.sortie(&["master"]);
        command.args(["--http-addr", &at.http.to_string(), "--grpc-addr", &at.grpc.to_string()]);
        command.envs(variables.iter().copied());
        let process = self.start(command)?;
        let ready = process.logs("the master is ready").await?;
        let addr = |key: &str| Ok::<SocketAddr, anyhow::Error>(ready[key].as_str().context("an address")?.parse()?);
        let at = Addresses { http: addr("http_addr")?, grpc: addr("grpc_addr")? };
        Ok(Master { process, http: Client::new(at.http)?, at })
    }

    /// A master on ports of its own, to be started.
    pub(crate) fn master_command(&self) -> Command {
        self.sortie(&["master", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"])
    }

    /// Starts a worker with two slots and these further variables, and waits until the master says it is connected.
    pub(crate) async fn worker(&self, master: &Master, name: &str, variables: &[(&str, &str)]) -> Result<Process> {
        let process = self.start(self.worker_command(master.at, name, variables))?;
        let connected = master.has_worker(name).await;
        connected.with_context(|| process.stderr().unwrap_or_default())?;
        Ok(process)
    }

    /// A worker with two slots, unless these further variables say otherwise, to be started.
    pub(crate) fn worker_command(&self, at: Addresses, name: &str, variables: &[(&str, &str)]) -> Command {
        let mut command = self.sortie(&["worker"]);
        command.env("SORTIE_WORKER_MASTER_URL", format!("http://{}", at.grpc));
        command.env("SORTIE_WORKER_NAME", name).env("SORTIE_WORKER_SLOTS", "2").envs(variables.iter().copied());
        command
    }

    /// Asks a master from the command line.
    pub(crate) async fn ask(&self, master: &Master, arguments: &[&str]) -> Result<Ended> {
        self.run(self.asking(master, arguments)).await
    }

    /// Asks a master from the command line for something that succeeds; what it writes.
    pub(crate) async fn ask_text(&self, master: &Master, arguments: &[&str]) -> Result<String> {
        let ended = self.ask(master, arguments).await?;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}: {ended:?}");
        Ok(ended.text().trim_end().to_owned())
    }

    /// Asks a master from the command line for something that succeeds, as JSON.
    pub(crate) async fn ask_json(&self, master: &Master, arguments: &[&str]) -> Result<Value> {
        let text = self.ask_text(master, &[arguments, &["-o", "json"]].concat()).await?;
        text.parse().with_context(|| format!("{arguments:?} writes {text}"))
    }

    /// A question to a master from the command line, to be started.
    pub(crate) fn asking(&self, master: &Master, arguments: &[&str]) -> Command {
        self.asking_at(master.at.http, arguments)
    }

    /// A question to whatever master there is, to be started.
    pub(crate) fn asking_at(&self, http: SocketAddr, arguments: &[&str]) -> Command {
        let mut command = self.sortie(arguments);
        command.env("SORTIE_SERVER", format!("http://{http}"));
        command
    }
}

impl Master {
    /// Ends it as a crash does; where the next one shall be.
    pub(crate) async fn killed(self) -> Result<Addresses> {
        self.process.killed().await?;
        Ok(self.at)
    }

    /// Waits until a worker is connected.
    pub(crate) async fn has_worker(&self, name: &str) -> Result<()> {
        let path = format!("/v1/workers/{name}");
        eventually("a worker is connected", async || Ok(self.http.get(&path).await?.json["state"] == "connected")).await
    }

    /// Waits until a task is in `state`; the task.
    pub(crate) async fn task_is(&self, id: &str, state: &str) -> Result<Value> {
        let task = async || Ok::<_, anyhow::Error>(self.http.get(&format!("/v1/tasks/{id}")).await?.json);
        let became = eventually(state, async || Ok(task().await?["state"] == state)).await;
        let task = task().await?;
        became.with_context(|| task.to_string())?;
        Ok(task)
    }
}

/// The numbers of a task's attempts.
pub(crate) fn attempts(task: &Value) -> Vec<u64> {
    let attempts = task["attempts"].as_array().into_iter().flatten();
    attempts.filter_map(|attempt| attempt["number"].as_u64()).collect()
}

/// The ids of listed tasks, in order.
pub(crate) fn ids(tasks: &Value) -> Vec<&str> {
    let ids = tasks.as_array().into_iter().flatten().filter_map(|task| task["id"].as_str());
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable();
    ids
}
