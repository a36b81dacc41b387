//! The clients' side: submit, get, list, watch, cancel and read, as over HTTP.

use sortie_engine::{JobId, Selector, TaskId};
use sortie_store::{JobFilter, JobRow, TaskFilter, TaskRow};
use sortie_wire::draft::FieldError;
use sortie_wire::pb::task_service_server::TaskService;
use sortie_wire::{pb, task as words, trace};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::status::invalid;
use crate::handle::Unanswered;
use crate::service::{NewJob, Service, Written, checked_limit};

/// The most messages of a watch or an output that wait for a slow client.
const MAX_WAITING: usize = 16;

/// The clients' service.
pub(super) struct Tasks(Service);

impl Tasks {
    pub(super) fn new(service: Service) -> Self {
        Tasks(service)
    }

    async fn submit(
        &self,
        spec: Option<pb::TaskSpec>,
        count: Option<u32>,
        key: &str,
        traceparent: Option<String>,
    ) -> Result<JobId, Status> {
        let draft = words::draft_from_pb(spec.unwrap_or_default()).map_err(|error| invalid(&[error]))?;
        let key = optional(key).map(|text| parse("/idempotency_key", text)).transpose()?;
        Ok(self.0.submit(NewJob { draft, count, key, traceparent }).await?.job)
    }
}

#[tonic::async_trait]
impl TaskService for Tasks {
    type WatchTaskStream = ReceiverStream<Result<pb::Task, Status>>;
    type ReadOutputStream = ReceiverStream<Result<pb::OutputChunk, Status>>;

    async fn submit_task(&self, request: Request<pb::SubmitTaskRequest>) -> Result<Response<pb::Task>, Status> {
        let traceparent = traceparent(&request);
        let request = request.into_inner();
        let job = self.submit(request.spec, None, &request.idempotency_key, traceparent).await?;
        Ok(Response::new(task(&self.0.task(job.task(0)).await?)))
    }

    async fn submit_job(&self, request: Request<pb::SubmitJobRequest>) -> Result<Response<pb::Job>, Status> {
        let traceparent = traceparent(&request);
        let request = request.into_inner();
        let count = Some(request.count).filter(|count| *count > 0);
        let id = self.submit(request.spec, count, &request.idempotency_key, traceparent).await?;
        Ok(Response::new(job(&self.0.job(id).await?)))
    }

    async fn get_task(&self, request: Request<pb::GetTaskRequest>) -> Result<Response<pb::Task>, Status> {
        let id = task_id(&request.into_inner().id)?;
        Ok(Response::new(task(&self.0.task(id).await?)))
    }

    async fn get_job(&self, request: Request<pb::GetJobRequest>) -> Result<Response<pb::Job>, Status> {
        let id = job_id(&request.into_inner().id)?;
        Ok(Response::new(job(&self.0.job(id).await?)))
    }

    async fn list_tasks(
        &self,
        request: Request<pb::ListTasksRequest>,
    ) -> Result<Response<pb::ListTasksResponse>, Status> {
        let request = request.into_inner();
        let limit = limit(request.limit)?;
        let after = optional(&request.cursor).map(|text| parse("/cursor", text)).transpose()?;
        let job = optional(&request.job).map(|text| parse("/job", text)).transpose()?;
        let worker = optional(&request.worker).map(str::to_owned);
        let JobFilter { states, name, selector, submitted_from, submitted_until } = filter(request.filter)?;
        let filter = TaskFilter { job, states, worker, name, selector, submitted_from, submitted_until };
        let page = self.0.tasks(filter, limit, after).await?;
        let tasks = page.rows.iter().map(task).collect();
        Ok(Response::new(pb::ListTasksResponse { tasks, next_cursor: page.next.unwrap_or_default() }))
    }

    async fn list_jobs(&self, request: Request<pb::ListJobsRequest>) -> Result<Response<pb::ListJobsResponse>, Status> {
        let request = request.into_inner();
        let limit = limit(request.limit)?;
        let after = optional(&request.cursor).map(|text| parse("/cursor", text)).transpose()?;
        let page = self.0.jobs(filter(request.filter)?, limit, after).await?;
        let jobs = page.rows.iter().map(job).collect();
        Ok(Response::new(pb::ListJobsResponse { jobs, next_cursor: page.next.unwrap_or_default() }))
    }

    async fn watch_task(
        &self,
        request: Request<pb::WatchTaskRequest>,
    ) -> Result<Response<Self::WatchTaskStream>, Status> {
        let id = task_id(&request.into_inner().id)?;
        self.0.task(id).await?;
        let (tx, rx) = mpsc::channel(MAX_WAITING);
        let service = self.0.clone();
        tokio::spawn(async move {
            if let Err(status) = watch(&service, id, &tx).await {
                // A client that has gone away does not need the reason.
                _ = tx.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(rx)))
    }

    async fn cancel_task(&self, request: Request<pb::CancelTaskRequest>) -> Result<Response<pb::Task>, Status> {
        let by = peer(&request);
        let id = task_id(&request.into_inner().id)?;
        Ok(Response::new(task(&self.0.cancel_task(id, by, None).await?)))
    }

    async fn cancel_job(&self, request: Request<pb::CancelJobRequest>) -> Result<Response<pb::Job>, Status> {
        let by = peer(&request);
        let id = job_id(&request.into_inner().id)?;
        Ok(Response::new(job(&self.0.cancel_job(id, by, None).await?)))
    }

    async fn read_output(
        &self,
        request: Request<pb::ReadOutputRequest>,
    ) -> Result<Response<Self::ReadOutputStream>, Status> {
        let request = request.into_inner();
        let attempt = Some(request.attempt).filter(|number| *number > 0);
        let Written { output, .. } = self.0.output(task_id(&request.id)?, attempt).await?;
        let (stdout, stderr) = match pb::OutputStream::try_from(request.stream) {
            Ok(pb::OutputStream::Unspecified) => (true, true),
            Ok(pb::OutputStream::Stdout) => (true, false),
            Ok(pb::OutputStream::Stderr) => (false, true),
            Err(_) => return Err(invalid(&[FieldError::new("/stream", "is not a stream that this master knows")])),
        };
        let (tx, rx) = mpsc::channel(MAX_WAITING);
        tokio::spawn(async move {
            let streams = [
                (stdout, pb::OutputStream::Stdout, &output.stdout),
                (stderr, pb::OutputStream::Stderr, &output.stderr),
            ];
            let wanted = streams.into_iter().filter(|(wanted, ..)| *wanted);
            for chunk in wanted.flat_map(|(_, stream, captured)| words::output_to_pb(stream, captured)) {
                if tx.send(Ok(chunk)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(rx)))
    }
}

/// Sends a task at every change until it has ended or the client has gone.
async fn watch(service: &Service, id: TaskId, tx: &mpsc::Sender<Result<pb::Task, Status>>) -> Result<(), Status> {
    let mut changes = service.watch(id.job).await?;
    let mut sent = None;
    loop {
        let row = service.task(id).await?;
        let ended = row.state.name().is_final();
        // Other tasks of the job change too.
        if sent.as_ref() != Some(&row.state) {
            if tx.send(Ok(task(&row))).await.is_err() {
                return Ok(());
            }
            sent = Some(row.state);
        }
        if ended {
            return Ok(());
        }
        tokio::select! {
            // A closed receiver is a job that has ended: it is read once more.
            _ = changes.changed() => {}
            () = tx.closed() => return Ok(()),
            () = service.stopping().cancelled() => return Err(Unanswered::Stopping.into()),
        }
    }
}

fn task(row: &TaskRow) -> pb::Task {
    let past = row.attempts.iter().map(|past| (&past.ended, past.worker.as_str()));
    words::task_to_pb(row.id, &row.job, &row.state, past, row.worker.as_deref())
}

fn job(row: &JobRow) -> pb::Job {
    words::job_to_pb(&row.job, &row.counts, row.ended)
}

fn filter(filter: Option<pb::Filter>) -> Result<JobFilter, Status> {
    let filter = filter.unwrap_or_default();
    let states = filter.states.iter().map(|state| words::state_from_pb(*state)).collect::<Result<_, _>>();
    let selector: Result<Selector, Status> = parse("/filter/selector", &filter.selector);
    Ok(JobFilter {
        states: states.map_err(|error| invalid(&[FieldError::new("/filter/states", error.to_string())]))?,
        name: optional(&filter.name).map(str::to_owned),
        selector: selector?,
        submitted_from: filter.submitted_from.map(words::time_from_pb),
        submitted_until: filter.submitted_until.map(words::time_from_pb),
    })
}

fn limit(limit: u32) -> Result<u32, Status> {
    checked_limit(Some(limit).filter(|limit| *limit > 0)).map_err(|error| invalid(&[error]))
}

fn optional(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn parse<T: std::str::FromStr>(pointer: &str, text: &str) -> Result<T, Status>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| invalid(&[FieldError::new(pointer, error.to_string())]))
}

/// What is no id names nothing, and is not found.
fn task_id(text: &str) -> Result<TaskId, Status> {
    text.parse().map_err(|_| Status::not_found(format!("there is no task `{text}`")))
}

fn job_id(text: &str) -> Result<JobId, Status> {
    text.parse().map_err(|_| Status::not_found(format!("there is no job `{text}`")))
}

/// Who asks, as far as anybody can know without credentials.
fn peer<T>(request: &Request<T>) -> String {
    request.remote_addr().map_or_else(|| "unknown".to_owned(), |addr| addr.ip().to_string())
}

/// The trace that a submission belongs to: that of the call's span, or without a tracer the client's own.
fn traceparent<T>(request: &Request<T>) -> Option<String> {
    let incoming = || request.metadata().get(trace::TRACEPARENT).and_then(|value| value.to_str().ok());
    trace::current().or_else(|| trace::traceparent(&trace::context(incoming()?)))
}
