//! What is written is read again, whatever becomes of the file's end.

use sortie_engine::{Captured, End, JobId, Output, Report};
use sortie_wire::node::report_to_pb;
use tempfile::TempDir;

use super::*;

fn dir() -> TempDir {
    TempDir::new().expect("a directory")
}

fn open(dir: &TempDir) -> (Journal, Legacy) {
    Journal::open(dir.path()).expect("a journal")
}

fn file(dir: &TempDir) -> PathBuf {
    dir.path().join("journal")
}

fn size(dir: &TempDir) -> u64 {
    fs::metadata(file(dir)).expect("a file").len()
}

fn attempt(number: u32) -> AttemptId {
    JobId(42).task(17).attempt(number)
}

fn report(number: u32, text: &[u8]) -> pb::Report {
    let stdout = Captured { bytes: text.to_vec(), dropped: 1 };
    let output = Output { stdout, ..Output::default() };
    report_to_pb(Report::Ended(attempt(number), End::Exited(3), None), output)
}

/// So many of them are as much as is kept at least before the file is compacted.
fn piece(of: u64) -> usize {
    usize::try_from(COMPACT_BYTES / of).expect("a size")
}

fn begin(journal: &mut Journal, number: u32) {
    journal.begin(attempt(number)).expect("a record");
}

#[test]
fn what_was_begun_and_what_has_ended_is_read_again() {
    let dir = dir();
    let (mut journal, legacy) = open(&dir);
    assert!(legacy.is_empty());
    for number in 1..=3 {
        begin(&mut journal, number);
    }
    journal.end(attempt(2), &report(2, b"out"));
    journal.end(attempt(3), &report(3, b""));
    journal.forget(attempt(3));
    begin(&mut journal, 4);
    drop(journal);
    let expected = [(attempt(1), Past::Begun), (attempt(2), Past::Ended(report(2, b"out"))), (attempt(4), Past::Begun)];
    let (mut journal, legacy) = open(&dir);
    assert_eq!(legacy, expected.clone().into());
    journal.forget(attempt(9));
    journal.forget(attempt(4));
    begin(&mut journal, 5);
    drop(journal);
    let (_, legacy) = open(&dir);
    assert_eq!(legacy.into_keys().collect::<Vec<_>>(), [attempt(1), attempt(2), attempt(5)]);
}

#[test]
fn it_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = dir();
    let _journal = open(&dir);
    assert_eq!(fs::metadata(file(&dir)).expect("a file").permissions().mode() & 0o077, 0);
}

#[test]
fn a_torn_end_is_cut_off_wherever_it_is_torn() {
    let dir = dir();
    let (mut journal, _) = open(&dir);
    begin(&mut journal, 1);
    let first = journal.end;
    journal.end(attempt(2), &report(2, b"out"));
    drop(journal);
    let whole = fs::read(file(&dir)).expect("a file");
    for length in 0..whole.len() {
        fs::write(file(&dir), &whole[..length]).expect("a file");
        let (mut journal, legacy) = open(&dir);
        let expected = usize::from(length as u64 >= first);
        assert_eq!(legacy.len(), expected, "{length} bytes");
        begin(&mut journal, 7);
        drop(journal);
        assert_eq!(open(&dir).1.len(), expected + 1, "{length} bytes");
    }
}

#[test]
fn a_byte_that_has_changed_ends_the_file() {
    let dir = dir();
    let (mut journal, _) = open(&dir);
    begin(&mut journal, 1);
    let first = usize::try_from(journal.end).expect("a small file");
    begin(&mut journal, 2);
    drop(journal);
    let whole = fs::read(file(&dir)).expect("a file");
    for at in first..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        fs::write(file(&dir), &changed).expect("a file");
        assert_eq!(open(&dir).1.into_keys().collect::<Vec<_>>(), [attempt(1)], "byte {at}");
    }
}

#[test]
fn another_file_is_not_written_over() {
    let dir = dir();
    fs::write(file(&dir), "not a journal at all").expect("a file");
    let error = Journal::open(dir.path()).expect_err("no journal");
    assert!(error.to_string().ends_with("move it away"), "{error}");
    assert_eq!(fs::read(file(&dir)).expect("a file"), b"not a journal at all");
}

#[test]
fn an_entry_of_a_later_version_is_passed_over() {
    let dir = dir();
    let (mut journal, _) = open(&dir);
    begin(&mut journal, 1);
    journal.append(frame(|_| {})).expect("a record");
    // A field that this version does not know.
    journal.append(frame(|bytes| bytes.extend([0x52, 1, 7]))).expect("a record");
    begin(&mut journal, 2);
    drop(journal);
    assert_eq!(open(&dir).1.len(), 2);
}

#[test]
fn what_is_dead_is_left_out_when_there_is_much_of_it() {
    let dir = dir();
    let (mut journal, _) = open(&dir);
    begin(&mut journal, 1);
    let text = vec![7; piece(14)];
    let mut largest = 0;
    for number in 2..40 {
        begin(&mut journal, number);
        journal.end(attempt(number), &report(number, &text));
        if number > 2 {
            journal.forget(attempt(number - 1));
        }
        largest = largest.max(size(&dir));
    }
    assert!((COMPACT_BYTES / 2..COMPACT_BYTES * 3 / 2).contains(&largest), "{largest}");
    assert!(size(&dir) < COMPACT_BYTES, "{}", size(&dir));
    assert!(!file(&dir).with_added_extension("new").exists());
    drop(journal);
    let (journal, mut legacy) = open(&dir);
    assert_eq!(legacy.remove(&attempt(1)), Some(Past::Begun));
    assert_eq!(legacy.remove(&attempt(39)), Some(Past::Ended(report(39, &text))));
    assert!(legacy.len() <= 1, "a last one that was forgotten, which was not written yet");
    assert_eq!(journal.end, size(&dir));
}

#[test]
fn what_is_alive_is_kept_however_much_it_is() {
    let dir = dir();
    let (mut journal, _) = open(&dir);
    let text = vec![7; piece(4)];
    for number in 1..=12 {
        begin(&mut journal, number);
        journal.end(attempt(number), &report(number, &text));
    }
    assert!(size(&dir) > 2 * COMPACT_BYTES);
    for number in 1..=11 {
        journal.forget(attempt(number));
    }
    for number in 13..=18 {
        journal.end(attempt(number), &report(number, &text));
        journal.forget(attempt(number));
    }
    begin(&mut journal, 19);
    drop(journal);
    let (_, legacy) = open(&dir);
    assert_eq!(legacy.get(&attempt(12)), Some(&Past::Ended(report(12, &text))));
    assert!(legacy.contains_key(&attempt(19)));
}

impl Journal {
    /// A journal on a full disk.
    pub(crate) fn full(data_dir: &Path) -> Self {
        let (mut journal, _) = Journal::open(data_dir).expect("a journal");
        journal.fill();
        journal
    }

    /// Fills the disk; what can be written to.
    fn fill(&mut self) -> File {
        let full = OpenOptions::new().read(true).write(true).open("/dev/full").expect("the system's full device");
        std::mem::replace(&mut self.file, full)
    }
}

#[test]
fn an_attempt_that_cannot_be_written_down_must_not_be_begun() {
    let dir = dir();
    let (mut journal, _) = open(&dir);
    let good = journal.fill();
    let error = journal.begin(attempt(1)).expect_err("a full disk");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    journal.end(attempt(2), &report(2, b"out"));
    journal.forget(attempt(2));
    assert!(journal.is_broken);
    journal.file = good;
    begin(&mut journal, 3);
    assert!(!journal.is_broken);
    drop(journal);
    assert_eq!(open(&dir).1.into_keys().collect::<Vec<_>>(), [attempt(3)]);
}

#[test]
fn what_was_to_be_forgotten_on_a_full_disk_is_forgotten_later() {
    let dir = dir();
    let (mut journal, _) = open(&dir);
    journal.end(attempt(1), &report(1, b"out"));
    let good = journal.fill();
    journal.forget(attempt(1));
    journal.begin(attempt(2)).expect_err("a full disk");
    journal.file = good;
    begin(&mut journal, 3);
    drop(journal);
    assert_eq!(open(&dir).1.into_keys().collect::<Vec<_>>(), [attempt(3)]);
}
