//! Lists: filters, pages, and what a job counts.

use anyhow::Result;
use sortie_tests::{Cluster, json};

async fn ids(cluster: &Cluster, query: &str) -> Result<Vec<String>> {
    let answer = cluster.http.get(&format!("/v1/tasks?{query}")).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    let tasks = answer.json["tasks"].as_array().cloned().unwrap_or_default();
    Ok(tasks.iter().filter_map(|task| task["id"].as_str().map(str::to_owned)).collect())
}

#[tokio::test]
async fn pages_go_through_all_tasks_once() -> Result<()> {
    let cluster = Cluster::start().await?;
    for count in [1, 7, 3] {
        cluster.http.submit_job(&json!({"cmd": "true", "count": count})).await?;
    }
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = cluster.http.get(&format!("/v1/tasks?limit=2{cursor}")).await?.json;
        let tasks = page["tasks"].as_array().cloned().unwrap_or_default();
        assert!(tasks.len() <= 2);
        all.extend(tasks.iter().filter_map(|task| task["id"].as_str().map(str::to_owned)));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let expected = "3.2 3.1 3.0 2.6 2.5 2.4 2.3 2.2 2.1 2.0 1.0";
    assert_eq!(all.join(" "), expected);
    Ok(())
}

#[tokio::test]
async fn filters_choose() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    cluster.http.run(&json!({"cmd": "true", "name": "nightly", "labels": {"team": "a"}})).await?;
    cluster.http.run(&json!({"cmd": "false", "name": "nightly", "labels": {"team": "b"}})).await?;
    let waiting = cluster.http.submit(&json!({"cmd": "true", "selector": "nowhere"})).await?;
    assert_eq!(ids(&cluster, "state=failed").await?, ["2.0"]);
    assert_eq!(ids(&cluster, "state=failed,queued").await?, [waiting.as_str(), "2.0"]);
    assert_eq!(ids(&cluster, "name=nightly&label=team=a").await?, ["1.0"]);
    assert_eq!(ids(&cluster, "worker=w1&limit=1").await?, ["2.0"]);
    assert_eq!(ids(&cluster, "job=3").await?, ["3.0"]);
    assert_eq!(ids(&cluster, "submitted_from=2100-01-01T00:00:00Z").await?, [""; 0]);
    let jobs = cluster.http.get("/v1/jobs?state=queued").await?.json;
    assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(1));
    assert_eq!(jobs["jobs"][0]["counts"], json!({"queued": 1}));
    Ok(())
}

#[tokio::test]
async fn a_million_tasks_wait_as_one_range() -> Result<()> {
    let cluster = Cluster::start().await?;
    let id = cluster.http.submit_job(&json!({"cmd": "true", "count": 1_000_000})).await?;
    let job = cluster.http.get(&format!("/v1/jobs/{id}")).await?.json;
    assert_eq!((&job["state"], &job["counts"]), (&json!("queued"), &json!({"queued": 1_000_000})));
    assert_eq!(ids(&cluster, "limit=2").await?, ["1.999999", "1.999998"]);
    assert_eq!(ids(&cluster, "limit=1&cursor=1.500000").await?, ["1.499999"]);
    cluster.http.post(&format!("/v1/tasks/{id}.500000/cancel"), &json!({})).await?;
    assert_eq!(ids(&cluster, "state=cancelled").await?, ["1.500000"]);
    cluster.http.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await?;
    assert_eq!(cluster.http.wait_job(&id).await?["counts"], json!({"cancelled": 1_000_000}));
    Ok(())
}

#[tokio::test]
async fn workers_are_listed_by_name() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    for (name, labels) in [("b", "gpu"), ("a", ""), ("c", "gpu=a100")] {
        cluster.add_worker(name, 3, labels).await?;
    }
    let page = cluster.http.get("/v1/workers?limit=2").await?.json;
    assert_eq!((&page["workers"][0]["name"], &page["workers"][1]["name"]), (&json!("a"), &json!("b")));
    let next = cluster.http.get(&format!("/v1/workers?cursor={}", page["next_cursor"].as_str().unwrap_or(""))).await?;
    assert_eq!(next.json["workers"][0]["name"], "c");
    assert_eq!(next.json["workers"][0]["labels"], json!({"gpu": "a100"}));
    let gpus = cluster.http.get("/v1/workers?label=gpu&state=connected").await?.json;
    assert_eq!(gpus["workers"].as_array().map(Vec::len), Some(2));
    Ok(())
}

#[tokio::test]
async fn a_list_cuts_long_specs_short() -> Result<()> {
    let cluster = Cluster::start().await?;
    let spec = json!({"cmd": "cat", "stdin": "x".repeat(1_000_000), "count": 50});
    cluster.http.submit_job(&spec).await?;
    let page = cluster.http.get("/v1/tasks?limit=50").await?;
    assert!(page.bytes.len() < 100_000, "50 tasks take {} bytes", page.bytes.len());
    assert_eq!(page.json["tasks"][49]["spec"]["cmd"], "cat");
    let whole = cluster.http.get("/v1/tasks/1.7").await?.json;
    assert_eq!(whole["spec"]["stdin"].as_str().map(str::len), Some(1_000_000));
    Ok(())
}
