//! Locks, foreign and damaged files, a full disk, a crash, and records that cannot be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;
use sortie_engine::{Active, JobId, QueueOutcome, Record, Stage, TaskSpec, Time};

use super::{active, attempt, commit, failed, job, line, placed, placed_again, retried, wait, worker};
use crate::open::own;
use crate::schema::{APPLICATION_ID, migrate};
use crate::{Batch, CommitError, OpenError, TaskFilter, Writer, open};

fn failure(dir: &Path) -> OpenError {
    open(dir).expect_err("an error")
}

fn database(dir: &Path) -> std::path::PathBuf {
    dir.join("sortie.db")
}

/// A closed store with a few hundred jobs, which are some dozens of pages.
fn filled(dir: &Path) {
    let (writer, _, _) = open(dir).expect("a store");
    let jobs = (1..400).map(|id| Record::Submitted(job(id, id, 3, line())));
    commit(&writer, jobs.collect());
    wait(writer.close()).expect("a close");
}

#[test]
fn one_master_has_a_directory_to_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path().join("data");
    let (writer, _reader, _) = open(&dir).expect("a store");
    assert_eq!(fs::metadata(&dir).expect("a directory").permissions().mode() & 0o777, 0o700);
    assert!(matches!(failure(&dir), OpenError::Locked(at) if at == dir));
    wait(writer.close()).expect("a close");
    drop(open(&dir).expect("a store"));
    open(&dir).expect("a store, because the dropped one is gone");
}

#[test]
fn a_newer_format_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    filled(dir.path());
    let db = Connection::open(database(dir.path())).expect("a database");
    db.pragma_update(None, "user_version", 77).expect("a version");
    drop(db);
    assert!(matches!(failure(dir.path()), OpenError::Newer { found: 77, known: 1 }));
}

#[test]
fn another_programs_database_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = Connection::open(database(dir.path())).expect("a database");
    db.execute_batch("CREATE TABLE jobs (id INTEGER)").expect("a table");
    drop(db);
    let before = fs::read(database(dir.path())).expect("a file");
    assert!(matches!(failure(dir.path()), OpenError::Foreign(_)));
    assert_eq!(fs::read(database(dir.path())).expect("a file"), before);
}

#[test]
fn damage_is_told() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 4] = [
        ("no database", |file| *file = b"this was never a database, only some text\n".repeat(100)),
        ("truncated", |file| file.truncate(file.len() / 2)),
        ("garbage after the schema", |file| file[4096..].fill(0xa5)),
        ("an emptied header", |file| file[..100].fill(0)),
    ];
    for (what, damage) in damages {
        let dir = tempfile::tempdir().expect("a directory");
        filled(dir.path());
        let mut file = fs::read(database(dir.path())).expect("a file");
        damage(&mut file);
        fs::write(database(dir.path()), file).expect("a file");
        let error = failure(dir.path());
        assert!(matches!(error, OpenError::Damaged(_)), "{what}: {error}");
    }
}

#[test]
fn rows_that_cannot_be_are_damage() {
    let changes = [
        "UPDATE jobs SET labels = 'x' WHERE id = 7",
        "UPDATE specs SET spec = '{}' WHERE job = 7",
        "UPDATE waiting SET end = 1 WHERE job = 7",
        "DELETE FROM waiting WHERE job = 7",
        "UPDATE jobs SET ended = 1 WHERE id = 7",
        "INSERT INTO active VALUES (7, 0, 1, 1, 1, 1, 0, 0, 9, NULL, NULL, NULL, NULL)",
        "INSERT INTO active VALUES (7, 0, 1, 1, 1, 1, 0, 0, 0, NULL, NULL, NULL, NULL)",
        "INSERT INTO again VALUES (7, 0, 1, 1, 0, -1)",
        "INSERT INTO again VALUES (7, 0, 1, 1, 0, 5)",
        "INSERT INTO again VALUES (777, 0, 1, 1, 0, 5)",
        "INSERT INTO workers VALUES (1, 'w', 'i', 'v', '{}', 1, 1, 0, 'connected', NULL, 1, NULL)",
    ];
    for change in changes {
        let dir = tempfile::tempdir().expect("a directory");
        filled(dir.path());
        let db = Connection::open(database(dir.path())).expect("a database");
        db.execute_batch(change).expect("a change");
        drop(db);
        assert!(matches!(failure(dir.path()), OpenError::Damaged(_)), "{change}");
    }
}

#[test]
fn a_migration_happens_wholly_or_not_at_all() {
    let mut db = Connection::open_in_memory().expect("a database");
    let version = |db: &Connection| db.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    let broken = ["CREATE TABLE a (x)", "CREATE TABLE b (x); CREATE TABLE a (x)"];
    migrate(&mut db, 0, &broken).expect_err("a table twice");
    assert_eq!(version(&db), Ok(1));
    migrate(&mut db, 1, &["", "CREATE TABLE b (x)"]).expect("nothing of the failed one is left");
    assert_eq!(version(&db), Ok(2));
    assert_eq!(db.pragma_query_value(None, "application_id", |row| row.get(0)), Ok(APPLICATION_ID));
}

#[test]
fn nothing_of_a_batch_is_seen_that_met_a_full_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let owned = own(dir.path()).expect("a directory");
    let pages: i64 = owned.db.pragma_query_value(None, "page_count", |row| row.get(0)).expect("pages");
    owned.db.pragma_update(None, "max_page_count", pages + 8).expect("a limit");
    let writer = Writer::start(owned).expect("a writer");
    commit(&writer, vec![Record::Submitted(job(1, 1, 1, line()))]);
    let large = TaskSpec { stdin: Some("x".repeat(100_000)), ..line() };
    let records = vec![Record::Submitted(job(2, 2, 1, line())), Record::Submitted(job(3, 3, 1, large))];
    let full = wait(writer.commit(Batch { records, outputs: vec![] }));
    assert_eq!(full, Err(CommitError::Full));
    assert_eq!(wait(writer.commit(Batch::default())), Err(CommitError::Closed));
    drop(writer);
    let (_writer, reader, snapshot) = open(dir.path()).expect("a store");
    assert_eq!((snapshot.next_job, snapshot.jobs.len()), (JobId(2), 1));
    assert_eq!(wait(reader.tasks(TaskFilter::default(), None, 9)).expect("a page").len(), 1);
}

#[test]
fn a_batch_that_contradicts_the_store_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (writer, _, _) = open(dir.path()).expect("a store");
    commit(&writer, vec![Record::Worker(worker(1, "w", "")), Record::Submitted(job(1, 1, 2, line()))]);
    commit(&writer, vec![placed(JobId(1).task(0), 1)]);
    let again = wait(writer.commit(Batch { records: vec![placed(JobId(1).task(0), 1)], outputs: vec![] }));
    assert!(matches!(again, Err(CommitError::Damaged(_))), "{again:?}");
}

/// Each comes in a batch of its own, to a task that a worker holds and to one that has never been held.
#[test]
fn a_task_leaves_only_where_it_stands() {
    let (held, waits) = (JobId(1).task(0), JobId(1).task(1));
    let given_up = |task| Record::GivenUp { task, at: Time(9), outcome: QueueOutcome::Expired };
    let contradictions = [
        placed_again(held, 2, 1),
        placed_again(waits, 2, 1),
        given_up(held),
        given_up(waits),
        retried(waits, 1, 1),
        Record::Ended(waits, failed(1, 1)),
        Record::Moved(held, Active { attempt: attempt(2, 1), ..active(1, Stage::Assigned) }),
    ];
    for record in contradictions {
        let dir = tempfile::tempdir().expect("a directory");
        let (writer, _, _) = open(dir.path()).expect("a store");
        commit(&writer, vec![Record::Worker(worker(1, "w", "")), Record::Submitted(job(1, 1, 2, line()))]);
        commit(&writer, vec![placed(held, 1)]);
        let refused = wait(writer.commit(Batch { records: vec![record.clone()], outputs: vec![] }));
        assert!(matches!(refused, Err(CommitError::Damaged(_))), "{record:?}: {refused:?}");
    }
}

/// The files are copied as a power cut would leave them: with the log, and with nothing tidied up.
#[test]
fn a_crash_leaves_the_last_commit() {
    let dir = tempfile::tempdir().expect("a directory");
    let (writer, _, _) = open(dir.path()).expect("a store");
    for id in 1..=5 {
        commit(&writer, vec![Record::Submitted(job(id, id, 1, line()))]);
    }
    let crashed = tempfile::tempdir().expect("a directory");
    for name in ["sortie.db", "sortie.db-wal"] {
        fs::copy(dir.path().join(name), crashed.path().join(name)).expect("a copy");
    }
    let log = fs::read(crashed.path().join("sortie.db-wal")).expect("a log");
    let (_writer, _, snapshot) = open(crashed.path()).expect("a store");
    assert_eq!((snapshot.next_job, snapshot.jobs.len()), (JobId(6), 5));

    let torn = tempfile::tempdir().expect("a directory");
    fs::copy(database(dir.path()), database(torn.path())).expect("a copy");
    fs::write(torn.path().join("sortie.db-wal"), &log[..log.len() - 100]).expect("a torn log");
    let (_writer, _, snapshot) = open(torn.path()).expect("a store");
    assert_eq!((snapshot.next_job, snapshot.jobs.len()), (JobId(5), 4));
}

#[test]
fn a_job_that_is_deleted_does_not_lend_its_id() {
    let dir = tempfile::tempdir().expect("a directory");
    filled(dir.path());
    let db = Connection::open(database(dir.path())).expect("a database");
    db.execute_batch("DELETE FROM jobs WHERE id > 10; DELETE FROM waiting WHERE job > 10").expect("a change");
    drop(db);
    let (_writer, _, snapshot) = open(dir.path()).expect("a store");
    assert_eq!((snapshot.next_job, snapshot.jobs.len()), (JobId(400), 10));
}
