//! Starting a command, and saying what is wrong when it cannot be started.

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::Access;
use rustix::io::Errno;
use rustix::process::Pid;
use sortie_engine::{AttemptId, Command};
use sortie_wire::node::StartOrder;
use tokio::net::unix::pipe::Sender;

use crate::capture::Capture;
use crate::cgroup::{Cgroup, Cgroups};
use crate::children::{self, Children, Role};
use crate::environment::{self, Variables};
use crate::group::Group;
use crate::memory::{Before, Memory};
use crate::usage::Meter;
use crate::workspace::{AttemptDir, Workspace};

/// How often a script is tried that another thread's child still holds open for writing.
const BUSY_TRIES: u32 = 8;

/// How long the first wait between these tries is; each is twice the one before.
const BUSY_WAIT: Duration = Duration::from_millis(1);

/// The longest first line of a script that the system reads, in bytes (Linux' `BINPRM_BUF_SIZE`).
const SHEBANG_BYTES: u64 = 256;

const SHELL: &str = "/bin/sh";

/// Where commands are run, and what all of them share.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) workspace: Workspace,
    /// The worker's name.
    pub(crate) worker: String,
    pub(crate) children: Arc<Children>,
    pub(crate) memory: Memory,
    pub(crate) meter: Meter,
    pub(crate) cgroups: Option<Cgroups>,
}

/// A command that has been started.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) group: Arc<Group>,
    pub(crate) cgroup: Option<Arc<Cgroup>>,
    pub(crate) capture: Capture,
    /// Its standard input, and what is to be written there.
    pub(crate) stdin: Option<(Sender, String)>,
    pub(crate) dir: AttemptDir,
    /// When it was about to be started, and how the worker's memory stood.
    pub(crate) begun: Instant,
    pub(crate) memory: Option<Before>,
}

/// A command that could not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct SpawnError {
    pub(crate) errno: i32,
    pub(crate) detail: String,
}

/// This end of a command.
type Pipes = (Arc<Group>, Capture, Option<Sender>);

/// What `execve` is given, and where.
struct Plan {
    program: PathBuf,
    arguments: Vec<String>,
    variables: Variables,
    cwd: PathBuf,
}

/// Starts an attempt's command in a directory and a process group of its own, unless it is withheld. It blocks.
///
/// # Errors
/// What could not be done, in words for the one who wrote the command; nothing of the attempt is left then.
pub(crate) fn spawn(
    site: &Site,
    order: StartOrder,
    traceparent: Option<&str>,
    is_withheld: impl FnOnce() -> bool,
) -> Result<Option<Spawned>, SpawnError> {
    let (attempt, begun, memory) = (order.attempt, Instant::now(), site.memory.before());
    if is_withheld() {
        return Ok(None);
    }
    let dir = site
        .workspace
        .create(attempt)
        .map_err(|error| SpawnError::new(&error, format!("the attempt's directory cannot be made: {error}")))?;
    match spawn_in(&dir, site, &order, traceparent) {
        Ok((group, capture, stdin)) => {
            let cgroup = site.cgroups.as_ref().and_then(|cgroups| admit(cgroups, attempt, group.id()));
            Ok(Some(Spawned { group, cgroup, capture, stdin: stdin.zip(order.stdin), dir, begun, memory }))
        }
        Err(error) => {
            dir.remove();
            Err(error)
        }
    }
}

impl SpawnError {
    /// An error that the system has told, with what it means here.
    pub(crate) fn new(error: &io::Error, detail: impl Into<String>) -> Self {
        SpawnError { errno: error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error()), detail: detail.into() }
    }
}

fn spawn_in(dir: &AttemptDir, site: &Site, order: &StartOrder, traceparent: Option<&str>) -> Result<Pipes, SpawnError> {
    let plan = plan(dir, &site.worker, order, traceparent)?;
    let stdin = if order.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
    let starting = site.children.starting();
    let child = try_spawn(&mut plan.process(stdin)).map_err(|error| plan.diagnose(&error))?;
    let leader = starting.started(Pid::from_child(&child), Role::Leader);
    watch(child, leader)
        .map_err(|error| SpawnError::new(&error, format!("the command was killed, for it cannot be watched: {error}")))
}

/// What it has started before it was moved is found by other means. One that has ended by now needs no cgroup.
fn admit(cgroups: &Cgroups, attempt: AttemptId, leader: Pid) -> Option<Arc<Cgroup>> {
    match cgroups.admit(attempt, leader) {
        Ok(cgroup) => Some(Arc::new(cgroup)),
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => None,
        Err(error) => {
            tracing::warn!(%attempt, %error, "an attempt goes without a cgroup");
            None
        }
    }
}

fn plan(dir: &AttemptDir, worker: &str, order: &StartOrder, traceparent: Option<&str>) -> Result<Plan, SpawnError> {
    let variables = environment::variables(order, worker, traceparent, dir.path());
    let cwd = order.cwd.as_ref().map_or(dir.path().to_owned(), PathBuf::from);
    let (program, arguments) = match &order.command {
        Command::Line(line) => (SHELL.into(), vec![SHELL.to_owned(), "-c".to_owned(), line.clone()]),
        Command::Argv(argv) => (find(argv, &variables, &cwd)?, argv.clone()),
        Command::Script(text) => {
            let failed = |error| SpawnError::new(&error, format!("the script cannot be written: {error}"));
            let path = dir.write_script(text).map_err(failed)?;
            let name = path.to_string_lossy().into_owned();
            (path, vec![name])
        }
    };
    Ok(Plan { program, arguments, variables, cwd })
}

fn find(argv: &[String], variables: &Variables, cwd: &Path) -> Result<PathBuf, SpawnError> {
    let program = argv.first().map_or("", String::as_str);
    let path = variables.get(OsStr::new("PATH"));
    environment::find(program, path, cwd).map_err(|errno| {
        let problem = if errno == Errno::ACCESS { "may not be executed" } else { "is not in PATH" };
        SpawnError::new(&errno.into(), format!("the program {program:?} {problem}"))
    })
}

/// Another thread's child has every descriptor of this process until it executes its program, and so may have this
/// one's script open for writing.
fn try_spawn(process: &mut Process) -> io::Result<Child> {
    let busy = Some(Errno::TXTBSY.raw_os_error());
    for wait in (0..BUSY_TRIES).map(|i| BUSY_WAIT * 2_u32.pow(i)) {
        match process.spawn() {
            Err(error) if error.raw_os_error() == busy => std::thread::sleep(wait),
            other => return other,
        }
    }
    process.spawn()
}

fn watch(child: Child, leader: children::Child) -> io::Result<Pipes> {
    let Child { stdin, stdout, stderr, .. } = child;
    // From here on the group's end is certain: whoever drops it kills it.
    let group = Arc::new(Group::new(leader));
    let missing = || io::Error::from(Errno::PIPE);
    let capture = Capture::new(stdout.ok_or_else(missing)?.into(), stderr.ok_or_else(missing)?.into())?;
    let stdin = stdin.map(|stdin| Sender::from_owned_fd(OwnedFd::from(stdin))).transpose()?;
    Ok((group, capture, stdin))
}

impl Plan {
    /// The program is a path and nothing is run between fork and exec, so that the standard library takes
    /// `posix_spawn`, which copies no page tables.
    fn process(&self, stdin: Stdio) -> Process {
        let mut process = Process::new(&self.program);
        process
            .arg0(self.arguments.first().map_or("", String::as_str))
            .args(self.arguments.iter().skip(1))
            .env_clear()
            .envs(&self.variables)
            .current_dir(&self.cwd)
            .process_group(0)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        process
    }

    /// The system says only that something is missing or forbidden: looks for what it is.
    fn diagnose(&self, error: &io::Error) -> SpawnError {
        let cwd = self.cwd.display();
        let detail = match std::fs::metadata(&self.cwd) {
            Err(problem) => format!("the working directory {cwd} cannot be used: {}", text(&problem)),
            Ok(found) if !found.is_dir() => format!("the working directory {cwd} is not a directory"),
            Ok(_) if rustix::fs::access(&self.cwd, Access::EXEC_OK).is_err() => {
                format!("the working directory {cwd} may not be entered")
            }
            Ok(_) => self.diagnose_program(error),
        };
        SpawnError::new(error, detail)
    }

    fn diagnose_program(&self, error: &io::Error) -> String {
        let name = self.arguments.first().map_or("", String::as_str);
        if error.kind() != io::ErrorKind::NotFound || !self.program.exists() {
            return format!("the program {name:?} cannot be executed: {}", text(error));
        }
        match interpreter(&self.program) {
            Some(interpreter) => format!("the interpreter {interpreter:?} of {name:?} cannot be found"),
            None => format!("the program {name:?} is there, but its loader cannot be found"),
        }
    }
}

/// What a script's first line names, as the system reads it: a carriage return belongs to the name.
fn interpreter(script: &Path) -> Option<String> {
    let mut line = Vec::new();
    BufReader::new(File::open(script).ok()?.take(SHEBANG_BYTES)).read_until(b'\n', &mut line).ok()?;
    let line = String::from_utf8_lossy(line.strip_prefix(b"#!")?).into_owned();
    line.trim_matches([' ', '\t', '\n']).split([' ', '\t']).next().map(str::to_owned)
}

/// The system's words, without the number that the standard library adds.
fn text(error: &io::Error) -> impl Display {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
