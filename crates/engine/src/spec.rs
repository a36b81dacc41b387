//! What a client asks for: the draft as it came in, and the spec that has been checked.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::labels::{self, Labels, Selector};

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
/// The longest duration that a field may ask for: a year.
pub const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long a command may run unless it says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// How long a command has between TERM and KILL unless it says otherwise.
pub const DEFAULT_KILL_GRACE: Duration = Duration::from_secs(10);
/// How long a task may wait unless it says otherwise.
pub const DEFAULT_QUEUE_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The variables that Sortie itself sets for a command.
pub const RESERVED_ENV: [&str; 6] =
    ["SORTIE_JOB_ID", "SORTIE_TASK_ID", "SORTIE_INDEX", "SORTIE_ATTEMPT", "SORTIE_WORKER", "TRACEPARENT"];

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A line for `/bin/sh -c`.
    Line(String),
    /// A program and its arguments, run as they are.
    Argv(Vec<String>),
    /// A file's text, with its `#!` line.
    Script(String),
}

/// What a task needs of its worker. Tasks with the same needs are one class to the scheduler.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Needs {
    /// How many slots it takes.
    pub slots: u32,
    /// Which workers it may run on.
    pub selector: Selector,
}

/// A checked description of a task, shared by all tasks of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSpec {
    /// What is run.
    pub command: Command,
    /// What people call it.
    pub name: Option<String>,
    /// Variables beside those that every command gets.
    pub env: BTreeMap<String, String>,
    /// An absolute path to run in, instead of an empty directory of its own.
    pub cwd: Option<String>,
    /// The text on its standard input.
    pub stdin: Option<String>,
    /// How long it may run.
    pub timeout: Duration,
    /// How long it has between TERM and KILL.
    pub kill_grace: Duration,
    /// How long it may wait.
    pub queue_timeout: Duration,
    /// Higher goes first.
    pub priority: i32,
    /// What it needs of its worker.
    pub needs: Needs,
    /// What it is labelled with.
    pub labels: Labels,
}

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
    /// See [`TaskSpec::priority`].
    pub priority: Option<i32>,
    /// See [`Needs::slots`].
    pub slots: Option<u32>,
    /// See [`Needs::selector`].
    pub selector: Option<String>,
    /// See [`TaskSpec::labels`].
    pub labels: Labels,
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
        check_texts(&self, &mut errors);
        check_env(&self.env, &mut errors);
        if let Err(error) = labels::check_labels(&self.labels) {
            errors.push(FieldError::new("/labels", error.to_string()));
        }
        let command = checked_command(self.cmd, self.argv, self.script, &mut errors);
        let timeout = checked_duration("/timeout", self.timeout, DEFAULT_TIMEOUT, &mut errors);
        let kill_grace = checked_duration("/kill_grace", self.kill_grace, DEFAULT_KILL_GRACE, &mut errors);
        let queue_timeout = checked_duration("/queue_timeout", self.queue_timeout, DEFAULT_QUEUE_TIMEOUT, &mut errors);
        let needs = checked_needs(self.slots, self.selector.as_deref(), &mut errors);
        match command {
            Some(command) if errors.is_empty() => Ok(TaskSpec {
                command,
                name: self.name,
                env: self.env,
                cwd: self.cwd,
                stdin: self.stdin,
                timeout,
                kill_grace,
                queue_timeout,
                priority: self.priority.unwrap_or(0),
                needs,
                labels: self.labels,
            }),
            Some(_) | None => Err(errors),
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

fn checked_command(
    cmd: Option<String>,
    argv: Option<Vec<String>>,
    script: Option<String>,
    errors: &mut Vec<FieldError>,
) -> Option<Command> {
    let command = match (cmd, argv, script) {
        (Some(cmd), None, None) => Command::Line(cmd),
        (None, Some(argv), None) => Command::Argv(argv),
        (None, None, Some(script)) => Command::Script(script),
        (None, None, None) => {
            errors.push(FieldError::new("/cmd", "is missing; give one of cmd, argv or script"));
            return None;
        }
        (cmd, argv, _) => {
            let second = if cmd.is_some() && argv.is_some() { "/argv" } else { "/script" };
            errors.push(FieldError::new(second, "give only one of cmd, argv and script"));
            return None;
        }
    };
    check_command(&command, errors);
    Some(command)
}

fn check_command(command: &Command, errors: &mut Vec<FieldError>) {
    match command {
        Command::Line(line) if is_blank(line) => errors.push(FieldError::new("/cmd", "is empty")),
        Command::Line(line) => check_text("/cmd", line, MAX_ARGUMENT_BYTES, errors),
        Command::Script(script) if is_blank(script) => errors.push(FieldError::new("/script", "is empty")),
        Command::Script(script) if !script.starts_with("#!") => errors.push(FieldError::new(
            "/script",
            "does not begin with a #! line; write one, such as #!/bin/sh, or use cmd for a shell line",
        )),
        Command::Script(script) => check_text("/script", script, MAX_SCRIPT_BYTES, errors),
        Command::Argv(argv) if argv.first().is_none_or(String::is_empty) => {
            errors.push(FieldError::new("/argv", "names no program; its first element is the program to run"));
        }
        Command::Argv(argv) => {
            for (i, argument) in argv.iter().enumerate() {
                check_text(&format!("/argv/{i}"), argument, MAX_ARGUMENT_BYTES, errors);
            }
            if argv.iter().map(|argument| argument.len() + 1).sum::<usize>() > MAX_ARGUMENTS_BYTES {
                errors.push(FieldError::new("/argv", format!("takes more than {MAX_ARGUMENTS_BYTES} bytes in all")));
            }
        }
    }
}

fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || (c.is_control() && c != '\0'))
}

fn check_texts(draft: &Draft, errors: &mut Vec<FieldError>) {
    if let Some(name) = &draft.name {
        check_text("/name", name, usize::MAX, errors);
        if name.chars().count() > MAX_NAME_CHARS {
            errors.push(FieldError::new("/name", format!("is longer than {MAX_NAME_CHARS} characters")));
        }
    }
    if let Some(cwd) = &draft.cwd {
        check_text("/cwd", cwd, MAX_PATH_BYTES, errors);
        if !cwd.starts_with('/') {
            errors.push(FieldError::new("/cwd", "is not an absolute path"));
        }
    }
    if draft.stdin.as_ref().is_some_and(|stdin| stdin.len() > MAX_STDIN_BYTES) {
        errors.push(FieldError::new("/stdin", format!("is longer than {MAX_STDIN_BYTES} bytes")));
    }
}

fn check_env(env: &BTreeMap<String, String>, errors: &mut Vec<FieldError>) {
    for (key, value) in env {
        let pointer = format!("/env/{}", pointer_token(key));
        if key.is_empty() || key.contains('=') {
            errors.push(FieldError::new(&pointer, "is not a variable's name: it is empty or has an equals sign"));
        } else if RESERVED_ENV.contains(&key.as_str()) {
            errors.push(FieldError::new(&pointer, "is set by Sortie itself; choose another name"));
        }
        check_text(&pointer, key, MAX_ARGUMENT_BYTES, errors);
        check_text(&pointer, value, MAX_ARGUMENT_BYTES, errors);
    }
    if env.iter().map(|(key, value)| key.len() + value.len() + 2).sum::<usize>() > MAX_ARGUMENTS_BYTES {
        errors.push(FieldError::new("/env", format!("takes more than {MAX_ARGUMENTS_BYTES} bytes in all")));
    }
}

/// A key as one token of a JSON pointer (RFC 6901).
#[must_use]
pub fn pointer_token(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A text that goes to `execve` or a path can hold no NUL.
fn check_text(pointer: &str, text: &str, max_bytes: usize, errors: &mut Vec<FieldError>) {
    if text.contains('\0') {
        errors.push(FieldError::new(pointer, "has a NUL byte, which no argument, variable or path can hold"));
    }
    if text.len() > max_bytes {
        errors.push(FieldError::new(pointer, format!("is longer than {max_bytes} bytes")));
    }
}

fn checked_duration(
    pointer: &str,
    given: Option<Duration>,
    default: Duration,
    errors: &mut Vec<FieldError>,
) -> Duration {
    // Time is counted in whole milliseconds everywhere.
    let ms = u64::try_from(given.unwrap_or(default).as_millis()).unwrap_or(u64::MAX);
    let duration = Duration::from_millis(ms);
    if duration.is_zero() || duration > MAX_DURATION {
        errors.push(FieldError::new(pointer, "must be from 1ms to 365days"));
    }
    duration
}

fn checked_needs(slots: Option<u32>, selector: Option<&str>, errors: &mut Vec<FieldError>) -> Needs {
    let slots = slots.unwrap_or(1);
    if !(1..=MAX_SLOTS).contains(&slots) {
        errors.push(FieldError::new("/slots", format!("must be 1 to {MAX_SLOTS}, not {slots}")));
    }
    let selector = selector.unwrap_or_default().parse().unwrap_or_else(|error: labels::LabelError| {
        errors.push(FieldError::new("/selector", error.to_string()));
        Selector::default()
    });
    Needs { slots, selector }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(cmd: &str) -> Draft {
        Draft { cmd: Some(cmd.into()), ..Draft::default() }
    }

    fn pointers(draft: Draft) -> Vec<String> {
        draft.check().expect_err("a bad draft").into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn a_line_is_enough() {
        let spec = line("true").check().expect("a spec");
        assert_eq!(spec.command, Command::Line("true".into()));
        assert_eq!((spec.timeout, spec.needs.slots, spec.priority), (DEFAULT_TIMEOUT, 1, 0));
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
    fn a_count_is_one_to_the_limit() {
        assert_eq!(check_count(None), Ok(1));
        assert_eq!(check_count(Some(MAX_COUNT)), Ok(MAX_COUNT));
        assert!(check_count(Some(0)).is_err());
        assert!(check_count(Some(MAX_COUNT + 1)).is_err());
    }
}
