//! What happens, in words that a person can follow; times as the clock shows them that is given.

use sortie_engine::{
    Action, Active, Admission, End, Ended, Exit, Link, Order, Outcome, QueueOutcome, Record, Report, Stage, TaskId,
    Worker,
};

use crate::clients::Ask;
use crate::network::Up;
use crate::rng::Clock;

pub(crate) fn record(record: &Record, clock: Clock) -> String {
    match record {
        Record::Submitted(job) => {
            let (count, key, spec) = (job.submission.count, &job.submission.key, job.spec());
            let (retry, on_lost, max_lost) = (&spec.retry, spec.on_lost, spec.max_lost);
            format!(
                "records job {} of {count} under {key:?}: {} slots, timeout {:?}, retried {} times {:?}, {on_lost:?} {max_lost} lost",
                job.id, spec.needs.slots, spec.timeout, retry.count, retry.exit_codes
            )
        }
        Record::Placed(task, to) => format!("places {}", active(*task, to, clock)),
        Record::Moved(task, to) => format!("moves {}", active(*task, to, clock)),
        Record::Ended(task, to) => format!("ends {}", ended(*task, to, clock)),
        Record::Retried(task, to, again) => {
            let from = clock.shown(again.not_before);
            format!("ends {}; another attempt from {from}", ended(*task, to, clock))
        }
        Record::GivenUp { task, at, outcome } => {
            format!("ends {task} before another attempt at {}: {}", clock.shown(*at), queue_outcome(outcome))
        }
        Record::EndedInQueue { job, range, at, outcome } => {
            format!("ends {job}.{range:?} in the queue at {}: {}", clock.shown(*at), queue_outcome(outcome))
        }
        Record::Counted { job, tally, ended } => {
            format!("counts {} ended tasks of job {job}{}", tally.total(), if ended.is_some() { ", all" } else { "" })
        }
        Record::Worker(to) => worker(to, clock),
    }
}

fn active(task: TaskId, active: &Active, clock: Clock) -> String {
    let stage = match &active.stage {
        Stage::Assigned => "assigned".to_owned(),
        Stage::Running { started } => format!("running since {}", clock.shown(*started)),
        Stage::Unreachable { until, .. } => format!("unreachable until {}", clock.shown(*until)),
        Stage::Cancelling { until, .. } => format!("cancelling until {}", clock.shown(*until)),
    };
    let attempt = &active.attempt;
    format!("{task}#{} on worker {} (its process {}): {stage}", attempt.number, attempt.worker, attempt.incarnation)
}

fn ended(task: TaskId, ended: &Ended, clock: Clock) -> String {
    let outcome = match &ended.outcome {
        Outcome::Exited { code } => format!("exit code {code}"),
        Outcome::Signaled { signal } => format!("signal {signal}"),
        Outcome::OutOfMemory => "out of memory".to_owned(),
        Outcome::CouldNotStart { errno, .. } => format!("could not start, error {errno}"),
        Outcome::TimedOut => "timed out".to_owned(),
        Outcome::Cancelled { confirmed: true, .. } => "cancelled".to_owned(),
        Outcome::Cancelled { confirmed: false, .. } => "cancelled, unconfirmed".to_owned(),
        Outcome::Lost { started, reason } => format!("lost, {reason:?}, started: {started:?}"),
    };
    format!("{task}#{} at {}: {outcome}", ended.attempt.number, clock.shown(ended.at))
}

fn queue_outcome(outcome: &QueueOutcome) -> &'static str {
    match outcome {
        QueueOutcome::Cancelled { .. } => "cancelled",
        QueueOutcome::Expired => "expired",
    }
}

fn worker(worker: &Worker, clock: Clock) -> String {
    let admission = match worker.admission {
        Admission::Open => "open",
        Admission::Draining => "draining",
    };
    let link = match worker.link {
        Link::Joining { session, .. } => format!("joining as s{}", session.0),
        Link::Connected { session, .. } => format!("connected as s{}", session.0),
        Link::Leaving { session, .. } => format!("leaving as s{}", session.0),
        Link::Unreachable { until, .. } => format!("unreachable until {}", clock.shown(until)),
        Link::Gone { .. } => "gone".to_owned(),
    };
    let (hello, incarnation) = (&worker.hello, worker.incarnation);
    format!("knows worker {} as {} (its process {incarnation}), {admission}, {link}", worker.id, hello.name)
}

pub(crate) fn order(order: &Order, clock: Clock) -> String {
    match order {
        Order::Start(attempt, _) => format!("start {attempt}"),
        Order::Stop(attempt) => format!("stop {attempt}"),
        Order::Drain => "no more orders".to_owned(),
        Order::Renew { sent } => format!("heard what was sent at {}", clock.shown(*sent)),
        Order::Acknowledge(attempt) => format!("has the end of {attempt}"),
        Order::Close(reason) => format!("the session is over: {reason:?}"),
    }
}

pub(crate) fn up(up: &Up, clock: Clock) -> String {
    match up {
        Up::Join { hello, introduction, held } => {
            format!("introduction {introduction} of {}, holding {}", hello.instance, held.len())
        }
        Up::Connect => "opens its stream".to_owned(),
        Up::Report(to) => report(to, clock),
        Up::Closed => "has dropped the connection".to_owned(),
    }
}

pub(crate) fn report(report: &Report, clock: Clock) -> String {
    match report {
        Report::Started(attempt) => format!("{attempt} has started"),
        Report::Ended(attempt, end, _) => format!("{attempt} has ended: {}", self::end(end)),
        Report::Leaving => "is leaving".to_owned(),
        Report::Heartbeat { sent } => format!("a heartbeat sent at {}", clock.shown(*sent)),
    }
}

fn end(end: &End) -> String {
    match end {
        End::Exited(code) => format!("exit code {code}"),
        End::Signaled(signal) => format!("signal {signal}"),
        End::OutOfMemory => "out of memory".to_owned(),
        End::CouldNotStart { errno, .. } => format!("could not start, error {errno}"),
        End::TimedOut => "at its timeout".to_owned(),
        End::Stopped => "stopped by order".to_owned(),
        End::WorkerStopped => "stopped with its worker".to_owned(),
        End::LeaseEnded => "killed at the lease's end".to_owned(),
        End::Abandoned => "abandoned by a process that died".to_owned(),
        End::Refused => "refused".to_owned(),
    }
}

pub(crate) fn action(action: &Action, clock: Clock) -> String {
    match action {
        Action::Spawn(attempt) => format!("is to start {attempt}"),
        Action::Withhold(attempt) => format!("is not to start {attempt} after all"),
        Action::Terminate(attempt) => format!("sends TERM to {attempt}"),
        Action::Kill(attempt) => format!("sends KILL to {attempt}"),
        Action::Report(to) => format!("reports: {}", report(to, clock)),
    }
}

pub(crate) fn exit(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
        Exit::OutOfMemory => "out of memory".to_owned(),
    }
}

pub(crate) fn ask(ask: &Ask) -> String {
    match ask {
        Ask::Submit(intent) => format!("submits what intent {intent} wants"),
        Ask::Impostor(intent) => format!("submits something else under the key of intent {intent}"),
        Ask::CancelTask(task) => format!("cancels task {task}"),
        Ask::CancelJob(job) => format!("cancels job {job}"),
        Ask::Admit(worker, Admission::Open) => format!("opens {worker}"),
        Ask::Admit(worker, Admission::Draining) => format!("drains {worker}"),
    }
}
