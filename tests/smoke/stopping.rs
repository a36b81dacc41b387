//! Signals to masters and workers: the first asks, the second insists.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use sortie_tests::{Client, eventually, json};
use tokio::task::JoinSet;

use crate::fleet::ids;
use crate::pids::Pids;
use crate::sandbox::Sandbox;

/// How many clients submit while the master is stopped.
const CLIENTS: usize = 32;
/// How many tasks are accepted before it is.
const TASKS: usize = 200;

#[tokio::test]
async fn a_master_says_that_it_stopped() -> Result<()> {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let sandbox = Sandbox::new()?;
        let master = sandbox.master().await?;
        let _worker = sandbox.worker(&master, "w1", &[]).await?;
        master.process.signal(signal)?;
        let ended = master.process.ended().await?;
        assert_eq!((ended.code, ended.text()), (Some(0), ""), "{ended:?}");
        assert!(ended.logged("stopping; a second signal stops at once"), "{ended:?}");
        assert!(ended.logged("the master has stopped"), "{ended:?}");
    }
    Ok(())
}

/// Submits one task after the other until nobody answers any more; the ids of those that were accepted.
async fn submit_on(http: Client, count: Arc<AtomicUsize>) -> Result<Vec<String>> {
    let mut accepted = Vec::new();
    while let Ok(answer) = http.post("/v1/tasks", &json!({"cmd": "true"})).await {
        ensure!(answer.status == 201, "{answer:?}");
        accepted.push(answer.id()?);
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(accepted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_stops_refuses_nothing_that_it_has_taken() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master().await?;
    let (mut clients, count) = (JoinSet::new(), Arc::<AtomicUsize>::default());
    for _ in 0..CLIENTS {
        clients.spawn(submit_on(master.http.clone(), count.clone()));
    }
    eventually("enough is accepted", async || Ok(count.load(Ordering::Relaxed) >= TASKS)).await?;
    master.process.signal(Signal::TERM)?;
    let mut accepted = Vec::new();
    while let Some(client) = clients.join_next().await {
        accepted.extend(client??);
    }
    assert_eq!(master.process.ended().await?.code, Some(0));
    let master = sandbox.master_at(master.at, &[]).await?;
    let listed = sandbox.ask_json(&master, &["list", "--all"]).await?;
    let listed = ids(&listed);
    let lost = accepted.iter().filter(|id| listed.binary_search(&id.as_str()).is_err());
    assert_eq!(lost.collect::<Vec<_>>(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_worker_that_stops_lets_its_command_finish() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master().await?;
    let worker = sandbox.worker(&master, "w1", &[]).await?;
    let go = sandbox.path("go");
    let cmd = format!("until test -e {}; do sleep 0.01; done; echo done", go.display());
    let id = sandbox.ask_text(&master, &["submit", "--cmd", &cmd]).await?;
    master.task_is(&id, "running").await?;
    worker.signal(Signal::TERM)?;
    worker.logs("leaving the master").await?;
    std::fs::write(&go, "")?;
    let ended = worker.ended().await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let task = master.task_is(&id, "succeeded").await?;
    assert_eq!(task["outcome"], json!({"kind": "exited", "code": 0}));
    assert_eq!(sandbox.ask_text(&master, &["output", &id]).await?, "done");
    Ok(())
}

#[tokio::test]
async fn a_command_that_does_not_finish_in_time_is_stopped() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master().await?;
    let worker = sandbox.worker(&master, "w1", &[("SORTIE_WORKER_STOP_TIMEOUT", "50ms")]).await?;
    let pids = Pids::new(&sandbox, "pids");
    let cmd = format!("echo $$ >> {}; sleep 600; :", pids.path());
    let id = sandbox.ask_text(&master, &["submit", "--on-lost", "fail", "--cmd", &cmd]).await?;
    master.task_is(&id, "running").await?;
    worker.signal(Signal::TERM)?;
    let ended = worker.ended().await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(pids.alive(), [""; 0], "the command is gone before its worker");
    let task = master.task_is(&id, "lost").await?;
    assert_eq!(task["outcome"], json!({"kind": "lost", "started": "yes", "reason": "worker_stopped"}));
    Ok(())
}

#[tokio::test]
async fn a_second_signal_waits_for_nothing() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master_with(&[("SORTIE_MASTER_LEASE", "2s")]).await?;
    let worker = sandbox.worker(&master, "w1", &[]).await?;
    let stubborn = "trap '' TERM; while :; do sleep 600; done";
    let id = sandbox.ask_text(&master, &["submit", "--on-lost", "fail", "--cmd", stubborn]).await?;
    master.task_is(&id, "running").await?;
    assert!(sandbox.processes()?.len() > 2, "the command is seen while it runs");
    worker.signal(Signal::TERM)?;
    worker.logs("leaving the master").await?;
    worker.signal(Signal::TERM)?;
    let ended = worker.ended().await?;
    assert_eq!(ended.code, Some(143), "{ended:?}");
    let alone = async || Ok(sandbox.processes()? == [master.process.id()]);
    eventually("no command survives", alone).await?;
    let task = master.task_is(&id, "lost").await?;
    assert_eq!(task["outcome"], json!({"kind": "lost", "started": "yes", "reason": "lease_ended"}));
    Ok(())
}
