//! The parameters of lists.

use std::time::UNIX_EPOCH;

use sortie_engine::{JobId, Selector, StateName, TaskId, Time};
use sortie_store::{JobFilter, TaskFilter};
use sortie_wire::draft::FieldError;

use super::problem::Rejection;
use crate::api::ListQuery;
use crate::service::checked_limit;

/// A filter, a limit, and where to go on.
pub(super) type Listing<F, C> = (F, u32, Option<C>);

/// Reads the parameters of a list of tasks.
pub(super) fn tasks(query: ListQuery) -> Result<Listing<TaskFilter, TaskId>, Rejection> {
    let mut errors = Vec::new();
    let filter = TaskFilter {
        job: parse("/job", query.job.as_deref(), &mut errors),
        states: states(query.state.as_deref(), &mut errors),
        worker: query.worker,
        name: query.name,
        selector: selector(query.label.as_deref(), &mut errors),
        submitted_from: time("/submitted_from", query.submitted_from.as_deref(), &mut errors),
        submitted_until: time("/submitted_until", query.submitted_until.as_deref(), &mut errors),
    };
    let cursor = parse("/cursor", query.cursor.as_deref(), &mut errors);
    finish(filter, query.limit, cursor, errors)
}

/// Reads the parameters of a list of jobs.
pub(super) fn jobs(query: ListQuery) -> Result<Listing<JobFilter, JobId>, Rejection> {
    let mut errors = Vec::new();
    for (pointer, given) in [("/job", query.job.is_some()), ("/worker", query.worker.is_some())] {
        if given {
            errors.push(FieldError::new(pointer, "chooses among tasks; ask /v1/tasks"));
        }
    }
    let filter = JobFilter {
        states: states(query.state.as_deref(), &mut errors),
        name: query.name,
        selector: selector(query.label.as_deref(), &mut errors),
        submitted_from: time("/submitted_from", query.submitted_from.as_deref(), &mut errors),
        submitted_until: time("/submitted_until", query.submitted_until.as_deref(), &mut errors),
    };
    let cursor = parse("/cursor", query.cursor.as_deref(), &mut errors);
    finish(filter, query.limit, cursor, errors)
}

fn finish<F, C>(
    filter: F,
    limit: Option<u32>,
    cursor: Option<C>,
    mut errors: Vec<FieldError>,
) -> Result<Listing<F, C>, Rejection> {
    match checked_limit(limit) {
        Ok(limit) if errors.is_empty() => Ok((filter, limit, cursor)),
        checked => {
            errors.extend(checked.err());
            Err(Rejection::invalid(errors))
        }
    }
}

fn parse<T: std::str::FromStr>(pointer: &str, text: Option<&str>, errors: &mut Vec<FieldError>) -> Option<T>
where
    T::Err: std::fmt::Display,
{
    text.map(str::parse).transpose().unwrap_or_else(|error: T::Err| {
        errors.push(FieldError::new(pointer, error.to_string()));
        None
    })
}

fn selector(text: Option<&str>, errors: &mut Vec<FieldError>) -> Selector {
    parse("/label", text, errors).unwrap_or_default()
}

fn states(text: Option<&str>, errors: &mut Vec<FieldError>) -> Vec<StateName> {
    let names = text.into_iter().flat_map(|text| text.split(',')).map(str::trim);
    names
        .filter_map(|name| {
            let state = StateName::parse(name);
            if state.is_none() {
                let known = StateName::ALL.map(StateName::as_str).join(", ");
                errors.push(FieldError::new("/state", format!("`{name}` is not a state; the states are {known}")));
            }
            state
        })
        .collect()
}

fn time(pointer: &str, text: Option<&str>, errors: &mut Vec<FieldError>) -> Option<Time> {
    let parsed = text.map(humantime::parse_rfc3339_weak).transpose().unwrap_or_else(|error| {
        errors.push(FieldError::new(pointer, format!("is not a time such as 2026-01-31T12:00:00Z: {error}")));
        None
    })?;
    Some(Time::default() + parsed.duration_since(UNIX_EPOCH).unwrap_or_default())
}
