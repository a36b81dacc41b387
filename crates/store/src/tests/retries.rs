//! Attempts that are followed by others: however their records fall into batches, the same is written.

use rusqlite::Connection;
use rusqlite::types::Value;
use sortie_engine::{
    Active, Ended, JobId, LostReason, Outcome, QueueOutcome, Record, Stage, Started, Tally, TaskId, TaskState, Time,
    Tries, Usage,
};

use super::{again, attempt, commit, counted, failed, job, line, placed, placed_again, retried, wait, worker};
use crate::load::load;
use crate::schema::{MIGRATIONS, migrate};
use crate::{Batch, TaskFilter, open, tasks};

const TABLES: [&str; 9] = ["jobs", "specs", "waiting", "again", "unplaced", "active", "ended", "attempts", "workers"];

/// The one in the middle of three: taking it leaves two ranges.
fn task() -> TaskId {
    JobId(1).task(1)
}

fn database() -> Connection {
    let mut db = Connection::open_in_memory().expect("a database");
    migrate(&mut db, 0, &MIGRATIONS).expect("the tables");
    db
}

fn write(db: &mut Connection, records: &[Record]) {
    let batch = Batch { records: records.to_vec(), outputs: Vec::new() };
    crate::commit::commit(db, batch).expect("a commit");
}

fn running(number: u32) -> Active {
    let tries = Tries { failed: number - 1, lost: 0 };
    Active { attempt: attempt(number, 1), tries, stage: Stage::Running { started: Time(3) } }
}

fn moved(number: u32) -> Record {
    Record::Moved(task(), running(number))
}

fn given_up() -> Record {
    Record::GivenUp { task: task(), at: Time(9), outcome: QueueOutcome::Cancelled { by: "ann".into() } }
}

/// Two attempts that came to nothing, the ways it may go on, and where each leaves the task.
fn stories() -> Vec<(Vec<Record>, TaskState)> {
    let begin = [
        Record::Worker(worker(1, "w", "")),
        Record::Submitted(job(1, 1, 3, line())),
        placed(task(), 1),
        retried(task(), 1, 1),
        placed_again(task(), 2, 1),
        retried(task(), 2, 1),
    ];
    let counted = |tally| counted(1, tally, None);
    let assigned = Active { stage: Stage::Assigned, ..running(3) };
    let unplaced = TaskState::EndedInQueue { at: Time(9), outcome: QueueOutcome::Cancelled { by: "ann".into() } };
    let ends = [
        (vec![], TaskState::Again(again(2))),
        (vec![placed_again(task(), 3, 1)], TaskState::Active(assigned)),
        (vec![placed_again(task(), 3, 1), moved(3)], TaskState::Active(running(3))),
        (
            vec![
                placed_again(task(), 3, 1),
                moved(3),
                Record::Ended(task(), failed(3, 1)),
                counted(Tally { failed: 1, ..Tally::default() }),
            ],
            TaskState::Ended(failed(3, 1)),
        ),
        (vec![given_up(), counted(Tally { cancelled: 1, ..Tally::default() })], unplaced),
    ];
    ends.into_iter().map(|(end, state)| ([&begin[..], &end].concat(), state)).collect()
}

/// The records in batches, cut behind each one whose bit is set.
fn batches(records: &[Record], cuts: u32) -> Vec<Vec<Record>> {
    let mut batches = vec![Vec::new()];
    for (i, record) in records.iter().enumerate() {
        batches.last_mut().expect("a batch").push(record.clone());
        if cuts >> i & 1 == 1 {
            batches.push(Vec::new());
        }
    }
    batches
}

/// Every row of every table.
fn dump(db: &Connection) -> Vec<(&'static str, Vec<Value>)> {
    let mut rows = Vec::new();
    for table in TABLES {
        let mut select = db.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2, 3")).expect("a select");
        let columns = select.column_count();
        let found = select.query_map([], |row| (0..columns).map(|column| row.get(column)).collect()).expect("rows");
        rows.extend(found.map(|row| (table, row.expect("a row"))));
    }
    rows
}

#[test]
fn any_cut_into_batches_writes_the_same() {
    for (records, state) in stories() {
        let mut first = None;
        for cuts in 0..1 << (records.len() - 1) {
            let mut db = database();
            for batch in batches(&records, cuts) {
                write(&mut db, &batch);
            }
            let row = tasks::one(&db, task()).expect("a read").expect("a task");
            assert_eq!(row.state, state, "cuts {cuts:b}");
            let past: Vec<(Ended, String)> = row.attempts.into_iter().map(|past| (past.ended, past.worker)).collect();
            assert_eq!(past, [(failed(1, 1), "w".into()), (failed(2, 1), "w".into())], "cuts {cuts:b}");
            let snapshot = load(&db).expect("a snapshot");
            let waiting: Vec<_> = snapshot.jobs[0].waiting.iter().collect();
            assert_eq!(waiting, [0..1, 2..3], "cuts {cuts:b}");
            let dump = dump(&db);
            assert_eq!(first.get_or_insert_with(|| dump.clone()), &dump, "cuts {cuts:b}");
        }
    }
}

#[test]
fn each_row_is_written_once_however_often_it_changed() {
    let mut db = database();
    let mut changes = |records: &[Record]| {
        let before = db.total_changes();
        write(&mut db, records);
        db.total_changes() - before
    };
    changes(&[Record::Worker(worker(1, "w", "")), Record::Submitted(job(1, 1, 1, line()))]);
    let task = JobId(1).task(0);
    let moved = |number| Record::Moved(task, running(number));
    // Out of `waiting`, an attempt, and into `again`.
    assert_eq!(changes(&[placed(task, 1), moved(1), retried(task, 1, 1)]), 3);
    // Two attempts, and one row of `again` for another.
    let twice = [placed_again(task, 2, 1), retried(task, 2, 1), placed_again(task, 3, 1), retried(task, 3, 1)];
    assert_eq!(changes(&twice), 4);
    // Out of `again` and into `active`.
    assert_eq!(changes(&[placed_again(task, 4, 1), moved(4)]), 2);
    assert_eq!(changes(&[moved(4), moved(4)]), 1);
    // An attempt, and one row of `active` for another.
    assert_eq!(changes(&[moved(4), retried(task, 4, 1), placed_again(task, 5, 1), moved(5)]), 3);
    // Out of `active`, an attempt, and into `ended`.
    let end = [retried(task, 5, 1), placed_again(task, 6, 1), Record::Ended(task, failed(6, 1))];
    assert_eq!(changes(&end), 3);
}

/// Every way in which an attempt can end and be followed by another one, with what it used.
#[test]
fn past_attempts_come_back_whole_and_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let (writer, reader, _) = open(dir.path()).expect("a store");
    let lost = |started, reason| Outcome::Lost { started, reason };
    let outcomes = [
        Outcome::Exited { code: -7 },
        Outcome::Signaled { signal: 9 },
        Outcome::OutOfMemory,
        Outcome::CouldNotStart { errno: 2, detail: "exec".into() },
        Outcome::TimedOut,
        lost(Started::No, LostReason::OrderLost),
        lost(Started::Yes, LostReason::WorkerDied),
        lost(Started::Yes, LostReason::LeaseEnded),
        lost(Started::Unknown, LostReason::WorkerStopped),
        lost(Started::Unknown, LostReason::Overdue),
        Outcome::Exited { code: 1 },
        Outcome::Exited { code: 2 },
    ];
    let usage = |number: u32| Usage {
        cpu: std::time::Duration::from_micros(u64::from(number) + (1 << 40)),
        max_rss: u64::MAX - u64::from(number),
        killed: number,
    };
    let attempts: Vec<Ended> = (1u32..)
        .zip(outcomes)
        .map(|(number, outcome)| Ended {
            attempt: attempt(number, 1 + number % 2),
            started: (number % 3 > 0).then_some(Time(3)),
            at: Time(u64::from(number)),
            outcome,
            usage: (number % 4 > 0).then(|| usage(number)),
        })
        .collect();
    let workers = [(1, "w1"), (2, "w2")].map(|(id, name)| Record::Worker(worker(id, name, "")));
    commit(&writer, [&workers[..], &[Record::Submitted(job(1, 1, 3, line())), placed(task(), 2)]].concat());
    for ended in &attempts {
        let number = ended.attempt.number;
        let records = vec![Record::Retried(task(), ended.clone(), again(number)), placed_again(task(), number + 1, 1)];
        commit(&writer, records);
    }
    let row = wait(reader.task(task())).expect("a read").expect("a task");
    let expected = attempts.iter().map(|ended| (ended.clone(), ["w1", "w2"][ended.attempt.number as usize % 2]));
    let found = row.attempts.iter().map(|past| (past.ended.clone(), past.worker.as_str()));
    assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    assert_eq!((row.worker.as_deref(), row.tried), (Some("w1"), 12));

    let listed = wait(reader.tasks(TaskFilter::default(), None, 9)).expect("a page");
    let tried: Vec<_> = listed.iter().map(|row| (row.id.index, row.tried, row.attempts.len())).collect();
    assert_eq!(tried, [(2, 0, 0), (1, 12, 0), (0, 0, 0)]);
    let untried = wait(reader.task(JobId(1).task(0))).expect("a read").expect("a task");
    assert_eq!((untried.tried, untried.attempts), (0, vec![]));
}
