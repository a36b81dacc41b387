//! What the master counts, for Prometheus.
//!
//! Only what the driver's records and answers say is counted, once it is durable; so the counts hold whoever asks. They
//! begin anew with every process, as counters do. Every label has a handful of values, and each is there from the start.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sortie_engine::{Answer, Effects, LostReason, Outcome, Record, StateName};

/// A counter for each value of one label.
type Counters = Family<[(&'static str, &'static str); 1], Counter>;

/// The states of which another attempt may follow.
const RETRIED: [StateName; 3] = [StateName::Failed, StateName::TimedOut, StateName::Lost];
/// What can cut the master off from an attempt.
const REASONS: [LostReason; 5] = [
    LostReason::LeaseEnded,
    LostReason::WorkerStopped,
    LostReason::WorkerDied,
    LostReason::OrderLost,
    LostReason::Overdue,
];
/// What can come of a submission.
const RESULTS: [&str; 4] = ["accepted", "repeated", "conflict", "refused"];

/// The master's metrics, cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    past_deadline: Gauge,
    jobs_live: Gauge,
    stale_reports: Counter,
    counted: BTreeMap<Subject, Counters>,
}

/// What is counted by a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    TaskEnded,
    AttemptLost,
    AttemptRetried,
    Submission,
}

/// What one batch adds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    counted: BTreeMap<(Subject, &'static str), u64>,
    stale_reports: u64,
    jobs_submitted: i64,
    jobs_ended: i64,
}

impl Subject {
    const ALL: [Subject; 4] = [Subject::TaskEnded, Subject::AttemptLost, Subject::AttemptRetried, Subject::Submission];

    /// The metric's name, without the `_total` that every counter ends in, and what it says.
    fn named(self) -> (&'static str, &'static str) {
        match self {
            Subject::TaskEnded => ("tasks_ended", "Tasks that have ended, by the state that they ended in"),
            Subject::AttemptLost => ("attempts_lost", "Attempts that were lost, by what cut the master off from them"),
            Subject::AttemptRetried => {
                ("attempts_retried", "Attempts that another one was to follow, by the state that they ended in")
            }
            Subject::Submission => (
                "submissions",
                "Submissions by what came of them: taken in, known by their key, under a key that stands for another \
                 one, or refused because too much waits",
            ),
        }
    }

    fn label(self) -> &'static str {
        match self {
            Subject::TaskEnded | Subject::AttemptRetried => "outcome",
            Subject::AttemptLost => "reason",
            Subject::Submission => "result",
        }
    }

    fn values(self) -> Vec<&'static str> {
        match self {
            Subject::TaskEnded => {
                StateName::ALL.into_iter().filter(|state| state.is_final()).map(StateName::as_str).collect()
            }
            Subject::AttemptRetried => RETRIED.map(StateName::as_str).to_vec(),
            Subject::AttemptLost => REASONS.map(reason).to_vec(),
            Subject::Submission => RESULTS.to_vec(),
        }
    }
}

impl Metrics {
    /// Metrics of a master that has taken up so many live jobs.
    pub(crate) fn new(jobs_live: usize) -> Self {
        let mut registry = Registry::with_prefix("sortie");
        let (past_deadline, live, stale_reports) = (Gauge::default(), Gauge::default(), Counter::default());
        live.set(i64::try_from(jobs_live).unwrap_or(i64::MAX));
        let help = "Tasks in a state whose deadline passed more than a second ago; anything but 0 is a defect";
        registry.register("tasks_past_deadline", help, past_deadline.clone());
        registry.register("jobs_live", "Jobs with tasks that have not ended", live.clone());
        let help = "Reports of workers that did not fit: of an older attempt, or of another session's task";
        registry.register("stale_reports", help, stale_reports.clone());
        let mut counted = BTreeMap::new();
        for subject in Subject::ALL {
            let (name, help) = subject.named();
            let counters = Counters::default();
            for value in subject.values() {
                _ = counters.get_or_create(&[(subject.label(), value)]);
            }
            registry.register(name, help, counters.clone());
            counted.insert(subject, counters);
        }
        Metrics(Arc::new(Inner { registry, past_deadline, jobs_live: live, stale_reports, counted }))
    }

    /// Adds what a batch came to.
    pub(crate) fn count(&self, counts: &Counts) {
        for ((subject, value), n) in &counts.counted {
            if let Some(counters) = self.0.counted.get(subject) {
                counters.get_or_create(&[(subject.label(), *value)]).inc_by(*n);
            }
        }
        self.0.stale_reports.inc_by(counts.stale_reports);
        self.0.jobs_live.inc_by(counts.jobs_submitted - counts.jobs_ended);
    }

    /// Sets how many tasks are past their deadline.
    pub(crate) fn set_past_deadline(&self, tasks: usize) {
        self.0.past_deadline.set(i64::try_from(tasks).unwrap_or(i64::MAX));
    }

    /// All metrics as text, in the `OpenMetrics` format.
    ///
    /// # Errors
    /// When a metric cannot be written.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

impl Counts {
    /// What the effects of a batch add.
    pub(crate) fn of(effects: &Effects) -> Self {
        let mut counts = Counts { stale_reports: effects.stale_reports, ..Counts::default() };
        for record in &effects.records {
            counts.record(record);
        }
        for (_, answer) in &effects.answers {
            counts.answer(answer);
        }
        counts
    }

    fn record(&mut self, record: &Record) {
        match record {
            Record::Submitted(_) => self.jobs_submitted += 1,
            Record::Ended(_, ended) => {
                self.add(Subject::TaskEnded, ended.outcome.state().as_str(), 1);
                self.lost(&ended.outcome);
            }
            Record::Retried(_, ended, _) => {
                self.add(Subject::AttemptRetried, ended.outcome.state().as_str(), 1);
                self.lost(&ended.outcome);
            }
            Record::GivenUp { outcome, .. } => self.add(Subject::TaskEnded, outcome.state().as_str(), 1),
            Record::EndedInQueue { range, outcome, .. } => {
                self.add(Subject::TaskEnded, outcome.state().as_str(), u64::from(range.end - range.start));
            }
            Record::Counted { ended, .. } => self.jobs_ended += i64::from(ended.is_some()),
            Record::Placed(..) | Record::Moved(..) | Record::Worker(_) => {}
        }
    }

    fn lost(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Lost { reason: cause, .. } => self.add(Subject::AttemptLost, reason(*cause), 1),
            Outcome::Exited { .. }
            | Outcome::Signaled { .. }
            | Outcome::OutOfMemory
            | Outcome::CouldNotStart { .. }
            | Outcome::TimedOut
            | Outcome::Cancelled { .. } => {}
        }
    }

    fn answer(&mut self, answer: &Answer) {
        let [accepted, repeated, conflict, refused] = RESULTS;
        match answer {
            Answer::Submitted(_) => self.add(Subject::Submission, accepted, 1),
            Answer::Repeated(_) => self.add(Subject::Submission, repeated, 1),
            Answer::KeyTaken(_) => self.add(Subject::Submission, conflict, 1),
            Answer::QueueFull => self.add(Subject::Submission, refused, 1),
            Answer::Done | Answer::Joined { .. } | Answer::NotLive | Answer::Refused(_) => {}
        }
    }

    fn add(&mut self, subject: Subject, value: &'static str, n: u64) {
        *self.counted.entry((subject, value)).or_default() += n;
    }
}

/// A reason as the interface writes it.
fn reason(reason: LostReason) -> &'static str {
    match reason {
        LostReason::LeaseEnded => "lease_ended",
        LostReason::WorkerStopped => "worker_stopped",
        LostReason::WorkerDied => "worker_died",
        LostReason::OrderLost => "order_lost",
        LostReason::Overdue => "overdue",
    }
}

#[cfg(test)]
mod tests {
    use sortie_engine::{JobId, QueueOutcome, RequestId, Tally, Time};

    use super::*;

    #[test]
    fn every_value_is_there_from_the_start() {
        let text = Metrics::new(3).text().expect("text");
        for line in [
            "sortie_tasks_past_deadline 0",
            "sortie_jobs_live 3",
            "sortie_stale_reports_total 0",
            "sortie_tasks_ended_total{outcome=\"timed_out\"} 0",
            "sortie_attempts_lost_total{reason=\"worker_died\"} 0",
            "sortie_attempts_retried_total{outcome=\"lost\"} 0",
            "sortie_submissions_total{result=\"conflict\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_range_counts_for_as_many_as_it_has() {
        let outcome = QueueOutcome::Expired;
        let tally = Tally { expired: 7, ..Tally::default() };
        let effects = Effects {
            records: vec![
                Record::EndedInQueue { job: JobId(1), range: 3..10, at: Time(0), outcome: outcome.clone() },
                Record::Counted { job: JobId(1), tally, ended: Some(Time(0)) },
                Record::GivenUp { task: JobId(2).task(0), at: Time(0), outcome },
            ],
            answers: vec![(RequestId(0), Answer::Done), (RequestId(1), Answer::QueueFull)],
            stale_reports: 2,
            ..Effects::default()
        };
        let metrics = Metrics::new(2);
        metrics.count(&Counts::of(&effects));
        metrics.count(&Counts::default());
        let text = metrics.text().expect("text");
        for line in [
            "sortie_tasks_ended_total{outcome=\"expired\"} 8",
            "sortie_submissions_total{result=\"refused\"} 1",
            "sortie_stale_reports_total 2",
            "sortie_jobs_live 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
