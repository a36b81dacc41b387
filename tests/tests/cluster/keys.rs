//! Idempotency keys: however often a submission is repeated, it makes one job.

use anyhow::{Context as _, Result};
use reqwest::Method;
use sortie_tests::{Client, Cluster, Response, json};
use sortie_wire::pb;
use sortie_wire::pb::task_service_client::TaskServiceClient;
use tonic::Code;

/// Submits the same under one key, at once and again and again; the answers.
async fn storm(http: &Client, key: &'static str) -> Result<Vec<Response>> {
    let posts: Vec<_> = (0..50)
        .map(|i| {
            let (http, path) = (http.clone(), if i % 2 == 0 { "/tasks" } else { "/v1/tasks" });
            tokio::spawn(async move { http.post_under(key, path, &json!({"cmd": "true", "name": "one"})).await })
        })
        .collect();
    let mut answers = Vec::new();
    for post in posts {
        answers.push(post.await??);
    }
    Ok(answers)
}

fn replayed(answer: &Response) -> bool {
    answer.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
}

#[tokio::test]
async fn fifty_submits_under_one_key_make_one_task() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let first = storm(&cluster.http, "key-1").await?;
    assert_eq!(first.iter().filter(|answer| !replayed(answer)).count(), 1, "one of them made it");
    cluster.kill_master().await?;
    cluster.start_master().await?;
    let later = storm(&cluster.http, "key-1").await?;
    assert!(later.iter().all(replayed), "none after the restart did");
    for answer in first.iter().chain(&later) {
        assert_eq!((answer.status, &answer.json["id"]), (201, &json!("1.0")), "{answer:?}");
        assert_eq!(answer.headers["location"], "/v1/tasks/1.0");
    }
    let listed = cluster.http.get("/v1/tasks").await?.json;
    assert_eq!(listed["tasks"].as_array().map(Vec::len), Some(1));
    let taken = cluster.http.post_under("key-1", "/v1/tasks", &json!({"cmd": "false", "name": "one"})).await?;
    assert_eq!((taken.status, &taken.headers["content-type"]), (409, &"application/problem+json".parse()?));
    assert!(taken.json["detail"].as_str().is_some_and(|detail| detail.contains("job 1")), "{taken:?}");
    let other = cluster.http.post_under("key-2", "/v1/tasks", &json!({"cmd": "true", "name": "one"})).await?;
    assert_eq!((other.status, &other.json["id"], replayed(&other)), (201, &json!("2.0"), false));
    Ok(())
}

#[tokio::test]
async fn a_repeat_is_answered_with_what_is_so_by_then() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    let gate = cluster.path("gate");
    let cmd = format!("while [ ! -e {} ]; do sleep 0.02; done", gate.display());
    let spec = json!({"cmd": cmd, "count": 2});
    let first = cluster.http.post_under("array", "/v1/jobs", &spec).await?;
    assert_eq!((first.status, replayed(&first)), (201, false), "{first:?}");
    let waiting = tokio::spawn({
        let (http, spec) = (cluster.http.clone(), spec.clone());
        async move { http.post_under("array", "/v1/jobs?wait=60s", &spec).await }
    });
    cluster.task_is("1.0", "running").await?;
    std::fs::write(gate, "")?;
    let ended = waiting.await??;
    assert_eq!((ended.status, replayed(&ended), &ended.json["id"]), (201, true, &json!("1")), "{ended:?}");
    assert_eq!(ended.json["counts"], json!({"succeeded": 2}), "it waits as the first would");
    assert_eq!(ended.headers["location"], "/v1/jobs/1");
    let fewer = cluster.http.post_under("array", "/v1/jobs", &json!({"cmd": spec["cmd"], "count": 1})).await?;
    assert_eq!(fewer.status, 409, "another count is another submission");
    Ok(())
}

#[tokio::test]
async fn a_key_that_cannot_be_is_told() -> Result<()> {
    let cluster = Cluster::start().await?;
    let body = json!({"cmd": "true"}).to_string();
    let long = "k".repeat(256);
    let json = ("content-type", "application/json");
    for keys in [&[""][..], &["two words"], &[long.as_str()], &["one", "two"], &["same", "same"]] {
        let headers: Vec<_> = keys.iter().map(|key| ("idempotency-key", *key)).chain([json]).collect();
        for path in ["/tasks", "/v1/tasks", "/v1/jobs"] {
            let answer = cluster.http.send(Method::POST, path, Some(body.clone()), &headers).await?;
            assert_eq!((answer.status, &answer.json["type"]), (400, &json!("urn:sortie:problem:no_key")), "{keys:?}");
            assert!(answer.json["detail"].as_str().is_some_and(|detail| detail.contains("Idempotency-Key")));
        }
    }
    assert_eq!(cluster.http.get("/v1/tasks").await?.json["tasks"], json!([]), "nothing was submitted");
    Ok(())
}

#[tokio::test]
async fn a_key_is_the_same_over_grpc() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut client = TaskServiceClient::connect(cluster.grpc_url()).await?;
    let request = |cmd: &str, key: &str| pb::SubmitTaskRequest {
        spec: Some(pb::TaskSpec { command: Some(pb::task_spec::Command::Cmd(cmd.into())), ..pb::TaskSpec::default() }),
        idempotency_key: key.into(),
    };
    for _ in 0..3 {
        assert_eq!(client.submit_task(request("true", "k")).await?.into_inner().id, "1.0");
    }
    let over_http = cluster.http.post_under("k", "/v1/tasks", &json!({"cmd": "true"})).await?;
    assert_eq!((over_http.status, &over_http.json["id"]), (201, &json!("1.0")), "{over_http:?}");
    let taken = client.submit_task(request("false", "k")).await.err().context("an error")?;
    assert_eq!(taken.code(), Code::AlreadyExists, "{taken:?}");
    assert!(taken.message().contains("job 1"), "{taken:?}");
    let spec = request("true", "").spec;
    let array = pb::SubmitJobRequest { spec, count: 2, idempotency_key: "k".into() };
    assert_eq!(client.submit_job(array).await.err().map(|status| status.code()), Some(Code::AlreadyExists));
    let malformed = client.submit_task(request("true", "two words")).await.err().context("an error")?;
    assert_eq!(malformed.code(), Code::InvalidArgument, "{malformed:?}");
    assert_eq!(client.submit_task(request("true", "")).await?.into_inner().id, "2.0", "no key makes a new one");
    Ok(())
}
