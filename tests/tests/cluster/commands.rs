//! What a command is given, and what it can be.

use anyhow::Result;
use sortie_tests::{Cluster, json};

#[tokio::test]
async fn argv_is_run_as_it_is() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    let task = cluster.http.run(&json!({"argv": ["printf", "%s|", "a b", "$HOME", "*"]})).await?;
    assert_eq!(cluster.http.output(&task, "stdout").await?, "a b|$HOME|*|");
    Ok(())
}

#[tokio::test]
async fn a_line_is_for_the_shell() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    let task = cluster.http.run_line("echo a | tr a b; cd /; pwd").await?;
    assert_eq!(cluster.http.output(&task, "stdout").await?, "b\n/\n");
    Ok(())
}

#[tokio::test]
async fn a_script_brings_its_interpreter() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    let script = "#!/usr/bin/env python3\nimport os, sys\nprint(os.listdir('.'), sys.stdin.read())\n";
    let task = cluster.http.run(&json!({"script": script, "stdin": "from outside"})).await?;
    assert_eq!(cluster.http.output(&task, "stdout").await?, "[] from outside\n", "{task}");
    Ok(())
}

#[tokio::test]
async fn the_environment_is_what_was_asked_for() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    let task = cluster.http.run(&json!({"argv": ["env"], "env": {"COLOUR": "red", "LANG": "fr_FR"}})).await?;
    let output = cluster.http.output(&task, "stdout").await?;
    let mut names: Vec<_> = output.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    let expected = [
        "COLOUR",
        "HOME",
        "LANG",
        "PATH",
        "SORTIE_ATTEMPT",
        "SORTIE_ATTEMPT_DIR",
        "SORTIE_INDEX",
        "SORTIE_JOB_ID",
        "SORTIE_TASK_ID",
        "SORTIE_WORKER",
        "TMPDIR",
    ];
    assert_eq!(names, expected, "this process has CARGO_MANIFEST_DIR, and no command sees it");
    for line in ["COLOUR=red", "LANG=fr_FR", "SORTIE_ATTEMPT=1", "SORTIE_TASK_ID=1.0", "SORTIE_WORKER=w1"] {
        assert!(output.lines().any(|found| found == line), "{line} in {output}");
    }
    Ok(())
}

#[tokio::test]
async fn each_task_of_an_array_knows_its_index() -> Result<()> {
    let cluster = Cluster::with_worker(2).await?;
    let file = cluster.path("indices");
    let cmd = format!("echo $SORTIE_INDEX >> {}", file.display());
    let job = cluster.http.submit_job(&json!({"cmd": cmd, "count": 20})).await?;
    let job = cluster.http.wait_job(&job).await?;
    assert_eq!(job["counts"], json!({"succeeded": 20}));
    let mut indices: Vec<u32> = std::fs::read_to_string(file)?.lines().map(str::parse).collect::<Result<_, _>>()?;
    indices.sort_unstable();
    assert!(indices.into_iter().eq(0..20));
    Ok(())
}

#[tokio::test]
async fn a_directory_of_its_own_or_the_one_asked_for() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    let task = cluster.http.run_line("touch left-over; pwd").await?;
    let own = cluster.http.output(&task, "stdout").await?;
    assert!(!std::path::Path::new(own.trim()).exists(), "{own} is removed after the end");
    let task = cluster.http.run(&json!({"argv": ["pwd"], "cwd": "/usr"})).await?;
    assert_eq!(cluster.http.output(&task, "stdout").await?, "/usr\n");
    Ok(())
}

#[tokio::test]
async fn what_does_not_fit_is_counted() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    let task = cluster.http.run_line("head -c 1048580 /dev/zero; echo whole >&2").await?;
    let id = task["id"].as_str().unwrap_or_default();
    let stdout = cluster.http.get(&format!("/v1/tasks/{id}/output?stream=stdout")).await?;
    assert_eq!((stdout.bytes.len(), &stdout.headers["sortie-dropped-bytes"]), (1_048_576, &"4".parse()?));
    let stderr = cluster.http.get(&format!("/v1/tasks/{id}/output?stream=stderr")).await?;
    assert_eq!((stderr.bytes.as_slice(), &stderr.headers["sortie-dropped-bytes"]), (&b"whole\n"[..], &"0".parse()?));
    Ok(())
}

#[tokio::test]
async fn the_traceparent_goes_through_without_a_tracer() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let body = json!({"cmd": "echo $TRACEPARENT"}).to_string();
    let headers = [("content-type", "application/json"), ("traceparent", traceparent)];
    let response = cluster.http.send(reqwest::Method::POST, "/v1/tasks?wait=30s", Some(body), &headers).await?;
    assert_eq!(cluster.http.output(&response.json, "stdout").await?, format!("{traceparent}\n"));
    Ok(())
}
