//! The `run` command: submit, wait, write the output, end as the command did.
//!
//! The first Ctrl-C cancels the task and goes on waiting for its end, so that nothing is left behind; a second one
//! leaves at once. A master that goes away in between is awaited: the task goes on without it, and is found by its id.

use std::pin::pin;

use serde_json::Value;
use sortie_master::api::{Outcome, Spec, Task};

use super::http::Client;
use super::output::{self, Sink};
use super::read;
use super::submit::{self, Key};
use super::wait::{self, Target};
use crate::cli::{Format, Stream};
use crate::exit::{Failure, Result, code_of};
use crate::signals::Signals;
use crate::{render, talk};

/// Runs a command; the exit code that stands for its end.
pub(super) async fn run(client: &Client, spec: &Spec, key: &Key, format: Format) -> Result<u8> {
    let mut signals = Signals::new()?;
    let task: Task = tokio::select! {
        accepted = submit::task(client, spec, key) => read(&accepted?)?,
        asked = signals.next() => {
            talk::note("interrupted before the master answered; `sortie list` shows whether it accepted the command");
            return Err(asked.failure());
        }
    };
    let ended = ended(client, &task.id, &mut signals).await?;
    tokio::select! {
        code = finish(client, &ended, format) => code,
        asked = signals.next() => Err(asked.failure()),
    }
}

/// Waits for the task's end, and cancels it when asked to.
async fn ended(client: &Client, id: &str, signals: &mut Signals) -> Result<Value> {
    let target = Target::Task(id.to_owned());
    let mut ended = pin!(wait::ended(client, &target));
    tokio::select! {
        ended = &mut ended => return ended,
        _ = signals.next() => talk::note(&format!("cancelling the task {id}; once more to leave at once")),
    }
    let cancelled = async {
        client.post(&["tasks", id, "cancel"]).await?;
        ended.await
    };
    tokio::select! {
        ended = cancelled => ended,
        asked = signals.next() => {
            talk::note(&format!("left the task {id} before its end"));
            Err(asked.failure())
        }
    }
}

/// Writes the output, and on standard error what the exit code alone does not say.
async fn finish(client: &Client, ended: &Value, format: Format) -> Result<u8> {
    let task: Task = read(ended)?;
    let Some(outcome) = &task.outcome else {
        return Err(Failure::internal(format!("the master does not say how the task {} ended", task.id)));
    };
    match format {
        Format::Json => talk::json(ended)?,
        Format::Table if task.attempts.is_empty() => {}
        Format::Table => {
            output::copy(client, &task.id, None, Stream::Stdout, Sink::Stdout).await?;
            output::copy(client, &task.id, None, Stream::Stderr, Sink::Stderr).await?;
        }
    }
    if !matches!(outcome, Outcome::Exited { .. }) {
        talk::note(&format!("the task {} {}", task.id, render::end(outcome)));
    }
    Ok(code_of(outcome))
}
