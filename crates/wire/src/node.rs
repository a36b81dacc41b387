//! The workers' protocol: reports up, orders down.

use std::time::Duration;

use sortie_engine::{
    AttemptId, Captured, Command, End, Held, Hello, JobId, Order, Output, Report, TaskSpec, Time, Usage,
};
use sortie_engine::{MAX_CAPTURED_BYTES, check_labels};

use crate::draft::MAX_SLOTS;
use crate::pb;
use crate::{Malformed, PROTOCOL, duration_to_pb};

/// The longest name of a worker, in bytes: a host name's.
pub const MAX_NAME_BYTES: usize = 253;

/// What came up a worker's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upward {
    /// The first message: which session the stream is for.
    Open(u64),
    /// A report, and what the attempt wrote if it has ended.
    Report(Report, Option<Output>),
}

/// What came down a worker's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Downward {
    /// Run this attempt.
    Start(Box<StartOrder>),
    /// Stop this attempt, or never start it.
    Stop(AttemptId),
    /// No new orders will come.
    Drain,
    /// The heartbeat that was sent then has arrived.
    Renew {
        /// When it was sent, by the worker's clock.
        sent: Time,
    },
    /// The end of this attempt is on record.
    Acknowledge(AttemptId),
}

/// All that a worker needs to know to run an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartOrder {
    /// Which attempt.
    pub attempt: AttemptId,
    /// What is run.
    pub command: Command,
    /// Variables beside those that every command gets.
    pub env: std::collections::BTreeMap<String, String>,
    /// Where to run, if not in an empty directory of its own.
    pub cwd: Option<String>,
    /// The text on its standard input.
    pub stdin: Option<String>,
    /// How long it may run.
    pub timeout: Duration,
    /// How long it has between TERM and KILL.
    pub kill_grace: Duration,
    /// How many slots it takes.
    pub slots: u32,
    /// The trace that it belongs to, as W3C `traceparent`.
    pub traceparent: Option<String>,
}

/// Puts a worker's introduction into words of the wire.
#[must_use]
pub fn hello_to_pb(hello: Hello, introduction: u64, held: impl IntoIterator<Item = Held>) -> pb::ReportStatusRequest {
    let held = held.into_iter().map(|held| pb::HeldAttempt {
        attempt: Some(attempt_to_pb(held.attempt)),
        slots: held.slots,
        started: held.started,
    });
    pb::ReportStatusRequest {
        name: hello.name,
        instance: hello.instance,
        version: hello.version,
        protocol: PROTOCOL,
        labels: hello.labels,
        slots: hello.slots,
        held: held.collect(),
        introduction,
    }
}

/// What a worker introduces itself with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// What it says about itself.
    pub hello: Hello,
    /// How many times this process has introduced itself, with this one.
    pub number: u64,
    /// The attempts that it holds, and those whose end the master has not acknowledged.
    pub held: Vec<Held>,
}

/// Checks a worker's introduction.
///
/// # Errors
/// What cannot be in it, in a sentence.
pub fn hello_from_pb(request: pb::ReportStatusRequest) -> Result<Introduction, String> {
    let named = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if request.name.is_empty() || request.name.len() > MAX_NAME_BYTES || !request.name.bytes().all(named) {
        return Err(format!("a worker's name has 1 to {MAX_NAME_BYTES} letters, digits, dots, dashes and underscores"));
    }
    if !(1..=MAX_SLOTS).contains(&request.slots) {
        return Err(format!("a worker has 1 to {MAX_SLOTS} slots, not {}", request.slots));
    }
    if request.instance.len() > MAX_NAME_BYTES || request.version.len() > MAX_NAME_BYTES {
        return Err(format!("instance and version have at most {MAX_NAME_BYTES} bytes"));
    }
    check_labels(&request.labels).map_err(|error| format!("labels: {error}"))?;
    let held = request.held.into_iter().map(held_from_pb).collect::<Result<_, _>>();
    let hello = Hello {
        name: request.name,
        instance: request.instance,
        version: request.version,
        labels: request.labels,
        slots: request.slots,
    };
    Ok(Introduction { hello, number: request.introduction, held: held.map_err(|error| error.to_string())? })
}

fn held_from_pb(held: pb::HeldAttempt) -> Result<Held, Malformed> {
    Ok(Held { attempt: attempt_from_pb(held.attempt)?, slots: held.slots.min(MAX_SLOTS), started: held.started })
}

/// A session that the master has opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// To be quoted when the stream is opened.
    pub session: u64,
    /// The version of the master's binary.
    pub version: String,
    /// For how long the worker keeps its attempts alive without hearing from the master.
    pub lease: Duration,
    /// How often it sends a heartbeat.
    pub heartbeat_interval: Duration,
    /// What it presented and must kill at once.
    pub kill: Vec<AttemptId>,
}

/// Puts a master's welcome into words of the wire.
#[must_use]
pub fn welcome_to_pb(welcome: Welcome) -> pb::ReportStatusResponse {
    pb::ReportStatusResponse {
        session: welcome.session,
        version: welcome.version,
        lease: Some(duration_to_pb(welcome.lease)),
        heartbeat_interval: Some(duration_to_pb(welcome.heartbeat_interval)),
        kill: welcome.kill.into_iter().map(attempt_to_pb).collect(),
    }
}

/// Reads a master's welcome.
///
/// # Errors
/// When it lacks what it must have.
pub fn welcome_from_pb(response: pb::ReportStatusResponse) -> Result<Welcome, Malformed> {
    Ok(Welcome {
        session: response.session,
        version: response.version,
        lease: duration_from_pb(response.lease, "a welcome lacks its lease")?,
        heartbeat_interval: duration_from_pb(response.heartbeat_interval, "a welcome lacks its heartbeat interval")?,
        kill: response.kill.into_iter().map(|attempt| attempt_from_pb(Some(attempt))).collect::<Result<_, _>>()?,
    })
}

fn duration_from_pb(given: Option<prost_types::Duration>, lacking: &'static str) -> Result<Duration, Malformed> {
    given.and_then(|given| Duration::try_from(given).ok()).ok_or(Malformed(lacking))
}

/// Puts a report into words of the wire, with what the attempt wrote if it has ended.
#[must_use]
pub fn report_to_pb(report: Report, output: Output) -> pb::Report {
    let report = match report {
        Report::Started(attempt) => pb::report::Report::Started(pb::Started { attempt: Some(attempt_to_pb(attempt)) }),
        Report::Ended(attempt, end, usage) => pb::report::Report::Ended(pb::Ended {
            attempt: Some(attempt_to_pb(attempt)),
            end: Some(end_to_pb(end)),
            stdout: Some(captured_to_pb(output.stdout)),
            stderr: Some(captured_to_pb(output.stderr)),
            usage: usage.map(usage_to_pb),
        }),
        Report::Leaving => pb::report::Report::Leaving(pb::Leaving {}),
        Report::Heartbeat { sent } => pb::report::Report::Heartbeat(pb::Heartbeat { sent_ms: sent.0 }),
    };
    pb::Report { report: Some(report) }
}

/// The first message on a stream.
#[must_use]
pub fn open_to_pb(session: u64) -> pb::Report {
    pb::Report { report: Some(pb::report::Report::Open(pb::Open { session })) }
}

/// Reads what came up a worker's stream.
///
/// # Errors
/// When the message lacks what it must have.
pub fn upward_from_pb(message: pb::Report) -> Result<Upward, Malformed> {
    match message.report.ok_or(Malformed("a report is empty or of a kind that this master does not know"))? {
        pb::report::Report::Open(open) => Ok(Upward::Open(open.session)),
        pb::report::Report::Started(started) => {
            Ok(Upward::Report(Report::Started(attempt_from_pb(started.attempt)?), None))
        }
        pb::report::Report::Leaving(pb::Leaving {}) => Ok(Upward::Report(Report::Leaving, None)),
        pb::report::Report::Heartbeat(beat) => Ok(Upward::Report(Report::Heartbeat { sent: Time(beat.sent_ms) }, None)),
        pb::report::Report::Ended(ended) => {
            let attempt = attempt_from_pb(ended.attempt)?;
            let end = end_from_pb(ended.end.ok_or(Malformed("an ended report lacks its end"))?)?;
            let output = Output { stdout: captured_from_pb(ended.stdout), stderr: captured_from_pb(ended.stderr) };
            let usage = ended.usage.map(usage_from_pb).transpose()?;
            Ok(Upward::Report(Report::Ended(attempt, end, usage), Some(output)))
        }
    }
}

/// Puts an order into words of the wire; `traceparent` is the trace that a start belongs to. A close has no words:
/// it is the stream's end.
#[must_use]
pub fn order_to_pb(order: &Order, traceparent: Option<&str>) -> Option<pb::Order> {
    let order = match order {
        Order::Start(attempt, job) => pb::order::Order::Start(start_to_pb(*attempt, job.spec(), traceparent)),
        Order::Stop(attempt) => pb::order::Order::Stop(pb::Stop { attempt: Some(attempt_to_pb(*attempt)) }),
        Order::Drain => pb::order::Order::Drain(pb::Drain {}),
        Order::Renew { sent } => pb::order::Order::Renew(pb::Heartbeat { sent_ms: sent.0 }),
        Order::Acknowledge(attempt) => pb::order::Order::Acknowledge(attempt_to_pb(*attempt)),
        Order::Close(_) => return None,
    };
    Some(pb::Order { order: Some(order) })
}

/// Reads what came down a worker's stream.
///
/// # Errors
/// When the message lacks what it must have.
pub fn downward_from_pb(message: pb::Order) -> Result<Downward, Malformed> {
    match message.order.ok_or(Malformed("an order is empty or of a kind that this worker does not know"))? {
        pb::order::Order::Start(start) => Ok(Downward::Start(Box::new(start_from_pb(start)?))),
        pb::order::Order::Stop(stop) => Ok(Downward::Stop(attempt_from_pb(stop.attempt)?)),
        pb::order::Order::Drain(pb::Drain {}) => Ok(Downward::Drain),
        pb::order::Order::Renew(beat) => Ok(Downward::Renew { sent: Time(beat.sent_ms) }),
        pb::order::Order::Acknowledge(attempt) => Ok(Downward::Acknowledge(attempt_from_pb(Some(attempt))?)),
    }
}

fn start_to_pb(attempt: AttemptId, spec: &TaskSpec, traceparent: Option<&str>) -> pb::Start {
    let command = match spec.command.clone() {
        Command::Line(line) => pb::start::Command::Cmd(line),
        Command::Argv(arguments) => pb::start::Command::Argv(pb::Argv { arguments }),
        Command::Script(script) => pb::start::Command::Script(script),
    };
    pb::Start {
        attempt: Some(attempt_to_pb(attempt)),
        command: Some(command),
        env: spec.env.clone(),
        cwd: spec.cwd.clone(),
        stdin: spec.stdin.clone(),
        timeout: Some(duration_to_pb(spec.timeout)),
        kill_grace: Some(duration_to_pb(spec.kill_grace)),
        slots: spec.needs.slots,
        traceparent: traceparent.unwrap_or_default().to_owned(),
    }
}

fn start_from_pb(start: pb::Start) -> Result<StartOrder, Malformed> {
    let command = match start.command.ok_or(Malformed("a start order lacks its command"))? {
        pb::start::Command::Cmd(line) => Command::Line(line),
        pb::start::Command::Argv(argv) => Command::Argv(argv.arguments),
        pb::start::Command::Script(script) => Command::Script(script),
    };
    Ok(StartOrder {
        attempt: attempt_from_pb(start.attempt)?,
        command,
        env: start.env,
        cwd: start.cwd,
        stdin: start.stdin,
        timeout: duration_from_pb(start.timeout, "a start order lacks its timeout")?,
        kill_grace: duration_from_pb(start.kill_grace, "a start order lacks its grace")?,
        slots: start.slots,
        traceparent: Some(start.traceparent).filter(|traceparent| !traceparent.is_empty()),
    })
}

fn attempt_to_pb(attempt: AttemptId) -> pb::Attempt {
    pb::Attempt { job: attempt.task.job.0, index: attempt.task.index, number: attempt.number }
}

fn attempt_from_pb(attempt: Option<pb::Attempt>) -> Result<AttemptId, Malformed> {
    let attempt = attempt.ok_or(Malformed("a message lacks its attempt"))?;
    Ok(JobId(attempt.job).task(attempt.index).attempt(attempt.number))
}

fn end_to_pb(end: End) -> pb::ended::End {
    let stopped = |cause: pb::StopCause| pb::ended::End::Stopped(cause.into());
    match end {
        End::Exited(code) => pb::ended::End::Exited(code),
        End::Signaled(signal) => pb::ended::End::Signaled(signal),
        End::OutOfMemory => pb::ended::End::OutOfMemory(pb::OutOfMemory {}),
        End::CouldNotStart { errno, detail } => pb::ended::End::CouldNotStart(pb::CouldNotStart { errno, detail }),
        End::TimedOut => stopped(pb::StopCause::Timeout),
        End::Stopped => stopped(pb::StopCause::Order),
        End::WorkerStopped => stopped(pb::StopCause::Worker),
        End::LeaseEnded => stopped(pb::StopCause::Lease),
        End::Abandoned => stopped(pb::StopCause::Abandoned),
        End::Refused => stopped(pb::StopCause::Refused),
    }
}

fn end_from_pb(end: pb::ended::End) -> Result<End, Malformed> {
    Ok(match end {
        pb::ended::End::Exited(code) => End::Exited(code),
        pb::ended::End::Signaled(signal) => End::Signaled(signal),
        pb::ended::End::OutOfMemory(pb::OutOfMemory {}) => End::OutOfMemory,
        pb::ended::End::CouldNotStart(failure) => End::CouldNotStart { errno: failure.errno, detail: failure.detail },
        pb::ended::End::Stopped(cause) => match pb::StopCause::try_from(cause) {
            Ok(pb::StopCause::Timeout) => End::TimedOut,
            Ok(pb::StopCause::Order) => End::Stopped,
            Ok(pb::StopCause::Worker) => End::WorkerStopped,
            Ok(pb::StopCause::Lease) => End::LeaseEnded,
            Ok(pb::StopCause::Abandoned) => End::Abandoned,
            Ok(pb::StopCause::Refused) => End::Refused,
            Ok(pb::StopCause::Unspecified) | Err(_) => return Err(Malformed("an end has an unknown cause")),
        },
    })
}

pub(crate) fn usage_to_pb(usage: Usage) -> pb::Usage {
    pb::Usage { cpu: Some(duration_to_pb(usage.cpu)), max_rss_bytes: usage.max_rss, killed: usage.killed }
}

fn usage_from_pb(usage: pb::Usage) -> Result<Usage, Malformed> {
    let cpu = duration_from_pb(usage.cpu, "a usage lacks its CPU time")?;
    Ok(Usage { cpu, max_rss: usage.max_rss_bytes, killed: usage.killed })
}

fn captured_to_pb(captured: Captured) -> pb::Captured {
    pb::Captured { data: captured.bytes, dropped: captured.dropped }
}

/// A worker that sends more than its share has the rest counted as dropped.
fn captured_from_pb(captured: Option<pb::Captured>) -> Captured {
    let Some(pb::Captured { data, dropped }) = captured else { return Captured::default() };
    if data.len() <= MAX_CAPTURED_BYTES {
        return Captured { bytes: data, dropped };
    }
    let mut cut = Captured::default();
    cut.append(&data);
    cut.dropped = cut.dropped.saturating_add(dropped);
    cut
}
