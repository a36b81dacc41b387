//! What may happen to a master, as proptest makes it up: right and wrong, in any order.

use std::time::Duration;

use proptest::prelude::*;
use sortie_engine::{
    Admission, AttemptId, Command, End, Held, Hello, JobId, Needs, OnLost, Report, Retry, Submission, TaskId, TaskSpec,
};

/// The longest that a task waits in these runs, in seconds.
pub(crate) const MAX_QUEUE_SECONDS: u64 = 100;

/// One thing that happens; a `usize` picks one of what there is.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Submit(Box<Submission>),
    CancelTask(TaskId),
    CancelJob(JobId),
    Admit(&'static str, Admission),
    /// A worker joins with attempts of its own, picked by the bits, and maybe with another.
    Join(Hello, u32, Option<Held>),
    Heartbeat(usize),
    /// Every worker that is there is heard of.
    Heartbeats,
    Connect(usize),
    /// A report by the worker that holds the attempt.
    Right(usize, Word),
    /// The same with another attempt's number.
    Older(usize, Word),
    /// A report by whoever about an attempt that somebody holds.
    Foreign(usize, usize, Word),
    /// A report by whoever about whatever.
    Wrong(usize, AttemptId, Word),
    Leaving(usize),
    Disconnect(usize),
    /// Time passes, and the master wakes.
    Pass(u64),
    /// Time passes, and the master does not notice.
    Drowse(u64),
    Restart,
}

/// What is said about an attempt.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    Started,
    Ended(End),
}

impl Word {
    pub(crate) fn about(self, attempt: AttemptId) -> Report {
        match self {
            Word::Started => Report::Started(attempt),
            Word::Ended(end) => Report::Ended(attempt, end, None),
        }
    }
}

/// A history of up to `len` steps.
pub(crate) fn history(len: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 0..len)
}

fn step() -> impl Strategy<Value = Step> {
    let worker = prop_oneof![Just("a"), Just("b"), Just("c"), Just("never")];
    let admission = prop_oneof![Just(Admission::Open), Just(Admission::Draining)];
    prop_oneof![
        8 => submission().prop_map(|submission| Step::Submit(Box::new(submission))),
        3 => task().prop_map(Step::CancelTask),
        1 => (0u64..12).prop_map(|id| Step::CancelJob(JobId(id))),
        2 => (worker, admission).prop_map(|(worker, admission)| Step::Admit(worker, admission)),
        5 => (hello(), any::<u32>(), prop::option::weighted(0.2, held())).prop_map(|(h, bits, more)| Step::Join(h, bits, more)),
        2 => any::<usize>().prop_map(Step::Heartbeat),
        6 => Just(Step::Heartbeats),
        8 => (0usize..3).prop_map(Step::Connect),
        20 => (any::<usize>(), word()).prop_map(|(pick, word)| Step::Right(pick, word)),
        1 => (any::<usize>(), word()).prop_map(|(pick, word)| Step::Older(pick, word)),
        2 => (any::<usize>(), any::<usize>(), word())
            .prop_map(|(session, pick, word)| Step::Foreign(session, pick, word)),
        1 => (any::<usize>(), task(), 0u32..3, word())
            .prop_map(|(pick, task, number, word)| Step::Wrong(pick, task.attempt(number), word)),
        1 => any::<usize>().prop_map(Step::Leaving),
        2 => any::<usize>().prop_map(Step::Disconnect),
        4 => prop_oneof![3 => 0u64..15, 1 => 0u64..40].prop_map(Step::Pass),
        1 => (0u64..40).prop_map(Step::Drowse),
        1 => Just(Step::Restart),
    ]
}

fn task() -> impl Strategy<Value = TaskId> {
    (0u64..12, 0u32..6).prop_map(|(job, index)| JobId(job).task(index))
}

fn held() -> impl Strategy<Value = Held> {
    (task(), 0u32..3, 0u32..4, any::<bool>()).prop_map(|(task, number, slots, started)| Held {
        attempt: task.attempt(number),
        slots,
        started,
    })
}

fn hello() -> impl Strategy<Value = Hello> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c")];
    let instance = prop_oneof![3 => Just("i1"), 1 => Just("i2")];
    (name, instance, 0u32..5, any::<bool>()).prop_map(|(name, instance, slots, gpu)| Hello {
        name: name.into(),
        instance: instance.into(),
        version: "1".into(),
        labels: gpu.then(|| ("gpu".to_owned(), String::new())).into_iter().collect(),
        slots,
    })
}

fn submission() -> impl Strategy<Value = Submission> {
    let selector = prop_oneof![3 => Just(""), 1 => Just("gpu"), 1 => Just("!gpu")];
    (1u32..6, -1i32..2, 1u32..4, selector, 1u64..60, 1..MAX_QUEUE_SECONDS, policy()).prop_map(
        |(count, priority, slots, selector, timeout, queue_timeout, (retry, on_lost, max_lost))| {
            let spec = TaskSpec {
                priority,
                needs: Needs { slots, selector: selector.parse().expect("a selector") },
                timeout: Duration::from_secs(timeout),
                queue_timeout: Duration::from_secs(queue_timeout),
                retry,
                on_lost,
                max_lost,
                ..TaskSpec::new(Command::Line("true".into()))
            };
            Submission { spec, count, traceparent: None, key: None }
        },
    )
}

fn policy() -> impl Strategy<Value = (Retry, OnLost, u32)> {
    let on_lost = prop_oneof![3 => Just(OnLost::Retry), 1 => Just(OnLost::Fail)];
    (0u32..3, 1u64..20, prop::option::of(1i32..3), on_lost, 0u32..3).prop_map(|(count, backoff, code, on_lost, max)| {
        let retry = Retry {
            count,
            backoff: Duration::from_secs(backoff),
            max_backoff: Duration::from_secs(20),
            exit_codes: code.into_iter().collect(),
        };
        (retry, on_lost, max)
    })
}

fn word() -> impl Strategy<Value = Word> {
    let could_not = End::CouldNotStart { errno: 2, detail: "no such file".into() };
    let end = prop_oneof![
        3 => (0i32..3).prop_map(End::Exited),
        1 => Just(End::Signaled(9)),
        1 => Just(could_not),
        1 => Just(End::TimedOut),
        1 => Just(End::Stopped),
        1 => Just(End::WorkerStopped),
        1 => Just(End::LeaseEnded),
        1 => Just(End::OutOfMemory),
        1 => Just(End::Abandoned),
        1 => Just(End::Refused),
    ];
    prop_oneof![1 => Just(Word::Started), 1 => end.prop_map(Word::Ended)]
}
