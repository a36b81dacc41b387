//! What a client asks for as it came in, and the check that makes a [`TaskSpec`] of it.

mod fields;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sortie_engine::{Labels, OnLost, TaskSpec};

/// The longest command line or argument, in bytes: Linux' own limit for one string (`MAX_ARG_STRLEN`).
pub const MAX_ARGUMENT_BYTES: usize = 128 * 1024 - 1;
/// The most that arguments and environment may take together, in bytes.
pub const MAX_ARGUMENTS_BYTES: usize = 1024 * 1024;
/// The longest script, in bytes.
pub const MAX_SCRIPT_BYTES: usize = 1024 * 1024;
/// The longest standard input, in bytes.
pub const MAX_STDIN_BYTES: usize = 1024 * 1024;
/// The longest name of a job, in characters.
pub const MAX_NAME_CHARS: usize = 200;
/// The longest path of a working directory, in bytes: Linux' `PATH_MAX`.
pub const MAX_PATH_BYTES: usize = 4096;
/// The most tasks in one job.
pub const MAX_COUNT: u32 = 10_000_000;
/// The most slots that one task may take.
pub const MAX_SLOTS: u32 = 65_535;
/// The most often that a task may be tried again after its command failed, or after an attempt was lost.
pub const MAX_RETRIES: u32 = 1_000;
/// The longest duration that a field may ask for: a year.
pub const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);

/// The variables that Sortie itself sets for a command.
pub const RESERVED_ENV: [&str; 7] = [
    "SORTIE_JOB_ID",
    "SORTIE_TASK_ID",
    "SORTIE_INDEX",
    "SORTIE_ATTEMPT",
    "SORTIE_ATTEMPT_DIR",
    "SORTIE_WORKER",
    "TRACEPARENT",
];

/// A description of a task as a client wrote it, not checked yet; what is `None` takes the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// A line for `/bin/sh -c`.
    pub cmd: Option<String>,
    /// A program and its arguments.
    pub argv: Option<Vec<String>>,
    /// A file's text, with its `#!` line.
    pub script: Option<String>,
    /// See [`TaskSpec::name`].
    pub name: Option<String>,
    /// See [`TaskSpec::env`].
    pub env: BTreeMap<String, String>,
    /// See [`TaskSpec::cwd`].
    pub cwd: Option<String>,
    /// See [`TaskSpec::stdin`].
    pub stdin: Option<String>,
    /// See [`TaskSpec::timeout`].
    pub timeout: Option<Duration>,
    /// See [`TaskSpec::kill_grace`].
    pub kill_grace: Option<Duration>,
    /// See [`TaskSpec::queue_timeout`].
    pub queue_timeout: Option<Duration>,
    /// See [`TaskSpec::retry`].
    pub retry: RetryDraft,
    /// See [`TaskSpec::on_lost`].
    pub on_lost: Option<OnLost>,
    /// See [`TaskSpec::max_lost`].
    pub max_lost: Option<u32>,
    /// See [`TaskSpec::priority`].
    pub priority: Option<i32>,
    /// See [`sortie_engine::Needs::slots`].
    pub slots: Option<u32>,
    /// See [`sortie_engine::Needs::selector`].
    pub selector: Option<String>,
    /// See [`TaskSpec::labels`].
    pub labels: Labels,
}

/// A [`sortie_engine::Retry`] as a client wrote it, not checked yet; what is `None` takes the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryDraft {
    /// See [`sortie_engine::Retry::count`].
    pub count: Option<u32>,
    /// See [`sortie_engine::Retry::backoff`].
    pub backoff: Option<Duration>,
    /// See [`sortie_engine::Retry::max_backoff`].
    pub max_backoff: Option<Duration>,
    /// See [`sortie_engine::Retry::exit_codes`].
    pub exit_codes: BTreeSet<i32>,
}

/// A field that cannot be, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {detail}")]
pub struct FieldError {
    /// The field, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What is wrong with it and what would be right.
    pub detail: String,
}

impl FieldError {
    /// An error about the field that `pointer` points at.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        FieldError { pointer: pointer.into(), detail: detail.into() }
    }
}

impl Draft {
    /// Checks every field.
    ///
    /// # Errors
    /// All fields that cannot be, not only the first.
    pub fn check(self) -> Result<TaskSpec, Vec<FieldError>> {
        let mut errors = Vec::new();
        fields::check_texts(&self, &mut errors);
        fields::check_env(&self.env, &mut errors);
        fields::check_labels(&self.labels, &mut errors);
        let usual = TaskSpec::new(fields::checked_command(self.cmd, self.argv, self.script, &mut errors));
        let spec = TaskSpec {
            name: self.name,
            env: self.env,
            cwd: self.cwd,
            stdin: self.stdin,
            timeout: fields::checked_duration("/timeout", self.timeout, usual.timeout, &mut errors),
            kill_grace: fields::checked_duration("/kill_grace", self.kill_grace, usual.kill_grace, &mut errors),
            queue_timeout: fields::checked_duration(
                "/queue_timeout",
                self.queue_timeout,
                usual.queue_timeout,
                &mut errors,
            ),
            retry: fields::checked_retry(self.retry, &usual.retry, &mut errors),
            on_lost: self.on_lost.unwrap_or(usual.on_lost),
            max_lost: fields::checked_retries("/max_lost", self.max_lost, usual.max_lost, &mut errors),
            priority: self.priority.unwrap_or(usual.priority),
            needs: fields::checked_needs(self.slots, self.selector.as_deref(), usual.needs, &mut errors),
            labels: self.labels,
            command: usual.command,
        };
        match errors.is_empty() {
            true => Ok(spec),
            false => Err(errors),
        }
    }
}

/// Checks how many tasks a job shall have; one unless it says otherwise.
///
/// # Errors
/// When it is none, or more than [`MAX_COUNT`].
pub fn check_count(count: Option<u32>) -> Result<u32, FieldError> {
    match count.unwrap_or(1) {
        count @ 1..=MAX_COUNT => Ok(count),
        count => Err(FieldError::new("/count", format!("must be 1 to {MAX_COUNT}, not {count}"))),
    }
}

/// A key as one token of a JSON pointer (RFC 6901).
#[must_use]
pub fn pointer_token(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use sortie_engine::{Command, Retry};

    use super::*;

    fn line(cmd: &str) -> Draft {
        Draft { cmd: Some(cmd.into()), ..Draft::default() }
    }

    fn pointers(draft: Draft) -> Vec<String> {
        draft.check().expect_err("a bad draft").into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn a_line_is_enough() {
        assert_eq!(line("true").check(), Ok(TaskSpec::new(Command::Line("true".into()))));
    }

    #[test]
    fn durations_are_whole_milliseconds() {
        let spec = Draft { timeout: Some(Duration::from_micros(1500)), ..line("true") }.check().expect("a spec");
        assert_eq!(spec.timeout, Duration::from_millis(1));
        assert_eq!(pointers(Draft { timeout: Some(Duration::from_micros(999)), ..line("true") }), ["/timeout"]);
        assert_eq!(pointers(Draft { kill_grace: Some(Duration::MAX), ..line("true") }), ["/kill_grace"]);
    }

    #[test]
    fn one_command_and_no_more() {
        assert_eq!(pointers(Draft::default()), ["/cmd"]);
        assert_eq!(pointers(Draft { argv: Some(vec!["x".into()]), ..line("true") }), ["/argv"]);
        assert_eq!(pointers(Draft { script: Some("#!/bin/sh".into()), ..line("true") }), ["/script"]);
        assert_eq!(pointers(line(" ")), ["/cmd"]);
        assert_eq!(pointers(Draft { argv: Some(vec![]), ..Draft::default() }), ["/argv"]);
        assert_eq!(pointers(Draft { script: Some("echo".into()), ..Draft::default() }), ["/script"]);
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let draft = Draft {
            argv: Some(vec!["echo".into(), "a\0b".into()]),
            env: [("A=B".into(), "1".into()), ("SORTIE_JOB_ID".into(), "7".into())].into(),
            cwd: Some("tmp".into()),
            timeout: Some(Duration::ZERO),
            slots: Some(0),
            selector: Some("=".into()),
            labels: [("".into(), "x".into())].into(),
            ..Draft::default()
        };
        let expected =
            ["/cwd", "/env/A=B", "/env/SORTIE_JOB_ID", "/labels", "/argv/1", "/timeout", "/slots", "/selector"];
        assert_eq!(pointers(draft), expected);
    }

    #[test]
    fn a_policy_is_what_the_client_wrote() {
        let minute = Duration::from_secs(60);
        let given =
            RetryDraft { count: Some(2), backoff: Some(10 * minute), exit_codes: [75].into(), max_backoff: None };
        let spec = Draft { retry: given, max_lost: Some(0), ..line("true") }.check().expect("a spec");
        // The longest wait is never less than the first one may be.
        let expected = Retry { count: 2, backoff: 10 * minute, max_backoff: 10 * minute, exit_codes: [75].into() };
        assert_eq!((spec.retry, spec.max_lost), (expected, 0));
    }

    #[test]
    fn bad_policies_are_told() {
        let retry = RetryDraft {
            count: Some(1_001),
            backoff: Some(Duration::ZERO),
            exit_codes: [0].into(),
            ..RetryDraft::default()
        };
        let expected = ["/retry/count", "/retry/backoff", "/retry/exit_codes", "/max_lost"];
        assert_eq!(pointers(Draft { retry, max_lost: Some(u32::MAX), ..line("x") }), expected);
    }

    #[test]
    fn a_count_is_one_to_the_limit() {
        assert_eq!(check_count(None), Ok(1));
        assert_eq!(check_count(Some(MAX_COUNT)), Ok(MAX_COUNT));
        assert!(check_count(Some(0)).is_err());
        assert!(check_count(Some(MAX_COUNT + 1)).is_err());
    }
}
