//! Clients and health over gRPC, and reports that do not fit.

use anyhow::{Context as _, Result};
use sortie_tests::{Cluster, json};
use sortie_wire::pb::node_service_client::NodeServiceClient;
use sortie_wire::pb::task_service_client::TaskServiceClient;
use sortie_wire::{node, pb};
use tonic::Code;
use tonic::transport::Channel;

use crate::puppet::Puppet;

fn line(cmd: &str) -> Option<pb::TaskSpec> {
    Some(pb::TaskSpec { command: Some(pb::task_spec::Command::Cmd(cmd.to_owned())), ..pb::TaskSpec::default() })
}

async fn client(cluster: &Cluster) -> Result<TaskServiceClient<Channel>> {
    Ok(TaskServiceClient::connect(cluster.grpc_url()).await?)
}

#[tokio::test]
async fn a_task_is_submitted_watched_and_read() -> Result<()> {
    let cluster = Cluster::with_worker(1).await?;
    let mut client = client(&cluster).await?;
    let spec = line("echo out; echo err >&2; exit 3");
    let task = client.submit_task(pb::SubmitTaskRequest { spec, ..Default::default() }).await?.into_inner();
    let mut watch = client.watch_task(pb::WatchTaskRequest { id: task.id.clone() }).await?.into_inner();
    let mut last = None;
    while let Some(seen) = watch.message().await? {
        last = Some(seen);
    }
    let last = last.context("a watch sends the task")?;
    assert_eq!(last.state(), pb::TaskState::Failed);
    assert_eq!(last.outcome.clone().and_then(|outcome| outcome.outcome), Some(pb::outcome::Outcome::Exited(3)));
    assert_eq!(client.get_task(pb::GetTaskRequest { id: task.id.clone() }).await?.into_inner(), last);
    let request = pb::ReadOutputRequest { id: task.id, stream: pb::OutputStream::Stderr.into(), attempt: 0 };
    let chunk = client.read_output(request).await?.into_inner().message().await?.context("a chunk")?;
    assert_eq!(chunk.content, Some(pb::output_chunk::Content::Data(b"err\n".to_vec())));
    Ok(())
}

#[tokio::test]
async fn jobs_are_submitted_listed_and_cancelled() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut client = client(&cluster).await?;
    let job = client
        .submit_job(pb::SubmitJobRequest { spec: line("true"), count: 5, ..Default::default() })
        .await?
        .into_inner();
    assert_eq!((job.count, job.state()), (5, pb::TaskState::Queued));
    let request = pb::ListTasksRequest { job: job.id.clone(), limit: 2, ..pb::ListTasksRequest::default() };
    let page = client.list_tasks(request).await?.into_inner();
    assert_eq!((page.tasks.len(), page.next_cursor.as_str()), (2, "1.3"));
    let cancelled = client.cancel_task(pb::CancelTaskRequest { id: "1.4".into() }).await?.into_inner();
    assert_eq!(cancelled.state(), pb::TaskState::Cancelled);
    let job = client.cancel_job(pb::CancelJobRequest { id: job.id }).await?.into_inner();
    assert_eq!(job.counts, [pb::StateCount { state: pb::TaskState::Cancelled.into(), tasks: 5 }]);
    let filter = pb::Filter { states: vec![pb::TaskState::Cancelled.into()], ..pb::Filter::default() };
    let request = pb::ListJobsRequest { filter: Some(filter), ..pb::ListJobsRequest::default() };
    assert_eq!(client.list_jobs(request).await?.into_inner().jobs, std::slice::from_ref(&job));
    assert_eq!(client.get_job(pb::GetJobRequest { id: "1".into() }).await?.into_inner(), job);
    Ok(())
}

#[tokio::test]
async fn bad_calls_are_told_what_is_wrong() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut client = client(&cluster).await?;
    let error = client.submit_task(pb::SubmitTaskRequest::default()).await.err().context("an error")?;
    assert_eq!(
        (error.code(), error.message()),
        (Code::InvalidArgument, "/cmd: is missing; give one of cmd, argv or script")
    );
    let timeout = Some(prost_types::Duration { seconds: -1, nanos: 0 });
    let spec = line("true").map(|spec| pb::TaskSpec { timeout, ..spec });
    let error =
        client.submit_task(pb::SubmitTaskRequest { spec, ..Default::default() }).await.err().context("an error")?;
    assert_eq!(error.code(), Code::InvalidArgument);
    for id in ["7", "seven", ""] {
        let error = client.get_task(pb::GetTaskRequest { id: id.into() }).await.err().context("an error")?;
        assert_eq!(error.code(), Code::NotFound, "{error:?}");
    }
    let request = pb::ListTasksRequest { cursor: "from nowhere".into(), ..pb::ListTasksRequest::default() };
    let error = client.list_tasks(request).await.err().context("an error")?;
    assert_eq!(error.code(), Code::InvalidArgument);
    Ok(())
}

#[tokio::test]
async fn health_and_reflection_answer() -> Result<()> {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let cluster = Cluster::start().await?;
    let channel = tonic::transport::Endpoint::new(cluster.grpc_url())?.connect().await?;
    let mut health = HealthClient::new(channel.clone());
    for service in ["", "sortie.v1.NodeService", "sortie.v1.TaskService"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await?.into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let mut reflection = ServerReflectionClient::new(channel);
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection.server_reflection_info(tokio_stream::iter([request])).await?.into_inner();
    let answer = answers.message().await?.and_then(|answer| answer.message_response).context("an answer")?;
    let MessageResponse::ListServicesResponse(list) = answer else { anyhow::bail!("not a list: {answer:?}") };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"sortie.v1.NodeService") && names.contains(&"sortie.v1.TaskService"), "{names:?}");
    Ok(())
}

#[tokio::test]
async fn a_report_that_does_not_fit_changes_nothing() -> Result<()> {
    let cluster = Cluster::start().await?;
    let id = cluster.http.submit(&json!({"cmd": "true"})).await?;
    let mut holder = Puppet::join(&cluster, "holder", 1).await?;
    assert!(matches!(holder.next().await?, pb::order::Order::Start(_)));
    let stranger = Puppet::join(&cluster, "stranger", 1).await?;
    stranger.exited(1, 1, 0).await?;
    holder.exited(1, 2, 0).await?;
    holder.exited(99, 1, 0).await?;
    holder.reports.send(pb::Report { report: None }).await?;
    holder.exited(1, 1, 7).await?;
    holder.exited(1, 1, 0).await?;
    let task = cluster.task_is(&id, "failed").await?;
    assert_eq!(task["outcome"]["code"], 7);
    assert_eq!(cluster.http.output(&task, "stdout").await?, "attempt 1");
    Ok(())
}

#[tokio::test]
async fn a_session_is_opened_once() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut client = NodeServiceClient::connect(cluster.grpc_url()).await?;
    let opened = async |client: &mut NodeServiceClient<Channel>, session: u64| {
        client.assign_task(tokio_stream::iter([node::open_to_pb(session)])).await.map(|_| ()).map_err(|s| s.code())
    };
    assert_eq!(opened(&mut client, 42).await, Err(Code::FailedPrecondition));
    let puppet = Puppet::join(&cluster, "w1", 1).await?;
    let request = pb::ReportStatusRequest { name: "w1".into(), slots: 1, protocol: 1, ..Default::default() };
    let taken = client.report_status(request).await.err().map(|status| status.code());
    assert_eq!(taken, Some(Code::AlreadyExists));
    let nameless = pb::ReportStatusRequest { slots: 1, protocol: 1, ..Default::default() };
    let refused = client.report_status(nameless).await.err().map(|status| status.code());
    assert_eq!(refused, Some(Code::InvalidArgument));
    drop(puppet);
    cluster.worker_is("w1", "gone").await
}

#[tokio::test]
async fn a_worker_that_comes_back_takes_its_own_place() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut first = Puppet::join(&cluster, "w1", 1).await?;
    let _second = Puppet::join(&cluster, "w1", 2).await?;
    let ended = first.next().await.err().context("the first stream ends")?;
    let status = ended.downcast::<tonic::Status>()?;
    assert_eq!(status.code(), Code::Aborted, "{status:?}");
    cluster.worker_is("w1", "connected").await
}
