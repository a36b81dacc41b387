//! Signals to masters and workers: the first asks, the second insists.

use anyhow::Result;
use rustix::process::Signal;
use sortie_tests::{eventually, json};

use crate::sandbox::Sandbox;

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
    let id = sandbox.ask_text(&master, &["submit", "--cmd", "sleep 600; :"]).await?;
    master.task_is(&id, "running").await?;
    worker.signal(Signal::TERM)?;
    let ended = worker.ended().await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(sandbox.processes()?, [master.process.id()], "the command is gone before its worker");
    let task = master.task_is(&id, "lost").await?;
    assert_eq!(task["outcome"], json!({"kind": "lost", "started": "yes", "reason": "worker_stopped"}));
    Ok(())
}

#[tokio::test]
async fn a_second_signal_waits_for_nothing() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master().await?;
    let worker = sandbox.worker(&master, "w1", &[]).await?;
    let stubborn = "trap '' TERM; while :; do sleep 600; done";
    let id = sandbox.ask_text(&master, &["submit", "--cmd", stubborn]).await?;
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
