//! The commands on tasks and jobs that are there: `status`, `output`, `why`, `cancel`.

use reqwest::Response;
use serde_json::{Value, json};
use sortie_master::api::{Job, State, Task};

use super::http::{self, Client, NO_QUERY};
use super::read;
use super::wait::{self, Target};
use crate::cli::{Format, OutputArgs, Stream};
use crate::exit::Result;
use crate::{render, talk};

/// How many bytes of the output the master did not keep.
const DROPPED_BYTES: &str = "sortie-dropped-bytes";

/// The task's state when its output was read.
const TASK_STATE: &str = "sortie-task-state";

/// Where a task's output goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sink {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Shows tasks and jobs; a job of one as its task.
pub(super) async fn status(client: &Client, ids: &[String], format: Format) -> Result<u8> {
    for id in ids {
        let target = Target::of(id);
        let answer = client.get(&target.path(), &NO_QUERY).await?;
        let (target, answer) = resolved(client, target, answer).await?;
        match (format, target) {
            (Format::Json, _) => talk::json(&answer)?,
            (Format::Table, Target::Task(_)) => talk::line(&render::task(&read(&answer)?))?,
            (Format::Table, Target::Job(_)) => talk::line(&render::job(&read(&answer)?))?,
        }
    }
    Ok(0)
}

/// The answer about a target; if it is a job of one, its task and the answer about that.
async fn resolved(client: &Client, target: Target, answer: Value) -> Result<(Target, Value)> {
    let task = match &target {
        Target::Job(id) if read::<Job>(&answer)?.count == 1 => Target::Task(one(id)),
        Target::Job(_) | Target::Task(_) => return Ok((target, answer)),
    };
    let answer = client.get(&task.path(), &NO_QUERY).await?;
    Ok((task, answer))
}

/// Writes a task's output.
pub(super) async fn output(client: &Client, args: &OutputArgs, format: Format) -> Result<u8> {
    let id = args.id.as_str();
    if args.follow {
        wait::found_and_ended(client, &Target::Task(one(id))).await?;
    }
    match format {
        Format::Json => talk::json(&output_json(client, id, args.stream).await?)?,
        Format::Table => copy_output(client, id, args.stream, Sink::Stdout).await?,
    }
    Ok(0)
}

/// The id of the task that `id` stands for where a task is meant.
fn one(id: &str) -> String {
    if id.contains('.') { id.to_owned() } else { format!("{id}.0") }
}

/// Copies a task's output as it is, and says on standard error if some of it was not kept.
pub(super) async fn copy_output(client: &Client, id: &str, stream: Stream, sink: Sink) -> Result<()> {
    let mut response = request_output(client, id, stream).await?;
    let dropped = dropped_bytes(&response);
    while let Some(chunk) = http::chunk(&mut response).await? {
        match sink {
            Sink::Stdout => talk::bytes(chunk.as_ref())?,
            Sink::Stderr => talk::error_bytes(chunk.as_ref()),
        }
    }
    if dropped > 0 {
        talk::note(&format!("{dropped} bytes of the {} of the task {id} were not kept", named(stream)));
    }
    Ok(())
}

/// JSON has no bytes: what is not UTF-8 is replaced.
async fn output_json(client: &Client, id: &str, stream: Stream) -> Result<Value> {
    let mut response = request_output(client, id, stream).await?;
    let dropped = dropped_bytes(&response);
    let mut bytes = Vec::new();
    while let Some(chunk) = http::chunk(&mut response).await? {
        bytes.extend_from_slice(chunk.as_ref());
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(json!({ "id": id, "stream": word(stream), "text": text, "dropped_bytes": dropped }))
}

async fn request_output(client: &Client, id: &str, stream: Stream) -> Result<Response> {
    let response = client.download(&["tasks", id, "output"], &[("stream", word(stream))]).await?;
    if let Some(state) = state(&response).filter(|state| !state.is_final()) {
        talk::note(&format!(
            "the task {id} has not ended, it is {}; its output can be read at its end, which `sortie output -f` waits for",
            render::words(state)
        ));
    }
    Ok(response)
}

fn state(response: &Response) -> Option<State> {
    let header = response.headers().get(TASK_STATE);
    serde_json::from_value(header?.to_str().ok()?.into()).ok()
}

fn dropped_bytes(response: &Response) -> u64 {
    let header = response.headers().get(DROPPED_BYTES);
    header.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0)
}

fn word(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
        Stream::Both => "both",
    }
}

fn named(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "standard output",
        Stream::Stderr => "standard error",
        Stream::Both => "output",
    }
}

/// Says why a task is where it is.
pub(super) async fn why(client: &Client, id: &str, format: Format) -> Result<u8> {
    let answer = client.get(&["tasks", id, "why"], &NO_QUERY).await?;
    match format {
        Format::Json => talk::json(&answer)?,
        Format::Table => talk::line(&render::explanation(&read(&answer)?))?,
    }
    Ok(0)
}

/// Cancels tasks and jobs, all of them even if one cannot be; the last failure is the command's.
pub(super) async fn cancel(client: &Client, ids: &[String], format: Format) -> Result<u8> {
    let mut done = Ok(0);
    for id in ids {
        if let Err(failure) = cancel_one(client, id, format).await {
            // The last one is told when the program ends.
            if let Err(earlier) = std::mem::replace(&mut done, Err(failure)) {
                earlier.tell();
            }
        }
    }
    done
}

async fn cancel_one(client: &Client, id: &str, format: Format) -> Result<()> {
    let target = Target::of(id);
    let [kind, name] = target.path();
    let answer = client.post(&[kind, name, "cancel"], None).await?;
    let (target, answer) = resolved(client, target, answer).await?;
    match (format, target) {
        (Format::Json, _) => talk::json(&answer),
        (Format::Table, Target::Task(_)) => {
            talk::line(&format!("{id} is {}", render::words(read::<Task>(&answer)?.state)))
        }
        // The state of an array with tasks that are being cancelled is `running`.
        (Format::Table, Target::Job(_)) => talk::line(&format!("{id}: {}", render::counts(&read(&answer)?))),
    }
}
