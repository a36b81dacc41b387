//! What people see: tables without borders, and sentences about ends.
//!
//! Names and commands come from whoever submitted them: what would move a terminal's cursor is not written.

mod text;

use comfy_table::{Cell, Color, Table, presets};
use sortie_master::api::{Explanation, Job, Outcome, Reason, State, Task, Usage, Worker, WorkerState};

use crate::talk;
use text::{age, outcome, summary, took};
pub(crate) use text::{counts, end, labels};

/// The space between two columns.
const GAP: (u16, u16) = (0, 3);

/// A table with a head.
pub(crate) fn table(head: &[&str], rows: impl Iterator<Item = Vec<Cell>>) -> String {
    let mut table = plain();
    table.set_header(head.iter().map(Cell::new)).add_rows(rows);
    drawn(table)
}

/// A cell of text.
pub(crate) fn cell(text: impl AsRef<str>) -> Cell {
    Cell::new(text::harmless(text.as_ref()))
}

/// Tasks, one a line.
pub(crate) fn tasks(tasks: &[Task]) -> String {
    let row = |task: &Task| {
        vec![
            cell(&task.id),
            state_cell(task.state),
            cell(summary(&task.spec)),
            cell(task.attempts.last().map_or("-", |attempt| &attempt.worker)),
            cell(age(&task.submitted_at)),
            cell(duration(task)),
            cell(task.outcome.as_ref().map_or_else(|| again(task).unwrap_or("-".to_owned()), outcome)),
        ]
    };
    let head = ["ID", "STATE", "NAME/COMMAND", "WORKER", "SUBMITTED", "DURATION", "OUTCOME"];
    table(&head, tasks.iter().map(row))
}

/// Jobs, one a line.
pub(crate) fn jobs(jobs: &[Job]) -> String {
    let row = |job: &Job| {
        vec![
            cell(&job.id),
            state_cell(job.state),
            cell(summary(&job.spec)),
            cell(job.count.to_string()),
            cell(age(&job.submitted_at)),
            cell(took(Some(&job.submitted_at), job.ended_at.as_deref())),
            cell(counts(job)),
        ]
    };
    let head = ["ID", "STATE", "NAME/COMMAND", "TASKS", "SUBMITTED", "DURATION", "COUNTS"];
    table(&head, jobs.iter().map(row))
}

/// Workers, one a line.
pub(crate) fn workers(workers: &[Worker]) -> String {
    let row = |worker: &Worker| {
        vec![
            cell(&worker.name),
            worker_cell(worker),
            cell(format!("{}/{}", worker.slots_used, worker.slots)),
            cell(worker.tasks.to_string()),
            cell(worker.since.as_deref().map_or("-".to_owned(), age)),
            cell(labels(&worker.labels)),
            cell(&worker.version),
        ]
    };
    table(&["NAME", "STATE", "SLOTS", "TASKS", "SINCE", "LABELS", "VERSION"], workers.iter().map(row))
}

/// A task, whole.
pub(crate) fn task(task: &Task) -> String {
    let mut facts =
        vec![("task", cell(&task.id)), ("state", state_cell(task.state)), ("command", cell(text::command(&task.spec)))];
    facts.extend(task.spec.name.as_ref().map(|name| ("name", cell(name))));
    facts.extend(task.outcome.as_ref().map(|outcome| ("outcome", cell(end(outcome)))));
    facts.extend(task.not_before.as_ref().map(|at| ("held back", cell(format!("until {at}, {}", text::until(at))))));
    facts.extend((!task.spec.labels.is_empty()).then(|| ("labels", cell(labels(&task.spec.labels)))));
    facts.extend(task.spec.selector.as_ref().map(|selector| ("selector", cell(selector))));
    facts.push(("submitted", cell(&task.submitted_at)));
    facts.extend(task.started_at.as_ref().map(|at| ("started", cell(at))));
    facts.extend(task.ended_at.as_ref().map(|at| ("ended", cell(at))));
    let facts = list(facts);
    if task.attempts.is_empty() { facts } else { format!("{facts}\n\n{}", attempts(task)) }
}

/// How long the last attempt took, or has taken. One that is over while its task waits for the next says nothing here.
fn duration(task: &Task) -> String {
    if task.state == State::Queued {
        "-".to_owned()
    } else {
        took(task.started_at.as_deref(), task.ended_at.as_deref())
    }
}

/// When a task is tried again that is held back.
fn again(task: &Task) -> Option<String> {
    task.not_before.as_ref().map(|at| format!("again {}", text::until(at)))
}

fn attempts(task: &Task) -> String {
    let rows = task.attempts.iter().map(|attempt| {
        let usage = |show: fn(&Usage) -> String| cell(attempt.usage.as_ref().map_or("-".to_owned(), show));
        vec![
            cell(attempt.number.to_string()),
            cell(&attempt.worker),
            cell(&attempt.assigned_at),
            cell(took(attempt.started_at.as_deref(), attempt.ended_at.as_deref())),
            usage(|usage| usage.cpu.clone()),
            usage(memory),
            usage(|usage| usage.killed.to_string()),
            cell(attempt.outcome.as_ref().map_or("-".to_owned(), outcome)),
        ]
    });
    table(&["ATTEMPT", "WORKER", "ASSIGNED", "DURATION", "CPU", "MEMORY", "KILLED", "OUTCOME"], rows)
}

/// What takes no more than its worker does is not told from it.
fn memory(usage: &Usage) -> String {
    if usage.max_rss_bytes == 0 { "-".to_owned() } else { text::bytes(usage.max_rss_bytes) }
}

/// A job, whole.
pub(crate) fn job(job: &Job) -> String {
    let mut facts = vec![
        ("job", cell(&job.id)),
        ("state", state_cell(job.state)),
        ("command", cell(text::command(&job.spec))),
        ("tasks", cell(job.count.to_string())),
        ("counts", cell(counts(job))),
    ];
    facts.extend(job.spec.name.as_ref().map(|name| ("name", cell(name))));
    facts.push(("submitted", cell(&job.submitted_at)));
    facts.extend(job.ended_at.as_ref().map(|at| ("ended", cell(at))));
    list(facts)
}

/// Why a task is where it is.
pub(crate) fn explanation(why: &Explanation) -> String {
    let detail = text::harmless(&why.detail);
    match why.reason {
        Reason::Ended | Reason::Held => format!("{}: {detail}", why.id),
        // The workers have nothing to do with it.
        Reason::HeldBack => format!("{} is {}: {detail}", why.id, words(why.state)),
        Reason::NoWorker | Reason::NoMatch | Reason::TooSmall | Reason::Draining | Reason::Busy => format!(
            "{} is {}: {detail}\nworkers: {} connected, of these {} match, of these {} are large enough, of these {} take \
             tasks; {} tasks with the same needs go first",
            why.id,
            words(why.state),
            why.workers_connected,
            why.workers_matching,
            why.workers_large_enough,
            why.workers_open,
            why.ahead
        ),
    }
}

/// How a task ended, in a line.
pub(crate) fn task_end(id: &str, task: &Task) -> String {
    format!("{id} {}", task.outcome.as_ref().map_or_else(|| words(task.state), end))
}

/// How a task ended that was to be cancelled, and what had to be done for it, in a line.
pub(crate) fn cancelled(id: &str, task: &Task) -> String {
    let gone = match &task.outcome {
        Some(Outcome::Cancelled { confirmed: true, .. }) => ", and nothing of it runs any more",
        _ => "",
    };
    // An attempt that had ended before has nothing to do with it.
    let last = task.attempts.last().filter(|attempt| attempt.outcome == task.outcome);
    let killed = last.and_then(|attempt| attempt.usage.as_ref()).map_or(0, |usage| usage.killed);
    let killed = match killed {
        0 => String::new(),
        1 => "; 1 process had to be killed".to_owned(),
        many => format!("; {many} processes had to be killed"),
    };
    format!("{}{gone}{killed}", task_end(id, task))
}

/// How a job ended, in a line.
pub(crate) fn job_end(id: &str, job: &Job) -> String {
    format!("{id} {}: {}", words(job.state), counts(job))
}

/// Facts about one thing, one a line.
fn list(facts: Vec<(&str, Cell)>) -> String {
    let mut table = plain();
    table.add_rows(facts.into_iter().map(|(name, value)| vec![Cell::new(name), value]));
    drawn(table)
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if talk::colours_on_stdout() {
        table.enforce_styling()
    } else {
        table.force_no_tty()
    };
    table
}

fn drawn(mut table: Table) -> String {
    table.column_iter_mut().for_each(|column| _ = column.set_padding(GAP));
    table.trim_fmt()
}

fn state_cell(state: State) -> Cell {
    let cell = Cell::new(words(state));
    match state {
        State::Queued | State::Assigned => cell,
        State::Running => cell.fg(Color::Blue),
        State::Succeeded => cell.fg(Color::Green),
        State::Unreachable | State::Cancelling | State::Cancelled => cell.fg(Color::Yellow),
        State::Failed | State::TimedOut | State::Lost | State::Expired => cell.fg(Color::Red),
    }
}

/// A state in words.
pub(crate) fn words(state: State) -> String {
    state.as_str().replace('_', " ")
}

fn worker_cell(worker: &Worker) -> Cell {
    let (word, colour) = match worker.state {
        WorkerState::Joining => ("joining", Color::Blue),
        WorkerState::Connected => ("connected", Color::Green),
        WorkerState::Leaving => ("leaving", Color::Yellow),
        WorkerState::Unreachable => ("unreachable", Color::Yellow),
        WorkerState::Gone => ("gone", Color::Red),
    };
    if worker.draining { Cell::new(format!("{word}, draining")).fg(Color::Yellow) } else { Cell::new(word).fg(colour) }
}

#[cfg(test)]
mod tests {
    use sortie_master::api::{Attempt, Spec};

    use super::*;

    fn ended_task() -> Task {
        let at = |second: u32| format!("2026-01-01T00:00:{second:02}.000Z");
        let outcome = Some(Outcome::Exited { code: 3 });
        Task {
            id: "42.0".into(),
            job: "42".into(),
            index: 0,
            state: State::Failed,
            outcome: outcome.clone(),
            spec: Spec { cmd: Some("echo a\x1b[2Jb".into()), ..Spec::default() },
            submitted_at: at(0),
            started_at: Some(at(1)),
            ended_at: Some(at(5)),
            not_before: None,
            attempts: vec![Attempt {
                number: 1,
                worker: "w1".into(),
                assigned_at: at(1),
                started_at: Some(at(1)),
                ended_at: Some(at(5)),
                outcome,
                usage: Some(Usage { cpu: "1s 200ms".into(), max_rss_bytes: 3 << 20, killed: 2 }),
            }],
        }
    }

    #[test]
    fn a_table_is_plain_text_where_nobody_watches() {
        let text = tasks(&[ended_task()]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        let words: Vec<&str> = lines[0].split_whitespace().collect();
        assert_eq!(words, ["ID", "STATE", "NAME/COMMAND", "WORKER", "SUBMITTED", "DURATION", "OUTCOME"]);
        assert!(lines[1].starts_with("42.0   failed   echo a [2Jb    w1"), "{text:?}");
        assert!(lines[1].ends_with("4s         exit code 3"), "{text:?}");
        assert!(!text.contains('\x1b') && lines.iter().all(|line| line.trim_end() == *line), "{text:?}");
    }

    #[test]
    fn columns_stand_under_their_heads() {
        let text = tasks(&[ended_task(), Task { id: "1042.1017".into(), attempts: vec![], ..ended_task() }]);
        let column = text.lines().next().and_then(|head| head.find("STATE"));
        assert_eq!(column, text.lines().nth(2).and_then(|line| line.find("failed")));
    }

    #[test]
    fn a_task_is_shown_whole() {
        let text = task(&ended_task());
        for line in ["task        42.0", "outcome     ended with exit code 3", "ATTEMPT   WORKER"] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn an_attempt_says_what_it_used() {
        let text = task(&ended_task());
        assert!(text.ends_with("4s         1s 200ms   3.0 MiB   2        exit code 3"), "{text}");
        let old = Task { attempts: vec![Attempt { usage: None, ..ended_task().attempts.remove(0) }], ..ended_task() };
        assert!(task(&old).ends_with("4s         -     -        -        exit code 3"), "{}", task(&old));
    }

    #[test]
    fn a_task_that_is_held_back_says_until_when() {
        let at = "9999-01-01T00:00:00.000Z";
        let waits =
            Task { state: State::Queued, outcome: None, ended_at: None, not_before: Some(at.into()), ..ended_task() };
        let listed = tasks(std::slice::from_ref(&waits));
        let line = listed.lines().nth(1).unwrap_or_default();
        assert!(line.contains(" -          again in ") && !line.contains("4s"), "{listed}");
        assert!(task(&waits).contains(&format!("held back   until {at}, in ")), "{}", task(&waits));
    }

    #[test]
    fn a_cancelled_task_says_what_was_done() {
        let by = || "anna".to_owned();
        let ended = |confirmed| {
            let outcome = Some(Outcome::Cancelled { by: by(), confirmed });
            let last = Attempt { outcome: outcome.clone(), ..ended_task().attempts.remove(0) };
            Task { outcome, attempts: vec![last], ..ended_task() }
        };
        let line = "42 was cancelled by anna, and nothing of it runs any more; 2 processes had to be killed";
        assert_eq!(cancelled("42", &ended(true)), line);
        for attempts in [vec![], ended_task().attempts] {
            assert!(cancelled("42", &Task { attempts, ..ended(true) }).ends_with("runs any more"));
        }
        assert!(cancelled("42", &ended(false)).contains("may still run there"));
        assert!(cancelled("42", &ended_task()).starts_with("42 ended with exit code 3; 2 processes"));
    }

    #[test]
    fn a_job_counts_its_tasks() {
        let job = Job {
            id: "7".into(),
            state: State::Running,
            count: 3,
            counts: [("queued".into(), 1), ("succeeded".into(), 2)].into(),
            spec: Spec { name: Some("nightly".into()), cmd: Some("true".into()), ..Spec::default() },
            submitted_at: "2026-01-01T00:00:00.000Z".into(),
            ended_at: None,
        };
        assert!(jobs(std::slice::from_ref(&job)).contains("1 queued, 2 succeeded"));
        assert_eq!(job_end("7", &job), "7 running: 1 queued, 2 succeeded");
    }
}
