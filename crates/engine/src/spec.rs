//! What a client asks for, checked, and what it gets where it says nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::labels::{Labels, Selector};
use crate::retry::{DEFAULT_MAX_LOST, OnLost, Retry};

/// How long a command may run unless it says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// How long a command has between TERM and KILL unless it says otherwise.
const DEFAULT_KILL_GRACE: Duration = Duration::from_secs(10);
/// How long a task may wait unless it says otherwise.
const DEFAULT_QUEUE_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);

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
    /// What is done about a command that failed, or ran into its timeout.
    pub retry: Retry,
    /// Whether it may run again when an attempt was lost.
    pub on_lost: OnLost,
    /// How often it is tried again after an attempt was lost.
    pub max_lost: u32,
    /// Higher goes first.
    pub priority: i32,
    /// What it needs of its worker.
    pub needs: Needs,
    /// What it is labelled with.
    pub labels: Labels,
}

impl TaskSpec {
    /// The command with every default.
    #[must_use]
    pub fn new(command: Command) -> TaskSpec {
        TaskSpec {
            command,
            name: None,
            env: BTreeMap::new(),
            cwd: None,
            stdin: None,
            timeout: DEFAULT_TIMEOUT,
            kill_grace: DEFAULT_KILL_GRACE,
            queue_timeout: DEFAULT_QUEUE_TIMEOUT,
            retry: Retry::default(),
            on_lost: OnLost::default(),
            max_lost: DEFAULT_MAX_LOST,
            priority: 0,
            needs: Needs { slots: 1, selector: Selector::default() },
            labels: Labels::new(),
        }
    }

    /// About how much memory the spec takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let command = match &self.command {
            Command::Line(text) | Command::Script(text) => text.len(),
            Command::Argv(argv) => argv.iter().map(|argument| size_of::<String>() + argument.len()).sum(),
        };
        let texts = [&self.name, &self.cwd, &self.stdin].into_iter().flatten().map(String::len).sum::<usize>();
        let pairs =
            self.env.iter().chain(&self.labels).map(|(key, value)| 2 * size_of::<String>() + key.len() + value.len());
        size_of::<TaskSpec>() + command + texts + pairs.sum::<usize>()
    }
}
