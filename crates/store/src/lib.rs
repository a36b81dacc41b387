//! What Sortie remembers: jobs, tasks, outputs and workers, in one SQLite database.
//!
//! [`open`] takes a directory for one master and gives back the [`Writer`], through which the driver makes its
//! records durable a [`Batch`] at a time, the [`Reader`], which answers clients from connections of its own, and
//! the scheduler's state as the last commit left it. What is written is what the scheduler's records say, as the
//! new state of what changed, so that loading needs no history and no replay.
//!
//! A task stands in exactly one of five tables, as its state is one of five: `waiting` and `unplaced` hold ranges
//! of indices, so that an array of a million is one row; `again`, `active` and `ended` hold a row for each task that
//! a worker was given. A listing merges the five and reads no more of each than a page. What came of a task's earlier
//! attempts stands beside them, in `attempts`.

mod error;
mod schema;
mod open;
mod writer;
mod fold;
mod places;
mod commit;
mod spec;
mod encode;
mod load;
mod keys;
mod reader;
mod filter;
mod query;
mod tasks;
mod attempts;
mod jobs;
mod workers;
mod outputs;
#[cfg(test)]
mod tests;

pub use attempts::AttemptRow;
pub use error::{CommitError, OpenError, ReadError};
pub use filter::{JobFilter, MAX_PAGE, TaskFilter, WorkerFilter};
pub use fold::Batch;
pub use jobs::JobRow;
pub use keys::KEY_LIFETIME;
pub use open::open;
pub use reader::Reader;
pub use tasks::TaskRow;
pub use workers::WorkerRow;
pub use writer::Writer;
