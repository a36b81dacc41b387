//! What is submitted, made of flags and files. The master checks it: there is one set of rules.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::Path;

use sortie_master::api::{OnLost, Retry, Spec};
use sortie_wire::draft::{MAX_SCRIPT_BYTES, MAX_STDIN_BYTES};

use crate::cli::{self, AgainArgs, SpecArgs};
use crate::exit::{Failure, Result};

/// Reads the files that the flags name.
pub(super) fn read(args: SpecArgs) -> Result<Spec> {
    let is_stdin = |path: &Option<std::path::PathBuf>| path.as_deref() == Some(Path::new("-"));
    if is_stdin(&args.stdin) && is_stdin(&args.command.script) {
        return Err(Failure::usage("standard input cannot be both the script and the command's standard input"));
    }
    let argv = args.command.argv;
    Ok(Spec {
        cmd: args.command.cmd,
        argv: (!argv.is_empty()).then_some(argv),
        script: args.command.script.map(|path| text(&path, "--script", MAX_SCRIPT_BYTES)).transpose()?,
        name: args.name,
        env: args.env.into_iter().collect(),
        cwd: args.cwd,
        stdin: args.stdin.map(|path| text(&path, "--stdin", MAX_STDIN_BYTES)).transpose()?,
        timeout: args.timeout,
        kill_grace: args.kill_grace,
        queue_timeout: args.queue_timeout,
        on_lost: args.again.on_lost.map(on_lost),
        max_lost: args.again.max_lost,
        retry: retry(args.again),
        priority: args.priority,
        slots: args.slots,
        selector: args.selector,
        labels: args.label.into_iter().collect(),
    })
}

/// What the flags say about retries, if they say anything.
fn retry(args: AgainArgs) -> Option<Retry> {
    let retry = Retry {
        count: args.retry,
        backoff: args.retry_backoff,
        max_backoff: args.retry_max_backoff,
        exit_codes: args.retry_exit_codes,
    };
    (retry != Retry::default()).then_some(retry)
}

fn on_lost(on_lost: cli::OnLost) -> OnLost {
    match on_lost {
        cli::OnLost::Retry => OnLost::Retry,
        cli::OnLost::Fail => OnLost::Fail,
    }
}

/// The text in a file, or on standard input if `path` is a dash.
fn text(path: &Path, flag: &str, max_bytes: usize) -> Result<String> {
    if path != Path::new("-") {
        let file = File::open(path);
        let file = file.map_err(|error| Failure::usage(format!("{flag}: cannot read {}: {error}", path.display())))?;
        return limited(file, flag, max_bytes);
    }
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(Failure::usage(format!("{flag}: standard input is a terminal; name a file, or pipe something in")));
    }
    limited(stdin.lock(), flag, max_bytes)
}

fn limited(from: impl Read, flag: &str, max_bytes: usize) -> Result<String> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    let read = from.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| Failure::usage(format!("{flag}: cannot be read: {error}")))?;
    if bytes.len() > max_bytes {
        return Err(Failure::usage(format!("{flag}: is longer than {max_bytes} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{flag}: is not UTF-8, which the spec's JSON needs")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_has_a_limit() {
        assert_eq!(limited(&b"abc"[..], "--stdin", 3), Ok("abc".into()));
        assert_eq!(limited(&b"abcd"[..], "--stdin", 3).expect_err("too long").code(), 64);
        assert_eq!(limited(&b"\xff"[..], "--stdin", 3).expect_err("no text").code(), 64);
    }
}
