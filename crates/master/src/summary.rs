//! What a list shows of a job: a page of a thousand tasks must not carry a script of a megabyte a thousand times.

use std::sync::Arc;

use sortie_engine::{Command, Job, TaskSpec};

/// The longest command that a list shows, in bytes.
const MAX_COMMAND_BYTES: usize = 1024;

/// Stands where something was cut.
const CUT: &str = "…";

/// Cuts the command short, and leaves input and variables out, if they are long.
pub(crate) fn shorten(job: &mut Arc<Job>) {
    let spec = job.spec();
    if size(spec) > MAX_COMMAND_BYTES {
        let mut short = Job::clone(job);
        short.submission.spec = shortened(spec);
        *job = Arc::new(short);
    }
}

fn size(spec: &TaskSpec) -> usize {
    let command = match &spec.command {
        Command::Line(text) | Command::Script(text) => text.len(),
        Command::Argv(argv) => argv.iter().map(String::len).sum(),
    };
    let env: usize = spec.env.iter().map(|(key, value)| key.len() + value.len()).sum();
    command + env + spec.stdin.as_ref().map_or(0, String::len)
}

fn shortened(spec: &TaskSpec) -> TaskSpec {
    let command = match &spec.command {
        Command::Line(line) => Command::Line(cut(line, MAX_COMMAND_BYTES)),
        Command::Script(script) => Command::Script(cut(script, MAX_COMMAND_BYTES)),
        Command::Argv(argv) => Command::Argv(cut_all(argv)),
    };
    TaskSpec { command, env: Default::default(), stdin: None, ..spec.clone() }
}

fn cut_all(argv: &[String]) -> Vec<String> {
    let mut room = MAX_COMMAND_BYTES;
    let mut short = Vec::new();
    for argument in argv {
        if room == 0 {
            short.push(CUT.to_owned());
            break;
        }
        short.push(cut(argument, room));
        room = room.saturating_sub(argument.len() + 1);
    }
    short
}

fn cut(text: &str, max_bytes: usize) -> String {
    match text.len() > max_bytes {
        true => format!("{}{CUT}", &text[..text.floor_char_boundary(max_bytes)]),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use sortie_engine::{JobId, Submission, Time};

    use super::*;

    fn job(command: Command) -> Arc<Job> {
        let spec = TaskSpec { stdin: Some("x".into()), ..TaskSpec::new(command) };
        let submission = Submission { spec, count: 1, traceparent: None, key: None };
        Arc::new(Job { id: JobId(1), submitted: Time(0), submission })
    }

    #[test]
    fn what_is_short_is_shown_whole() {
        let whole = job(Command::Line("true".into()));
        let mut shown = whole.clone();
        shorten(&mut shown);
        assert!(Arc::ptr_eq(&shown, &whole));
    }

    #[test]
    fn what_is_long_is_cut_and_says_so() {
        let mut shown = job(Command::Line("é".repeat(1000)));
        shorten(&mut shown);
        assert_eq!(shown.spec().command, Command::Line(format!("{}…", "é".repeat(512))));
        assert_eq!(shown.spec().stdin, None);
        let mut shown = job(Command::Argv(vec!["a".repeat(600); 3]));
        shorten(&mut shown);
        let expected = vec!["a".repeat(600), format!("{}…", "a".repeat(423)), "…".into()];
        assert_eq!(shown.spec().command, Command::Argv(expected));
    }
}
