//! Processes as `/proc` shows them, and how one is killed that was looked at.
//!
//! A number may be another process' a moment later. So whoever kills first takes hold of a process by a [`Handle`], and
//! looks at it then: what is killed is what was looked at, or nothing.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use rustix::time::ClockId;

/// The variable by which a process is known to be of an attempt, whatever has become of its parents: the attempt's
/// own directory, which no other attempt of any worker on the machine has.
pub(crate) const MARK: &str = "SORTIE_ATTEMPT_DIR";

/// The most that is read of a process' `stat`, in bytes; some fifty numbers and a short name.
const STAT_BYTES: usize = 2_048;

/// How much of a process' environment is read at once, in bytes; it is seldom more.
const ENVIRONMENT_BYTES: usize = 64 * 1024;

/// How often, and how long after each other, a process is asked again for an environment that it does not have yet.
const SETTLE_TRIES: u32 = 20;
const SETTLE_WAIT: Duration = Duration::from_micros(500);

/// How often an environment must be found to be there, and empty.
const EMPTY_TRIES: u32 = 3;

/// Which of the fields in `stat`, from the state on, says where the environment ends (`env_end`).
const ENVIRONMENT_END: usize = 48;

/// Among the flags in `stat`: a thread of the kernel's own (`PF_KTHREAD`).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// A process, by the one thing about it that never changes and that no later owner of its number shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: Pid,
    /// 0 if it has none that can be seen.
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// When it was started, in ticks since the machine was.
    pub(crate) start: u64,
    /// Not dead, and no zombie.
    pub(crate) is_live: bool,
}

/// What the environment that a process was started with says about whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// This directory's attempt's.
    Dir(Vec<u8>),
    /// Nothing; or it may not be read.
    None,
    /// There is no environment yet: the process is just about to execute its program, or to end.
    Unsettled,
}

/// A hold on one process, which is not lost to another one with its number.
#[derive(Debug)]
pub(crate) enum Handle {
    /// The process itself.
    Pidfd(OwnedFd),
    /// Where the system has no pidfds, its number; a child's is its own until it is waited for.
    Number(Pid),
}

/// All processes that can be seen, by their numbers. Where there is no `/proc`, none can.
///
/// # Errors
/// When the system cannot tell for now.
pub(crate) fn census() -> io::Result<Vec<Stat>> {
    let entries = match fs::read_dir("/proc") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            found.extend(stat(pid)?);
        }
    }
    Ok(found)
}

/// One process, if there is one with this number that may be seen, and it is not the kernel's.
///
/// # Errors
/// When the system cannot tell for now.
pub(crate) fn stat(pid: Pid) -> io::Result<Option<Stat>> {
    // In one piece, and without a look at its size: this is done for every process there is.
    let mut text = [0; STAT_BYTES];
    let read = File::open(format!("/proc/{}/stat", pid.as_raw_pid())).and_then(|mut stat| stat.read(&mut text));
    match read {
        Ok(length) => Ok(text.get(..length).and_then(|text| parse(pid, text))),
        Err(error) if is_gone(&error) || error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

/// The time in which `start` is told.
pub(crate) fn ticks() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Boottime);
    let per_second = rustix::param::clock_ticks_per_second();
    let part = |nanos: i64| u64::try_from(nanos).unwrap_or_default() * per_second / 1_000_000_000;
    u64::try_from(now.tv_sec).unwrap_or_default() * per_second + part(now.tv_nsec)
}

/// Reads the mark of a process. One whose first thread has ended is asked for it by another one.
pub(crate) fn mark(pid: Pid) -> Mark {
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_pid()));
    match mark_at(&process) {
        Mark::Unsettled => {
            let threads = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
            let mut marks = threads.map(|thread| mark_at(&thread.path()));
            marks.find(|mark| *mark != Mark::Unsettled).unwrap_or(Mark::Unsettled)
        }
        settled @ (Mark::Dir(_) | Mark::None) => settled,
    }
}

/// The same, of one that is worth a moment's wait.
pub(crate) fn settled_mark(pid: Pid) -> Mark {
    let mut found = mark(pid);
    for _ in 0..SETTLE_TRIES {
        let is_live = || stat(pid).map_or(true, |stat| stat.is_some_and(|stat| stat.is_live));
        if found != Mark::Unsettled || !is_live() {
            break;
        }
        std::thread::sleep(SETTLE_WAIT);
        found = mark(pid);
    }
    found
}

fn mark_at(thread: &Path) -> Mark {
    for _ in 0..EMPTY_TRIES {
        match environment(thread) {
            Ok(environment) if !environment.is_empty() => return mark_in(&environment),
            // It may have got one after that was read: one that is empty is so again and again.
            Ok(_) if has_environment(thread) => {}
            Ok(_) => return Mark::Unsettled,
            // It is about to end, and has no memory any more.
            Err(error) if is_gone(&error) => return Mark::Unsettled,
            Err(_) => return Mark::None,
        }
    }
    Mark::None
}

fn mark_in(environment: &[u8]) -> Mark {
    let mut variables = environment.split(|&byte| byte == 0);
    let dir = variables.find_map(|variable| variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="));
    dir.map_or(Mark::None, |dir| Mark::Dir(dir.to_vec()))
}

/// Reads as much as there is at once: the rest of it may be gone a moment later, when another program is executed.
fn environment(thread: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(thread.join("environ"))?;
    let (mut environment, mut length) = (vec![0; ENVIRONMENT_BYTES], 0);
    loop {
        let read = file.read(&mut environment[length..])?;
        length += read;
        if length < environment.len() {
            environment.truncate(length);
            return Ok(environment);
        }
        environment.resize(2 * length, 0);
    }
}

/// Whether a process was given an environment with its program, and be it an empty one.
fn has_environment(thread: &Path) -> bool {
    let stat = fs::read(thread.join("stat")).unwrap_or_default();
    let stat = String::from_utf8_lossy(&stat);
    let fields = stat.rsplit(')').next().unwrap_or_default();
    fields.split_ascii_whitespace().nth(ENVIRONMENT_END).is_some_and(|end| end != "0")
}

impl Mark {
    /// Whether it is this attempt's.
    pub(crate) fn is(&self, dir: &Path) -> bool {
        matches!(self, Mark::Dir(found) if found == dir.as_os_str().as_bytes())
    }

    /// Whether it is that of an attempt which has its directory.
    pub(crate) fn exists(&self) -> bool {
        matches!(self, Mark::Dir(found) if Path::new(OsStr::from_bytes(found)).is_dir())
    }

    /// Whether it is that of some attempt with its directory in `attempts`.
    pub(crate) fn is_in(&self, attempts: &Path) -> bool {
        let below =
            |found: &[u8]| found.strip_prefix(attempts.as_os_str().as_bytes())?.strip_prefix(b"/").map(<[u8]>::len);
        matches!(self, Mark::Dir(found) if below(found).is_some())
    }
}

impl Handle {
    /// Takes hold of a process that was seen before, and looks at it again; nothing if it is not there any more.
    pub(crate) fn open(seen: &Stat) -> Option<(Self, Stat)> {
        let handle = match rustix::process::pidfd_open(seen.pid, PidfdFlags::empty()) {
            Ok(pidfd) => Handle::Pidfd(pidfd),
            Err(Errno::SRCH) => return None,
            // Old kernels and some sandboxes have no pidfds, and descriptors can run out.
            Err(_) => Handle::Number(seen.pid),
        };
        let now = stat(seen.pid).ok().flatten()?;
        (now.start == seen.start && now.is_live).then_some((handle, now))
    }

    /// Kills it. One that has ended since is left alone.
    ///
    /// # Errors
    /// When it may not be killed.
    pub(crate) fn kill(&self) -> io::Result<()> {
        let killed = match self {
            Handle::Pidfd(pidfd) => rustix::process::pidfd_send_signal(pidfd, Signal::KILL),
            Handle::Number(pid) => rustix::process::kill_process(*pid, Signal::KILL),
        };
        match killed {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Reads proc(5)'s `stat`. A process whose first thread has ended looks like a zombie while its other threads live.
fn parse(pid: Pid, stat: &[u8]) -> Option<Stat> {
    // The program's name comes before and may be any bytes, parentheses among them.
    let name_end = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let fields = String::from_utf8_lossy(stat.get(name_end..)?).into_owned();
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    if number(6)? & KERNEL_THREAD != 0 {
        return None;
    }
    let is_live = match *fields.first()? {
        "Z" => number(17)? > 1,
        "X" | "x" => false,
        _ => true,
    };
    Some(Stat {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        start: number(19)?,
        is_live,
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number).expect("a number")
    }

    #[test]
    fn a_process_lives_while_a_thread_of_it_does() {
        let text = |name: &str, state: &str, threads: u32| {
            format!("31 ({name}) {state} 1 20 9 0 -1 4194560 2 3 4 5 6 7 8 9 20 0 {threads} 0 777 0\n")
        };
        let lives = |name: &str, state: &str, threads: u32| {
            let stat = parse(pid(31), text(name, state, threads).as_bytes()).expect("a process");
            assert_eq!((stat.pid, stat.parent, stat.group, stat.start), (pid(31), 1, 20, 777));
            stat.is_live
        };
        assert!(lives("sh", "S", 1) && lives("sh", "D", 1) && lives("a) Z 1 (b", "T", 1));
        assert!(!lives("sh", "Z", 1) && !lives("sh", "X", 0) && !lives("a) S 1 20 (b", "Z", 1));
        assert!(lives("python", "Z", 2), "its first thread has ended");
        let kernel = text("kworker", "I", 1).replace("4194560", "2129984");
        for odd in ["", ")", "31 (sh)", "31 (sh) S", "31 (sh) S x y", &kernel] {
            assert_eq!(parse(pid(31), odd.as_bytes()), None, "{odd:?}");
        }
    }

    #[test]
    fn a_process_starts_when_it_is_started() {
        let before = ticks();
        let mut child = Command::new("/bin/sleep").arg("300").spawn().expect("a process");
        let start = stat(Pid::from_child(&child)).expect("an answer").expect("it runs").start;
        assert!((before..=ticks()).contains(&start), "{before} {start}");
        child.kill().expect("it runs");
        child.wait().expect("a status");
    }

    #[test]
    fn a_mark_is_read_from_the_environment_and_from_nothing_else() {
        let marked = |dir: &str| {
            let mut child = Command::new("/bin/sleep").arg("300").env(MARK, dir).spawn().expect("a process");
            let mut found = mark(Pid::from_child(&child));
            // It is there as soon as its program is being executed, and has its environment a moment later.
            while found == Mark::Unsettled {
                found = mark(Pid::from_child(&child));
            }
            child.kill().expect("it runs");
            child.wait().expect("a status");
            found
        };
        let found = marked("/data/attempts/1.0.1");
        assert!(found.is(Path::new("/data/attempts/1.0.1")) && found.is_in(Path::new("/data/attempts")));
        assert!(!found.is(Path::new("/data/attempts/1.0.10")) && !found.is(Path::new("/data/attempts/1.0.")));
        assert!(!found.is_in(Path::new("/data/attempt")) && !found.is_in(Path::new("/other/attempts")));
        let none = Mark::None;
        assert!(!none.is(Path::new("")) && !none.is_in(Path::new("")));
    }

    #[test]
    fn one_without_an_environment_is_told_from_one_that_has_none_yet() {
        for env in [vec![], vec![("LONG", "x".repeat(100_000))]] {
            let mut child = Command::new("/bin/sleep").arg("300").env_clear().envs(env).spawn().expect("a process");
            let pid = Pid::from_child(&child);
            while mark(pid) == Mark::Unsettled {}
            assert_eq!(mark(pid), Mark::None);
            child.kill().expect("it runs");
            while stat(pid).expect("an answer").expect("nobody waits for it").is_live {}
            assert_eq!(mark(pid), Mark::Unsettled, "it has no memory any more");
            child.wait().expect("a status");
        }
    }

    #[test]
    fn a_handle_is_on_the_process_that_was_seen_or_on_none() {
        let mut child = Command::new("/bin/sleep").arg("300").spawn().expect("a process");
        let seen = stat(Pid::from_child(&child)).expect("an answer").expect("it runs");
        let (handle, now) = Handle::open(&seen).expect("it runs");
        assert!(matches!(handle, Handle::Pidfd(_)));
        assert_eq!(now.start, seen.start);
        // Its number, given to another: one that was not started when this one was.
        assert!(Handle::open(&Stat { start: seen.start - 1, ..seen }).is_none());
        handle.kill().expect("it may be");
        child.wait().expect("a status");
        handle.kill().expect("it has ended, whoever has its number now");
        assert!(Handle::open(&seen).is_none());
    }
}
