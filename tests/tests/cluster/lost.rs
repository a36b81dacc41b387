//! Attempts that are lost: which of them are tried again, and that none runs beside its successor.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use sortie_tests::{Cluster, Value, Wire, eventually, json};
use sortie_wire::pb;
use sortie_wire::pb::node_service_client::NodeServiceClient;
use tonic::Code;

use crate::puppet::{Puppet, hello};

/// A cluster with leases that a test can wait out, and one worker that can be cut off.
async fn cluster() -> Result<(Cluster, Wire)> {
    let mut cluster = Cluster::start_with(|config| config.limits.lease = Duration::from_millis(1500)).await?;
    let wire = cluster.add_worker_on_wire("w1", 1).await?;
    Ok((cluster, wire))
}

/// A command whose first attempt writes down its process and never ends, and whose second one looks for that process.
fn two_attempts(pid: &Path) -> String {
    let pid = pid.display();
    format!(
        "if [ $SORTIE_ATTEMPT = 1 ]; then echo $$ > {pid}; exec sleep 600; fi; \
         if kill -0 $(cat {pid}) 2>/dev/null; then echo alive; else echo dead; fi"
    )
}

/// Waits until the first attempt has written its process down.
async fn first_runs(pid: &Path) -> Result<String> {
    let read = || std::fs::read_to_string(pid).unwrap_or_default();
    eventually("the first attempt runs", async || Ok(read().ends_with('\n'))).await?;
    Ok(read().trim().to_owned())
}

fn lost(started: &str, reason: &str) -> Value {
    json!({"kind": "lost", "started": started, "reason": reason})
}

#[tokio::test]
async fn a_lost_attempt_is_dead_before_the_next_one_begins() -> Result<()> {
    let (mut cluster, wire) = cluster().await?;
    let file = cluster.path("pid");
    let spec = json!({"cmd": two_attempts(&file), "retry": {"backoff": "1ms"}});
    let id = cluster.http.submit(&spec).await?;
    let pid = first_runs(&file).await?;
    cluster.add_worker("w2", 1, "").await?;
    wire.cut();
    let task = cluster.task_is(&id, "succeeded").await?;
    assert_eq!(cluster.http.output_of_attempt(&id, 2).await?, "dead\n", "{task}");
    assert!(!Path::new("/proc").join(&pid).join("exe").exists(), "{pid} is gone");
    assert_eq!(task["attempts"][0]["outcome"], lost("yes", "lease_ended"));
    assert_eq!((&task["attempts"][0]["worker"], &task["attempts"][1]["worker"]), (&json!("w1"), &json!("w2")));
    // What the first worker says when it is back is of an attempt that is over.
    wire.mend();
    cluster.worker_is("w1", "connected").await?;
    assert_eq!(cluster.http.get(&format!("/v1/tasks/{id}")).await?.json, task, "nothing is changed by it");
    Ok(())
}

#[tokio::test]
async fn who_must_not_run_twice_is_lost() -> Result<()> {
    let (mut cluster, wire) = cluster().await?;
    let file = cluster.path("pid");
    let careful = json!({"cmd": two_attempts(&file), "on_lost": "fail", "retry": {"count": 5, "backoff": "1ms"}});
    let id = cluster.http.submit(&careful).await?;
    first_runs(&file).await?;
    cluster.add_worker("w2", 1, "").await?;
    wire.cut();
    let task = cluster.task_is(&id, "lost").await?;
    assert_eq!(task["outcome"], lost("yes", "lease_ended"));
    assert_eq!((&task["attempts"].as_array().map(Vec::len), &task["spec"]["on_lost"]), (&Some(1), &json!("fail")));
    Ok(())
}

#[tokio::test]
async fn who_has_been_lost_too_often_is_lost() -> Result<()> {
    let (mut cluster, wire) = cluster().await?;
    let file = cluster.path("pid");
    let id = cluster.http.submit(&json!({"cmd": two_attempts(&file), "max_lost": 0})).await?;
    first_runs(&file).await?;
    cluster.add_worker("w2", 1, "").await?;
    wire.cut();
    let task = cluster.task_is(&id, "lost").await?;
    assert_eq!((task["attempts"].as_array().map(Vec::len), &task["spec"]["max_lost"]), (Some(1), &json!(0)));
    Ok(())
}

#[tokio::test]
async fn a_wire_that_is_cut_for_a_moment_loses_nothing() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let wire = cluster.add_worker_on_wire("w1", 1).await?;
    let gate = cluster.path("gate");
    let cmd = format!("while [ ! -e {} ]; do sleep 0.02; done; echo $SORTIE_ATTEMPT", gate.display());
    let id = cluster.http.submit(&json!({"cmd": cmd})).await?;
    cluster.task_is(&id, "running").await?;
    wire.cut();
    cluster.task_is(&id, "unreachable").await?;
    wire.mend();
    cluster.task_is(&id, "running").await?;
    std::fs::write(gate, "")?;
    let task = cluster.task_is(&id, "succeeded").await?;
    assert_eq!(cluster.http.output(&task, "stdout").await?, "1\n");
    Ok(())
}

#[tokio::test]
async fn what_never_started_goes_back_and_is_not_counted() -> Result<()> {
    let cluster = Cluster::start().await?;
    let spec = json!({"cmd": "true", "max_lost": 0, "on_lost": "fail", "retry": {"backoff": "1ms"}});
    let id = cluster.http.submit(&spec).await?;
    let mut first = Puppet::join(&cluster, "w1", 1).await?;
    assert_eq!(first.started_number().await?, 1);
    let refused = pb::ended::End::Stopped(pb::StopCause::Refused.into());
    first.ended(1, 1, refused).await?;
    assert_eq!(first.started_number().await?, 2, "it is tried again, here as well as anywhere");
    // The same process is back, and does not know of the order.
    let mut again = Puppet::join(&cluster, "w1", 2).await?;
    assert_eq!(again.started_number().await?, 3);
    again.exited(1, 3, 0).await?;
    let task = cluster.task_is(&id, "succeeded").await?;
    assert_eq!(task["attempts"][0]["outcome"], lost("no", "worker_stopped"));
    assert_eq!(task["attempts"][1]["outcome"], lost("no", "order_lost"));
    assert_eq!(task["attempts"][2]["outcome"], json!({"kind": "exited", "code": 0}));
    Ok(())
}

#[tokio::test]
async fn what_a_dead_worker_left_is_told_by_the_next_one_of_its_name() -> Result<()> {
    let cluster = Cluster::start().await?;
    let id = cluster.http.submit(&json!({"cmd": "true", "max_lost": 1, "retry": {"backoff": "1ms"}})).await?;
    let mut first = Puppet::join(&cluster, "w1", 1).await?;
    assert_eq!(first.started_number().await?, 1);
    drop(first);
    cluster.worker_is("w1", "unreachable").await?;
    let attempt = Some(pb::Attempt { job: 1, index: 0, number: 1 });
    let left = pb::HeldAttempt { attempt, slots: 0, started: true };
    let next = pb::ReportStatusRequest { instance: "another process".into(), held: vec![left], ..hello("w1", 1) };
    let mut next = Puppet::join_as(&cluster, next).await?;
    next.ended(1, 1, pb::ended::End::Stopped(pb::StopCause::Abandoned.into())).await?;
    assert_eq!(next.started_number().await?, 2);
    next.exited(1, 2, 0).await?;
    let task = cluster.task_is(&id, "succeeded").await?;
    assert_eq!(task["attempts"][0]["outcome"], lost("yes", "worker_died"));
    Ok(())
}

#[tokio::test]
async fn an_introduction_that_comes_late_is_refused() -> Result<()> {
    let cluster = Cluster::start().await?;
    let _later = Puppet::join(&cluster, "w1", 7).await?;
    let mut client = NodeServiceClient::connect(cluster.grpc_url()).await?;
    let status = client.report_status(hello("w1", 6)).await.err().context("it is refused")?;
    assert_eq!(status.code(), Code::Aborted, "{status:?}");
    cluster.worker_is("w1", "connected").await
}
