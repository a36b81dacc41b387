//! `sortie guard DIR`: kills what a worker leaves behind that dies without a word. Workers start it, and nobody else.
//!
//! It lives as long as its worker and must cost next to nothing, so it is told apart from all other commands before
//! anything is set up: no command line is parsed, no runtime, log or setting is made. It is in no help.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::exit::{Failure, Result};

/// The word that asks for it.
const GUARD: &str = "guard";

/// The worker's directory, if this process is to be its guard.
pub(crate) fn asked(mut arguments: impl Iterator<Item = OsString>) -> Option<PathBuf> {
    match [arguments.nth(1)?, arguments.next()?] {
        [word, dir] if word == GUARD && arguments.next().is_none() => Some(dir.into()),
        _ => None,
    }
}

/// Guards a worker until its end.
pub(crate) fn guard(data_dir: &Path) -> Result<u8> {
    let failed = |error| Failure::internal(format!("cannot guard the worker of {}: {error}", data_dir.display()));
    sortie_worker::guard(data_dir).map(|()| 0).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_worker_asks_so() {
        let asked = |arguments: &[&str]| asked(arguments.iter().map(OsString::from));
        assert_eq!(asked(&["sortie", "guard", "/data"]), Some("/data".into()));
        for other in
            [&["sortie"][..], &["sortie", "guard"], &["sortie", "guard", "/a", "/b"], &["sortie", "run", "guard"]]
        {
            assert_eq!(asked(other), None);
        }
    }
}
