//! Which worker gets which task, and when.

use std::time::Duration;

use anyhow::Result;
use sortie_tests::{Cluster, json};

#[tokio::test]
async fn an_array_spreads_over_the_workers() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    cluster.add_worker("w1", 4, "").await?;
    cluster.add_worker("w2", 4, "").await?;
    let id = cluster.http.submit_job(&json!({"argv": ["true"], "count": 200})).await?;
    let job = cluster.http.wait_job(&id).await?;
    assert_eq!(job["counts"], json!({"succeeded": 200}));
    for worker in ["w1", "w2"] {
        let tasks = cluster.http.get(&format!("/v1/tasks?job={id}&worker={worker}&limit=1000")).await?;
        assert!(tasks.json["tasks"].as_array().is_some_and(|tasks| tasks.len() > 20), "{worker} had its share");
    }
    Ok(())
}

#[tokio::test]
async fn a_selector_chooses_and_why_tells() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let id = cluster.http.submit(&json!({"cmd": "true", "selector": "zone=b"})).await?;
    let why = async |id: &str| Ok::<_, anyhow::Error>(cluster.http.get(&format!("/v1/tasks/{id}/why")).await?.json);
    assert_eq!(why(&id).await?["reason"], "no_worker");
    cluster.add_worker("w1", 1, "zone=a").await?;
    let why = async |id: &str| Ok::<_, anyhow::Error>(cluster.http.get(&format!("/v1/tasks/{id}/why")).await?.json);
    let reason = why(&id).await?;
    assert_eq!((&reason["reason"], &reason["state"]), (&json!("no_match"), &json!("queued")));
    cluster.add_worker("w2", 1, "zone=b").await?;
    let task = cluster.task_is(&id, "succeeded").await?;
    assert_eq!(task["attempts"][0]["worker"], "w2");
    let reason = cluster.http.get(&format!("/v1/tasks/{id}/why")).await?.json;
    assert_eq!(reason["reason"], "ended");
    Ok(())
}

#[tokio::test]
async fn higher_priority_goes_first() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let file = cluster.path("order");
    for (name, priority) in [("low", -1), ("first", 0), ("second", 0), ("high", 5)] {
        let cmd = format!("echo {name} >> {}", file.display());
        cluster.http.submit(&json!({"cmd": cmd, "priority": priority})).await?;
    }
    cluster.add_worker("w1", 1, "").await?;
    cluster.task_is("1", "succeeded").await?;
    assert_eq!(std::fs::read_to_string(file)?, "high\nfirst\nsecond\nlow\n");
    Ok(())
}

#[tokio::test]
async fn a_wide_task_waits_for_its_slots() -> Result<()> {
    let cluster = Cluster::with_worker(2).await?;
    let narrow = cluster.http.submit(&json!({"cmd": "sleep 600"})).await?;
    cluster.task_is(&narrow, "running").await?;
    let wide = cluster.http.submit(&json!({"cmd": "true", "slots": 2})).await?;
    let too_wide = cluster.http.submit(&json!({"cmd": "true", "slots": 3})).await?;
    let why = async |id: &str| Ok::<_, anyhow::Error>(cluster.http.get(&format!("/v1/tasks/{id}/why")).await?.json);
    assert_eq!(why(&wide).await?["reason"], "busy");
    assert_eq!(why(&too_wide).await?["reason"], "too_small");
    cluster.http.post(&format!("/v1/tasks/{narrow}/cancel"), &json!({})).await?;
    cluster.task_is(&wide, "succeeded").await?;
    Ok(())
}

#[tokio::test]
async fn a_draining_worker_gets_nothing_new() -> Result<()> {
    let cluster = Cluster::with_worker(2).await?;
    let running = cluster.http.submit(&json!({"cmd": "sleep 600"})).await?;
    cluster.task_is(&running, "running").await?;
    let drained = cluster.http.post("/v1/workers/w1/drain", &json!({})).await?;
    assert_eq!((drained.status, &drained.json["draining"], &drained.json["tasks"]), (200, &json!(true), &json!(1)));
    let waiting = cluster.http.submit(&json!({"cmd": "true"})).await?;
    let why = cluster.http.get(&format!("/v1/tasks/{waiting}/why")).await?;
    assert_eq!(why.json["reason"], "draining");
    cluster.task_is(&running, "running").await?;
    cluster.http.post("/v1/workers/w1/undrain", &json!({})).await?;
    cluster.task_is(&waiting, "succeeded").await?;
    Ok(())
}

#[tokio::test]
async fn a_worker_that_is_stopped_lets_its_commands_end() -> Result<()> {
    let mut cluster = Cluster::with_worker(2).await?;
    let gate = cluster.path("gate");
    let cmd = format!("while [ ! -e {} ]; do sleep 0.02; done; echo through", gate.display());
    let running = cluster.http.submit(&json!({"cmd": cmd})).await?;
    cluster.task_is(&running, "running").await?;
    cluster.begin_to_stop_worker("w1");
    cluster.worker_is("w1", "leaving").await?;
    let late = cluster.http.submit(&json!({"cmd": "true"})).await?;
    assert_eq!(cluster.task_is(&late, "queued").await?["state"], "queued");
    std::fs::write(gate, "")?;
    cluster.stop_worker("w1").await?;
    let task = cluster.task_is(&running, "succeeded").await?;
    assert_eq!(cluster.http.output(&task, "stdout").await?, "through\n");
    cluster.worker_is("w1", "gone").await?;
    cluster.add_worker("w2", 1, "").await?;
    assert_eq!(cluster.task_is(&late, "succeeded").await?["attempts"][0]["worker"], "w2");
    Ok(())
}

#[tokio::test]
async fn a_second_worker_of_the_name_waits_until_the_first_is_gone() -> Result<()> {
    let mut cluster = Cluster::start_with(|config| config.limits.lease = Duration::from_millis(1500)).await?;
    cluster.add_worker("w1", 1, "").await?;
    let first = cluster.http.submit(&json!({"cmd": "sleep 600", "on_lost": "fail"})).await?;
    cluster.task_is(&first, "running").await?;
    let mut other = Cluster::start().await?;
    other.join(&cluster, "w1", 7)?;
    cluster.task_is(&first, "running").await?;
    cluster.kill_worker("w1");
    cluster
        .eventually("the second takes its place", async || {
            let worker = cluster.http.get("/v1/workers/w1").await?.json;
            Ok(worker["state"] == "connected" && worker["slots"] == 7)
        })
        .await?;
    cluster.task_is(&first, "lost").await?;
    Ok(())
}
