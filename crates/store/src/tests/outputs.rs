//! Outputs come back as they went, each by its attempt.

use sortie_engine::{Captured, JobId, Output, QueueOutcome, Record, Time};

use super::{commit, job, line, placed, placed_again, retried, wait};
use crate::{Batch, Reader, open};

fn read_output(reader: &Reader, index: u32, attempt: Option<u32>) -> Option<(u32, Output)> {
    wait(reader.output(JobId(1).task(index), attempt)).expect("a read")
}

#[test]
fn outputs_come_back_byte_for_byte() {
    let dir = tempfile::tempdir().expect("a directory");
    let (writer, reader, _) = open(dir.path()).expect("a store");
    let captured = |bytes: &[u8], dropped| Captured { bytes: bytes.to_vec(), dropped };
    let every_byte: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let first = Output { stdout: captured(&every_byte, u64::MAX), stderr: captured(b"\xff\xfe\0", 0) };
    let second = Output { stdout: Captured::default(), stderr: captured(b"", 3) };
    let (task, silent) = (JobId(1).task(0), JobId(1).task(1));
    let records = vec![Record::Submitted(job(1, 1, 3, line())), placed(task, 1), placed(silent, 1)];
    let outputs = vec![(task.attempt(1), first.clone()), (silent.attempt(1), Output::default())];
    wait(writer.commit(Batch { records, outputs })).expect("a commit");
    assert_eq!(read_output(&reader, 0, None), Some((1, first.clone())));
    assert_eq!(read_output(&reader, 1, None), Some((1, Output::default())));
    assert_eq!(read_output(&reader, 2, None), None);
    let records = vec![retried(task, 1, 1), placed_again(task, 2, 1)];
    let outputs = vec![(task.attempt(1), first.clone()), (task.attempt(2), second.clone())];
    wait(writer.commit(Batch { records, outputs })).expect("a commit");
    assert_eq!(read_output(&reader, 0, None), Some((2, second)));
    assert_eq!(read_output(&reader, 0, Some(1)), Some((1, first)));
    assert_eq!(read_output(&reader, 0, Some(3)), None);
    assert_eq!(read_output(&reader, 0, Some(0)), None);
}

#[test]
fn a_tasks_output_is_its_last_attempts_wherever_it_stands() {
    let dir = tempfile::tempdir().expect("a directory");
    let (writer, reader, _) = open(dir.path()).expect("a store");
    let task = JobId(1).task(0);
    let wrote = |number: u32| {
        let bytes = format!("attempt {number}").into_bytes();
        (task.attempt(number), Output { stdout: Captured { bytes, dropped: 0 }, stderr: Captured::default() })
    };
    let given_up = Record::GivenUp { task, at: Time(9), outcome: QueueOutcome::Expired };
    let steps = [
        (placed(task, 1), None, (1, None)),
        (retried(task, 1, 1), Some(1), (1, Some(1))),
        // The second attempt runs and has written nothing yet: the first one's output is not its.
        (placed_again(task, 2, 1), None, (2, None)),
        (retried(task, 2, 1), Some(2), (2, Some(2))),
        (given_up, None, (2, Some(2))),
    ];
    commit(&writer, vec![Record::Submitted(job(1, 1, 1, line()))]);
    for (record, output, (last, written)) in steps {
        let outputs = output.map(wrote).into_iter().collect();
        wait(writer.commit(Batch { records: vec![record.clone()], outputs })).expect("a commit");
        let expected = written.map(|number| wrote(number).1).unwrap_or_default();
        assert_eq!(read_output(&reader, 0, None), Some((last, expected)), "{record:?}");
    }
}
