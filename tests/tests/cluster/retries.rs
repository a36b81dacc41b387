//! Commands that fail, and are tried again.

use anyhow::{Context as _, Result};
use sortie_tests::{Cluster, Value, eventually, json};
use sortie_wire::pb;
use sortie_wire::pb::task_service_client::TaskServiceClient;

/// Held back for so long that no test sees the end of it; chance makes it short once in ten million times.
const FOR_EVER: &str = "365days";

/// What stands in one field of every attempt.
fn of_attempts<'a>(task: &'a Value, field: &str) -> Vec<&'a Value> {
    task["attempts"].as_array().into_iter().flatten().map(|attempt| &attempt[field]).collect()
}

#[tokio::test]
async fn a_task_is_tried_until_it_succeeds() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    let runs = cluster.path("runs");
    let cmd = format!("echo run >> {0}; echo attempt $SORTIE_ATTEMPT; [ $(wc -l < {0}) -ge 3 ]", runs.display());
    let task = cluster.http.run(&json!({"cmd": cmd, "retry": {"count": 5, "backoff": "1ms"}})).await?;
    assert_eq!((&task["state"], &task["outcome"]), (&json!("succeeded"), &json!({"kind": "exited", "code": 0})));
    assert_eq!(task["spec"]["retry"], json!({"count": 5, "backoff": "1ms", "max_backoff": "5m"}));
    assert_eq!(of_attempts(&task, "number"), [1, 2, 3]);
    let exited = |code: i32| json!({"kind": "exited", "code": code});
    assert_eq!(of_attempts(&task, "outcome"), [&exited(1), &exited(1), &exited(0)]);
    assert_eq!(of_attempts(&task, "worker"), ["w1", "w1", "w1"]);
    assert!(of_attempts(&task, "usage").iter().all(|usage| usage["cpu"] != "0s" && usage["killed"] == 0), "{task}");
    assert_eq!(task["started_at"], task["attempts"][2]["started_at"], "it is the last attempt's");
    assert_eq!(task.get("not_before"), None, "{task}");
    for attempt in 1..=3 {
        assert_eq!(cluster.http.output_of_attempt("1.0", attempt).await?, format!("attempt {attempt}\n"));
    }
    assert_eq!(cluster.http.output(&task, "stdout").await?, "attempt 3\n", "the last one's, unless asked otherwise");
    assert_eq!(cluster.http.get("/v1/tasks/1/output?attempt=4").await?.status, 404);
    let mut client = TaskServiceClient::connect(cluster.grpc_url()).await?;
    let same = client.get_task(pb::GetTaskRequest { id: "1".into() }).await?.into_inner();
    assert_eq!(same.attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(same.started_at, same.attempts[2].started_at);
    let request = pb::ReadOutputRequest { id: "1".into(), stream: pb::OutputStream::Stdout.into(), attempt: 2 };
    let chunk = client.read_output(request).await?.into_inner().message().await?.context("a chunk")?;
    assert_eq!(chunk.content, Some(pb::output_chunk::Content::Data(b"attempt 2\n".to_vec())));
    Ok(())
}

#[tokio::test]
async fn who_has_used_up_the_tries_has_failed() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    let task =
        cluster.http.run(&json!({"cmd": "exit $SORTIE_ATTEMPT", "retry": {"count": 2, "backoff": "1ms"}})).await?;
    assert_eq!((&task["state"], &task["outcome"]), (&json!("failed"), &json!({"kind": "exited", "code": 3})));
    assert_eq!(of_attempts(&task, "number"), [1, 2, 3]);
    let job = cluster.http.get("/v1/jobs/1").await?.json;
    assert_eq!(job["counts"], json!({"failed": 1}), "a task is counted once, however often it was tried");
    Ok(())
}

#[tokio::test]
async fn only_the_exit_codes_that_are_named_are_tried_again() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    let cmd = "if [ $SORTIE_ATTEMPT = 1 ]; then exit 75; else exit 1; fi";
    let retry = json!({"count": 9, "backoff": "1ms", "exit_codes": [75]});
    let task = cluster.http.run(&json!({"cmd": cmd, "retry": retry})).await?;
    assert_eq!((&task["state"], &task["outcome"]["code"]), (&json!("failed"), &json!(1)));
    assert_eq!(of_attempts(&task, "number"), [1, 2]);
    assert_eq!(task["spec"]["retry"]["exit_codes"], json!([75]));
    Ok(())
}

#[tokio::test]
async fn a_timeout_is_tried_again() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    // Long enough for a shell to come to its end, on a busy machine too.
    let spec = json!({
        "cmd": "[ $SORTIE_ATTEMPT = 2 ] || sleep 600", "timeout": "2s", "retry": {"count": 1, "backoff": "1ms"},
    });
    let task = cluster.http.run(&spec).await?;
    assert_eq!(task["state"], "succeeded", "{task}");
    assert_eq!(task["attempts"][0]["outcome"], json!({"kind": "timed_out"}));
    Ok(())
}

#[tokio::test]
async fn each_task_of_an_array_has_its_own_tries() -> Result<()> {
    let cluster = Cluster::with_worker(2).await?;
    let cmd = "[ $SORTIE_ATTEMPT -gt $SORTIE_INDEX ]";
    let spec = json!({"cmd": cmd, "count": 4, "retry": {"count": 3, "backoff": "1ms"}});
    let job = cluster.http.submit_job(&spec).await?;
    assert_eq!(cluster.http.wait_job(&job).await?["counts"], json!({"succeeded": 4}));
    for index in 0..4 {
        let task = cluster.http.get(&format!("/v1/tasks/{job}.{index}")).await?.json;
        assert_eq!(of_attempts(&task, "number").len(), index + 1, "{task}");
    }
    Ok(())
}

#[tokio::test]
async fn who_is_held_back_says_until_when_and_can_be_cancelled() -> Result<()> {
    let mut cluster = Cluster::with_worker(1).await?;
    let retry = json!({"count": 1, "backoff": FOR_EVER});
    let id = cluster.http.submit(&json!({"cmd": "echo once; exit 7", "retry": retry})).await?;
    let path = format!("/v1/tasks/{id}");
    let is_held_back = async || Ok(cluster.http.get(&path).await?.json.get("not_before").is_some());
    eventually("it is held back", is_held_back).await?;
    let held_back = cluster.http.get(&path).await?.json;
    assert_eq!((&held_back["state"], held_back.get("outcome")), (&json!("queued"), None), "{held_back}");
    assert_eq!(held_back["attempts"][0]["outcome"], json!({"kind": "exited", "code": 7}));
    assert_eq!(cluster.http.output(&held_back, "stdout").await?, "once\n");
    let why = cluster.http.get(&format!("{path}/why")).await?.json;
    assert_eq!((&why["reason"], &why["not_before"]), (&json!("held_back"), &held_back["not_before"]), "{why}");
    let until = held_back["not_before"].as_str().context("a time")?;
    assert!(why["detail"].as_str().is_some_and(|detail| detail.contains(until)), "{why}");
    cluster.kill_master().await?;
    cluster.start_master().await?;
    assert_eq!(cluster.http.get(&path).await?.json, held_back, "a restart changes nothing");
    let cancelled = cluster.http.post(&format!("{path}/cancel"), &json!({})).await?.json;
    assert_eq!(cancelled["outcome"], json!({"kind": "cancelled", "by": "127.0.0.1", "confirmed": true}));
    assert_eq!(cancelled["attempts"], held_back["attempts"], "what was tried stays on record");
    assert_eq!(cancelled["started_at"], held_back["started_at"]);
    assert_eq!(cluster.http.get("/v1/jobs/1").await?.json["counts"], json!({"cancelled": 1}));
    Ok(())
}

#[tokio::test]
async fn who_waits_too_long_for_another_attempt_expires() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    let gate = cluster.path("gate");
    let cmd = format!("while [ ! -e {} ]; do sleep 0.02; done; exit 1", gate.display());
    let spec = json!({"cmd": cmd, "queue_timeout": "100ms", "retry": {"count": 1, "backoff": "1ms"}});
    let id = cluster.http.submit(&spec).await?;
    cluster.task_is(&id, "running").await?;
    cluster.http.post("/v1/workers/w1/drain", &json!({})).await?;
    std::fs::write(gate, "")?;
    let task = cluster.task_is(&id, "expired").await?;
    assert_eq!(task["outcome"], json!({"kind": "expired"}));
    assert_eq!(of_attempts(&task, "outcome"), [&json!({"kind": "exited", "code": 1})]);
    Ok(())
}
