//! The system calls that no library of ours wraps, and all of this crate's `unsafe`.
#![expect(unsafe_code, reason = "wait4, and signals that are ignored, are in no safe library that we have")]

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal};

/// What the system says of a child that has ended, and was waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reaped {
    pub(crate) status: ExitStatus,
    /// The CPU time that it used, with that of the children that it waited for.
    pub(crate) cpu: Duration,
    /// The largest resident size of any one of them, in bytes.
    pub(crate) max_rss: u64,
}

/// Waits for one child, if it has ended. It does not block.
///
/// # Errors
/// When there is no such child.
pub(crate) fn reap(pid: Pid) -> io::Result<Option<Reaped>> {
    let mut status = 0;
    // SAFETY: `rusage` consists of numbers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to values of this function's that live until the call has returned.
    let reaped = unsafe { libc::wait4(pid.as_raw_pid(), &raw mut status, libc::WNOHANG, &raw mut usage) };
    match reaped {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        _ => Ok(Some(Reaped {
            status: ExitStatus::from_raw(status),
            cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
            max_rss: u64::try_from(usage.ru_maxrss).unwrap_or_default().saturating_mul(1024),
        })),
    }
}

/// One child that has ended and was not waited for yet, if there is one. It is not waited for.
pub(crate) fn any_zombie() -> Option<Pid> {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `siginfo_t` consists of numbers and pointers, for all of which zero is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a value of this function's that lives until the call has returned.
    let found = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) };
    if found == -1 {
        return None;
    }
    // SAFETY: the call has succeeded, so that these are the fields of a child's end, or all zero.
    Pid::from_raw(unsafe { info.si_pid() })
}

/// Has this process pass over a signal from now on.
pub(crate) fn ignore(signal: Signal) {
    // SAFETY: a signal that is ignored runs no handler, and nobody else here minds these.
    unsafe { libc::signal(signal.as_raw(), libc::SIG_IGN) };
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or_default())
}
