//! The table of states in ARCHITECTURE.md says what the two state machines do: every row is driven to its deadline.

use std::collections::BTreeSet;
use std::time::Duration;

use sortie_engine::{
    Action, Command, Effects, End, Event, Exit, Hello, Input, JobId, Limits, Outcome, QueueOutcome, Record, Report,
    RequestId, Scheduler, SessionId, Slots, Started, StateName, Submission, TaskId, TaskSpec, Time, Usage,
};

const ARCHITECTURE: &str = include_str!("../../../ARCHITECTURE.md");
const TASK: TaskId = TaskId { job: JobId(1), index: 0 };
const SESSION: SessionId = SessionId(1);
const REQUEST: RequestId = RequestId(0);

/// One row of the table, its cells as they stand there.
#[derive(Debug)]
struct Row {
    states: Vec<StateName>,
    owner: &'static str,
    deadline: &'static str,
    at_deadline: &'static str,
}

impl Row {
    /// All the times that its deadline names, added up.
    fn time(&self) -> Duration {
        let words: Vec<&str> = self.deadline.split([' ', '(', ')', ',', ';']).collect();
        let times = words.windows(2).filter_map(|pair| {
            let number: u64 = pair[0].parse().ok()?;
            let unit = ["s", "h", "days"].into_iter().zip([1, 3600, 24 * 3600]).find(|(unit, _)| *unit == pair[1]);
            let (_, seconds) = unit.unwrap_or_else(|| panic!("{pair:?} is no time"));
            Some(Duration::from_secs(number * seconds))
        });
        times.sum()
    }
}

fn table() -> Vec<Row> {
    let section = ARCHITECTURE.split("\n## ").find(|section| section.starts_with("States\n")).expect("a section");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [states, owner, deadline, at_deadline] = cells[..] else { panic!("{line} has not four cells") };
        let states = states.split('`').filter(|name| !name.trim().is_empty());
        let states = states.map(|name| StateName::parse(name).unwrap_or_else(|| panic!("`{name}` is no state")));
        Row { states: states.collect(), owner, deadline, at_deadline }
    })
    .collect()
}

#[test]
fn every_state_has_its_row() {
    let rows = table();
    let named: Vec<StateName> = rows.iter().flat_map(|row| row.states.clone()).collect();
    assert_eq!(named.iter().collect::<BTreeSet<_>>(), StateName::ALL.iter().collect());
    assert_eq!(named.len(), StateName::ALL.len());
    for row in rows {
        let is_final = row.states.iter().all(|state| state.is_final());
        assert_eq!(is_final, row.owner == "nobody", "{row:?}");
        assert_eq!(is_final, (row.deadline, row.at_deadline) == ("none", "final"), "{row:?}");
        assert!(is_final || row.states.len() == 1, "{row:?}");
    }
}

#[test]
fn every_state_has_the_deadline_and_the_end_that_its_row_says() {
    for row in table().into_iter().filter(|row| row.owner != "nobody") {
        let end = match (row.owner, row.states[0]) {
            ("master", state) => master_end(state, row.time()),
            ("worker", state) => worker_end(state, row.time()),
            (owner, _) => panic!("{owner} is neither the master nor the worker"),
        };
        assert!(row.at_deadline.starts_with(end), "in {row:?}, what happens is {end:?}");
    }
}

/// Brings a task to `state`, and says in the table's words what the master does when `time` has passed, and not before.
fn master_end(state: StateName, time: Duration) -> &'static str {
    let mut master = Master::default();
    master.bring_to(state);
    assert_eq!(master.state(), Some(state));
    let deadline = Time(0) + time;
    assert_eq!(master.scheduler.next_deadline(), Some(deadline), "{state}");
    let records = master.wake(deadline);
    let end = records.iter().find_map(|record| match record {
        Record::EndedInQueue { outcome: QueueOutcome::Expired, .. } => Some("ends `expired`"),
        Record::Ended(_, ended) | Record::Retried(_, ended, _) => match &ended.outcome {
            Outcome::Lost { started: Started::Unknown, .. } => Some("attempt lost, `started: unknown`"),
            Outcome::Lost { started: Started::Yes, .. } => Some("attempt lost, `started: yes`"),
            Outcome::Lost { started: Started::No, .. }
            | Outcome::Exited { .. }
            | Outcome::Signaled { .. }
            | Outcome::OutOfMemory
            | Outcome::CouldNotStart { .. }
            | Outcome::TimedOut
            | Outcome::Cancelled { .. } => panic!("{state} comes to {ended:?}"),
        },
        Record::EndedInQueue { .. }
        | Record::GivenUp { .. }
        | Record::Submitted(_)
        | Record::Placed(..)
        | Record::Moved(..)
        | Record::Counted { .. }
        | Record::Worker(_) => None,
    });
    end.unwrap_or_else(|| panic!("{state} does not come to an end: {records:?}"))
}

/// Brings an attempt to `state` in its worker, and says in the table's words what the worker does when `time` has passed.
fn worker_end(state: StateName, time: Duration) -> &'static str {
    let (mut slots, attempt, mut actions) = (Slots::new(1), TASK.attempt(1), Vec::new());
    let spec = spec();
    let start = Event::Start { attempt, slots: 1, timeout: spec.timeout, kill_grace: spec.kill_grace };
    let renewed = Event::Renewed { sent: Time(0), lease: Duration::from_secs(365 * 24 * 3600) };
    let cancel = (state == StateName::Cancelling).then_some(Event::Stop(attempt));
    for event in [renewed, start, Event::Spawned(attempt)].into_iter().chain(cancel) {
        slots.handle(Time(0), event, &mut actions);
    }
    let deadline = Time(0) + time;
    assert_eq!(slots.next_deadline(), Some(deadline), "{state}");
    actions.clear();
    slots.handle(deadline, Event::Wake, &mut actions);
    let (first, later) = (actions.clone(), deadline + spec.kill_grace);
    slots.handle(later, Event::Wake, &mut actions);
    slots.handle(later, Event::Exited(attempt, Exit::Signal(9), Usage::default()), &mut actions);
    let Some(Action::Report(Report::Ended(_, end, _))) = actions.last() else { panic!("no end: {actions:?}") };
    match (first.as_slice(), &actions[..actions.len() - 1], end) {
        ([Action::Terminate(_)], [_, Action::Kill(_)], End::TimedOut) => "TERM, grace, KILL, then ends `timed_out`",
        ([Action::Kill(_)], [_], End::Stopped) => "KILL, then ends `cancelled`",
        other => panic!("{state} comes to {other:?}"),
    }
}

struct Master {
    scheduler: Scheduler,
    now: Time,
}

impl Default for Master {
    fn default() -> Self {
        Master { scheduler: Scheduler::new(Limits::default(), 0), now: Time(0) }
    }
}

impl Master {
    fn bring_to(&mut self, state: StateName) {
        let submission = Box::new(Submission { spec: spec(), count: 1, traceparent: None, key: None });
        self.input(Input::Submit { request: REQUEST, submission, known: None });
        if state == StateName::Queued {
            return;
        }
        let labels = Default::default();
        let hello = Hello { name: "a".into(), instance: "i".into(), version: "1".into(), labels, slots: 1 };
        self.input(Input::Join { request: REQUEST, session: SESSION, hello, introduction: 1, held: Vec::new() });
        self.input(Input::Connect { request: REQUEST, session: SESSION });
        if state == StateName::Assigned {
            // Only a worker that is heard of can be late with a start.
            return self.hear_until(Time(0) + Duration::from_secs(29));
        }
        assert_eq!(state, StateName::Unreachable, "the others are not the master's");
        self.input(Input::Report { session: SESSION, report: Report::Started(TASK.attempt(1)) });
        self.input(Input::Disconnect { session: SESSION });
    }

    /// Lets the worker be heard of, every second.
    fn hear_until(&mut self, end: Time) {
        while self.now < end {
            self.now = self.now + Duration::from_secs(1);
            self.input(Input::Report { session: SESSION, report: Report::Heartbeat { sent: self.now } });
        }
    }

    fn input(&mut self, input: Input) -> Vec<Record> {
        let mut effects = Effects::default();
        self.scheduler.handle(self.now, input, &mut effects);
        assert_eq!(self.scheduler.check(), Ok(()));
        effects.records
    }

    fn wake(&mut self, now: Time) -> Vec<Record> {
        self.now = now;
        self.input(Input::Wake)
    }

    fn state(&self) -> Option<StateName> {
        self.scheduler.explain(TASK).map(|explanation| explanation.state)
    }
}

/// A task with every default.
fn spec() -> TaskSpec {
    TaskSpec::new(Command::Line("true".into()))
}
