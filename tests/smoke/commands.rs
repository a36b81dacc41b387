//! The client commands against a master and two workers.

use anyhow::Result;
use sortie_tests::json;

use crate::fleet::{Master, ids};
use crate::process::Process;
use crate::sandbox::Sandbox;

/// A master and two workers: `w1` in zone a, and `w2` in zone b with a GPU.
async fn fleet() -> Result<(Sandbox, Master, [Process; 2])> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master().await?;
    let variables = [("SORTIE_WORKER_LABELS", "zone=a"), ("SECRET", "do-not-tell")];
    let w1 = sandbox.worker(&master, "w1", &variables).await?;
    let w2 = sandbox.worker(&master, "w2", &[("SORTIE_WORKER_LABELS", "zone=b,gpu")]).await?;
    Ok((sandbox, master, [w1, w2]))
}

#[tokio::test]
async fn an_array_is_shared_by_the_workers() -> Result<()> {
    let (sandbox, master, _workers) = fleet().await?;
    let submit = ["submit", "--count", "200", "--name", "many", "--cmd", "test $SORTIE_INDEX -lt 200"];
    let id = sandbox.ask_text(&master, &submit).await?;
    assert_eq!(sandbox.ask_text(&master, &["wait", &id]).await?, format!("{id} succeeded: 200 succeeded"));
    let job = sandbox.ask_json(&master, &["status", &id]).await?;
    assert_eq!((&job["state"], &job["counts"]), (&json!("succeeded"), &json!({"succeeded": 200})));
    let mut shares = Vec::new();
    for worker in ["w1", "w2"] {
        let tasks = sandbox.ask_json(&master, &["list", "--job", &id, "--worker", worker, "--all"]).await?;
        shares.push(ids(&tasks).len());
    }
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
    assert_eq!(shares.iter().sum::<usize>(), 200);
    let table = sandbox.ask_text(&master, &["list", "--job", &id, "--limit", "200"]).await?;
    assert_eq!(table.lines().filter(|line| line.contains("many")).count(), 200, "{table}");
    Ok(())
}

#[tokio::test]
async fn run_is_as_if_it_were_here() -> Result<()> {
    let (sandbox, master, _workers) = fleet().await?;
    let line = r"printf 'out\000\377'; echo err >&2; exit 7";
    let ended = sandbox.ask(&master, &["run", "--", "sh", "-c", line]).await?;
    assert_eq!((ended.code, ended.stdout.as_slice(), ended.stderr.as_str()), (Some(7), &b"out\0\xff"[..], "err\n"));
    let ended = sandbox.ask(&master, &["run", "--timeout", "100ms", "--cmd", "sleep 600"]).await?;
    ended.assert_failed(124, &["timeout"]);
    Ok(())
}

#[tokio::test]
async fn a_worker_keeps_its_environment_to_itself() -> Result<()> {
    let (sandbox, master, _workers) = fleet().await?;
    let run = ["run", "--selector", "zone=a", "--env", "COLOUR=red", "--", "env"];
    let environment = sandbox.ask_text(&master, &run).await?;
    let home = format!("HOME={}", sandbox.path("home").display());
    assert!(environment.lines().any(|line| line == "COLOUR=red"), "{environment}");
    assert!(environment.lines().any(|line| line == "SORTIE_WORKER=w1"), "{environment}");
    for line in environment.lines() {
        assert!(!line.contains("do-not-tell") && !line.starts_with("SORTIE_WORKER_") && line != home, "{environment}");
    }
    Ok(())
}

#[tokio::test]
async fn a_selector_chooses_the_worker() -> Result<()> {
    let (sandbox, master, _workers) = fleet().await?;
    for (selector, worker) in [("zone=a", "w1"), ("zone=b", "w2"), ("gpu", "w2"), ("!gpu", "w1"), ("zone!=a", "w2")] {
        let run = ["run", "--selector", selector, "--cmd", "echo $SORTIE_WORKER"];
        assert_eq!(sandbox.ask_text(&master, &run).await?, worker, "{selector}");
    }
    let id = sandbox.ask_text(&master, &["submit", "--selector", "zone=c", "--cmd", "true"]).await?;
    let why = sandbox.ask_text(&master, &["why", &id]).await?;
    assert!(why.contains("is queued: none of the 2 connected workers has the labels"), "{why}");
    assert_eq!(sandbox.ask_json(&master, &["why", &id]).await?["reason"], "no_match");
    Ok(())
}

#[tokio::test]
async fn waiting_tells_the_first_that_failed() -> Result<()> {
    let (sandbox, master, _workers) = fleet().await?;
    let submit = async |line: &str| sandbox.ask_text(&master, &["submit", "--cmd", line]).await;
    let [good, nine, four] = [submit("true").await?, submit("exit 9").await?, submit("exit 4").await?];
    let ended = sandbox.ask(&master, &["wait", &good, &nine, &four]).await?;
    let lines = format!("{good} succeeded: 1 succeeded\n{nine} failed: 1 failed\n{four} failed: 1 failed\n");
    assert_eq!((ended.code, ended.text()), (Some(9), lines.as_str()), "{ended:?}");
    let array = ["submit", "--wait", "--count", "3", "--cmd", "exit $SORTIE_INDEX"];
    assert_eq!(sandbox.ask(&master, &array).await?.code, Some(1), "the first that failed has the index 1");
    let failed = sandbox.ask_json(&master, &["list", "--state", "failed"]).await?;
    assert_eq!(ids(&failed).len(), 4, "{failed}");
    Ok(())
}

#[tokio::test]
async fn output_is_what_was_written() -> Result<()> {
    let (sandbox, master, _workers) = fleet().await?;
    let line = r"printf '\000\377\r\n'; printf 'no end' >&2";
    let id = sandbox.ask_text(&master, &["submit", "--wait", "--cmd", line]).await?;
    for (stream, bytes) in [("stdout", &b"\0\xff\r\n"[..]), ("stderr", b"no end"), ("both", b"\0\xff\r\nno end")] {
        let ended = sandbox.ask(&master, &["output", "--stream", stream, &id]).await?;
        assert_eq!((ended.code, ended.stdout.as_slice()), (Some(0), bytes), "{stream}");
    }
    let status = sandbox.ask_json(&master, &["status", &id]).await?;
    assert_eq!(status["outcome"], json!({"kind": "exited", "code": 0}));
    Ok(())
}

#[tokio::test]
async fn a_task_that_runs_can_be_cancelled() -> Result<()> {
    let (sandbox, master, _workers) = fleet().await?;
    let id = sandbox.ask_text(&master, &["submit", "--cmd", "sleep 600"]).await?;
    master.task_is(&id, "running").await?;
    let answer = sandbox.ask_text(&master, &["cancel", &id]).await?;
    assert!(["cancelling", "cancelled"].map(|state| format!("{id} is {state}")).contains(&answer), "{answer}");
    let ended = sandbox.ask(&master, &["wait", &format!("{id}.0")]).await?;
    assert_eq!((ended.code, ended.text()), (Some(130), format!("{id}.0 was cancelled by 127.0.0.1\n").as_str()));
    sandbox.ask(&master, &["cancel", "4711"]).await?.assert_failed(1, &["4711"]);
    Ok(())
}

#[tokio::test]
async fn cancelling_an_array_counts_its_tasks() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master().await?;
    let id = sandbox.ask_text(&master, &["submit", "--count", "3", "--cmd", "true"]).await?;
    assert_eq!(sandbox.ask_text(&master, &["cancel", &id]).await?, format!("{id}: 3 cancelled"));
    Ok(())
}

#[tokio::test]
async fn output_before_the_end_is_said_to_be_none() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master().await?;
    let id = sandbox.ask_text(&master, &["submit", "--cmd", "echo hi"]).await?;
    let early = sandbox.ask(&master, &["output", &id]).await?;
    assert_eq!((early.code, early.text()), (Some(0), ""), "{early:?}");
    assert!(early.stderr.contains("has not ended, it is queued") && early.stderr.contains("-f"), "{early:?}");
    let _worker = sandbox.worker(&master, "w1", &[]).await?;
    assert_eq!(sandbox.ask_text(&master, &["output", "-f", &id]).await?, "hi");
    Ok(())
}
