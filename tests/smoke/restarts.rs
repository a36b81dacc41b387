//! Masters that are killed and come back, and stores that cannot be opened.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use sortie_tests::{Client, json};
use tokio::sync::mpsc;

use crate::fleet::ids;
use crate::sandbox::Sandbox;

/// How many tasks are acknowledged before the master is killed.
const TASKS: usize = 1000;
/// How many clients submit at once.
const CLIENTS: usize = 50;

/// Where a master keeps its store if nobody gives it a place.
const STORE: &str = "home/.local/state/sortie/master/sortie.db";
/// Where a database says whose it is (<https://sqlite.org/fileformat2.html#application_id>).
const APPLICATION_ID: Range<usize> = 68..72;

/// Submits one task after the other until it is not accepted, and tells the ids of those that were.
async fn submit_on(http: Client, cmd: String, acknowledged: mpsc::Sender<String>) {
    while let Ok(id) = http.submit(&json!({ "cmd": cmd })).await {
        if acknowledged.send(id).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_acknowledged_tasks_outlive_a_kill() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let ran = sandbox.path("ran");
    let master = sandbox.master().await?;
    let (tx, mut rx) = mpsc::channel(1);
    for _ in 0..CLIENTS {
        let cmd = format!("echo $SORTIE_TASK_ID >> {}", ran.display());
        tokio::spawn(submit_on(master.http.clone(), cmd, tx.clone()));
    }
    drop(tx);
    let mut acknowledged = BTreeSet::new();
    while let Some(id) = rx.recv().await {
        ensure!(acknowledged.insert(id), "an id was given twice");
        if acknowledged.len() == TASKS {
            // In the midst of submissions.
            master.process.signal(Signal::KILL)?;
        }
    }
    assert!(acknowledged.len() >= TASKS, "the master did not accept more than {}", acknowledged.len());
    assert_eq!(master.process.ended().await?.signal, Some(9));

    let master = sandbox.master().await?;
    let listed = sandbox.ask_json(&master, &["list", "--all", "--state", "queued"]).await?;
    let listed = ids(&listed);
    let lost = acknowledged.iter().filter(|id| listed.binary_search(&id.as_str()).is_err());
    assert_eq!(lost.collect::<Vec<_>>(), [""; 0]);
    let unacknowledged = listed.len() - acknowledged.len();
    assert!(unacknowledged <= CLIENTS, "{unacknowledged} that nobody submitted");

    let _worker = sandbox.worker(&master, "w1", &[]).await?;
    for id in &listed {
        master.task_is(id, "succeeded").await?;
    }
    let ran = fs::read_to_string(ran)?;
    let mut ran: Vec<&str> = ran.lines().collect();
    ran.sort_unstable();
    assert_eq!(ran, listed, "each has run once");
    Ok(())
}

#[tokio::test]
async fn a_store_belongs_to_one_master() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master().await?;
    let second = sandbox.run(sandbox.master_command()).await?;
    second.assert_failed(70, &["another master uses", "give this one a directory of its own"]);
    assert_eq!(master.http.get("/readyz").await?.status, 200, "the first is not disturbed");
    Ok(())
}

#[tokio::test]
async fn an_address_belongs_to_one_master() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let mut command = sandbox.sortie(&["master", "--grpc-addr", "127.0.0.1:0"]);
    command.env("SORTIE_MASTER_HTTP_ADDR", taken.local_addr()?.to_string());
    let ended = sandbox.run(command).await?;
    ended.assert_failed(69, &["cannot listen on", "is another master running?"]);
    Ok(())
}

/// Asserts that no master starts with `bytes` for its store, that it says why, and that they are still there.
async fn assert_left_alone(sandbox: &Sandbox, bytes: &[u8], words: &[&str]) -> Result<()> {
    let store = sandbox.path(STORE);
    fs::write(&store, bytes)?;
    sandbox.run(sandbox.master_command()).await?.assert_failed(70, words);
    assert!(fs::read(&store)? == bytes, "the file has been written to");
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_no_store_is_left_alone() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master().await?;
    master.process.signal(Signal::TERM)?;
    assert_eq!(master.process.ended().await?.code, Some(0));
    let mut store = fs::read(sandbox.path(STORE))?;

    let garbage = b"this is no database\n".repeat(1000);
    assert_left_alone(&sandbox, &garbage, &["the database is damaged", "restore it from a backup"]).await?;
    store[APPLICATION_ID].fill(1);
    assert_left_alone(&sandbox, &store, &["is a database of another program"]).await?;
    Ok(())
}
