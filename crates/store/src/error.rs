//! What can go wrong with the database, and what to do about it.

use std::path::PathBuf;

use rusqlite::ErrorCode;

/// Why a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the directory's lock.
    #[error("another master uses {0}; stop it, or give this one a directory of its own")]
    Locked(PathBuf),
    /// The database's format is not known to this binary yet.
    #[error("the database has format {found} and this version knows {known}; run the version that wrote it, or newer")]
    Newer {
        /// The format of the file.
        found: i64,
        /// The newest that this binary can read.
        known: i64,
    },
    /// A database of some other program.
    #[error("{0} is a database of another program; give this master a directory of its own")]
    Foreign(PathBuf),
    /// The file is no database, or what it holds cannot be.
    #[error("the database is damaged ({0}); restore it from a backup, or move it away to begin anew")]
    Damaged(String),
    /// The file system refused.
    #[error("the data directory cannot be used ({0}); check that the path, its owner and its disk are right")]
    Io(String),
}

/// Why a batch is not durable; nothing of it is visible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The disk, or the quota on it, is used up.
    #[error("the disk with the database is full; make room and start the master again")]
    Full,
    /// Another program holds the database's write lock.
    #[error("another program locks the database; end it and start the master again")]
    Busy,
    /// What the database holds contradicts the batch, or itself.
    #[error("the database is damaged ({0}); restore it from a backup and start the master again")]
    Damaged(String),
    /// The file system refused.
    #[error("the database cannot be written ({0}); check the disk and start the master again")]
    Io(String),
    /// An earlier commit failed, and what is in memory is no longer what is on disk.
    #[error("an earlier commit failed; start the master again")]
    Closed,
}

/// Why a read has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Another program holds the database's lock; a retry may help.
    #[error("another program locks the database; try again")]
    Busy,
    /// What the database holds cannot be.
    #[error("the database is damaged ({0}); restore it from a backup")]
    Damaged(String),
    /// The file system refused, or the process is ending.
    #[error("the database cannot be read ({0}); check the disk and try again")]
    Io(String),
}

/// What went wrong, before it is known in the midst of what.
#[derive(Debug)]
pub(crate) enum Fault {
    Full,
    Busy,
    Damaged(String),
    Io(String),
}

/// Something in the database that cannot be.
pub(crate) fn damaged(what: impl Into<String>) -> Fault {
    Fault::Damaged(what.into())
}

impl From<rusqlite::Error> for Fault {
    /// What is neither the disk's fault nor a lock's is a row, a page or a table that cannot be.
    fn from(error: rusqlite::Error) -> Self {
        const IO: [ErrorCode; 6] = [
            ErrorCode::SystemIoFailure,
            ErrorCode::CannotOpen,
            ErrorCode::PermissionDenied,
            ErrorCode::ReadOnly,
            ErrorCode::OutOfMemory,
            ErrorCode::NoLargeFileSupport,
        ];
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Fault::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Fault::Busy,
            Some(code) if IO.contains(&code) => Fault::Io(error.to_string()),
            Some(_) | None => Fault::Damaged(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Fault::Damaged(error.to_string())
    }
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => OpenError::Io("the disk is full".into()),
            Fault::Busy => OpenError::Io("another program locks the database".into()),
            Fault::Damaged(detail) => OpenError::Damaged(detail),
            Fault::Io(detail) => OpenError::Io(detail),
        }
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Fault::from(error).into()
    }
}

impl From<std::io::Error> for OpenError {
    fn from(error: std::io::Error) -> Self {
        OpenError::Io(error.to_string())
    }
}

impl From<Fault> for CommitError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => CommitError::Full,
            Fault::Busy => CommitError::Busy,
            Fault::Damaged(detail) => CommitError::Damaged(detail),
            Fault::Io(detail) => CommitError::Io(detail),
        }
    }
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => ReadError::Io("the disk is full".into()),
            Fault::Busy => ReadError::Busy,
            Fault::Damaged(detail) => ReadError::Damaged(detail),
            Fault::Io(detail) => ReadError::Io(detail),
        }
    }
}
