//! What a command finds around it: its variables, and the programs that it can name.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::io::Errno;
use sortie_wire::node::StartOrder;

use crate::processes::MARK;

/// Where programs are looked for, unless the task says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command's variables, by their names.
pub(crate) type Variables = BTreeMap<OsString, OsString>;

/// Puts a command's variables together; nothing of the worker's own is among them.
pub(crate) fn variables(order: &StartOrder, worker: &str, traceparent: Option<&str>, dir: &Path) -> Variables {
    let task = order.attempt.task;
    let mut variables = Variables::new();
    let mut set = |key: &str, value: &OsStr| variables.insert(key.into(), value.into());
    set("PATH", PATH.as_ref());
    set("HOME", dir.as_ref());
    set("TMPDIR", dir.as_ref());
    set("LANG", "C.UTF-8".as_ref());
    for (key, value) in &order.env {
        set(key, value.as_ref());
    }
    if let Some(traceparent) = traceparent {
        set("TRACEPARENT", traceparent.as_ref());
    }
    set("SORTIE_JOB_ID", task.job.to_string().as_ref());
    set("SORTIE_TASK_ID", task.to_string().as_ref());
    set("SORTIE_INDEX", task.index.to_string().as_ref());
    set("SORTIE_ATTEMPT", order.attempt.number.to_string().as_ref());
    set("SORTIE_WORKER", worker.as_ref());
    set(MARK, dir.as_ref());
    variables
}

/// Finds a program as `execvp` would, by the command's own PATH and working directory.
///
/// # Errors
/// `NOENT` if it is nowhere, `ACCESS` if it may not be executed where it is.
pub(crate) fn find(program: &str, path: Option<&OsString>, cwd: &Path) -> Result<PathBuf, Errno> {
    if program.contains('/') {
        return Ok(cwd.join(program));
    }
    let mut found = Err(Errno::NOENT);
    for dir in path.into_iter().flat_map(std::env::split_paths) {
        let candidate = cwd.join(dir).join(program);
        if candidate.is_file() {
            match rustix::fs::access(&candidate, Access::EXEC_OK) {
                Ok(()) => return Ok(candidate),
                Err(_) => found = Err(Errno::ACCESS),
            }
        }
    }
    found
}
