//! The worker's directory: its lock, and a directory for each attempt.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sortie_engine::AttemptId;

use crate::Error;

/// For the worker's user alone: scripts and working directories may hold secrets.
const PRIVATE: u32 = 0o700;

/// Where the directories of attempts are made.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    attempts: PathBuf,
}

/// An attempt's own place: the empty directory for its command to run in and, beside it, its script if it is one.
#[derive(Debug)]
pub(crate) struct AttemptDir(PathBuf);

/// The proof that no other worker uses the directory, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not used")] File);

/// Takes a directory for this worker alone, and removes what a dead predecessor's attempts left there.
///
/// # Errors
/// When it cannot be made or read, or another worker has it.
pub(crate) fn open(data_dir: &Path) -> Result<(Workspace, Lock), Error> {
    let unusable = |source| Error::DataDir { path: data_dir.to_owned(), source };
    fs::create_dir_all(data_dir).map_err(unusable)?;
    let lock = File::create(data_dir.join("lock")).map_err(unusable)?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::Error(source) => unusable(source),
        TryLockError::WouldBlock => Error::DataDirInUse { path: data_dir.to_owned() },
    })?;
    // Commands run elsewhere: their HOME must not depend on where.
    let attempts = data_dir.canonicalize().map_err(unusable)?.join("attempts");
    clear(&attempts).map_err(unusable)?;
    Ok((Workspace { attempts }, Lock(lock)))
}

impl Workspace {
    /// Makes an attempt's directory: just one, for that is the dearest part of a short command after the command.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn create(&self, attempt: AttemptId) -> io::Result<AttemptDir> {
        let dir = self.attempts.join(format!("{}.{}", attempt.task, attempt.number));
        make_private(&dir)?;
        Ok(AttemptDir(dir))
    }
}

impl AttemptDir {
    /// The directory that belongs to the command.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a script beside the directory, and says where.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn write_script(&self, text: &str) -> io::Result<PathBuf> {
        let path = self.script();
        let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&path)?;
        file.write_all(text.as_bytes())?;
        Ok(path)
    }

    /// Removes the directory with all that is in it, and the script.
    pub(crate) fn remove(&self) {
        remove_or_leave(&self.0);
        remove_or_leave(&self.script());
    }

    fn script(&self) -> PathBuf {
        self.0.with_added_extension("script")
    }
}

/// Makes sure that there is a directory with nothing in it.
fn clear(attempts: &Path) -> io::Result<()> {
    match make_private(attempts) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        other => return other,
    }
    for entry in fs::read_dir(attempts)? {
        remove_or_leave(&entry?.path());
    }
    Ok(())
}

fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(PRIVATE).create(path)
}

/// What cannot be removed is left for the next start.
fn remove_or_leave(path: &Path) {
    if let Err(error) = remove(path) {
        tracing::warn!(path = %path.display(), %error, "what an attempt left cannot be removed");
    }
}

/// Removes whatever is there; an empty directory, which is what most commands leave, in one call.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => remove_tree(path),
        other => other,
    }
}

/// Commands make directories read-only (Go's module cache is), out of which nobody but root can remove anything.
fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            open_tree(path)?;
            fs::remove_dir_all(path)
        }
        other => other,
    }
}

fn open_tree(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(PRIVATE))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // Of the entry itself: a link's target is none of our business.
        if entry.file_type()?.is_dir() {
            open_tree(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sortie_engine::JobId;

    use super::*;

    #[test]
    fn a_directory_has_one_worker() {
        let dir = tempfile::tempdir().expect("a directory");
        let taken = open(dir.path()).expect("a workspace");
        assert!(matches!(open(dir.path()), Err(Error::DataDirInUse { path }) if path == dir.path()));
        drop(taken);
        open(dir.path()).expect("a workspace");
    }

    #[test]
    fn a_directory_that_cannot_be_is_an_error() {
        assert!(matches!(open(Path::new("/dev/null/x")), Err(Error::DataDir { .. })));
    }

    #[test]
    fn what_a_dead_worker_left_is_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let attempt = JobId(1).task(2).attempt(3);
        let (workspace, lock) = open(dir.path()).expect("a workspace");
        let left = workspace.create(attempt).expect("an attempt's directory");
        left.write_script("#!/bin/true").expect("a script");
        fs::write(left.path().join("file"), "x").expect("a file");
        workspace.create(attempt).expect_err("it is there");
        drop((workspace, lock));
        let (workspace, _lock) = open(dir.path()).expect("a workspace");
        assert_eq!(fs::read_dir(&workspace.attempts).expect("a directory").count(), 0);
    }
}
