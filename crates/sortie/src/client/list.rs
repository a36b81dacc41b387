//! The `list` command, and how pages follow each other.

use serde_json::Value;
use sortie_master::api::ListQuery;

use super::http::Client;
use super::read;
use crate::cli::{Format, ListArgs};
use crate::exit::{Failure, Result};
use crate::{render, talk};

/// The most that one page may have.
const PAGE: usize = 1000;

/// Lists tasks or jobs.
pub(super) async fn list(client: &Client, args: ListArgs, format: Format) -> Result<u8> {
    let kind = if args.jobs { "jobs" } else { "tasks" };
    let limit = if args.all { usize::MAX } else { args.limit.try_into().unwrap_or(usize::MAX) };
    let query = ListQuery {
        state: args.state,
        name: args.name,
        label: args.label,
        worker: args.worker,
        job: args.job,
        ..ListQuery::default()
    };
    let (items, more) = pages(client, kind, query, limit).await?;
    let items = Value::Array(items);
    match format {
        Format::Json => talk::json(&items)?,
        Format::Table if args.jobs => talk::line(&render::jobs(&read::<Vec<_>>(&items)?))?,
        Format::Table => talk::line(&render::tasks(&read::<Vec<_>>(&items)?))?,
    }
    if more && format == Format::Table {
        talk::note(&format!("these are the newest {limit}; there are more, see --limit and --all"));
    }
    Ok(0)
}

/// Follows pages until `limit` items are there; and whether there are more.
pub(super) async fn pages(
    client: &Client,
    kind: &str,
    mut query: ListQuery,
    limit: usize,
) -> Result<(Vec<Value>, bool)> {
    let mut items = Vec::new();
    loop {
        let size = (limit - items.len()).min(PAGE);
        query.limit = u32::try_from(size).ok();
        let page = client.get(&[kind], &query).await?;
        let listed = page.get(kind).and_then(Value::as_array);
        items.extend_from_slice(listed.ok_or_else(|| Failure::internal(format!("the master's page has no {kind}")))?);
        query.cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        if query.cursor.is_none() || items.len() >= limit {
            return Ok((items, query.cursor.is_some()));
        }
    }
}
