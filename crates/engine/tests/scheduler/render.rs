//! Effects as lines of text, nothing left out, so that a script accounts for all of them in one comparison.

use sortie_engine::{
    Active, Admission, Again, Answer, Effects, Ended, Link, Order, Outcome, QueueOutcome, Record, Stage, Tally, TaskId,
    Time, Worker,
};

/// One line for each effect: records, then orders, then answers, then the count of stale reports.
pub(crate) fn lines(effects: &Effects) -> Vec<String> {
    let records = effects.records.iter().map(record);
    let orders = effects.orders.iter().map(|(session, to)| format!("to s{}: {}", session.0, order(to)));
    let answers = effects.answers.iter().map(|(_, to)| format!("answer: {}", answer(to)));
    let stale = (effects.stale_reports > 0).then(|| format!("stale: {}", effects.stale_reports));
    records.chain(orders).chain(answers).chain(stale).collect()
}

fn record(record: &Record) -> String {
    match record {
        Record::Submitted(job) => format!("job {} x{} at {}", job.id, job.submission.count, seconds(job.submitted)),
        Record::Placed(task, to) => format!("placed {}", active(*task, to)),
        Record::Moved(task, to) => format!("moved {}", active(*task, to)),
        Record::Ended(task, to) => ended(*task, to),
        Record::Retried(task, to, again) => format!("{}; {}", ended(*task, to), waits_again(again)),
        Record::GivenUp { task, at, outcome } => {
            format!("given up {task} at {}: {}", seconds(*at), queue_outcome(outcome))
        }
        Record::EndedInQueue { job, range, at, outcome } => {
            format!("ended {job}.{range:?} in queue at {}: {}", seconds(*at), queue_outcome(outcome))
        }
        Record::Counted { job, tally: to, ended } => {
            let state = ended.map_or("open".to_owned(), |at| format!("{} at {}", to.worst(), seconds(at)));
            format!("count {job}: {}; {state}", tally(to))
        }
        Record::Worker(to) => worker(to),
    }
}

fn active(task: TaskId, active: &Active) -> String {
    let attempt = &active.attempt;
    let stage = match &active.stage {
        Stage::Assigned => "assigned".to_owned(),
        Stage::Running { started } => format!("running since {}", seconds(*started)),
        Stage::Unreachable { started, until } => format!("unreachable until {}, {}", seconds(*until), start(*started)),
        Stage::Cancelling { started, requested, by, until } => {
            let (since, until) = (seconds(*requested), seconds(*until));
            format!("cancelling since {since} until {until} for {by}, {}", start(*started))
        }
    };
    format!("{task}#{} on {} at {}: {stage}", attempt.number, attempt.worker, seconds(attempt.assigned))
}

/// Waits are by chance, and not in whole seconds.
fn waits_again(again: &Again) -> String {
    format!("again after {} failed, {} lost", again.tries.failed, again.tries.lost)
}

fn ended(task: TaskId, ended: &Ended) -> String {
    let (attempt, at) = (&ended.attempt, seconds(ended.at));
    let (given, outcome) = (seconds(attempt.assigned), outcome(&ended.outcome));
    format!(
        "ended {task}#{} on {} at {given}, {}, gone {at}: {outcome}",
        attempt.number,
        attempt.worker,
        start(ended.started)
    )
}

fn start(started: Option<Time>) -> String {
    started.map_or("no start".to_owned(), |at| format!("start {}", seconds(at)))
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited { code } => format!("exited {code}"),
        Outcome::Signaled { signal } => format!("signal {signal}"),
        Outcome::OutOfMemory => "out of memory".to_owned(),
        Outcome::CouldNotStart { errno, detail } => format!("could not start: {errno} {detail}"),
        Outcome::TimedOut => "timed out".to_owned(),
        Outcome::Cancelled { by, confirmed: true } => format!("cancelled by {by}"),
        Outcome::Cancelled { by, confirmed: false } => format!("cancelled by {by}, unconfirmed"),
        Outcome::Lost { started, reason } => format!("lost, started {started:?}, {reason:?}"),
    }
}

fn queue_outcome(outcome: &QueueOutcome) -> String {
    match outcome {
        QueueOutcome::Cancelled { by } => format!("cancelled by {by}"),
        QueueOutcome::Expired => "expired".to_owned(),
    }
}

fn tally(tally: &Tally) -> String {
    let counts = [
        (tally.succeeded, "succeeded"),
        (tally.failed, "failed"),
        (tally.timed_out, "timed out"),
        (tally.cancelled, "cancelled"),
        (tally.lost, "lost"),
        (tally.expired, "expired"),
    ];
    let counts = counts.into_iter().filter(|(n, _)| *n > 0);
    counts.map(|(n, what)| format!("{n} {what}")).collect::<Vec<_>>().join(", ")
}

fn worker(worker: &Worker) -> String {
    let hello = &worker.hello;
    let admission = match worker.admission {
        Admission::Open => "open",
        Admission::Draining => "draining",
    };
    let link = match worker.link {
        Link::Joining { session, until } => format!("joining s{} until {}", session.0, seconds(until)),
        Link::Connected { session, since } => format!("connected s{} since {}", session.0, seconds(since)),
        Link::Leaving { session, since } => format!("leaving s{} since {}", session.0, seconds(since)),
        Link::Unreachable { since, until } => {
            format!("unreachable since {} until {}", seconds(since), seconds(until))
        }
        Link::Gone { since } => format!("gone since {}", seconds(since)),
    };
    format!("worker {} {}/{} x{}: {admission}, {link}", worker.id, hello.name, hello.instance, hello.slots)
}

fn order(order: &Order) -> String {
    match order {
        Order::Start(attempt, _) => format!("start {attempt}"),
        Order::Stop(attempt) => format!("stop {attempt}"),
        Order::Drain => "drain".to_owned(),
        Order::Renew { sent } => format!("renew {}", seconds(*sent)),
        Order::Acknowledge(attempt) => format!("acknowledge {attempt}"),
        Order::Close(reason) => format!("close, {reason:?}"),
    }
}

fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Submitted(job) => format!("submitted {job}"),
        Answer::Repeated(job) => format!("repeated {job}"),
        Answer::KeyTaken(job) => format!("key taken by {job}"),
        Answer::QueueFull => "queue full".to_owned(),
        Answer::Done => "done".to_owned(),
        Answer::Joined { kill } if kill.is_empty() => "joined".to_owned(),
        Answer::Joined { kill } => {
            format!("joined, kill {}", kill.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        }
        Answer::NotLive => "not live".to_owned(),
        Answer::Refused(refusal) => format!("refused, {refusal:?}"),
    }
}

/// The scripts live in whole seconds; the record keeps milliseconds.
fn seconds(time: Time) -> u64 {
    assert_eq!(time.0 % 1000, 0, "{time:?} is no whole second");
    time.0 / 1000
}
