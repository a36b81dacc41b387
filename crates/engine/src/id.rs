//! Ids: short decimal numbers that a person can type.
//!
//! A job is `42`, its task `42.17`, an attempt at that task `42.17#2`.

use std::fmt;
use std::str::FromStr;

/// One submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// One task of a job, by its index in the job's array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The job that the task belongs to.
    pub job: JobId,
    /// The task's place in the job, from 0.
    pub index: u32,
}

/// One try at a task. Its number only grows, and fences everything that is said about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The task that is tried.
    pub task: TaskId,
    /// The number of the try, from 1.
    pub number: u32,
}

/// One worker, by the number that its name was given when it first joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u32);

/// One connection of a worker, chosen by the master's shell and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// One question to the scheduler that an [`Answer`](crate::Answer) belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub usize);

/// Text that is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not {1}")]
pub struct IdError(String, &'static str);

impl JobId {
    /// The task of the job at `index`.
    #[must_use]
    pub fn task(self, index: u32) -> TaskId {
        TaskId { job: self, index }
    }
}

impl TaskId {
    /// The attempt at the task with `number`.
    #[must_use]
    pub fn attempt(self, number: u32) -> AttemptId {
        AttemptId { task: self, number }
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.index)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.task, self.number)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for JobId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        job_number(text).map(JobId).ok_or_else(|| IdError(text.to_owned(), "a job's id, such as 42"))
    }
}

impl FromStr for TaskId {
    type Err = IdError;

    /// Accepts `42.17`, and `42` for the task of a job of one.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let (job, index) = text.split_once('.').unwrap_or((text, "0"));
        let parsed = job_number(job).zip(decimal(index).and_then(|i| u32::try_from(i).ok()));
        parsed
            .map(|(job, index)| JobId(job).task(index))
            .ok_or_else(|| IdError(text.to_owned(), "a task's id, such as 42.17 or 42"))
    }
}

/// A job's number fits a signed 64-bit column.
fn job_number(text: &str) -> Option<u64> {
    decimal(text).filter(|n| i64::try_from(*n).is_ok())
}

/// Digits and nothing else: `u64::from_str` would take a leading plus.
fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_as_they_are_typed() {
        let attempt = JobId(42).task(17).attempt(2);
        assert_eq!(attempt.to_string(), "42.17#2");
        assert_eq!("42.17".parse(), Ok(attempt.task));
        assert_eq!("42".parse(), Ok(JobId(42).task(0)));
        assert_eq!("42".parse(), Ok(JobId(42)));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", ".", "x", "+1", "-1", "1.", ".1", "1.2.3", "1.4294967296", "9223372036854775808", " 1"] {
            assert!(text.parse::<TaskId>().is_err(), "{text:?}");
        }
        assert!("1.0".parse::<JobId>().is_err());
    }
}
