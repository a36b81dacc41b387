//! The checks of single fields, in the order in which a draft's problems are told. Each gives back a value beside the
//! problems that it found: what comes of a draft counts only if there are none.

use std::collections::BTreeMap;
use std::time::Duration;

use sortie_engine::{Command, LabelError, Labels, Needs, Retry, Selector};

use super::{
    Draft, FieldError, MAX_ARGUMENT_BYTES, MAX_ARGUMENTS_BYTES, MAX_DURATION, MAX_NAME_CHARS, MAX_PATH_BYTES,
    MAX_RETRIES, MAX_SCRIPT_BYTES, MAX_SLOTS, MAX_STDIN_BYTES, RESERVED_ENV, RetryDraft, pointer_token,
};

pub(super) fn check_texts(draft: &Draft, errors: &mut Vec<FieldError>) {
    if let Some(name) = &draft.name {
        check_text("/name", name, usize::MAX, errors);
        if name.chars().count() > MAX_NAME_CHARS {
            errors.push(FieldError::new("/name", format!("is longer than {MAX_NAME_CHARS} characters")));
        }
    }
    if let Some(cwd) = &draft.cwd {
        check_text("/cwd", cwd, MAX_PATH_BYTES, errors);
        if !cwd.starts_with('/') {
            errors.push(FieldError::new("/cwd", "is not an absolute path"));
        }
    }
    if draft.stdin.as_ref().is_some_and(|stdin| stdin.len() > MAX_STDIN_BYTES) {
        errors.push(FieldError::new("/stdin", format!("is longer than {MAX_STDIN_BYTES} bytes")));
    }
}

pub(super) fn check_env(env: &BTreeMap<String, String>, errors: &mut Vec<FieldError>) {
    for (key, value) in env {
        let pointer = format!("/env/{}", pointer_token(key));
        if key.is_empty() || key.contains('=') {
            errors.push(FieldError::new(&pointer, "is not a variable's name: it is empty or has an equals sign"));
        } else if RESERVED_ENV.contains(&key.as_str()) {
            errors.push(FieldError::new(&pointer, "is set by Sortie itself; choose another name"));
        }
        check_text(&pointer, key, MAX_ARGUMENT_BYTES, errors);
        check_text(&pointer, value, MAX_ARGUMENT_BYTES, errors);
    }
    if env.iter().map(|(key, value)| key.len() + value.len() + 2).sum::<usize>() > MAX_ARGUMENTS_BYTES {
        errors.push(FieldError::new("/env", format!("takes more than {MAX_ARGUMENTS_BYTES} bytes in all")));
    }
}

pub(super) fn check_labels(labels: &Labels, errors: &mut Vec<FieldError>) {
    if let Err(error) = sortie_engine::check_labels(labels) {
        errors.push(FieldError::new("/labels", error.to_string()));
    }
}

/// The command that one of the three gives.
pub(super) fn checked_command(
    cmd: Option<String>,
    argv: Option<Vec<String>>,
    script: Option<String>,
    errors: &mut Vec<FieldError>,
) -> Command {
    let command = match (cmd, argv, script) {
        (Some(cmd), None, None) => Command::Line(cmd),
        (None, Some(argv), None) => Command::Argv(argv),
        (None, None, Some(script)) => Command::Script(script),
        (None, None, None) => {
            errors.push(FieldError::new("/cmd", "is missing; give one of cmd, argv or script"));
            return Command::Line(String::new());
        }
        (cmd, argv, _) => {
            let second = if cmd.is_some() && argv.is_some() { "/argv" } else { "/script" };
            errors.push(FieldError::new(second, "give only one of cmd, argv and script"));
            return Command::Line(String::new());
        }
    };
    check_command(&command, errors);
    command
}

pub(super) fn checked_duration(
    pointer: &str,
    given: Option<Duration>,
    default: Duration,
    errors: &mut Vec<FieldError>,
) -> Duration {
    // Time is counted in whole milliseconds everywhere.
    let ms = u64::try_from(given.unwrap_or(default).as_millis()).unwrap_or(u64::MAX);
    let duration = Duration::from_millis(ms);
    if duration.is_zero() || duration > MAX_DURATION {
        errors.push(FieldError::new(pointer, "must be from 1ms to 365days"));
    }
    duration
}

pub(super) fn checked_retry(draft: RetryDraft, usual: &Retry, errors: &mut Vec<FieldError>) -> Retry {
    let count = checked_retries("/retry/count", draft.count, usual.count, errors);
    let backoff = checked_duration("/retry/backoff", draft.backoff, usual.backoff, errors);
    let max_backoff = checked_duration("/retry/max_backoff", draft.max_backoff, usual.max_backoff, errors);
    if draft.exit_codes.iter().any(|code| !(1..=255).contains(code)) {
        errors.push(FieldError::new("/retry/exit_codes", "an exit code that is worth a retry is 1 to 255"));
    }
    Retry { count, backoff, max_backoff: max_backoff.max(backoff), exit_codes: draft.exit_codes }
}

pub(super) fn checked_retries(pointer: &str, given: Option<u32>, default: u32, errors: &mut Vec<FieldError>) -> u32 {
    let count = given.unwrap_or(default);
    if count > MAX_RETRIES {
        errors.push(FieldError::new(pointer, format!("must be 0 to {MAX_RETRIES}, not {count}")));
    }
    count
}

pub(super) fn checked_needs(
    slots: Option<u32>,
    selector: Option<&str>,
    usual: Needs,
    errors: &mut Vec<FieldError>,
) -> Needs {
    let slots = slots.unwrap_or(usual.slots);
    if !(1..=MAX_SLOTS).contains(&slots) {
        errors.push(FieldError::new("/slots", format!("must be 1 to {MAX_SLOTS}, not {slots}")));
    }
    let selector = selector.map_or(Ok(usual.selector), str::parse).unwrap_or_else(|error: LabelError| {
        errors.push(FieldError::new("/selector", error.to_string()));
        Selector::default()
    });
    Needs { slots, selector }
}

fn check_command(command: &Command, errors: &mut Vec<FieldError>) {
    match command {
        Command::Line(line) if is_blank(line) => errors.push(FieldError::new("/cmd", "is empty")),
        Command::Line(line) => check_text("/cmd", line, MAX_ARGUMENT_BYTES, errors),
        Command::Script(script) if is_blank(script) => errors.push(FieldError::new("/script", "is empty")),
        Command::Script(script) if !script.starts_with("#!") => errors.push(FieldError::new(
            "/script",
            "does not begin with a #! line; write one, such as #!/bin/sh, or use cmd for a shell line",
        )),
        Command::Script(script) => check_text("/script", script, MAX_SCRIPT_BYTES, errors),
        Command::Argv(argv) if argv.first().is_none_or(String::is_empty) => {
            errors.push(FieldError::new("/argv", "names no program; its first element is the program to run"));
        }
        Command::Argv(argv) => {
            for (i, argument) in argv.iter().enumerate() {
                check_text(&format!("/argv/{i}"), argument, MAX_ARGUMENT_BYTES, errors);
            }
            if argv.iter().map(|argument| argument.len() + 1).sum::<usize>() > MAX_ARGUMENTS_BYTES {
                errors.push(FieldError::new("/argv", format!("takes more than {MAX_ARGUMENTS_BYTES} bytes in all")));
            }
        }
    }
}

fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || (c.is_control() && c != '\0'))
}

/// A text that goes to `execve` or a path can hold no NUL.
fn check_text(pointer: &str, text: &str, max_bytes: usize, errors: &mut Vec<FieldError>) {
    if text.contains('\0') {
        errors.push(FieldError::new(pointer, "has a NUL byte, which no argument, variable or path can hold"));
    }
    if text.len() > max_bytes {
        errors.push(FieldError::new(pointer, format!("is longer than {max_bytes} bytes")));
    }
}
