//! The store against the scheduler, and against what can go wrong with a disk.

mod disk;
mod live;
mod model;
mod paging;

use std::future::Future;
use std::sync::Arc;

use sortie_engine::{
    Active, Admission, Attempt, Draft, Hello, Job, JobId, Labels, Link, Record, Stage, Submission, Tally, TaskId, Time,
    Worker, WorkerId, parse_labels,
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

fn line() -> Draft {
    Draft { cmd: Some("true".into()), ..Draft::default() }
}

fn job(id: u64, submitted: u64, count: u32, draft: Draft) -> Arc<Job> {
    let submission = Submission { spec: draft.check().expect("a spec"), count, traceparent: None };
    Arc::new(Job { id: JobId(id), submitted: Time(submitted), submission })
}

fn worker(id: u32, name: &str, labels_text: &str) -> Worker {
    let hello = Hello {
        name: name.into(),
        instance: "i".into(),
        version: "v".into(),
        labels: labels(labels_text),
        slots: 1_000_000,
    };
    Worker { id: WorkerId(id), hello, admission: Admission::Open, link: Link::Gone { since: Time(1) } }
}

fn active(worker: u32, stage: Stage) -> Active {
    Active { attempt: Attempt { number: 1, worker: WorkerId(worker), assigned: Time(2) }, stage }
}

fn placed(task: TaskId, worker: u32) -> Record {
    Record::Placed(task, active(worker, Stage::Assigned))
}

fn counted(job: u64, tally: Tally, ended: Option<u64>) -> Record {
    Record::Counted { job: JobId(job), tally, ended: ended.map(Time) }
}
