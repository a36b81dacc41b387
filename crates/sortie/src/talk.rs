//! What the program says: results on standard output, everything else on standard error.
//!
//! The print macros panic when nobody reads any more, as `sortie list | head` does to them; here that is a quiet end.

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

use serde_json::Value;

use crate::exit::{Failure, Result};

/// Writes a result's bytes as they are to standard output.
pub(crate) fn bytes(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| {
        if error.kind() == ErrorKind::BrokenPipe {
            return Failure::reader_gone();
        }
        Failure::internal(format!("cannot write to standard output: {error}"))
    })
}

/// Writes a result's line, or lines, to standard output.
pub(crate) fn line(text: &str) -> Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes a result as JSON for people and programs to standard output.
pub(crate) fn json(value: &Value) -> Result<()> {
    line(&format!("{value:#}"))
}

/// Writes a command's bytes as they are to standard error.
pub(crate) fn error_bytes(bytes: &[u8]) {
    // If nobody reads what is wrong, there is nobody to tell that.
    _ = io::stderr().lock().write_all(bytes);
}

/// Says a sentence on standard error.
pub(crate) fn note(message: &str) {
    error_bytes(format!("sortie: {message}\n").as_bytes());
}

/// Whether colours are wanted on standard output.
pub(crate) fn colours_on_stdout() -> bool {
    io::stdout().is_terminal() && colours_are_welcome()
}

/// Whether colours are wanted on standard error.
pub(crate) fn colours_on_stderr() -> bool {
    io::stderr().is_terminal() && colours_are_welcome()
}

/// By <https://no-color.org>, and by what the terminal can.
fn colours_are_welcome() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
