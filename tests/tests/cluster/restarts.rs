//! Masters and workers that end and come back.

use std::time::Duration;

use anyhow::{Context as _, Result};
use sortie_tests::{Cluster, eventually, json};
use sortie_wire::pb;
use sortie_wire::pb::task_service_client::TaskServiceClient;

#[tokio::test]
async fn what_was_acknowledged_outlives_a_kill() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(cluster.http.submit(&json!({"cmd": "true"})).await?);
    }
    let array = cluster.http.submit_job(&json!({"cmd": "true", "count": 30})).await?;
    cluster.kill_master().await?;
    cluster.start_master().await?;
    let listed = cluster.http.get("/v1/tasks?state=queued&limit=1000").await?;
    assert_eq!(listed.json["tasks"].as_array().map(Vec::len), Some(50));
    cluster.add_worker("w1", 4, "").await?;
    for id in ids {
        cluster.task_is(&id, "succeeded").await?;
    }
    assert_eq!(cluster.http.wait_job(&array).await?["counts"], json!({"succeeded": 30}));
    let next = cluster.http.submit(&json!({"cmd": "true"})).await?;
    assert_eq!(next, "22.0", "no id is used twice");
    Ok(())
}

#[tokio::test]
async fn a_worker_finds_its_master_again() -> Result<()> {
    let mut cluster = Cluster::with_worker(2).await?;
    let running = cluster.http.submit(&json!({"cmd": "sleep 600"})).await?;
    cluster.task_is(&running, "running").await?;
    cluster.kill_master().await?;
    cluster.start_master().await?;
    cluster.worker_is("w1", "connected").await?;
    let task = cluster.http.get(&format!("/v1/tasks/{running}")).await?.json;
    assert_eq!((&task["state"], &task["attempts"][0]["number"]), (&json!("running"), &json!(1)));
    let task = cluster.http.run_line("echo again").await?;
    assert_eq!(cluster.http.output(&task, "stdout").await?, "again\n");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_does_not_come_back_loses_its_attempts() -> Result<()> {
    let mut cluster = Cluster::start_with(short_leases).await?;
    cluster.add_worker("w1", 1, "").await?;
    let id = cluster.http.submit(&json!({"cmd": "sleep 600", "on_lost": "fail"})).await?;
    cluster.task_is(&id, "running").await?;
    cluster.kill_worker("w1");
    cluster.task_is(&id, "unreachable").await?;
    cluster.worker_is("w1", "unreachable").await?;
    let task = cluster.task_is(&id, "lost").await?;
    assert_eq!(task["outcome"], json!({"kind": "lost", "started": "yes", "reason": "lease_ended"}));
    cluster.worker_is("w1", "gone").await
}

#[tokio::test]
async fn commands_outlive_a_kill_of_the_master() -> Result<()> {
    let mut cluster = Cluster::with_worker(20).await?;
    let (pids, gate) = (cluster.path("pids"), cluster.path("gate"));
    let cmd = format!(
        "echo $$ $SORTIE_ATTEMPT >> {}; while [ ! -e {} ]; do sleep 0.05; done; echo pid $$",
        pids.display(),
        gate.display()
    );
    let job = cluster.http.submit_job(&json!({"cmd": cmd, "count": 20})).await?;
    let started = || std::fs::read_to_string(&pids).unwrap_or_default();
    eventually("all run", async || Ok(started().lines().count() == 20)).await?;
    cluster.kill_master().await?;
    // Some end while there is no master to tell it to.
    std::fs::write(gate, "")?;
    let all_gone = async || {
        let live =
            |line: &str| line.split(' ').next().is_some_and(|pid| std::path::Path::new("/proc").join(pid).exists());
        Ok(!started().lines().any(live))
    };
    eventually("all have ended", all_gone).await?;
    cluster.start_master().await?;
    assert_eq!(cluster.http.wait_job(&job).await?["counts"], json!({"succeeded": 20}));
    assert_eq!(started().lines().filter(|line| line.ends_with(" 1")).count(), 20, "each ran once: {}", started());
    for index in 0..20 {
        let task = cluster.http.get(&format!("/v1/tasks/{job}.{index}")).await?.json;
        let output = cluster.http.output(&task, "stdout").await?;
        let pid = output.trim().trim_start_matches("pid ");
        assert!(started().lines().any(|line| line.split(' ').next() == Some(pid)), "its output is whole: {output}");
    }
    Ok(())
}

#[tokio::test]
async fn a_cancel_of_what_cannot_be_reached_is_done_when_it_can() -> Result<()> {
    let mut cluster = Cluster::with_worker(1).await?;
    let id = cluster.http.submit(&json!({"cmd": "sleep 600"})).await?;
    cluster.task_is(&id, "running").await?;
    cluster.kill_master().await?;
    cluster.start_master().await?;
    cluster.http.post(&format!("/v1/tasks/{id}/cancel"), &json!({})).await?;
    let task = cluster.task_is(&id, "cancelled").await?;
    assert_eq!(task["outcome"]["confirmed"], true, "{task}");
    Ok(())
}

/// Leases that a test can wait out.
fn short_leases(config: &mut sortie_master::Config) {
    config.limits.lease = Duration::from_millis(1500);
}

#[tokio::test]
async fn a_master_that_is_stopped_says_so() -> Result<()> {
    let mut cluster = Cluster::with_worker(1).await?;
    let id = cluster.http.submit(&json!({"cmd": "sleep 600"})).await?;
    cluster.task_is(&id, "running").await?;
    let mut client = TaskServiceClient::connect(cluster.grpc_url()).await?;
    let mut watch = client.watch_task(pb::WatchTaskRequest { id }).await?.into_inner();
    assert!(watch.message().await?.is_some(), "the watch is under way");
    cluster.stop_master().await?;
    let status = watch.message().await.err().context("the watch ends")?;
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    assert!(cluster.http.get("/healthz").await.is_err(), "the port is closed");
    cluster.start_master().await?;
    cluster.worker_is("w1", "connected").await
}

#[tokio::test]
async fn two_masters_cannot_share_a_store() -> Result<()> {
    let cluster = Cluster::start().await?;
    let data_dir = cluster.path("master");
    let second = Cluster::start_with(|config| config.data_dir = data_dir).await;
    let error = second.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("another master"), "{error}");
    Ok(())
}

#[tokio::test]
async fn an_address_that_others_can_reach_is_refused() -> Result<()> {
    let open = Cluster::start_with(|config| config.http_addr = ([0, 0, 0, 0], 0).into()).await;
    let error = open.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("auth = \"none\""), "{error}");
    Ok(())
}
