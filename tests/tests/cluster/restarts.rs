//! Masters and workers that end and come back.

use anyhow::{Context as _, Result};
use sortie_tests::{Cluster, json};
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
    let lost = cluster.task_is(&running, "lost").await?;
    assert_eq!(lost["outcome"], json!({"kind": "lost", "started": "yes", "reason": "master_restarted"}));
    cluster.worker_is("w1", "connected").await?;
    let task = cluster.http.run_line("echo again").await?;
    assert_eq!(cluster.http.output(&task, "stdout").await?, "again\n");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_is_cut_off_loses_its_attempts() -> Result<()> {
    let mut cluster = Cluster::with_worker(1).await?;
    let id = cluster.http.submit(&json!({"cmd": "sleep 600"})).await?;
    cluster.task_is(&id, "running").await?;
    cluster.kill_worker("w1");
    let task = cluster.task_is(&id, "lost").await?;
    assert_eq!(task["outcome"], json!({"kind": "lost", "started": "yes", "reason": "session_ended"}));
    cluster.worker_is("w1", "gone").await
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
