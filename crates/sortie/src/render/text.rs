//! Single values in words.

use std::time::{Duration, SystemTime};

use sortie_engine::Labels;
use sortie_master::api::{Job, LostReason, Outcome, Spec, Started};

/// The longest name or command in a table, in characters.
const MAX_SUMMARY: usize = 40;

/// Text without what would move a terminal's cursor.
pub(super) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What a task is, short: its name, or the beginning of its command.
pub(super) fn summary(spec: &Spec) -> String {
    let whole = spec.name.clone().unwrap_or_else(|| command(spec));
    match whole.char_indices().nth(MAX_SUMMARY) {
        None => whole,
        Some(_) => whole.chars().take(MAX_SUMMARY - 1).chain(['…']).collect(),
    }
}

/// What is run, in a line.
pub(super) fn command(spec: &Spec) -> String {
    let argv = || spec.argv.as_ref().map(|argv| argv.join(" "));
    let text = spec.cmd.clone().or_else(argv).or_else(|| spec.script.clone());
    text.unwrap_or_default().trim_end().to_owned()
}

/// How many of a job's tasks are in each state.
pub(crate) fn counts(job: &Job) -> String {
    let counts: Vec<String> =
        job.counts.iter().map(|(state, count)| format!("{count} {}", state.replace('_', " "))).collect();
    counts.join(", ")
}

/// Labels as they are typed; an empty value stays away.
pub(crate) fn labels(labels: &Labels) -> String {
    let label =
        |(key, value): (&String, &String)| if value.is_empty() { key.clone() } else { format!("{key}={value}") };
    labels.iter().map(label).collect::<Vec<_>>().join(",")
}

/// How something ended, short.
pub(super) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited { code } => format!("exit code {code}"),
        Outcome::Signaled { signal } => format!("signal {signal}"),
        Outcome::OutOfMemory => "out of memory".to_owned(),
        Outcome::CouldNotStart { errno, .. } => format!("could not start (errno {errno})"),
        Outcome::TimedOut => "timed out".to_owned(),
        Outcome::Cancelled { by, .. } => format!("cancelled by {by}"),
        Outcome::Expired => "expired".to_owned(),
        Outcome::Lost { started, reason } => format!("lost, {}, started: {}", cause(*reason), answer(*started)),
    }
}

/// How something ended, as the end of a sentence.
pub(crate) fn end(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited { code } => format!("ended with exit code {code}"),
        Outcome::Signaled { signal } => format!("was killed by signal {signal}"),
        Outcome::OutOfMemory => "was killed by the kernel: there was no memory left".to_owned(),
        Outcome::CouldNotStart { detail, .. } => format!("could not start: {detail}"),
        Outcome::TimedOut => "ran into its timeout and was stopped".to_owned(),
        Outcome::Cancelled { by, confirmed: true } => format!("was cancelled by {by}"),
        Outcome::Cancelled { by, confirmed: false } => {
            format!("was cancelled by {by}; its worker is gone, and the command may still run there")
        }
        Outcome::Expired => "waited for a worker until its queue timeout".to_owned(),
        Outcome::Lost { started, reason } => {
            let (cause, answer) = (cause(*reason), answer(*started));
            format!("was lost, {cause}: nobody can know how it ended; whether it had started: {answer}")
        }
    }
}

fn cause(reason: LostReason) -> &'static str {
    match reason {
        LostReason::LeaseEnded => "worker unreachable",
        LostReason::WorkerStopped => "worker stopped",
        LostReason::WorkerDied => "worker died",
        LostReason::OrderLost => "order not received",
        LostReason::Overdue => "worker silent about it",
    }
}

fn answer(started: Started) -> &'static str {
    match started {
        Started::No => "no",
        Started::Yes => "yes",
        Started::Unknown => "unknown",
    }
}

/// How long ago something was.
pub(super) fn age(at: &str) -> String {
    let age = time(at).and_then(|at| SystemTime::now().duration_since(at).ok());
    age.map_or_else(|| "now".to_owned(), |age| format!("{} ago", short(Duration::from_secs(age.as_secs()))))
}

/// How long it is to a time to come.
pub(super) fn until(at: &str) -> String {
    let left = time(at).and_then(|at| at.duration_since(SystemTime::now()).ok());
    left.map_or_else(|| "now".to_owned(), |left| format!("in {}", short(left)))
}

/// So many bytes, in the unit in which they are few.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut tenths, mut unit) = (bytes / 1024 * 10 + bytes % 1024 * 10 / 1024, 0);
    while tenths >= 10 * 1024 && unit + 1 < UNITS.len() {
        (tenths, unit) = (tenths / 1024, unit + 1);
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// How long something took, or has taken until now.
pub(super) fn took(from: Option<&str>, until: Option<&str>) -> String {
    let until = until.map_or_else(|| Some(SystemTime::now()), time);
    let took = from.and_then(time).zip(until).and_then(|(from, until)| until.duration_since(from).ok());
    took.map_or_else(|| "-".to_owned(), short)
}

fn time(rfc3339: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339_weak(rfc3339).ok()
}

/// A duration in its two largest units.
fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration.is_zero() => "0s".to_owned(),
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_two_units() {
        let of = |millis| short(Duration::from_millis(millis));
        assert_eq!([of(0), of(5), of(59_900), of(60_000)], ["0s", "5ms", "59s", "1m00s"]);
        assert_eq!([of(3_660_000), of(90_000_000)], ["1h01m", "1d01h"]);
    }

    #[test]
    fn what_is_long_is_cut() {
        let spec = Spec { argv: Some(vec!["echo".into(), "ä".repeat(50)]), ..Spec::default() };
        let summary = summary(&spec);
        assert_eq!(summary.chars().count(), MAX_SUMMARY);
        assert!(summary.ends_with("ä…"));
    }

    #[test]
    fn bytes_have_a_unit() {
        assert_eq!([bytes(0), bytes(1536), bytes((1 << 20) - 1)], ["0.0 KiB", "1.5 KiB", "1023.9 KiB"]);
        assert_eq!([bytes(3 << 20), bytes(u64::MAX)], ["3.0 MiB", "16383.9 PiB"]);
    }

    #[test]
    fn times_that_are_none_are_left_out() {
        assert_eq!(took(None, None), "-");
        assert_eq!(took(Some("2026-01-01T00:00:00Z"), Some("2026-01-01T00:01:01.5Z")), "1m01s");
        assert_eq!(age("9999-01-01T00:00:00Z"), "now");
        assert_eq!(until("1999-01-01T00:00:00Z"), "now");
    }
}
