//! As much as may wait, and no more.

use anyhow::{Context as _, Result};
use sortie_tests::{Cluster, Response, json};
use sortie_wire::pb;
use sortie_wire::pb::task_service_client::TaskServiceClient;
use tonic::Code;

fn assert_full(answer: &Response) {
    assert_eq!((answer.status, &answer.json["type"]), (429, &json!("urn:sortie:problem:queue_full")), "{answer:?}");
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
}

#[tokio::test]
async fn a_full_queue_refuses_and_loses_nothing() -> Result<()> {
    let mut cluster = Cluster::start_with(|config| config.limits.max_jobs = 3).await?;
    let spec = json!({"cmd": "true"});
    for _ in 0..2 {
        cluster.http.submit(&spec).await?;
    }
    cluster.http.post_under("third", "/v1/tasks", &spec).await?;
    assert_full(&cluster.http.post("/v1/tasks", &spec).await?);
    assert_full(&cluster.http.post("/v1/jobs", &spec).await?);
    let repeated = cluster.http.post_under("third", "/v1/tasks", &spec).await?;
    assert_eq!((repeated.status, &repeated.json["id"]), (201, &json!("3.0")), "what is in is in: {repeated:?}");
    let mut client = TaskServiceClient::connect(cluster.grpc_url()).await?;
    let command = Some(pb::task_spec::Command::Cmd("true".into()));
    let spec_pb = Some(pb::TaskSpec { command, ..pb::TaskSpec::default() });
    let refused = client.submit_task(pb::SubmitTaskRequest { spec: spec_pb, ..Default::default() }).await;
    let refused = refused.err().context("an error")?;
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    cluster.kill_master().await?;
    cluster.start_master().await?;
    assert_full(&cluster.http.post("/v1/tasks", &spec).await?);
    cluster.http.post("/v1/tasks/1/cancel", &json!({})).await?;
    assert_eq!(cluster.http.submit(&spec).await?, "4.0", "there is room again, and no id was used up");
    cluster.add_worker("w1", 1, "").await?;
    for id in ["2", "3", "4"] {
        cluster.task_is(id, "succeeded").await?;
    }
    Ok(())
}

#[tokio::test]
async fn specs_take_no_more_memory_than_they_may() -> Result<()> {
    let cluster = Cluster::start_with(|config| config.limits.max_spec_bytes = 1_000_000).await?;
    let large = json!({"cmd": "cat", "stdin": "x".repeat(600_000)});
    let first = cluster.http.submit(&large).await?;
    assert_full(&cluster.http.post("/v1/tasks", &large).await?);
    cluster.http.submit_job(&json!({"cmd": "true", "count": 1_000_000})).await?;
    cluster.http.post(&format!("/v1/tasks/{first}/cancel"), &json!({})).await?;
    cluster.http.submit(&large).await?;
    Ok(())
}
