//! Waiting for the end of tasks and jobs, through restarts of the master.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use sortie_master::api::{Job, ListQuery, State, Task, TaskPage};
use tokio::time::{Instant, sleep};

use super::http::{Client, NO_QUERY};
use super::read;
use crate::cli::Format;
use crate::exit::{Failure, Result, code_of};
use crate::{render, talk};

/// How long the master may wait with one answer.
const LONG_POLL: Duration = Duration::from_secs(30);
/// The same while a person watches a bar grow.
const SHORT_POLL: Duration = Duration::from_secs(1);
/// The least time between two questions, if the master does not wait with its answers: it does not while it stops.
const BREATH: Duration = Duration::from_millis(100);
/// The states of a task that did not succeed.
const UNSUCCESSFUL: &str = "failed,timed_out,cancelled,lost,expired";

/// What an id that a person typed stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `42.17`
    Task(String),
    /// `42`
    Job(String),
}

impl Target {
    /// What `id` stands for; whether it is an id at all is the master's to say.
    pub(super) fn of(id: &str) -> Self {
        if id.contains('.') { Target::Task(id.to_owned()) } else { Target::Job(id.to_owned()) }
    }

    /// Where it is.
    pub(super) fn path(&self) -> [&str; 2] {
        match self {
            Target::Task(id) => ["tasks", id],
            Target::Job(id) => ["jobs", id],
        }
    }
}

/// The `wait` command: 0 if all succeeded, else the code of the first that did not.
pub(super) async fn wait(client: &Client, ids: &[String], format: Format) -> Result<u8> {
    let mut first = 0;
    for id in ids {
        let target = Target::of(id);
        let ended = found_and_ended(client, &target).await?;
        let code = code(client, &target, &ended).await?;
        tell(&target, &ended, format)?;
        first = if first == 0 { code } else { first };
    }
    Ok(first)
}

/// Waits until `target` has ended, if there is such a thing and a master to ask: one that was never there is not awaited.
pub(super) async fn found_and_ended(client: &Client, target: &Target) -> Result<Value> {
    client.get(&target.path(), &NO_QUERY).await?;
    ended(client, target).await
}

/// Waits until `target`, which a master has taken on, has ended. A master that goes away is awaited, as what it runs
/// goes on without it; the next one is asked for the same id.
pub(super) async fn ended(client: &Client, target: &Target) -> Result<Value> {
    let mut bar = Bar::of(target);
    loop {
        let asked = Instant::now();
        let answer = client.get_waiting(&target.path(), bar.poll()).await?;
        if is_final(&answer) {
            return Ok(answer);
        }
        bar.show(&answer)?;
        sleep(BREATH.saturating_sub(asked.elapsed())).await;
    }
}

/// The exit code that stands for how `target`, which has ended, ended.
pub(super) async fn code(client: &Client, target: &Target, ended: &Value) -> Result<u8> {
    match target {
        Target::Task(_) => task_code(&read(ended)?),
        Target::Job(_) if read::<Job>(ended)?.state == State::Succeeded => Ok(0),
        Target::Job(id) => {
            let query = ListQuery {
                job: Some(id.clone()),
                state: Some(UNSUCCESSFUL.to_owned()),
                limit: Some(1000),
                ..ListQuery::default()
            };
            // Of an array with more failures than a page has, one of the newest page stands for all.
            let page: TaskPage = read(&client.get(&["tasks"], &query).await?)?;
            page.tasks.iter().min_by_key(|task| task.index).map_or(Ok(0), task_code)
        }
    }
}

fn task_code(task: &Task) -> Result<u8> {
    let outcome = task.outcome.as_ref().map(code_of);
    outcome.ok_or_else(|| Failure::internal(format!("the master does not say how the task {} ended", task.id)))
}

fn is_final(answer: &Value) -> bool {
    answer.get("state").and_then(|state| read::<State>(state).ok()).is_some_and(State::is_final)
}

fn tell(target: &Target, ended: &Value, format: Format) -> Result<()> {
    match (format, target) {
        (Format::Json, _) => talk::json(ended),
        (Format::Table, Target::Task(id)) => talk::line(&render::task_end(id, &read(ended)?)),
        (Format::Table, Target::Job(id)) => talk::line(&render::job_end(id, &read(ended)?)),
    }
}

/// How far an array is, for somebody who watches a terminal's standard error.
enum Bar {
    Unwatched,
    Watched { id: String, drawn: Option<ProgressBar> },
}

impl Bar {
    fn of(target: &Target) -> Self {
        match target {
            Target::Job(id) if std::io::stderr().is_terminal() => Bar::Watched { id: id.clone(), drawn: None },
            Target::Job(_) | Target::Task(_) => Bar::Unwatched,
        }
    }

    fn poll(&self) -> Duration {
        match self {
            Bar::Unwatched => LONG_POLL,
            Bar::Watched { .. } => SHORT_POLL,
        }
    }

    fn show(&mut self, answer: &Value) -> Result<()> {
        let Bar::Watched { id, drawn } = self else { return Ok(()) };
        let job: Job = read(answer)?;
        if job.count > 1 {
            drawn.get_or_insert_with(|| bar(id, job.count)).set_position(u64::from(finished(&job)));
        }
        Ok(())
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Bar::Watched { drawn: Some(bar), .. } = self {
            bar.finish_and_clear();
        }
    }
}

/// How many of a job's tasks have ended.
fn finished(job: &Job) -> u32 {
    let state = |name: &str| serde_json::from_value::<State>(Value::from(name));
    job.counts.iter().filter(|(name, _)| state(name).is_ok_and(State::is_final)).map(|(_, count)| count).sum()
}

fn bar(id: &str, count: u32) -> ProgressBar {
    let template = format!("job {id} [{{elapsed}}] {{wide_bar}} {{human_pos}}/{{human_len}}, {{eta}} left");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(u64::from(count)).with_style(style)
}
