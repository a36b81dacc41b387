//! What may happen to a scheduler, at random.

use std::time::Duration;

use proptest::prelude::*;
use sortie_engine::{End, Needs, OnLost, Retry, Submission, TaskSpec, Usage};

use super::labels;
use crate::KEY_LIFETIME;

/// Something that happens; the numbers choose from what there is.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Submit(Box<Submission>),
    CancelTask(usize),
    CancelJob(usize),
    Join { worker: usize, instance: u8, keeps: bool },
    Connect(usize),
    Disconnect(usize),
    Leave(usize),
    Started(usize),
    Ended(usize, End, Option<Usage>),
    Stale(usize, u32),
    Admit { worker: usize, draining: bool },
    Pass(u64),
    Wake,
}

const KEYS: [&str; 3] = ["a", "b", "\u{e9}"];
const NEEDS: [&str; 4] = ["", "", "zone=a", "!gpu"];
const NAMES: [(Option<&str>, &str); 3] = [(None, ""), (Some("nightly"), "team=x,tier=1"), (Some("adhoc"), "team=y")];
pub(super) const WORKERS: [(&str, &str, u32); 4] =
    [("w1", "zone=a", 2), ("w2", "zone=b,gpu", 3), ("w10", "", 1), ("v", "gpu", 9)];

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Exited(0)),
        1 => any::<i32>().prop_map(End::Exited),
        2 => Just(End::Exited(1)),
        1 => (1..65).prop_map(End::Signaled),
        1 => Just(End::OutOfMemory),
        1 => (1..200).prop_map(|errno| End::CouldNotStart { errno, detail: format!("exec: errno {errno}") }),
        1 => Just(End::TimedOut),
        1 => Just(End::Stopped),
        1 => Just(End::WorkerStopped),
        1 => Just(End::LeaseEnded),
        1 => Just(End::Abandoned),
        1 => Just(End::Refused),
    ]
}

fn usage() -> impl Strategy<Value = Option<Usage>> {
    let usage = (any::<u32>(), any::<u64>(), any::<u32>());
    let usage = usage.prop_map(|(cpu_us, max_rss, killed)| Usage {
        cpu: Duration::from_micros(cpu_us.into()),
        max_rss,
        killed,
    });
    prop::option::of(usage)
}

fn retry() -> impl Strategy<Value = Retry> {
    let backoff_ms = (1..30u64, 1..90u64);
    (0..4u32, backoff_ms, any::<bool>()).prop_map(|(count, (backoff, max_backoff), one_code)| Retry {
        count,
        backoff: Duration::from_millis(backoff),
        max_backoff: Duration::from_millis(max_backoff.max(backoff)),
        exit_codes: one_code.then_some(1).into_iter().collect(),
    })
}

fn submission() -> impl Strategy<Value = Submission> {
    let places = (1..4u32, -1..2, 0..NEEDS.len(), prop_oneof![Just(50), Just(1_000_000)]);
    let tries = (prop_oneof![Just(Retry::default()), retry()], any::<bool>(), 0..3u32);
    let key = prop_oneof![2 => Just(None), 1 => (0..KEYS.len()).prop_map(Some)];
    (1..12u32, 0..NAMES.len(), places, tries, key).prop_map(|(count, name, places, tries, key)| {
        let (name, labels_text) = NAMES[name];
        let (slots, priority, needs, queue_timeout_ms) = places;
        let (retry, may_repeat, max_lost) = tries;
        let spec = TaskSpec {
            needs: Needs { slots, selector: NEEDS[needs].parse().expect("a selector") },
            priority,
            name: name.map(str::to_owned),
            labels: labels(labels_text),
            queue_timeout: Duration::from_millis(queue_timeout_ms),
            retry,
            on_lost: if may_repeat { OnLost::Retry } else { OnLost::Fail },
            max_lost,
            ..super::line()
        };
        let (traceparent, key) = (name.map(str::to_owned), key.map(|key| KEYS[key].to_owned()));
        Submission { spec, count, traceparent, key }
    })
}

/// Small numbers, so that the same few tasks and sessions are met again and again.
pub(super) fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        24 => submission().prop_map(|submission| Action::Submit(Box::new(submission))),
        4 => any::<usize>().prop_map(Action::CancelTask),
        2 => any::<usize>().prop_map(Action::CancelJob),
        20 => (0..WORKERS.len(), 0..5u8, any::<bool>())
            .prop_map(|(worker, instance, keeps)| Action::Join { worker, instance: instance / 4, keeps }),
        20 => (0..2usize).prop_map(Action::Connect),
        3 => (0..6usize).prop_map(Action::Disconnect),
        1 => (0..6usize).prop_map(Action::Leave),
        30 => (0..4usize).prop_map(Action::Started),
        50 => (0..4usize, end(), usage()).prop_map(|(task, end, usage)| Action::Ended(task, end, usage)),
        3 => (any::<usize>(), 0..3u32).prop_map(|(task, number)| Action::Stale(task, number)),
        3 => (0..WORKERS.len(), prop::bool::weighted(0.3))
            .prop_map(|(worker, draining)| Action::Admit { worker, draining }),
        24 => (0..40u64).prop_map(Action::Pass),
        1 => Just(Action::Pass(KEY_LIFETIME.as_millis() as u64)),
        5 => Just(Action::Wake),
    ]
}
