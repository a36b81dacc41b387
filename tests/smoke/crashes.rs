//! Processes that die without a word, and what becomes of the commands: masters leave them alone, workers take them
//! along.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::Result;
use sortie_tests::{eventually, json};

use crate::fleet::attempts;
use crate::pids::{Pids, daemon};
use crate::sandbox::Sandbox;

/// How many commands run while the master is away.
const COMMANDS: usize = 20;
/// The end of a long output.
const LAST_LINE: &[u8] = b"\n20000\n";
/// The longest that a command outlives its worker.
const SECONDS: Duration = Duration::from_secs(5);

#[tokio::test]
async fn commands_do_not_notice_that_the_master_was_killed() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master().await?;
    let _worker = sandbox.worker(&master, "w1", &[("SORTIE_WORKER_SLOTS", "20")]).await?;
    let pids = Pids::new(&sandbox, "pids");
    let path = pids.path();
    let line =
        |word: &str| format!("echo $$ {word} $SORTIE_INDEX $SORTIE_ATTEMPT >> {path}; echo {word} $SORTIE_INDEX");
    let cmd = format!("{}; sleep 3; {}", line("start"), line("end"));
    let job = sandbox.ask_text(&master, &["submit", "--count", "20", "--cmd", &cmd]).await?;
    let wait = sandbox.start(sandbox.asking(&master, &["wait", &job]))?;
    pids.have(COMMANDS, "start").await?;

    let at = master.killed().await?;
    assert_eq!(pids.alive().len(), COMMANDS, "none has ended before");
    // Some end while there is no master to tell it to.
    pids.have(1, "end").await?;
    let master = sandbox.master_at(at, &[]).await?;
    let ended = wait.ended().await?;
    assert_eq!((ended.code, ended.text()), (Some(0), format!("{job} succeeded: 20 succeeded\n").as_str()), "{ended:?}");

    let lines = pids.lines();
    let of = |word: &str| -> BTreeSet<String> {
        lines.iter().filter(|line| line.contains(word)).map(|line| line.replace(word, "")).collect()
    };
    assert_eq!((lines.len(), of("start").len()), (2 * COMMANDS, COMMANDS), "{lines:?}");
    assert_eq!(of("start"), of("end"), "the same processes");
    for index in 0..COMMANDS {
        let id = format!("{job}.{index}");
        let task = master.task_is(&id, "succeeded").await?;
        assert_eq!(attempts(&task), [1]);
        assert_eq!(sandbox.ask_text(&master, &["output", &id]).await?, format!("start {index}\nend {index}"));
    }
    Ok(())
}

#[tokio::test]
async fn commands_do_not_outlive_a_worker_that_was_killed() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master().await?;
    let worker = sandbox.worker(&master, "w1", &[]).await?;
    let pids = Pids::new(&sandbox, "pids");
    let first = format!("{}; echo $$ leader >> {}; sleep 600; :", daemon(&pids), pids.path());
    let cmd = format!("if [ $SORTIE_ATTEMPT -gt 1 ]; then echo again; exit; fi; {first}");
    let mut ids = Vec::new();
    for on_lost in ["fail", "retry"] {
        ids.push(sandbox.ask_text(&master, &["submit", "--on-lost", on_lost, "--cmd", &cmd]).await?);
    }
    pids.have(4, "").await?;
    for id in &ids {
        master.task_is(id, "running").await?;
    }

    let killed = Instant::now();
    worker.killed().await?;
    pids.are_gone().await?;
    assert!(killed.elapsed() < SECONDS, "they lived on for {:?}", killed.elapsed());
    let alone = async || Ok(sandbox.processes()? == [master.process.id()]);
    eventually("the guard has gone too", alone).await?;

    let _worker = sandbox.worker(&master, "w1", &[]).await?;
    let died = json!({"kind": "lost", "started": "yes", "reason": "worker_died"});
    let lost = master.task_is(&ids[0], "lost").await?;
    assert_eq!((attempts(&lost), &lost["outcome"]), (vec![1], &died));
    let again = master.task_is(&ids[1], "succeeded").await?;
    assert_eq!((attempts(&again), &again["attempts"][0]["outcome"]), (vec![1, 2], &died));
    assert_eq!(sandbox.ask_text(&master, &["output", &ids[1]]).await?, "again");
    assert_eq!(pids.lines().len(), 4, "nothing has run twice that must not");
    Ok(())
}

#[tokio::test]
async fn an_end_that_was_not_told_outlives_its_worker() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master().await?;
    let worker = sandbox.worker(&master, "w1", &[]).await?;
    let (pids, go) = (Pids::new(&sandbox, "pids"), sandbox.path("go"));
    let wait = format!("until test -e {}; do sleep 0.01; done", go.display());
    let cmd = format!("echo $$ >> {}; {wait}; seq 1 20000; echo err >&2; exit 7", pids.path());
    let id = sandbox.ask_text(&master, &["submit", "--cmd", &cmd]).await?;
    master.task_is(&id, "running").await?;
    let at = master.killed().await?;
    fs::write(go, "")?;
    pids.are_gone().await?;
    // Its end is not only known to the worker's process by then.
    let journal = sandbox.path("home/.local/state/sortie/workers/w1/journal");
    let written = || fs::read(&journal).is_ok_and(|bytes| bytes.windows(LAST_LINE.len()).any(|at| at == LAST_LINE));
    eventually("the end is written down", async || Ok(written())).await?;
    worker.killed().await?;

    let master = sandbox.master_at(at, &[]).await?;
    let _worker = sandbox.worker(&master, "w1", &[]).await?;
    let task = master.task_is(&id, "failed").await?;
    assert_eq!(task["outcome"], json!({"kind": "exited", "code": 7}));
    assert_eq!((attempts(&task), pids.lines().len()), (vec![1], 1), "{task}");
    let numbers: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(master.http.output(&task, "stdout").await?, numbers);
    assert_eq!(master.http.output(&task, "stderr").await?, "err\n");
    Ok(())
}
