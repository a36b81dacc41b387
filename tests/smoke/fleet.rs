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
    http_addr: SocketAddr,
    grpc_addr: SocketAddr,
}

impl Sandbox {
    /// Starts a master on ports of its own, and waits until it is ready.
    pub(crate) async fn master(&self) -> Result<Master> {
        self.master_with(&[]).await
    }

    /// Starts a master with these further variables.
    pub(crate) async fn master_with(&self, variables: &[(&str, &str)]) -> Result<Master> {
        let mut command = self.master_command();
        command.envs(variables.iter().copied());
        let process = self.start(command)?;
        let ready = process.logs("the master is ready").await?;
        let addr = |key: &str| Ok::<SocketAddr, anyhow::Error>(ready[key].as_str().context("an address")?.parse()?);
        let (http_addr, grpc_addr) = (addr("http_addr")?, addr("grpc_addr")?);
        Ok(Master { process, http: Client::new(http_addr)?, http_addr, grpc_addr })
    }

    /// A master on ports of its own, to be started.
    pub(crate) fn master_command(&self) -> Command {
        self.sortie(&["master", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"])
    }

    /// Starts a worker with two slots and these further variables, and waits until the master says it is connected.
    pub(crate) async fn worker(&self, master: &Master, name: &str, variables: &[(&str, &str)]) -> Result<Process> {
        let mut command = self.sortie(&["worker", "--slots", "2"]);
        command.env("SORTIE_WORKER_NAME", name).env("SORTIE_WORKER_MASTER_URL", format!("http://{}", master.grpc_addr));
        command.envs(variables.iter().copied());
        let process = self.start(command)?;
        let path = format!("/v1/workers/{name}");
        let connected = async || Ok(master.http.get(&path).await?.json["state"] == "connected");
        eventually("a worker is connected", connected).await.with_context(|| process.stderr().unwrap_or_default())?;
        Ok(process)
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
        let mut command = self.sortie(arguments);
        command.env("SORTIE_SERVER", format!("http://{}", master.http_addr));
        command
    }
}

impl Master {
    /// Waits until a task is in `state`; the task.
    pub(crate) async fn task_is(&self, id: &str, state: &str) -> Result<Value> {
        let task = async || Ok::<_, anyhow::Error>(self.http.get(&format!("/v1/tasks/{id}")).await?.json);
        let became = eventually(state, async || Ok(task().await?["state"] == state)).await;
        let task = task().await?;
        became.with_context(|| task.to_string())?;
        Ok(task)
    }
}

/// The ids of listed tasks, in order.
pub(crate) fn ids(tasks: &Value) -> Vec<&str> {
    let ids = tasks.as_array().into_iter().flatten().filter_map(|task| task["id"].as_str());
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable();
    ids
}
