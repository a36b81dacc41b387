//! Every end is told apart, and told truly.

use std::time::{Duration, Instant};

use anyhow::Result;
use sortie_tests::{Cluster, eventually, json};
use sortie_wire::pb;
use sortie_wire::pb::task_service_client::TaskServiceClient;

use crate::puppet::Puppet;

#[tokio::test]
async fn by_itself_or_by_a_signal() -> Result<()> {
    let cluster = Cluster::with_worker(2).await?;
    let done = cluster.http.run_line("true").await?;
    assert_eq!((&done["state"], &done["outcome"]), (&json!("succeeded"), &json!({"kind": "exited", "code": 0})));
    let failed = cluster.http.run_line("exit 3").await?;
    assert_eq!((&failed["state"], &failed["outcome"]), (&json!("failed"), &json!({"kind": "exited", "code": 3})));
    let killed = cluster.http.run_line("kill -9 $$").await?;
    assert_eq!((&killed["state"], &killed["outcome"]), (&json!("failed"), &json!({"kind": "signaled", "signal": 9})));
    assert_eq!(killed["attempts"][0]["worker"], "w1");
    Ok(())
}

#[tokio::test]
async fn who_ran_out_of_memory_says_so_and_what_it_used() -> Result<()> {
    let cluster = Cluster::start().await?;
    let id = cluster.http.submit(&json!({"cmd": "true"})).await?;
    let mut worker = Puppet::join(&cluster, "w1", 1).await?;
    assert_eq!(worker.started_number().await?, 1);
    let cpu = Some(prost_types::Duration { seconds: 1, nanos: 200_000_000 });
    let usage = pb::Usage { cpu, max_rss_bytes: 1 << 40, killed: 3 };
    let end = pb::ended::End::OutOfMemory(pb::OutOfMemory {});
    worker.ended_after(1, 1, end, Some(usage)).await?;
    let task = cluster.task_is(&id, "failed").await?;
    assert_eq!(task["outcome"], json!({"kind": "out_of_memory"}));
    let shown = json!({"cpu": "1s 200ms", "max_rss_bytes": 1_u64 << 40, "killed": 3});
    assert_eq!(task["attempts"][0]["usage"], shown);
    let mut client = TaskServiceClient::connect(cluster.grpc_url()).await?;
    let same = client.get_task(pb::GetTaskRequest { id }).await?.into_inner();
    assert_eq!(same.attempts[0].usage, Some(usage));
    Ok(())
}

#[tokio::test]
async fn what_cannot_start_says_why() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    for (spec, errno) in [
        (json!({"argv": ["no-such-program"]}), 2),
        (json!({"argv": ["/etc/passwd"]}), 13),
        (json!({"cmd": "true", "cwd": "/no/such/directory"}), 2),
        (json!({"script": "#!/no/such/interpreter\n"}), 2),
    ] {
        let task = cluster.http.run(&spec).await?;
        assert_eq!(task["state"], "failed", "{task}");
        assert_eq!(task["outcome"]["kind"], "could_not_start", "{task}");
        assert_eq!(task["outcome"]["errno"], errno, "{task}");
        assert!(task.get("started_at").is_none(), "{task}");
    }
    Ok(())
}

#[tokio::test]
async fn a_timeout_keeps_the_output() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    // Long enough for a shell to write its first line, on a busy machine too.
    let task = cluster.http.run(&json!({"cmd": "echo before; sleep 600", "timeout": "2s"})).await?;
    assert_eq!((&task["state"], &task["outcome"]), (&json!("timed_out"), &json!({"kind": "timed_out"})));
    assert_eq!(cluster.http.output(&task, "stdout").await?, "before\n");
    Ok(())
}

#[tokio::test]
async fn who_ignores_term_is_killed_after_the_grace() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    let file = cluster.path("pid");
    let cmd = format!("trap '' TERM; echo $$ > {}; while :; do sleep 0.05; done", file.display());
    let id = cluster.http.submit(&json!({"cmd": cmd, "kill_grace": "200ms"})).await?;
    let pid = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("TERM is ignored", async || Ok(pid().ends_with('\n'))).await?;
    let asked = Instant::now();
    cluster.http.post(&format!("/v1/tasks/{id}/cancel"), &json!({})).await?;
    let task = cluster.task_is(&id, "cancelled").await?;
    assert_eq!(task["outcome"]["confirmed"], true, "{task}");
    assert!(asked.elapsed() >= Duration::from_millis(200), "it has its grace");
    let pid = pid();
    assert!(!std::path::Path::new(&format!("/proc/{}", pid.trim())).exists(), "{pid} is gone when the end is told");
    Ok(())
}

#[tokio::test]
async fn a_cancel_while_queued_is_at_once() -> Result<()> {
    let cluster = Cluster::start().await?;
    let id = cluster.http.submit(&json!({"cmd": "true"})).await?;
    let cancelled = cluster.http.post(&format!("/v1/tasks/{id}/cancel"), &json!({})).await?;
    assert_eq!((cancelled.status, &cancelled.json["state"]), (200, &json!("cancelled")));
    let outcome = json!({"kind": "cancelled", "by": "127.0.0.1", "confirmed": true});
    assert_eq!(cancelled.json["outcome"], outcome);
    let again = cluster.http.post(&format!("/v1/tasks/{id}/cancel"), &json!({})).await?;
    assert_eq!((again.status, again.json), (200, cancelled.json), "cancelling again changes nothing");
    Ok(())
}

#[tokio::test]
async fn a_cancel_while_running_stops_the_processes() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    let file = cluster.path("pids");
    let cmd = format!("sleep 600 & echo $$ $! > {}; wait", file.display());
    let id = cluster.http.submit(&json!({"cmd": cmd})).await?;
    eventually("the command runs", async || Ok(std::fs::read_to_string(&file).is_ok_and(|pids| pids.ends_with('\n'))))
        .await?;
    let answer = cluster.http.post(&format!("/v1/tasks/{id}/cancel"), &json!({})).await?;
    assert!(["cancelling", "cancelled"].contains(&answer.json["state"].as_str().unwrap_or_default()), "{answer:?}");
    let task = cluster.task_is(&id, "cancelled").await?;
    assert_eq!(task["outcome"]["confirmed"], true);
    for pid in std::fs::read_to_string(&file)?.split_whitespace() {
        assert!(!std::path::Path::new(&format!("/proc/{pid}/exe")).exists(), "{pid} is gone");
    }
    Ok(())
}

/// Submits a command that does not heed TERM, and waits until it does not; its id.
async fn stubborn(cluster: &Cluster, name: &str, kill_grace: &str) -> Result<String> {
    let ready = cluster.path(name);
    let cmd = format!("trap '' TERM; touch {}; while :; do sleep 0.05; done", ready.display());
    let id = cluster.http.submit(&json!({"cmd": cmd, "kill_grace": kill_grace})).await?;
    eventually("TERM is ignored", async || Ok(ready.exists())).await?;
    Ok(id)
}

#[tokio::test]
async fn a_cancel_that_waits_answers_with_how_it_ended() -> Result<()> {
    let cluster = Cluster::with_worker(2).await?;
    let id = stubborn(&cluster, "first", "100ms").await?;
    let answer = cluster.http.post(&format!("/v1/tasks/{id}/cancel?wait=30s"), &json!({})).await?;
    assert_eq!((answer.status, &answer.json["state"]), (200, &json!("cancelled")), "{answer:?}");
    let outcome = json!({"kind": "cancelled", "by": "127.0.0.1", "confirmed": true});
    assert_eq!(answer.json["outcome"], outcome);
    assert!(answer.json["attempts"][0]["usage"]["killed"].as_u64() >= Some(1), "{answer:?}");
    let job = cluster.http.submit_job(&json!({"cmd": "sleep 600", "count": 3})).await?;
    cluster.task_is(&format!("{job}.0"), "running").await?;
    let answer = cluster.http.post(&format!("/v1/jobs/{job}/cancel?wait=30s"), &json!({})).await?;
    assert_eq!((answer.status, &answer.json["counts"]), (200, &json!({"cancelled": 3})), "{answer:?}");
    let id = stubborn(&cluster, "second", "60s").await?;
    let answer = cluster.http.post(&format!("/v1/tasks/{id}/cancel?wait=50ms"), &json!({})).await?;
    assert_eq!((answer.status, answer.json.get("outcome")), (200, None), "as it is when the time is over: {answer:?}");
    let unknown = cluster.http.post("/v1/tasks/1/cancel?how=softly", &json!({})).await?;
    assert_eq!(unknown.status, 422, "{unknown:?}");
    Ok(())
}

#[tokio::test]
async fn a_job_is_cancelled_whole() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    let id = cluster.http.submit_job(&json!({"cmd": "sleep 600", "count": 1000})).await?;
    cluster.task_is(&format!("{id}.0"), "running").await?;
    cluster.http.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await?;
    let job = cluster.http.wait_job(&id).await?;
    assert_eq!((&job["state"], &job["counts"]), (&json!("cancelled"), &json!({"cancelled": 1000})));
    Ok(())
}

#[tokio::test]
async fn who_waits_for_too_long_expires() -> Result<()> {
    let cluster = Cluster::start().await?;
    let task = cluster.http.run(&json!({"cmd": "true", "queue_timeout": "50ms"})).await?;
    assert_eq!((&task["state"], &task["outcome"]), (&json!("expired"), &json!({"kind": "expired"})));
    assert_eq!(task["attempts"], json!([]));
    Ok(())
}

#[tokio::test]
async fn what_was_left_in_the_background_is_gone_too() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    let task = cluster.http.run_line("sleep 600 & echo $!").await?;
    assert_eq!(task["state"], "succeeded");
    let pid = cluster.http.output(&task, "stdout").await?;
    eventually("it is gone", async || Ok(!std::path::Path::new(&format!("/proc/{}/exe", pid.trim())).exists())).await
}
