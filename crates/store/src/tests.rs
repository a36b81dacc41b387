//! The store against the scheduler, and against what can go wrong with a disk.

mod actions;
mod disk;
mod keys;
mod live;
mod model;
mod outputs;
mod paging;
mod places;
mod retries;

use std::future::Future;
use std::sync::Arc;

use sortie_engine::{
    Active, Admission, Again, Attempt, Command, Ended, Hello, Job, JobId, Labels, Link, Outcome, Record, Stage,
    Submission, Tally, TaskId, TaskSpec, Time, Tries, Worker, WorkerId, parse_labels,
};

use crate::{Batch, Writer};

/// Runs a future to its end, for tests that are no futures themselves.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

fn commit(writer: &Writer, records: Vec<Record>) {
    wait(writer.commit(Batch { records, outputs: Vec::new() })).expect("a commit");
}

fn labels(text: &str) -> Labels {
    parse_labels(text).expect("labels")
}

fn line() -> TaskSpec {
    TaskSpec::new(Command::Line("true".into()))
}

fn job(id: u64, submitted: u64, count: u32, spec: TaskSpec) -> Arc<Job> {
    let submission = Submission { spec, count, traceparent: None, key: None };
    Arc::new(Job { id: JobId(id), submitted: Time(submitted), submission })
}

fn keyed(id: u64, submitted: u64, key: &str) -> Record {
    let Job { id, submitted, submission } = Arc::unwrap_or_clone(job(id, submitted, 1, line()));
    Record::Submitted(Arc::new(Job { id, submitted, submission: Submission { key: Some(key.into()), ..submission } }))
}

fn worker(id: u32, name: &str, labels_text: &str) -> Worker {
    let hello = Hello {
        name: name.into(),
        instance: "i".into(),
        version: "v".into(),
        labels: labels(labels_text),
        slots: 1_000_000,
    };
    let link = Link::Gone { since: Time(1) };
    Worker { id: WorkerId(id), hello, incarnation: 1, admission: Admission::Open, link }
}

fn attempt(number: u32, worker: u32) -> Attempt {
    Attempt { number, worker: WorkerId(worker), incarnation: 7, assigned: Time(2) }
}

fn active(worker: u32, stage: Stage) -> Active {
    Active { attempt: attempt(1, worker), tries: Tries::default(), stage }
}

fn placed(task: TaskId, worker: u32) -> Record {
    Record::Placed(task, active(worker, Stage::Assigned))
}

/// Another attempt, after earlier ones that failed.
fn placed_again(task: TaskId, number: u32, worker: u32) -> Record {
    let tries = Tries { failed: number - 1, lost: 0 };
    Record::Placed(task, Active { attempt: attempt(number, worker), tries, stage: Stage::Assigned })
}

/// An attempt that failed; its exit code is its number.
fn failed(number: u32, worker: u32) -> Ended {
    let outcome = Outcome::Exited { code: number.cast_signed() };
    Ended { attempt: attempt(number, worker), started: Some(Time(3)), at: Time(4), outcome, usage: None }
}

fn again(number: u32) -> Again {
    Again { attempt: number, tries: Tries { failed: number, lost: 0 }, not_before: Time(5) }
}

fn retried(task: TaskId, number: u32, worker: u32) -> Record {
    Record::Retried(task, failed(number, worker), again(number))
}

fn counted(job: u64, tally: Tally, ended: Option<u64>) -> Record {
    Record::Counted { job: JobId(job), tally, ended: ended.map(Time) }
}
