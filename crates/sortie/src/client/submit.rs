//! The `submit` command: the id, alone on standard output.

use serde_json::Value;
use sortie_master::api::Spec;

use super::http::Client;
use super::wait::{self, Target};
use super::{read, spec};
use crate::cli::{Format, SubmitArgs};
use crate::exit::{Failure, Result};
use crate::talk;

/// Submits a task or a job; with `--wait` the exit code of its end.
pub(super) async fn submit(client: &Client, args: SubmitArgs, format: Format) -> Result<u8> {
    let spec = spec::read(args.spec)?;
    let (accepted, key) = match args.count {
        None => (task(client, &spec).await?, "job"),
        Some(count) => (job(client, &spec, count).await?, "id"),
    };
    // A job's id is short, and stands for its task if it has only one.
    let id: String = read(accepted.get(key).unwrap_or(&Value::Null))?;
    match format {
        Format::Json => talk::json(&accepted)?,
        Format::Table => talk::line(&id)?,
    }
    if !args.wait {
        return Ok(0);
    }
    let target = Target::Job(id);
    let ended = wait::ended(client, &target).await?;
    wait::code(client, &target, &ended).await
}

/// Submits one task; the master's answer.
pub(super) async fn task(client: &Client, spec: &Spec) -> Result<Value> {
    client.post(&["tasks"], Some(&body(spec)?)).await
}

async fn job(client: &Client, spec: &Spec, count: u32) -> Result<Value> {
    let mut body = body(spec)?;
    body["count"] = count.into();
    client.post(&["jobs"], Some(&body)).await
}

fn body(spec: &Spec) -> Result<Value> {
    serde_json::to_value(spec).map_err(|error| Failure::internal(error.to_string()))
}
