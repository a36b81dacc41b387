//! The `output` command, and how `run` writes what its command wrote.

use reqwest::header::{HeaderMap, HeaderName};
use serde_json::{Value, json};
use sortie_master::api::State;

use super::http::{Client, Download};
use super::tasks::one;
use super::wait::{self, Target};
use crate::cli::{Format, OutputArgs, Stream};
use crate::exit::Result;
use crate::{render, talk};

/// How many bytes of the output the master did not keep.
const DROPPED_BYTES: HeaderName = HeaderName::from_static("sortie-dropped-bytes");

/// The task's state when its output was read.
const TASK_STATE: HeaderName = HeaderName::from_static("sortie-task-state");

/// Where a task's output goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sink {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Writes a task's output.
pub(super) async fn output(client: &Client, args: &OutputArgs, format: Format) -> Result<u8> {
    let id = args.id.as_str();
    if args.follow {
        wait::found_and_ended(client, &Target::Task(one(id))).await?;
    }
    match format {
        Format::Json => talk::json(&as_json(client, id, args.attempt, args.stream).await?)?,
        Format::Table => copy(client, id, args.attempt, args.stream, Sink::Stdout).await?,
    }
    Ok(0)
}

/// Copies what an attempt wrote, the last one if none is named, as it is, and says on standard error if some of it was
/// not kept.
pub(super) async fn copy(client: &Client, id: &str, attempt: Option<u32>, stream: Stream, sink: Sink) -> Result<()> {
    let Download { headers, bytes } = request(client, id, attempt, stream).await?;
    match sink {
        Sink::Stdout => talk::bytes(&bytes)?,
        Sink::Stderr => talk::error_bytes(&bytes),
    }
    let dropped = dropped_bytes(&headers);
    if dropped > 0 {
        talk::note(&format!("{dropped} bytes of the {} of the task {id} were not kept", named(stream)));
    }
    Ok(())
}

/// JSON has no bytes: what is not UTF-8 is replaced.
async fn as_json(client: &Client, id: &str, attempt: Option<u32>, stream: Stream) -> Result<Value> {
    let Download { headers, bytes } = request(client, id, attempt, stream).await?;
    let (text, dropped) = (String::from_utf8_lossy(&bytes), dropped_bytes(&headers));
    Ok(json!({ "id": id, "stream": word(stream), "text": text, "dropped_bytes": dropped }))
}

async fn request(client: &Client, id: &str, attempt: Option<u32>, stream: Stream) -> Result<Download> {
    let attempt = attempt.map(|number| ("attempt", number.to_string()));
    let query: Vec<_> = [("stream", word(stream).to_owned())].into_iter().chain(attempt.clone()).collect();
    let download = client.download(&["tasks", id, "output"], &query).await?;
    let unended = state(&download.headers).filter(|state| !state.is_final() && attempt.is_none());
    if let Some(state) = unended {
        let what = match download.bytes.is_empty() {
            true => "its output can be read at its end, which `sortie output -f` waits for",
            false => "this is what its last attempt wrote that has ended",
        };
        talk::note(&format!("the task {id} has not ended, it is {}; {what}", render::words(state)));
    }
    Ok(download)
}

fn state(headers: &HeaderMap) -> Option<State> {
    serde_json::from_value(headers.get(TASK_STATE)?.to_str().ok()?.into()).ok()
}

fn dropped_bytes(headers: &HeaderMap) -> u64 {
    headers.get(DROPPED_BYTES).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0)
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
