//! Replacing every process of a fleet, one after the other, while it works: nobody notices.

use std::sync::Arc;

use anyhow::Result;
use rustix::process::Signal;

use crate::fleet::Master;
use crate::load::Load;
use crate::pids::Pids;
use crate::process::Process;
use crate::sandbox::Sandbox;

/// How many tasks are accepted between two steps.
const STEP: usize = 15;

/// A `sortie run` whose command waits until it is let go.
struct Run {
    process: Process,
    pids: Pids,
    go: std::path::PathBuf,
}

impl Run {
    /// Starts it, and waits until its command runs.
    async fn start(sandbox: &Sandbox, master: &Master, name: &str, selector: &str, code: u8) -> Result<Run> {
        let (pids, go) = (Pids::new(sandbox, &format!("{name}-pids")), sandbox.path(&format!("{name}-go")));
        let wait = format!("until test -e {}; do sleep 0.02; done", go.display());
        let line = format!("echo $$ >> {}; {wait}; echo {name}; exit {code}", pids.path());
        let process = sandbox.start(sandbox.asking(master, &["run", "--selector", selector, "--cmd", &line]))?;
        pids.have(1, "").await?;
        Ok(Run { process, pids, go })
    }

    /// Lets the command go.
    fn let_go(&self) -> Result<()> {
        Ok(std::fs::write(&self.go, "")?)
    }

    /// Asserts that it ended as its command did, which ran once.
    async fn assert_ended(self, stdout: &str, code: i32) -> Result<()> {
        assert_eq!(self.pids.lines().len(), 1);
        let ended = self.process.ended().await?;
        assert_eq!((ended.code, ended.text()), (Some(code), stdout), "{ended:?}");
        Ok(())
    }
}

/// Stops a worker as an init system does, and starts the next one in its place. What it runs may finish.
async fn replace(sandbox: &Sandbox, master: &Master, worker: Process, name: &str, labels: &str) -> Result<Process> {
    let run = Run::start(sandbox, master, name, labels, 7).await?;
    worker.signal(Signal::TERM)?;
    worker.logs("leaving the master").await?;
    run.let_go()?;
    let ended = worker.ended().await?;
    assert_eq!((ended.code, ended.logged("left the master")), (Some(0), true), "{ended:?}");
    run.assert_ended(&format!("{name}\n"), 7).await?;
    sandbox.worker(master, name, &[("SORTIE_WORKER_LABELS", labels)]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_process_can_be_replaced_under_load() -> Result<()> {
    let sandbox = Arc::new(Sandbox::new()?);
    let master = sandbox.master().await?;
    let w1 = sandbox.worker(&master, "w1", &[("SORTIE_WORKER_LABELS", "zone=a")]).await?;
    let w2 = sandbox.worker(&master, "w2", &[("SORTIE_WORKER_LABELS", "zone=b")]).await?;
    let load = Load::start(&sandbox, master.at.http)?;
    load.goes_on(STEP).await?;

    let _w1 = replace(&sandbox, &master, w1, "w1", "zone=a").await?;
    load.goes_on(STEP).await?;
    let _w2 = replace(&sandbox, &master, w2, "w2", "zone=b").await?;
    load.goes_on(STEP).await?;
    assert_eq!(load.unanswered(), 0, "the master was there all the time");

    let run = Run::start(&sandbox, &master, "through", "zone=a", 9).await?;
    let at = master.at;
    master.process.signal(Signal::TERM)?;
    let ended = master.process.ended().await?;
    assert_eq!((ended.code, ended.logged("the master has stopped")), (Some(0), true), "{ended:?}");
    run.let_go()?;
    run.pids.are_gone().await?;
    assert!(run.process.runs()?, "it waits for the next master");
    let master = sandbox.master_at(at, &[]).await?;
    run.assert_ended("through\n", 9).await?;
    load.goes_on(STEP).await?;

    let ran = load.ran();
    let accepted = load.stopped().await?;
    for id in &accepted {
        master.task_is(id, "succeeded").await?;
    }
    assert_eq!(ran.ids()?, accepted.into_iter().collect::<Vec<_>>(), "each has run, and once");
    Ok(())
}
