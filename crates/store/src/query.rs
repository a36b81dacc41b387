//! One `SELECT` with the conditions that a filter comes to.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use sortie_engine::{Selector, Time};

use crate::encode::ms;
use crate::error::Fault;
use crate::filter::{JobFilter, TaskFilter};

/// The conditions of a `SELECT`, all of which must hold.
#[derive(Debug, Default)]
pub(crate) struct Query {
    conditions: Vec<String>,
    values: Vec<Value>,
}

/// What a filter asks of a job itself; `j` is the table of jobs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfJob<'a> {
    pub(crate) name: Option<&'a str>,
    selector: &'a Selector,
    from: Option<Time>,
    until: Option<Time>,
}

impl Query {
    /// Adds a condition, with a value for each of its question marks.
    pub(crate) fn only(&mut self, condition: impl Into<String>, values: impl IntoIterator<Item = Value>) {
        self.conditions.push(condition.into());
        self.values.extend(values);
    }

    /// Adds the condition that `column` has one of `values`.
    pub(crate) fn one_of(&mut self, column: &str, values: impl ExactSizeIterator<Item = Value>) {
        let marks = vec!["?"; values.len()].join(", ");
        self.only(format!("{column} IN ({marks})"), values);
    }

    /// Adds the condition that a selector matches the labels in `column`.
    pub(crate) fn selected(&mut self, column: &str, selector: &Selector) {
        if !selector.is_empty() {
            self.only(format!("selected({column}, ?)"), [selector.to_string().into()]);
        }
    }

    /// The text of `select … WHERE … order LIMIT ?`.
    fn sql(&self, select: &str, order: &str) -> String {
        let conditions = match self.conditions.is_empty() {
            true => "TRUE".to_owned(),
            false => self.conditions.join(" AND "),
        };
        format!("{select} WHERE {conditions} ORDER BY {order} LIMIT ?")
    }

    /// The first `limit` rows in the given order.
    pub(crate) fn rows<T>(
        mut self,
        db: &Connection,
        select: &str,
        order: &str,
        limit: u32,
        decode: impl FnMut(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let mut statement = db.prepare_cached(&self.sql(select, order))?;
        self.values.push(i64::from(limit).into());
        statement.query_and_then(params_from_iter(self.values), decode)?.collect()
    }
}

#[cfg(test)]
impl Query {
    /// How SQLite would go about it, for tests of what a listing costs.
    pub(crate) fn plan(mut self, db: &Connection, select: &str, order: &str) -> String {
        let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {}", self.sql(select, order))).expect("a plan");
        self.values.push(1.into());
        let lines = explain.query_map(params_from_iter(self.values), |row| row.get::<_, String>(3)).expect("a plan");
        lines.collect::<Result<Vec<_>, _>>().expect("a plan").join("; ")
    }
}

impl OfJob<'_> {
    /// Whether every job is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.name.is_none() && self.selector.is_empty() && self.from.is_none() && self.until.is_none()
    }

    /// Adds the conditions to a query.
    pub(crate) fn add_to(&self, query: &mut Query) {
        if let Some(name) = self.name {
            query.only("j.name = ?", [name.to_owned().into()]);
        }
        if let Some(from) = self.from {
            query.only("j.submitted >= ?", [ms(from).into()]);
        }
        if let Some(until) = self.until {
            query.only("j.submitted < ?", [ms(until).into()]);
        }
        query.selected("j.labels", self.selector);
    }
}

impl<'a> From<&'a TaskFilter> for OfJob<'a> {
    fn from(filter: &'a TaskFilter) -> Self {
        OfJob {
            name: filter.name.as_deref(),
            selector: &filter.selector,
            from: filter.submitted_from,
            until: filter.submitted_until,
        }
    }
}

impl<'a> From<&'a JobFilter> for OfJob<'a> {
    fn from(filter: &'a JobFilter) -> Self {
        OfJob {
            name: filter.name.as_deref(),
            selector: &filter.selector,
            from: filter.submitted_from,
            until: filter.submitted_until,
        }
    }
}
