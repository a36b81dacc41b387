//! What stands in the journal.

use sortie_engine::{AttemptId, JobId};
use sortie_wire::pb;

use super::Past;

/// The tag of [`Fact::Ended`].
const ENDED: u32 = 2;

/// One entry. A kind that this version does not know is none.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Entry {
    #[prost(oneof = "Fact", tags = "1, 2, 3")]
    pub(super) fact: Option<Fact>,
}

/// What an entry says.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Fact {
    /// The attempt is about to be begun.
    #[prost(message, tag = "1")]
    Begun(pb::Attempt),
    /// An attempt has ended, and this is what the master is told.
    #[prost(message, tag = "2")]
    Ended(pb::Report),
    /// The master knows of the attempt's end.
    #[prost(message, tag = "3")]
    Forgotten(pb::Attempt),
}

/// Adds an entry that says that an attempt is about to be begun.
pub(super) fn begun(attempt: AttemptId, bytes: &mut Vec<u8>) {
    Fact::Begun(attempt_to_pb(attempt)).encode(bytes);
}

/// Adds an entry that says how an attempt has ended; not by a [`Fact`], for its output may be long, and is not copied.
pub(super) fn ended(report: &pb::Report, bytes: &mut Vec<u8>) {
    prost::encoding::message::encode(ENDED, report, bytes);
}

/// Adds an entry that says that the master knows of an attempt's end.
pub(super) fn forgotten(attempt: AttemptId, bytes: &mut Vec<u8>) {
    Fact::Forgotten(attempt_to_pb(attempt)).encode(bytes);
}

/// The attempt that a fact is about, and what it has come to, unless it is forgotten; nothing if it is about none.
pub(super) fn fact_of(fact: Fact) -> Option<(AttemptId, Option<Past>)> {
    match fact {
        Fact::Begun(attempt) => Some((attempt_from_pb(&attempt), Some(Past::Begun))),
        Fact::Forgotten(attempt) => Some((attempt_from_pb(&attempt), None)),
        Fact::Ended(report) => match &report.report {
            Some(pb::report::Report::Ended(pb::Ended { attempt: Some(attempt), .. })) => {
                Some((attempt_from_pb(attempt), Some(Past::Ended(report))))
            }
            _ => None,
        },
    }
}

fn attempt_to_pb(attempt: AttemptId) -> pb::Attempt {
    pb::Attempt { job: attempt.task.job.0, index: attempt.task.index, number: attempt.number }
}

fn attempt_from_pb(attempt: &pb::Attempt) -> AttemptId {
    JobId(attempt.job).task(attempt.index).attempt(attempt.number)
}
