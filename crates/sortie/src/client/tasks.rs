//! The commands on tasks and jobs that only look at them: `status`, `why`.

use serde_json::Value;
use sortie_master::api::Job;

use super::http::{Client, NO_QUERY};
use super::read;
use super::wait::Target;
use crate::cli::Format;
use crate::exit::Result;
use crate::{render, talk};

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
pub(super) async fn resolved(client: &Client, target: Target, answer: Value) -> Result<(Target, Value)> {
    let task = match &target {
        Target::Job(id) if read::<Job>(&answer)?.count == 1 => Target::Task(one(id)),
        Target::Job(_) | Target::Task(_) => return Ok((target, answer)),
    };
    let answer = client.get(&task.path(), &NO_QUERY).await?;
    Ok((task, answer))
}

/// The id of the task that `id` stands for where a task is meant.
pub(super) fn one(id: &str) -> String {
    if id.contains('.') { id.to_owned() } else { format!("{id}.0") }
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
