//! The flags of what is submitted.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What is run: exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct CommandArgs {
    /// A line for /bin/sh -c.
    #[arg(long, value_name = "LINE")]
    pub(crate) cmd: Option<String>,
    /// A file with a #! line, which is sent along; - is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) script: Option<PathBuf>,
    /// A program and its arguments, run as they are.
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) argv: Vec<String>,
}

/// What a task is.
#[derive(Debug, Args)]
pub(crate) struct SpecArgs {
    #[command(flatten)]
    pub(crate) command: CommandArgs,
    /// What people call it.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A variable beside those that every command gets; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) env: Vec<(String, String)>,
    /// An absolute path to run in; an empty directory of its own if absent.
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<String>,
    /// Text for its standard input, to 1 MiB; - or nothing is standard input.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub(crate) stdin: Option<PathBuf>,
    /// How long it may run, such as 90s; 1day if absent.
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<String>,
    /// How long it has between TERM and KILL; 10s if absent.
    #[arg(long, value_name = "DURATION")]
    pub(crate) kill_grace: Option<String>,
    /// How long it may wait for a worker; 7days if absent.
    #[arg(long, value_name = "DURATION")]
    pub(crate) queue_timeout: Option<String>,
    #[command(flatten)]
    pub(crate) again: AgainArgs,
    /// Higher goes first; 0 if absent.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) priority: Option<i32>,
    /// How many of a worker's slots it takes; 1 if absent.
    #[arg(long, value_name = "N")]
    pub(crate) slots: Option<u32>,
    /// Which workers it may run on, by their labels: zone=a,gpu,!spot,disk!=hdd.
    #[arg(long)]
    pub(crate) selector: Option<String>,
    /// What it is labelled with; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) label: Vec<(String, String)>,
}

/// When it is tried again.
#[derive(Debug, Args)]
pub(crate) struct AgainArgs {
    /// Try it again up to N times when it fails or runs into its timeout; 0 if absent.
    #[arg(long, value_name = "N")]
    pub(crate) retry: Option<u32>,
    /// The longest wait before the first retry, which doubles with each; 1s if absent.
    #[arg(long, value_name = "DURATION")]
    pub(crate) retry_backoff: Option<String>,
    /// The longest wait before any retry; 5m if absent.
    #[arg(long, value_name = "DURATION")]
    pub(crate) retry_max_backoff: Option<String>,
    /// Only these exit codes are worth a retry, such as 75,111; every failure if absent.
    #[arg(long, value_name = "CODES", value_delimiter = ',', requires = "retry")]
    pub(crate) retry_exit_codes: Vec<i32>,
    /// What to do when it started and nobody can know how it ended; retry if absent.
    #[arg(long, value_enum, value_name = "ACTION")]
    pub(crate) on_lost: Option<OnLost>,
    /// Try it again up to N times when it is lost; 3 if absent.
    #[arg(long, value_name = "N")]
    pub(crate) max_lost: Option<u32>,
}

/// What is done about a task that is lost after it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnLost {
    /// Try it again: running it twice does no harm.
    Retry,
    /// Let it be lost: it must never run twice.
    Fail,
}

/// The flags of a submission that may be repeated.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// A repeat with the same key, within 24 hours, is the same submission; a random key if absent.
    #[arg(long = "idempotency-key", value_name = "KEY")]
    pub(crate) key: Option<String>,
}

/// `KEY=VALUE`, cut at the first equals sign.
fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, ClientCommand, Command};

    fn run(arguments: &[&str]) -> Result<SpecArgs, clap::Error> {
        let cli = Cli::try_parse_from(["sortie", "run"].iter().chain(arguments))?;
        let Command::Client(command) = cli.command else { panic!("{cli:?}") };
        let ClientCommand::Run(args) = *command else { panic!("{command:?}") };
        Ok(args.spec)
    }

    #[test]
    fn a_command_keeps_its_own_flags() {
        for arguments in [&["--name", "x", "--", "ls", "-o", "--name"][..], &["--name", "x", "ls", "-o", "--name"]] {
            let spec = run(arguments).expect("a spec");
            assert_eq!(spec.command.argv, ["ls", "-o", "--name"]);
            assert_eq!(spec.name.as_deref(), Some("x"));
        }
    }

    #[test]
    fn exactly_one_command_is_given() {
        assert!(run(&[]).is_err());
        assert!(run(&["--cmd", "true", "--", "true"]).is_err());
        assert!(run(&["--cmd", "true", "--script", "x"]).is_err());
        assert_eq!(run(&["--cmd", "echo hi"]).expect("a spec").command.cmd.as_deref(), Some("echo hi"));
    }

    #[test]
    fn standard_input_needs_no_name() {
        let spec = run(&["--stdin", "--", "cat"]).expect("a spec");
        assert_eq!(spec.stdin, Some("-".into()));
        assert_eq!(spec.command.argv, ["cat"]);
        assert_eq!(run(&["--", "cat"]).expect("a spec").stdin, None);
    }

    #[test]
    fn a_pair_has_a_key() {
        assert_eq!(pair("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert!(pair("A").is_err());
        assert!(pair("=b").is_err());
    }

    #[test]
    fn retries_are_told_by_flags() {
        let flags = ["--retry", "3", "--retry-exit-codes", "75,111", "--on-lost", "fail", "--max-lost", "0", "true"];
        let again = run(&flags).expect("a spec").again;
        assert_eq!((again.retry, again.retry_exit_codes), (Some(3), vec![75, 111]));
        assert_eq!((again.on_lost, again.max_lost), (Some(OnLost::Fail), Some(0)));
        assert!(run(&["--retry-exit-codes", "75", "true"]).is_err(), "codes without retries mean nothing");
        assert!(run(&["--on-lost", "panic", "true"]).is_err());
    }
}
