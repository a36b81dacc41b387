//! The commands on workers: `workers`, `drain`.

use serde_json::Value;
use sortie_master::api::{ListQuery, Worker};

use super::http::Client;
use super::list::pages;
use super::read;
use crate::cli::{DrainArgs, Format};
use crate::exit::Result;
use crate::{render, talk};

/// Lists all workers.
pub(super) async fn list(client: &Client, format: Format) -> Result<u8> {
    let (workers, _) = pages(client, "workers", ListQuery::default(), usize::MAX).await?;
    let workers = Value::Array(workers);
    match format {
        Format::Json => talk::json(&workers)?,
        Format::Table => talk::line(&render::workers(&read::<Vec<_>>(&workers)?))?,
    }
    Ok(0)
}

/// Drains a worker, or undoes that.
pub(super) async fn drain(client: &Client, args: &DrainArgs, format: Format) -> Result<u8> {
    let verb = if args.undo { "undrain" } else { "drain" };
    let answer = client.post(&["workers", &args.name, verb]).await?;
    match format {
        Format::Json => talk::json(&answer)?,
        Format::Table => talk::line(&sentence(&read(&answer)?))?,
    }
    Ok(0)
}

fn sentence(worker: &Worker) -> String {
    match (worker.draining, worker.tasks) {
        (false, _) => format!("{} takes tasks", worker.name),
        (true, 0) => format!("{} is drained: it takes no new tasks and holds none", worker.name),
        (true, tasks) => format!("{} takes no new tasks and finishes the {tasks} that it holds", worker.name),
    }
}
