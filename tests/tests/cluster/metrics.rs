//! What a scrape of the master shows.

use anyhow::{Context as _, Result};
use sortie_tests::{Cluster, eventually, json};

use crate::puppet::Puppet;

/// What one line of the metrics says.
async fn metric(cluster: &Cluster, name: &str) -> Result<u64> {
    let answer = cluster.http.get("/metrics").await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    let kind = answer.headers["content-type"].to_str()?;
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    let text = String::from_utf8(answer.bytes)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("no {name} in {text}"))?.parse()?)
}

#[tokio::test]
async fn tasks_are_counted_by_their_ends() -> Result<()> {
    let mut cluster = Cluster::with_worker(2).await?;
    cluster.http.run_line("true").await?;
    cluster.http.run(&json!({"cmd": "false", "retry": {"count": 2, "backoff": "1ms"}})).await?;
    let waiting = cluster.http.submit_job(&json!({"cmd": "true", "count": 5, "selector": "nowhere"})).await?;
    cluster.http.submit(&json!({"cmd": "true", "selector": "nowhere"})).await?;
    cluster.http.post(&format!("/v1/jobs/{waiting}/cancel"), &json!({})).await?;
    for (name, count) in [
        ("sortie_tasks_past_deadline", 0),
        ("sortie_jobs_live", 1),
        ("sortie_tasks_ended_total{outcome=\"succeeded\"}", 1),
        ("sortie_tasks_ended_total{outcome=\"failed\"}", 1),
        ("sortie_tasks_ended_total{outcome=\"cancelled\"}", 5),
        ("sortie_tasks_ended_total{outcome=\"expired\"}", 0),
        ("sortie_attempts_retried_total{outcome=\"failed\"}", 2),
        ("sortie_submissions_total{result=\"accepted\"}", 4),
    ] {
        assert_eq!(metric(&cluster, name).await?, count, "{name}");
    }
    cluster.kill_master().await?;
    cluster.start_master().await?;
    assert_eq!(metric(&cluster, "sortie_jobs_live").await?, 1, "jobs outlive the process");
    assert_eq!(metric(&cluster, "sortie_tasks_ended_total{outcome=\"failed\"}").await?, 0, "counts do not");
    Ok(())
}

#[tokio::test]
async fn submissions_and_lost_attempts_are_counted() -> Result<()> {
    let cluster = Cluster::start_with(|config| config.limits.max_jobs = 1).await?;
    let spec = json!({"cmd": "true", "on_lost": "fail"});
    for (key, body) in [("a", &spec), ("a", &spec), ("a", &json!({"cmd": "false"})), ("b", &spec)] {
        cluster.http.post_under(key, "/v1/tasks", body).await?;
    }
    for result in ["accepted", "repeated", "conflict", "refused"] {
        let name = format!("sortie_submissions_total{{result=\"{result}\"}}");
        assert_eq!(metric(&cluster, &name).await?, 1, "{name}");
    }
    let mut worker = Puppet::join(&cluster, "w1", 1).await?;
    assert_eq!(worker.started_number().await?, 1);
    worker.exited(1, 9, 0).await?;
    let stopped = sortie_wire::pb::ended::End::Stopped(sortie_wire::pb::StopCause::Worker.into());
    worker.ended(1, 1, stopped).await?;
    cluster.task_is("1", "lost").await?;
    eventually("the stale report is counted", async || Ok(metric(&cluster, "sortie_stale_reports_total").await? == 1))
        .await?;
    assert_eq!(metric(&cluster, "sortie_attempts_lost_total{reason=\"worker_stopped\"}").await?, 1);
    assert_eq!(metric(&cluster, "sortie_attempts_lost_total{reason=\"lease_ended\"}").await?, 0);
    assert_eq!(metric(&cluster, "sortie_tasks_ended_total{outcome=\"lost\"}").await?, 1);
    assert_eq!(metric(&cluster, "sortie_jobs_live").await?, 0);
    Ok(())
}
