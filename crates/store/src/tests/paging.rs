//! Arrays of a million, and the order of pages.

use std::time::{Duration, Instant};

use sortie_engine::{JobId, QueueOutcome, Record, Stage, StateName, Tally, TaskId, TaskSpec, Time};

use super::{active, commit, counted, job, line, placed, wait, worker};
use crate::{JobFilter, Reader, TaskFilter, open};

const MILLION: u32 = 1_000_000;
/// Far more than a page takes and far less than walking a million tasks does.
const QUICK: Duration = Duration::from_millis(100);

fn page(reader: &Reader, filter: TaskFilter, after: Option<TaskId>, limit: u32) -> Vec<TaskId> {
    let begun = Instant::now();
    let rows = wait(reader.tasks(filter.clone(), after, limit)).expect("a page");
    assert!(begun.elapsed() < QUICK, "{filter:?} after {after:?} took {:?}", begun.elapsed());
    rows.into_iter().map(|row| row.id).collect()
}

fn ids(job: u64, indices: impl IntoIterator<Item = u32>) -> Vec<TaskId> {
    indices.into_iter().map(|index| JobId(job).task(index)).collect()
}

#[test]
fn a_million_waiting_tasks_are_paged_as_one_row() {
    let dir = tempfile::tempdir().expect("a directory");
    let (writer, reader, _) = open(dir.path()).expect("a store");
    let big = job(1, 10, MILLION, TaskSpec { name: Some("big".into()), ..line() });
    let small = job(2, 20, 2, line());
    let first = JobId(1).task(0);
    let running = Record::Moved(first, active(1, Stage::Running { started: Time(3) }));
    let by = || QueueOutcome::Cancelled { by: "ann".into() };
    let cancelled = Record::EndedInQueue { job: JobId(1), range: 500_000..500_002, at: Time(4), outcome: by() };
    let tally = Tally { cancelled: 2, ..Tally::default() };
    commit(&writer, vec![Record::Worker(worker(1, "w", "")), Record::Submitted(big), Record::Submitted(small)]);
    commit(&writer, vec![placed(first, 1), running, cancelled, counted(1, tally, None)]);

    let all = TaskFilter::default;
    assert_eq!(page(&reader, all(), None, 4), [ids(2, [1, 0]), ids(1, [999_999, 999_998])].concat());
    assert_eq!(page(&reader, all(), Some(JobId(2).task(0)), 2), ids(1, [999_999, 999_998]));
    assert_eq!(page(&reader, all(), Some(JobId(1).task(700_000)), 3), ids(1, [699_999, 699_998, 699_997]));
    assert_eq!(page(&reader, all(), Some(JobId(1).task(500_003)), 4), ids(1, [500_002, 500_001, 500_000, 499_999]));
    assert_eq!(page(&reader, all(), Some(JobId(1).task(2)), 9), ids(1, [1, 0]));
    assert_eq!(page(&reader, all(), Some(first), 9), []);

    let states = |states: &[StateName]| TaskFilter { states: states.to_vec(), ..all() };
    let queued = states(&[StateName::Queued]);
    assert_eq!(page(&reader, queued, Some(JobId(1).task(500_003)), 2), ids(1, [500_002, 499_999]));
    assert_eq!(page(&reader, states(&[StateName::Running]), None, 9), [first]);
    assert_eq!(page(&reader, states(&[StateName::Assigned]), None, 9), []);
    let held_or_cancelled = states(&[StateName::Cancelled, StateName::Running]);
    assert_eq!(page(&reader, held_or_cancelled, None, 9), ids(1, [500_001, 500_000, 0]));
    assert_eq!(page(&reader, TaskFilter { worker: Some("w".into()), ..all() }, None, 9), [first]);
    let named = TaskFilter { name: Some("big".into()), ..all() };
    assert_eq!(page(&reader, named, Some(JobId(1).task(5)), 2), ids(1, [4, 3]));
    assert_eq!(page(&reader, TaskFilter { submitted_from: Some(Time(11)), ..all() }, None, 9), ids(2, [1, 0]));
    let earlier = TaskFilter { submitted_until: Some(Time(20)), ..all() };
    assert_eq!(page(&reader, earlier, None, 1), ids(1, [999_999]));

    let counts = wait(reader.job(JobId(1))).expect("a read").expect("a job").counts;
    assert_eq!((counts.queued, counts.running, counts.ended), (MILLION - 3, 1, tally));
}

#[test]
fn a_page_has_no_more_rows_than_there_may_be() {
    let dir = tempfile::tempdir().expect("a directory");
    let (writer, reader, _) = open(dir.path()).expect("a store");
    commit(&writer, vec![Record::Submitted(job(1, 1, MILLION, line()))]);
    assert_eq!(page(&reader, TaskFilter::default(), None, u32::MAX).len(), crate::MAX_PAGE as usize);
    assert_eq!(page(&reader, TaskFilter::default(), None, 0), []);
}

#[test]
fn labels_are_matched_by_the_jobs_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let (writer, reader, _) = open(dir.path()).expect("a store");
    let labelled = |text: &str| TaskSpec { labels: super::labels(text), ..line() };
    let texts = ["team=x,tier=1", "team=y", "", "team=x"];
    let jobs = (1u64..).zip(texts).map(|(id, text)| Record::Submitted(job(id, id, 2, labelled(text))));
    commit(&writer, jobs.collect());
    for (selector, expected) in [("team=x", vec![4, 1]), ("team", vec![4, 2, 1]), ("!tier", vec![4, 3, 2])] {
        let filter = JobFilter { selector: selector.parse().expect("a selector"), ..JobFilter::default() };
        let rows = wait(reader.jobs(filter.clone(), None, 9)).expect("a page");
        assert_eq!(rows.iter().map(|row| row.job.id.0).collect::<Vec<_>>(), expected);
        let filter = TaskFilter { selector: filter.selector, ..TaskFilter::default() };
        let tasks: Vec<TaskId> = expected.into_iter().flat_map(|job| ids(job, [1, 0])).collect();
        assert_eq!(page(&reader, filter, None, 9), tasks);
    }
}
