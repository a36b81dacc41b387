//! Idempotency keys: known for as long as they live, and no longer.

use std::time::Duration;

use sortie_engine::{Job, JobId, Record, Time};

use super::{commit, counted, keyed, wait};
use crate::{KEY_LIFETIME, Writer, open};

const BEGUN: Time = Time(1_000);

/// The jobs that the keys stand for.
fn known(writer: &Writer, keys: &[&str], now: Time) -> Vec<(String, u64)> {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    let known = wait(writer.known(keys, now)).expect("known keys");
    known.into_iter().map(|(key, job)| (key, job.id.0)).collect()
}

fn pair(key: &str, job: u64) -> (String, u64) {
    (key.to_owned(), job)
}

fn job_of(record: &Record) -> &Job {
    let Record::Submitted(job) = record else { panic!("{record:?} is no submission") };
    job
}

#[test]
fn a_key_is_known_with_its_whole_job_once_it_is_committed() {
    let dir = tempfile::tempdir().expect("a directory");
    let (writer, _, _) = open(dir.path()).expect("a store");
    assert_eq!(known(&writer, &["a", "b"], BEGUN), []);
    let submitted = keyed(1, BEGUN.0, "a");
    commit(&writer, vec![submitted.clone(), Record::Submitted(super::job(2, BEGUN.0, 1, super::line()))]);
    assert_eq!(known(&writer, &["a", "b", "A", "", "a "], BEGUN), [pair("a", 1)]);
    assert_eq!(known(&writer, &[], BEGUN), []);
    let found = wait(writer.known(vec!["a".into()], BEGUN)).expect("known keys");
    assert_eq!(*found["a"], *job_of(&submitted));
    commit(&writer, vec![keyed(3, BEGUN.0, "b"), keyed(4, BEGUN.0, "c")]);
    assert_eq!(known(&writer, &["c", "x", "b", "a"], BEGUN), [pair("a", 1), pair("b", 3), pair("c", 4)]);
}

#[test]
fn a_key_lives_for_a_day_whatever_becomes_of_its_job() {
    let dir = tempfile::tempdir().expect("a directory");
    let (writer, _, _) = open(dir.path()).expect("a store");
    let ended = sortie_engine::Tally { succeeded: 1, ..Default::default() };
    commit(&writer, vec![keyed(1, BEGUN.0, "a"), counted(1, ended, Some(BEGUN.0))]);
    let end = BEGUN + KEY_LIFETIME;
    assert_eq!(KEY_LIFETIME, Duration::from_secs(24 * 3600));
    assert_eq!(known(&writer, &["a"], Time(end.0 - 1)), [pair("a", 1)]);
    assert_eq!(known(&writer, &["a"], end), []);
    // A clock that a restart has set back makes no key unknown.
    assert_eq!(known(&writer, &["a"], Time(BEGUN.0 - 1)), [pair("a", 1)]);
}

#[test]
fn an_expired_key_may_be_used_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let (writer, reader, _) = open(dir.path()).expect("a store");
    let end = BEGUN + KEY_LIFETIME;
    commit(&writer, vec![keyed(1, BEGUN.0, "a"), keyed(2, BEGUN.0 + 1, "b")]);
    commit(&writer, vec![keyed(3, end.0, "a")]);
    assert_eq!(known(&writer, &["a", "b"], end), [pair("a", 3), pair("b", 2)]);
    assert_eq!(known(&writer, &["a", "b"], Time(end.0 + 1)), [pair("a", 3)]);
    // The first job keeps what it was submitted with.
    let first = wait(reader.job(JobId(1))).expect("a read").expect("a job");
    assert_eq!(first.job.submission.key.as_deref(), Some("a"));
}

#[test]
fn keys_outlive_the_process() {
    let dir = tempfile::tempdir().expect("a directory");
    let (writer, _, _) = open(dir.path()).expect("a store");
    let submitted = keyed(1, BEGUN.0, "a");
    commit(&writer, vec![submitted.clone()]);
    wait(writer.close()).expect("a close");
    let (writer, _, snapshot) = open(dir.path()).expect("a store");
    assert_eq!(known(&writer, &["a"], BEGUN), [pair("a", 1)]);
    assert_eq!(*snapshot.jobs[0].job, *job_of(&submitted));
}
