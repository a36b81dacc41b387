//! What is broken, one thing at a time.

/// A place in the engine, or in the simulation's shells, and what it is replaced with.
pub(crate) struct Variant {
    /// What is broken.
    pub(crate) name: &'static str,
    /// The file, below `crates/engine`.
    pub(crate) file: &'static str,
    /// The text, which must be there exactly once.
    pub(crate) text: &'static str,
    pub(crate) replacement: &'static str,
}

pub(crate) const VARIANTS: &[Variant] = &[
    // P1 and P2.
    Variant {
        name: "tells before it persists",
        file: "tests/sim/master.rs",
        text: "const TELLS_FIRST: bool = false;",
        replacement: "const TELLS_FIRST: bool = true;",
    },
    Variant {
        name: "keys are not remembered within a batch",
        file: "src/scheduler/submit.rs",
        text: "effects.keys.insert(key.clone(), job.clone());",
        replacement: "_ = key;",
    },
    Variant {
        name: "a key stands for any submission",
        file: "src/scheduler/submit.rs",
        text: "match known.submission.is_same(&submission) {",
        replacement: "match true {",
    },
    Variant {
        name: "an end is acknowledged and not recorded",
        file: "src/scheduler/session.rs",
        text: "self.end_attempt(now, attempt.task, outcome, usage, effects);",
        replacement: "_ = (outcome, usage);",
    },
    Variant {
        name: "an end is forgotten for want of room",
        file: "src/scheduler/adopt.rs",
        text: "if held.slots > 0 && slots > room {",
        replacement: "if slots > room {",
    },
    // P3, by numbers.
    Variant {
        name: "an attempt's number is not compared",
        file: "src/scheduler/session.rs",
        text: "(holds && active.attempt.number == attempt.number).then_some(active)",
        replacement: "holds.then_some(active)",
    },
    Variant {
        name: "a stale attempt is adopted",
        file: "src/scheduler/adopt.rs",
        text: "let Some(held) = presented.get(&attempt).copied() else {",
        replacement: "let Some(held) = presented.values().find(|held| held.attempt.task == task).copied() else {",
    },
    Variant {
        name: "what is over is not killed",
        file: "src/scheduler/adopt.rs",
        text: "        presented.into_keys().collect()\n",
        replacement: "        Vec::new()\n",
    },
    Variant {
        name: "outdated introductions are accepted",
        file: "src/scheduler/session.rs",
        text: "if is_same_process && introduction <= last {",
        replacement: "if is_same_process && introduction == last {",
    },
    Variant {
        name: "another process's orders are lost for it",
        file: "src/scheduler/adopt.rs",
        text: "if process != Some(active.attempt.incarnation) || active.started().is_some() {",
        replacement: "if process.is_none() || active.started().is_some() {",
    },
    Variant {
        name: "processes of a name are not told apart",
        file: "src/scheduler/session.rs",
        text: "member.worker.incarnation += u32::from(!is_same_process);",
        replacement: "",
    },
    Variant {
        name: "a name is taken over",
        file: "src/scheduler/session.rs",
        text: "return Answer::Refused(Refusal::NameTaken);",
        replacement: "",
    },
    // P3, by leases.
    Variant {
        name: "no margin after a lease",
        file: "src/scheduler/deadline.rs",
        text: "heard + self.limits.lease + self.limits.lease_margin",
        replacement: "heard + self.limits.lease",
    },
    Variant {
        name: "leases are not waited out after a restart",
        file: "src/scheduler/recover.rs",
        text: "let until = scheduler.lease_end(now);",
        replacement: "let until = now;",
    },
    Variant {
        name: "orphans are given away at once",
        file: "src/scheduler/adopt.rs",
        text: "if process != Some(active.attempt.incarnation) || active.started().is_some() {",
        replacement: "if process.is_none() {",
    },
    Variant {
        name: "a lease's end gives a grace",
        file: "src/slots.rs",
        text: "self.kill(attempt, Cause::Lease, actions);",
        replacement: "if self.held.get(&attempt).is_some_and(|held| held.phase.deadline().is_none_or(|at| at > now)) { self.stop(now, attempt, Cause::Lease, actions); }",
    },
    Variant {
        name: "a lease is counted from its acknowledgement",
        file: "src/slots.rs",
        text: "self.lease_end = self.lease_end.max(sent + lease)",
        replacement: "self.lease_end = self.lease_end.max(now.max(sent) + lease)",
    },
    Variant {
        name: "a late start is not withheld",
        file: "src/slots.rs",
        text: "held.phase = Phase::Condemned(cause);\n                actions.push(Action::Withhold(attempt));",
        replacement: "held.phase = Phase::Condemned(cause);",
    },
    Variant {
        name: "tasks are given to a worker whose time is over",
        file: "src/scheduler/deadline.rs",
        text: "if self.deadlines.contains(&end) {",
        replacement: "if self.deadlines.contains(&end) && now < end.0 {",
    },
    // Policies.
    Variant {
        name: "failures are not counted",
        file: "src/retry.rs",
        text: "let failed = Tries { failed: tries.failed + 1, ..tries };",
        replacement: "let failed = tries;",
    },
    Variant {
        name: "losses are not counted",
        file: "src/retry.rs",
        text: "let lost = Tries { lost: tries.lost + 1, ..tries };",
        replacement: "let lost = tries;",
    },
    Variant {
        name: "on_lost is ignored",
        file: "src/retry.rs",
        text: "(self.on_lost == OnLost::Retry && tries.lost < self.max_lost)",
        replacement: "(tries.lost < self.max_lost)",
    },
    Variant {
        name: "overdue attempts are tried again",
        file: "src/retry.rs",
        text: "Outcome::Lost { reason: LostReason::Overdue, .. } => None,",
        replacement: "",
    },
    Variant {
        name: "what is cancelled is tried again",
        file: "src/scheduler/again.rs",
        text: "Stage::Cancelling { .. } => return None,",
        replacement: "Stage::Cancelling { .. } => job.spec().tries_after(active.tries, outcome)?,",
    },
    Variant {
        name: "not_before is ignored",
        file: "src/scheduler.rs",
        text: "self.set_again(task, Some((again, Patience::HeldBack)));\n            }\n            None",
        replacement: "self.set_again(task, Some((again, Patience::Ready)));\n            }\n            None",
    },
    Variant {
        name: "what never started counts as lost",
        file: "src/retry.rs",
        text: "Outcome::Lost { started: Started::No, .. } => Some(tries),",
        replacement: "",
    },
    Variant {
        name: "exit codes are ignored",
        file: "src/retry.rs",
        text: "self.exit_codes.is_empty() || self.exit_codes.contains(&code)",
        replacement: "self.exit_codes.is_empty() || code > 0",
    },
    Variant {
        name: "the longest wait has no cap",
        file: "src/retry.rs",
        text: ".min(self.max_backoff)",
        replacement: "",
    },
    Variant {
        name: "a job's cancel leaves what waits for another attempt",
        file: "src/scheduler/cancel.rs",
        text: "for task in self.all_again(job) {",
        replacement: "for task in self.all_again(job).into_iter().skip(usize::MAX) {",
    },
    // P4, P5 and P7.
    Variant {
        name: "the process says why it was stopped",
        file: "src/slots.rs",
        text: "Phase::Stopping { cause, .. } | Phase::Killed(cause) => cause.end(),",
        replacement: "Phase::Stopping { .. } | Phase::Killed(_) => end,",
    },
    Variant {
        name: "a worker that is back has no time to tell",
        file: "src/scheduler/adopt.rs",
        text: "member.patience = now + self.limits.start_timeout;",
        replacement: "",
    },
    Variant {
        name: "stops are not repeated",
        file: "src/scheduler/session.rs",
        text: "self.repeat_stops(id, effects);",
        replacement: "",
    },
    Variant {
        name: "what nobody has confirmed is confirmed",
        file: "src/scheduler/adopt.rs",
        text: "Outcome::Cancelled { by: by.clone(), confirmed: false },",
        replacement: "Outcome::Cancelled { by: by.clone(), confirmed: true },",
    },
    Variant {
        name: "what a dead worker left is said not to have started",
        file: "src/scheduler/session.rs",
        text: "(None, End::Refused) => Started::No,",
        replacement: "(None, End::Refused | End::Abandoned) => Started::No,",
    },
    Variant {
        name: "who adopts forgets that a command has started",
        file: "src/scheduler/adopt.rs",
        text: "let started = active.started().or(held.started.then_some(now));",
        replacement: "let started = active.started().filter(|_| held.started);",
    },
    Variant {
        name: "heartbeats are not heard",
        file: "src/scheduler/session.rs",
        text: "                self.hear(id, now);\n                effects.orders.push((session, Order::Renew { sent }));",
        replacement: "                effects.orders.push((session, Order::Renew { sent }));",
    },
    // P8 and limits.
    Variant {
        name: "a restart forgets what waits for another attempt",
        file: "src/scheduler.rs",
        text: "self.set_again(job.id.task(index), Some((again, Patience::HeldBack)));",
        replacement: "_ = (index, again);",
    },
    Variant {
        name: "a worker that drains is given tasks",
        file: "src/fleet.rs",
        text: "(Link::Connected { .. }, Admission::Open) => {",
        replacement: "(Link::Connected { .. }, _) => {",
    },
    Variant {
        name: "any number of jobs may wait",
        file: "src/scheduler/submit.rs",
        text: "if self.jobs.len() >= self.limits.max_jobs || bytes > self.limits.max_spec_bytes {",
        replacement: "if bytes > self.limits.max_spec_bytes {",
    },
    Variant {
        name: "the room of what was given up is given away",
        file: "src/scheduler/session.rs",
        text: "self.fleet.update(worker, |member| member.given_up.insert(attempt, slots));",
        replacement: "_ = (worker, attempt, slots);",
    },
];
