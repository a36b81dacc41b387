//! Masters that are away for a moment, or busy: client commands ask again, and nothing is submitted twice.

use std::time::Duration;

use anyhow::{Context as _, Result};
use sortie_tests::json;

use crate::fleet::{Addresses, attempts};
use crate::sandbox::Sandbox;
use crate::stub::{Reply, Stub};

/// A task as a master shows it that has just accepted it.
const ACCEPTED: &str = r#"{"id":"7.0","job":"7"}"#;
/// What is wrong, as a master puts it.
const BUSY: Reply = Reply::Answer(429, "Retry-After: 1", r#"{"detail":"busy"}"#);
const STOPPING: Reply = Reply::Answer(503, "Retry-After: 0", r#"{"detail":"stopping"}"#);

#[tokio::test]
async fn a_master_that_does_not_come_is_given_up_in_time() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let nobody = sandbox.free_addr()?;
    for arguments in [&["list"][..], &["run", "true"], &["cancel", "--wait", "1", "2"]] {
        let mut command = sandbox.asking_at(nobody, arguments);
        command.env("SORTIE_RETRY_FOR", "300ms");
        let ended = sandbox.run(command).await?;
        ended.assert_failed(69, &[&format!("http://{nobody}"), "cannot be reached", "; trying on for 300ms, until 2"]);
        assert_eq!(ended.stderr.matches("trying on").count(), 1, "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 2, "{ended:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_master_that_comes_in_time_gets_the_command() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let at = Addresses { http: sandbox.free_addr()?, grpc: sandbox.any_port() };
    let run = sandbox.start(sandbox.asking_at(at.http, &["run", "--", "echo", "here"]))?;
    run.says("cannot be reached").await?;
    let master = sandbox.master_at(at, &[]).await?;
    let _worker = sandbox.worker(&master, "w1", &[]).await?;
    let ended = run.ended().await?;
    assert_eq!((ended.code, ended.text()), (Some(0), "here\n"), "{ended:?}");
    assert_eq!(master.http.get("/v1/tasks").await?.json["tasks"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test]
async fn a_submission_is_repeated_under_one_key() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let replies = &[Reply::Hangup, BUSY, STOPPING, Reply::Answer(502, "", ""), Reply::Answer(201, "", ACCEPTED)];
    let stub = Stub::start(sandbox.any_port(), replies).await?;
    let ended = sandbox.run(sandbox.asking_at(stub.addr, &["submit", "--", "true"])).await?;
    assert_eq!((ended.code, ended.text()), (Some(0), "7\n"), "{ended:?}");
    assert_eq!(ended.stderr.matches("trying on for 30s").count(), 1, "{ended:?}");
    let asked = stub.asked();
    let key = asked.first().and_then(|first| first.header("idempotency-key")).context("a key")?;
    assert!(key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
    assert_eq!(asked.len(), replies.len());
    assert!(asked.iter().all(|asked| asked.header("idempotency-key") == Some(key)), "{asked:?}");
    let waited = asked[2].at - asked[1].at;
    assert!(waited >= Duration::from_secs(1), "the master asked for a second, and had {waited:?}");
    Ok(())
}

#[tokio::test]
async fn what_would_be_the_same_again_is_not_asked_again() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let far = Reply::Answer(429, "Retry-After: 3600", "");
    for (reply, code) in [(Reply::Answer(409, "", ""), 1), (Reply::Answer(422, "", ""), 64), (far, 69)] {
        let replies = Box::leak(Box::new([reply]));
        let stub = Stub::start(sandbox.any_port(), replies).await?;
        let ended = sandbox.run(sandbox.asking_at(stub.addr, &["submit", "--", "true"])).await?;
        ended.assert_failed(code, &[&stub.addr.to_string()]);
        assert!(!ended.stderr.contains("trying on"), "{ended:?}");
        assert_eq!(stub.asked().len(), 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_key_stands_for_one_submission() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master().await?;
    let submit = |cmd| ["submit", "--idempotency-key", "nightly", "--cmd", cmd];
    let id = sandbox.ask_text(&master, &submit("true")).await?;
    assert_eq!(sandbox.ask_text(&master, &submit("true")).await?, id);
    let at = master.killed().await?;
    let master = sandbox.master_at(at, &[]).await?;
    assert_eq!(sandbox.ask_text(&master, &submit("true")).await?, id, "the key outlives the master");
    let other = sandbox.ask(&master, &submit("false")).await?;
    other.assert_failed(1, &["this idempotency key stands for"]);
    assert!(!other.stderr.contains("trying on"), "{other:?}");
    assert_ne!(sandbox.ask_text(&master, &["submit", "--cmd", "true"]).await?, id, "no key is one of its own");
    sandbox.ask(&master, &["submit", "--idempotency-key", "", "true"]).await?.assert_failed(64, &["--idempotency-key"]);
    Ok(())
}

#[tokio::test]
async fn a_full_queue_is_waited_for() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master_with(&[("SORTIE_MASTER_MAX_JOBS", "1")]).await?;
    let first = sandbox.ask_text(&master, &["submit", "--cmd", "true"]).await?;
    let refused = sandbox.ask(&master, &["submit", "--retry-for", "0", "--cmd", "true"]).await?;
    refused.assert_failed(69, &[]);
    let second = sandbox.start(sandbox.asking(&master, &["submit", "--cmd", "true"]))?;
    second.says("trying on").await?;
    sandbox.ask_text(&master, &["cancel", &first]).await?;
    let ended = second.ended().await?;
    assert_eq!((ended.code, ended.text().trim().parse::<u64>().is_ok()), (Some(0), true), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn a_command_that_fails_is_tried_again() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master().await?;
    let _worker = sandbox.worker(&master, "w1", &[]).await?;
    let retry = ["--retry", "5", "--retry-backoff", "20ms", "--retry-exit-codes", "75,111"];
    // The last attempt holds more memory than a worker does.
    let hold = r"x=$(head -c 100000000 /dev/zero | tr '\0' x)";
    let line = format!("echo try $SORTIE_ATTEMPT; test $SORTIE_ATTEMPT = 3 || exit 75; {hold}");
    let run = [&["run"], &retry[..], &["--cmd", &line]].concat();
    assert_eq!(sandbox.ask_text(&master, &run).await?, "try 3", "the last attempt's output");
    let task = master.task_is("1", "succeeded").await?;
    assert_eq!(attempts(&task), [1, 2, 3]);
    assert_eq!(task["attempts"][0]["outcome"], json!({"kind": "exited", "code": 75}));
    for (attempt, text) in [("1", "try 1"), ("2", "try 2"), ("3", "try 3")] {
        assert_eq!(sandbox.ask_text(&master, &["output", "--attempt", attempt, "1"]).await?, text);
    }
    let table = sandbox.ask_text(&master, &["status", "1"]).await?;
    let rows: Vec<&str> = table.lines().skip_while(|line| !line.starts_with("ATTEMPT")).collect();
    assert_eq!(rows.len(), 4, "{table}");
    assert!(rows[1].contains("exit code 75") && rows[3].contains("exit code 0") && rows[3].contains("MiB"), "{table}");
    let other = [&["run"], &retry[..], &["--cmd", "exit 7"]].concat();
    assert_eq!(sandbox.ask(&master, &other).await?.code, Some(7));
    assert_eq!(attempts(&master.task_is("2", "failed").await?), [1], "7 is not worth another try");
    Ok(())
}

#[tokio::test]
async fn a_task_that_is_held_back_says_so() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master().await?;
    let _worker = sandbox.worker(&master, "w1", &[]).await?;
    // The wait is chosen at random, from nothing on: of a year, that is never now.
    let retry = ["--retry", "1", "--retry-backoff", "365days", "--retry-max-backoff", "365days"];
    let id = sandbox.ask_text(&master, &[&["submit"], &retry[..], &["--cmd", "echo once; false"]].concat()).await?;
    sortie_tests::eventually("it is held back", async || {
        Ok(master.http.get(&format!("/v1/tasks/{id}")).await?.json["not_before"].is_string())
    })
    .await?;
    let why = sandbox.ask_text(&master, &["why", &id]).await?;
    assert!(why.starts_with(&format!("{id}.0 is queued: ")) && !why.contains("workers:"), "{why}");
    assert_eq!(sandbox.ask_json(&master, &["why", &id]).await?["reason"], "held_back");
    let list = sandbox.ask_text(&master, &["list"]).await?;
    assert!(list.contains("again in "), "{list}");
    assert!(sandbox.ask_text(&master, &["status", &id]).await?.contains("held back   until "));
    assert_eq!(sandbox.ask_text(&master, &["output", "--attempt", "1", &id]).await?, "once");
    assert_eq!(sandbox.ask_text(&master, &["cancel", &id]).await?, format!("{id} is cancelled"));
    Ok(())
}
