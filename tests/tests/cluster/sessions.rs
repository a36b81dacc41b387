//! Sessions that end in the middle of something.

use std::future::Future as _;
use std::task::{Context, Waker};

use anyhow::Result;
use sortie_tests::{Cluster, eventually, json};
use sortie_wire::pb::node_service_client::NodeServiceClient;
use sortie_wire::{node, pb};

#[tokio::test]
async fn a_worker_that_goes_away_while_it_opens_its_stream_is_gone() -> Result<()> {
    const WORKERS: usize = 40;
    let cluster = Cluster::start().await?;
    for i in 0..WORKERS {
        let mut client = NodeServiceClient::connect(cluster.grpc_url()).await?;
        let name = format!("w{i}");
        let request = pb::ReportStatusRequest { name, slots: 1, protocol: 1, ..Default::default() };
        let session = client.report_status(request).await?.into_inner().session;
        let mut call = Box::pin(client.assign_task(tokio_stream::iter([node::open_to_pb(session)])));
        // Sent, and dropped at some moment of the master's answering it.
        _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        for _ in 0..i {
            tokio::task::yield_now().await;
        }
        drop(call);
    }
    let task = cluster.http.submit(&json!({"cmd": "true"})).await?;
    eventually("no ghost is left", async || {
        let left = cluster.http.get("/v1/workers?state=connected&limit=1000").await?;
        Ok(left.json["workers"] == json!([]))
    })
    .await?;
    let state = cluster.http.get(&format!("/v1/tasks/{task}")).await?.json["state"].clone();
    let given_to_one_that_went_away = state == "unreachable" || state == "lost";
    assert!(state == "queued" || given_to_one_that_went_away, "{state}");
    Ok(())
}

#[tokio::test]
async fn a_wait_answers_at_the_end_and_not_before() -> Result<()> {
    let cluster = Cluster::with_worker(4).await?;
    let waits = (0..8).map(|_| {
        let http = cluster.http.clone();
        tokio::spawn(async move {
            for _ in 0..40 {
                let task = http.post("/v1/tasks?wait=60s", &json!({"argv": ["true"]})).await?;
                assert_eq!(task.json["state"], "succeeded", "{task:?}");
                let again = http.get(&format!("/v1/tasks/{}?wait=60s", task.id()?)).await?;
                assert_eq!(again.json["state"], "succeeded", "{again:?}");
            }
            anyhow::Ok(())
        })
    });
    for wait in waits.collect::<Vec<_>>() {
        wait.await??;
    }
    Ok(())
}
