//! Bad input gets a problem that names what is wrong, and the master goes on.

use anyhow::Result;
use reqwest::Method;
use sortie_tests::{Cluster, Response, json};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn assert_problem(answer: &Response, status: u16, pointers: &[&str]) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{answer:?}");
    assert_eq!(answer.json["status"], status, "{answer:?}");
    assert!(answer.json["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{answer:?}");
    assert_eq!(answer.pointers(), pointers, "{answer:?}");
}

#[tokio::test]
async fn fields_that_cannot_be_are_named() -> Result<()> {
    let cluster = Cluster::start().await?;
    for (body, pointers) in [
        (json!({"cmd": "true", "colour": "red"}), &["/colour"][..]),
        (json!({}), &["/cmd"]),
        (json!({"cmd": ""}), &["/cmd"]),
        (json!({"cmd": "a\u{0}b"}), &["/cmd"]),
        (json!({"argv": []}), &["/argv"]),
        (json!({"argv": ["a", 1]}), &["/argv/1"]),
        (json!({"cmd": "true", "argv": ["true"]}), &["/argv"]),
        (json!({"cmd": "true", "timeout": "soon"}), &["/timeout"]),
        (json!({"cmd": "true", "timeout": 90}), &["/timeout"]),
        (json!({"cmd": "true", "timeout": "0s", "slots": 0}), &["/timeout", "/slots"]),
        (json!({"cmd": "true", "kill_grace": "x", "selector": "a=b=c"}), &["/kill_grace", "/selector"]),
        (json!({"cmd": "true", "env": {"A/B": "\u{0}"}}), &["/env/A~1B"]),
        (json!({"cmd": "true", "count": 3}), &["/count"]),
        (json!({"cmd": "true", "retry": {"counts": 3}}), &["/retry/counts"]),
        (json!({"cmd": "true", "retry": {"count": 1001}}), &["/retry/count"]),
        (json!({"cmd": "true", "retry": {"exit_codes": [0]}}), &["/retry/exit_codes"]),
        (json!({"cmd": "true", "retry": {"exit_codes": ["1"]}}), &["/retry/exit_codes/0"]),
        (
            json!({"cmd": "true", "retry": {"backoff": "soon", "max_backoff": "0s"}}),
            &["/retry/backoff", "/retry/max_backoff"],
        ),
        (json!({"cmd": "true", "retry": -1}), &["/retry"]),
        (json!({"cmd": "true", "retry": "3"}), &["/retry"]),
        (json!({"cmd": "true", "retry": 1001, "max_lost": 1001}), &["/retry/count", "/max_lost"]),
        (json!({"cmd": "true", "on_lost": "cry"}), &["/on_lost"]),
        (json!([]), &[""]),
    ] {
        let answer = cluster.http.post("/v1/tasks", &body).await?;
        assert_problem(&answer, 422, pointers);
    }
    for count in [json!(0), json!(10_000_001), json!(-1), json!("many")] {
        let answer = cluster.http.post("/v1/jobs", &json!({"cmd": "true", "count": count})).await?;
        assert_problem(&answer, 422, &["/count"]);
    }
    assert_eq!(cluster.http.get("/v1/tasks").await?.json["tasks"], json!([]), "nothing was submitted");
    let whole = json!({"cmd": "true", "count": 3.0, "priority": -2.0, "retry": {"count": 2.0, "exit_codes": [1.0]}});
    let whole = cluster.http.post("/v1/jobs", &whole).await?;
    assert_eq!((whole.status, &whole.json["count"]), (201, &json!(3)), "3.0 is 3");
    assert_eq!(whole.json["spec"]["retry"]["exit_codes"], json!([1]), "deep inside too");
    let short = cluster.http.post("/v1/tasks", &json!({"cmd": "true", "retry": 2})).await?.json;
    let policy = json!({"count": 2, "backoff": "1s", "max_backoff": "5m"});
    assert_eq!(short["spec"]["retry"], policy, "a number stands for the count");
    assert_eq!((&short["spec"]["on_lost"], &short["spec"]["max_lost"]), (&json!("retry"), &json!(3)));
    Ok(())
}

#[tokio::test]
async fn bodies_that_cannot_be_read() -> Result<()> {
    let cluster = Cluster::start().await?;
    let post = async |body: &str, headers: &[(&str, &str)]| {
        cluster.http.send(Method::POST, "/v1/tasks", Some(body.to_owned()), headers).await
    };
    assert_problem(&post("{\"cmd\": ", &JSON).await?, 400, &[]);
    assert_problem(&post("", &JSON).await?, 400, &[]);
    assert_problem(&post("{\"cmd\": \"true\"}", &[]).await?, 415, &[]);
    assert_problem(&post("cmd=true", &[("content-type", "application/x-www-form-urlencoded")]).await?, 415, &[]);
    let large = json!({"cmd": "x".repeat(10_000_000)}).to_string();
    assert_problem(&post(&large, &JSON).await?, 413, &[]);
    let deep = "[".repeat(100_000);
    assert_problem(&post(&deep, &JSON).await?, 400, &[]);
    assert_eq!(cluster.http.get("/healthz").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_not_found() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.http.submit(&json!({"cmd": "true"})).await?;
    for path in ["/v1/tasks/99", "/v1/tasks/1.1", "/v1/tasks/one", "/v1/jobs/1.0", "/v1/workers/w9", "/v1/nothing", "/"]
    {
        assert_problem(&cluster.http.get(path).await?, 404, &[]);
    }
    for path in ["/v1/tasks/99/cancel", "/v1/jobs/99/cancel", "/v1/workers/w9/drain"] {
        assert_problem(&cluster.http.post(path, &json!({})).await?, 404, &[]);
    }
    assert_problem(&cluster.http.get("/v1/workers/%FF").await?, 404, &[]);
    let answer = cluster.http.send(Method::DELETE, "/v1/tasks", None, &[]).await?;
    assert_problem(&answer, 405, &[]);
    assert!(answer.headers.contains_key("allow"), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn parameters_that_cannot_be() -> Result<()> {
    let cluster = Cluster::start().await?;
    for (path, pointers) in [
        ("/v1/tasks?state=flying", &["/state"][..]),
        ("/v1/tasks?cursor=from-nowhere", &["/cursor"]),
        ("/v1/jobs?cursor=1.1", &["/cursor"]),
        ("/v1/tasks?limit=0&label=a=b=c", &["/label", "/limit"]),
        ("/v1/tasks?limit=1001", &["/limit"]),
        ("/v1/tasks?limit=ten", &[""]),
        ("/v1/tasks?colour=red", &[""]),
        ("/v1/tasks?submitted_from=yesterday", &["/submitted_from"]),
        ("/v1/jobs?worker=w1", &["/worker"]),
        ("/v1/tasks/1?wait=long", &["/wait"]),
        ("/v1/workers?label==", &["/label"]),
        ("/v1/tasks/1/output?attempt=last", &[""]),
    ] {
        assert_problem(&cluster.http.get(path).await?, 422, pointers);
    }
    Ok(())
}

#[tokio::test]
async fn a_page_that_rebinds_its_name_is_refused() -> Result<()> {
    let cluster = Cluster::start().await?;
    let body = json!({"cmd": "true"}).to_string();
    let headers = [JSON[0], ("host", "evil.example:9092"), ("origin", "http://evil.example:9092")];
    let answer = cluster.http.send(Method::POST, "/v1/tasks", Some(body), &headers).await?;
    assert_problem(&answer, 403, &[]);
    assert_eq!(cluster.http.get("/v1/tasks").await?.json["tasks"], json!([]), "nothing was submitted");
    Ok(())
}
