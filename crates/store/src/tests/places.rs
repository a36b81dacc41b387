//! The five places where a task may stand: listed as one, counted as one.

use sortie_engine::{Counts, JobId, QueueOutcome, Record, StateName, Tally, TaskId, TaskSpec, Time};

use super::{commit, counted, failed, job, labels, line, placed, placed_again, retried, wait, worker};
use crate::{JobFilter, Reader, TaskFilter, Writer, open};

/// A job of twelve. Index by index: waits, waits again, held, ended, cancelled after an attempt, expired; and so on.
/// What is held has been tried before by another worker, in the second six.
fn fill(writer: &Writer) {
    let array = TaskSpec { name: Some("array".into()), labels: labels("team=x"), ..line() };
    let workers = [(1, "w1"), (2, "w2")].map(|(id, name)| Record::Worker(worker(id, name, "")));
    let mut records = workers.to_vec();
    records.extend([Record::Submitted(job(1, 10, 1, line())), Record::Submitted(job(2, 20, 12, array))]);
    records.push(Record::Submitted(job(3, 30, 1, line())));
    for first in [0, 6] {
        let task = |place: u32| JobId(2).task(first + place);
        let cancelled = QueueOutcome::Cancelled { by: "ann".into() };
        records.extend([
            placed(task(1), 1),
            retried(task(1), 1, 1),
            placed(task(2), 1),
            placed(task(3), 2),
            Record::Ended(task(3), failed(1, 2)),
            placed(task(4), 2),
            retried(task(4), 1, 2),
            Record::GivenUp { task: task(4), at: Time(5), outcome: cancelled },
            Record::EndedInQueue {
                job: JobId(2),
                range: first + 5..first + 6,
                at: Time(5),
                outcome: QueueOutcome::Expired,
            },
        ]);
    }
    let held = JobId(2).task(8);
    records.extend([retried(held, 1, 1), placed_again(held, 2, 2)]);
    records.push(counted(2, Tally { failed: 2, cancelled: 2, expired: 2, ..Tally::default() }, None));
    commit(writer, records);
    // Only waits again: no worker holds anything of it, and nothing of it has ended.
    commit(writer, vec![placed(JobId(3).task(0), 1), retried(JobId(3).task(0), 1, 1)]);
}

fn ids(job: u64, indices: &[u32]) -> Vec<TaskId> {
    indices.iter().map(|index| JobId(job).task(*index)).collect()
}

/// All pages of so many rows, one after the other.
fn pages(reader: &Reader, filter: &TaskFilter, limit: u32) -> Vec<TaskId> {
    let mut found: Vec<TaskId> = Vec::new();
    loop {
        let page = wait(reader.tasks(filter.clone(), found.last().copied(), limit)).expect("a page");
        found.extend(page.iter().map(|row| row.id));
        if page.is_empty() {
            return found;
        }
    }
}

#[test]
fn pages_go_through_all_places_in_one_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let (writer, reader, _) = open(dir.path()).expect("a store");
    fill(&writer);
    let all = TaskFilter::default;
    let states = |states: &[StateName]| TaskFilter { states: states.to_vec(), ..all() };
    let twelve: Vec<u32> = (0..12).rev().collect();
    let cases = [
        (all(), [ids(3, &[0]), ids(2, &twelve), ids(1, &[0])].concat()),
        (states(&[StateName::Queued]), [ids(3, &[0]), ids(2, &[7, 6, 1, 0]), ids(1, &[0])].concat()),
        (states(&[StateName::Assigned]), ids(2, &[8, 2])),
        (states(&[StateName::Queued, StateName::Expired]), {
            [ids(3, &[0]), ids(2, &[11, 7, 6, 5, 1, 0]), ids(1, &[0])].concat()
        }),
        (states(&[StateName::Cancelled, StateName::Failed]), ids(2, &[10, 9, 4, 3])),
        (TaskFilter { job: Some(JobId(2)), ..states(&[StateName::Queued]) }, ids(2, &[7, 6, 1, 0])),
        (TaskFilter { name: Some("array".into()), ..states(&[StateName::Queued]) }, ids(2, &[7, 6, 1, 0])),
        (TaskFilter { selector: "team".parse().expect("a selector"), ..all() }, ids(2, &twelve)),
        (TaskFilter { submitted_from: Some(Time(30)), ..all() }, ids(3, &[0])),
        // What a worker held before it waited again, or before another worker did, is not listed as its.
        (TaskFilter { worker: Some("w1".into()), ..all() }, ids(2, &[2])),
        (TaskFilter { worker: Some("w2".into()), ..all() }, ids(2, &[9, 8, 3])),
        (TaskFilter { worker: Some("w1".into()), ..states(&[StateName::Queued]) }, vec![]),
    ];
    for (filter, expected) in cases {
        for limit in 1..=5 {
            assert_eq!(pages(&reader, &filter, limit), expected, "{limit} of {filter:?}");
        }
    }
}

#[test]
fn what_waits_again_is_counted_as_queued() {
    let dir = tempfile::tempdir().expect("a directory");
    let (writer, reader, _) = open(dir.path()).expect("a store");
    fill(&writer);
    let counts = |job: u64| wait(reader.job(JobId(job))).expect("a read").expect("a job").counts;
    let ended = Tally { failed: 2, cancelled: 2, expired: 2, ..Tally::default() };
    assert_eq!(counts(2), Counts { queued: 4, assigned: 2, ended, ..Counts::default() });
    assert_eq!(counts(3), Counts { queued: 1, ..Counts::default() });
    let jobs = |state: StateName| {
        let filter = JobFilter { states: vec![state], ..JobFilter::default() };
        let rows = wait(reader.jobs(filter, None, 9)).expect("a page");
        rows.into_iter().map(|row| row.job.id.0).collect::<Vec<_>>()
    };
    assert_eq!((jobs(StateName::Queued), jobs(StateName::Running)), (vec![3, 1], vec![2]));
}

#[test]
fn attempts_are_told_of_in_every_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let (writer, reader, _) = open(dir.path()).expect("a store");
    fill(&writer);
    let expected: [(u32, &[&str]); 6] = [(6, &[]), (7, &["w1"]), (8, &["w1"]), (9, &[]), (10, &["w2"]), (11, &[])];
    for (index, workers) in expected {
        let row = wait(reader.task(JobId(2).task(index))).expect("a read").expect("a task");
        let found: Vec<&str> = row.attempts.iter().map(|past| past.worker.as_str()).collect();
        assert_eq!((row.tried as usize, &found[..]), (workers.len(), workers), "{index}");
    }
    let listed = wait(reader.tasks(TaskFilter::default(), Some(JobId(2).task(12)), 6)).expect("a page");
    let tried: Vec<u32> = listed.iter().map(|row| row.tried).collect();
    assert_eq!(tried, [0, 1, 0, 1, 1, 0]);
    let row = wait(reader.worker("w1")).expect("a read").expect("a worker");
    assert_eq!((row.running, row.used), (1, 1));
}
