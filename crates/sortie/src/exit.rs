//! How the program ends: its exit codes, and the failures that lead to them.
//!
//! | code | means |
//! | --- | --- |
//! | 0 | it worked |
//! | 1 | the master answered that it cannot be (no such task, a conflict, too large), or that a cancel is not confirmed |
//! | 64 | the command line, the configuration or a field of the spec cannot be used |
//! | 69 | the master cannot be reached, is shutting down or is too busy to answer (429); try again |
//! | 70 | a defect, on either side; or the command was lost or expired, which has no exit code |
//! | 77 | not allowed |
//!
//! A command's own exit code comes first. What ended otherwise has the code that a shell's user expects: 124 for a
//! timeout, 126 and 127 for what could not be started, 128 and the signal's number (137 for what ran out of memory, as
//! that is how the kernel kills), 130 for what was cancelled.

use sortie_master::api::Outcome;

use crate::talk;

/// What was cancelled, and awaited, is not known to be gone.
pub(crate) const UNCONFIRMED: u8 = 1;
/// The command line, the configuration or a field cannot be used (`EX_USAGE`).
const USAGE: u8 = 64;
/// The master cannot be reached (`EX_UNAVAILABLE`).
const UNAVAILABLE: u8 = 69;
/// A defect (`EX_SOFTWARE`).
const INTERNAL: u8 = 70;
/// Not allowed (`EX_NOPERM`).
const NOT_ALLOWED: u8 = 77;
/// What the shell says of a program whose reader went away: 128 and SIGPIPE.
const READER_GONE: u8 = 141;
/// The signal that the kernel kills with when there is no memory left.
const SIGKILL: i32 = 9;
/// The error number of a file that is not there.
const ENOENT: i32 = 2;

/// Why the program ends early: what it says, and the code that it ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    code: u8,
    message: Option<String>,
}

/// What may fail, and end the program.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// The command line, the configuration or a field cannot be used.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Failure { code: USAGE, message: Some(message.into()) }
    }

    /// Something is not there now; trying again may help.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Failure { code: UNAVAILABLE, message: Some(message.into()) }
    }

    /// Something is broken.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Failure { code: INTERNAL, message: Some(message.into()) }
    }

    /// It is not allowed.
    pub(crate) fn not_allowed(message: impl Into<String>) -> Self {
        Failure { code: NOT_ALLOWED, message: Some(message.into()) }
    }

    /// A signal that insisted: the program leaves at once and says no more.
    pub(crate) fn forced(code: u8) -> Self {
        Failure { code, message: None }
    }

    /// Nobody reads the standard output any more.
    pub(crate) fn reader_gone() -> Self {
        Failure { code: READER_GONE, message: None }
    }

    /// What the master's error answer with `status` means.
    pub(crate) fn of_status(status: u16, message: String) -> Self {
        let code = match status {
            400 | 422 => USAGE,
            401 | 403 => NOT_ALLOWED,
            // A gateway says 502 and 504 of a master that is away.
            429 | 502..=504 => UNAVAILABLE,
            404..=499 => 1,
            _ => INTERNAL,
        };
        Failure { code, message: Some(message) }
    }

    /// Whether trying again may help.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.code == UNAVAILABLE
    }

    /// Whether the program leaves at once: somebody insisted, or nobody reads.
    pub(crate) fn is_abrupt(&self) -> bool {
        self.message.is_none()
    }

    /// Says on standard error what is wrong.
    pub(crate) fn tell(&self) {
        if let Some(message) = &self.message {
            talk::note(message);
        }
    }

    /// Says on standard error what is wrong, and what is done about it.
    pub(crate) fn tell_and(&self, remedy: &str) {
        if let Some(message) = &self.message {
            talk::note(&format!("{message}; {remedy}"));
        }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

/// The exit code that stands for how a command ended.
pub(crate) fn code_of(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Exited { code } => low_byte(*code),
        Outcome::Signaled { signal } => low_byte(128 + signal),
        Outcome::OutOfMemory => low_byte(128 + SIGKILL),
        Outcome::CouldNotStart { errno: ENOENT, .. } => 127,
        Outcome::CouldNotStart { .. } => 126,
        Outcome::TimedOut => 124,
        Outcome::Cancelled { .. } => 130,
        Outcome::Expired | Outcome::Lost { .. } => INTERNAL,
    }
}

/// An exit code has eight bits.
fn low_byte(code: i32) -> u8 {
    code.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use sortie_master::api::{LostReason, Started};

    use super::*;

    #[test]
    fn a_command_s_own_code_comes_first() {
        assert_eq!(code_of(&Outcome::Exited { code: 0 }), 0);
        assert_eq!(code_of(&Outcome::Exited { code: 3 }), 3);
        assert_eq!(code_of(&Outcome::Exited { code: 255 }), 255);
        assert_eq!(code_of(&Outcome::Signaled { signal: 9 }), 137);
    }

    #[test]
    fn other_ends_have_the_codes_that_shells_give_them() {
        let could_not_start = |errno| Outcome::CouldNotStart { errno, detail: String::new() };
        assert_eq!(code_of(&could_not_start(2)), 127);
        assert_eq!(code_of(&could_not_start(13)), 126);
        assert_eq!(code_of(&Outcome::OutOfMemory), 137);
        assert_eq!(code_of(&Outcome::TimedOut), 124);
        assert_eq!(code_of(&Outcome::Cancelled { by: "anna".into(), confirmed: true }), 130);
        assert_eq!(code_of(&Outcome::Expired), 70);
        assert_eq!(code_of(&Outcome::Lost { started: Started::Yes, reason: LostReason::Overdue }), 70);
    }

    #[test]
    fn an_error_answer_has_its_code() {
        let code = |status| Failure::of_status(status, String::new()).code();
        assert_eq!([400, 401, 403, 404, 409, 413, 422].map(code), [64, 77, 77, 1, 1, 1, 64]);
        assert_eq!([429, 500, 502, 503, 504].map(code), [69, 70, 69, 69, 69]);
    }
}
