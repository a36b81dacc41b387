//! Scripts for the worker's state machine: one event after another, and everything that follows from each.

use std::time::Duration;

use sortie_engine::{Action, AttemptId, End, Event, Exit, Held, JobId, Report, Slots, TaskId, Time, Usage};

const A: AttemptId = AttemptId { task: TaskId { job: JobId(1), index: 0 }, number: 1 };
const B: AttemptId = AttemptId { task: TaskId { job: JobId(1), index: 1 }, number: 1 };

/// How long a command may run in these scripts, in seconds.
const TIMEOUT: u64 = 100;
/// How long it has between TERM and KILL, in seconds.
const GRACE: u64 = 10;
/// How long the lease is in the scripts about it, in seconds.
const LEASE: u64 = 15;
/// The lease in all others: longer than any of them, in seconds.
const LONG_LEASE: u64 = 1_000_000;

/// What every command in these scripts uses.
const USAGE: Usage = Usage { cpu: Duration::from_millis(20), max_rss: 4096, killed: 1 };

const NOTHING: [Action; 0] = [];

/// A worker and a clock that only goes when a script lets it, in whole seconds from 0.
struct World {
    slots: Slots,
    now: Time,
}

impl World {
    fn new(slots: u32) -> Self {
        World::with_lease(slots, LONG_LEASE)
    }

    fn with_lease(slots: u32, lease: u64) -> Self {
        let mut world = World { slots: Slots::new(slots), now: Time(0) };
        world.renew(0, lease);
        world
    }

    /// A worker of one slot, in which A runs since 0.
    fn running() -> Self {
        World::running_for(LONG_LEASE)
    }

    fn running_for(lease: u64) -> Self {
        let mut world = World::starting_for(lease);
        assert_eq!(world.event(Event::Spawned(A)), [started(A)]);
        world
    }

    /// A worker of one slot, in which A is being started.
    fn starting() -> Self {
        World::starting_for(LONG_LEASE)
    }

    fn starting_for(lease: u64) -> Self {
        let mut world = World::with_lease(1, lease);
        assert_eq!(world.start(A, 1), [Action::Spawn(A)]);
        world
    }

    fn renew(&mut self, sent: u64, lease: u64) {
        let renewed = Event::Renewed { sent: at(sent), lease: Duration::from_secs(lease) };
        assert_eq!(self.event(renewed), NOTHING);
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.slots.handle(self.now, event, &mut actions);
        let held: Vec<_> = self.slots.held().map(|held| held.attempt).collect();
        assert_eq!(held.is_empty(), self.slots.is_empty());
        assert!(held.iter().all(|attempt| self.slots.holds(*attempt)));
        actions
    }

    fn start(&mut self, attempt: AttemptId, slots: u32) -> Vec<Action> {
        let (timeout, kill_grace) = (Duration::from_secs(TIMEOUT), Duration::from_secs(GRACE));
        self.event(Event::Start { attempt, slots, timeout, kill_grace })
    }

    fn exited(&mut self, attempt: AttemptId) -> Vec<Action> {
        self.event(Event::Exited(attempt, Exit::Code(0), USAGE))
    }

    /// Lets time pass, and wakes the worker at every deadline on the way.
    fn pass(&mut self, seconds: u64) -> Vec<Action> {
        let end = self.now + Duration::from_secs(seconds);
        let mut actions = Vec::new();
        while let Some(due) = self.slots.next_deadline().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            actions.extend(self.event(Event::Wake));
            assert!(self.next_deadline_is_ahead(), "the deadline {due:?} has passed and is still there");
        }
        self.now = end;
        actions
    }

    fn next_deadline_is_ahead(&self) -> bool {
        self.slots.next_deadline().is_none_or(|due| due > self.now)
    }

    /// The next deadline but for a lease that no script lives to see the end of.
    fn next_deadline(&self) -> Option<u64> {
        self.slots.next_deadline().map(|time| time.0 / 1000).filter(|due| *due != LONG_LEASE)
    }
}

fn started(attempt: AttemptId) -> Action {
    Action::Report(Report::Started(attempt))
}

fn ended(attempt: AttemptId, end: End) -> Action {
    let has_run = !matches!(end, End::Refused | End::CouldNotStart { .. });
    Action::Report(Report::Ended(attempt, end, has_run.then_some(USAGE)))
}

fn at(seconds: u64) -> Time {
    Time(seconds * 1000)
}

#[test]
fn a_command_starts_and_ends_by_itself() {
    for (exit, end) in [
        (Exit::Code(0), End::Exited(0)),
        (Exit::Code(7), End::Exited(7)),
        (Exit::Signal(9), End::Signaled(9)),
        (Exit::OutOfMemory, End::OutOfMemory),
    ] {
        let mut world = World::new(1);
        assert_eq!(world.start(A, 1), [Action::Spawn(A)]);
        assert!(world.slots.holds(A));
        assert_eq!(world.event(Event::Spawned(A)), [started(A)]);
        assert_eq!(world.pass(5), NOTHING);
        assert_eq!(world.event(Event::Exited(A, exit, USAGE)), [ended(A, end)]);
        assert!(world.slots.is_empty());
        assert_eq!(world.next_deadline(), None);
    }
}

#[test]
fn a_command_that_could_not_be_started_gives_its_slot_back() {
    let mut world = World::starting();
    let failed = Event::SpawnFailed { attempt: A, errno: 2, detail: "no such file".into() };
    let end = End::CouldNotStart { errno: 2, detail: "no such file".into() };
    assert_eq!(world.event(failed), [ended(A, end)]);
    assert_eq!(world.start(B, 1), [Action::Spawn(B)]);
}

#[test]
fn a_command_that_ended_before_its_start_was_told_has_ended() {
    let mut world = World::starting();
    assert_eq!(world.exited(A), [ended(A, End::Exited(0))]);
    assert_eq!(world.event(Event::Spawned(A)), NOTHING);
    assert!(world.slots.is_empty());
}

#[test]
fn at_its_timeout_a_command_gets_term_and_after_the_grace_kill() {
    let mut world = World::starting();
    assert_eq!((world.next_deadline(), world.pass(5)), (None, NOTHING.to_vec()));
    assert_eq!(world.event(Event::Spawned(A)), [started(A)]);
    assert_eq!(world.next_deadline(), Some(5 + TIMEOUT));
    assert_eq!(world.pass(TIMEOUT - 1), NOTHING);
    assert_eq!(world.pass(1), [Action::Terminate(A)]);
    assert_eq!(world.next_deadline(), Some(5 + TIMEOUT + GRACE));
    assert_eq!(world.pass(GRACE - 1), NOTHING);
    assert_eq!(world.pass(1), [Action::Kill(A)]);
    assert_eq!(world.next_deadline(), None);
    assert_eq!(world.pass(1000), NOTHING);
    assert!(world.slots.holds(A), "it is held until it is gone");
    assert_eq!(world.event(Event::Exited(A, Exit::Signal(9), USAGE)), [ended(A, End::TimedOut)]);
}

#[test]
fn a_command_that_heeds_term_has_timed_out_all_the_same() {
    let mut world = World::running();
    assert_eq!(world.pass(TIMEOUT), [Action::Terminate(A)]);
    assert_eq!(world.exited(A), [ended(A, End::TimedOut)]);
    assert_eq!(world.pass(GRACE), NOTHING);
}

#[test]
fn a_running_command_is_stopped_by_order() {
    let mut world = World::running();
    assert_eq!(world.pass(3), NOTHING);
    assert_eq!(world.event(Event::Stop(A)), [Action::Terminate(A)]);
    assert_eq!(world.next_deadline(), Some(3 + GRACE));
    assert_eq!(world.pass(GRACE), [Action::Kill(A)]);
    assert_eq!(world.event(Event::Stop(A)), NOTHING);
    assert_eq!(world.event(Event::Exited(A, Exit::Signal(9), USAGE)), [ended(A, End::Stopped)]);
    assert_eq!(world.event(Event::Stop(A)), NOTHING);
}

#[test]
fn a_second_order_to_stop_does_not_put_the_kill_off() {
    let mut world = World::running();
    assert_eq!(world.event(Event::Stop(A)), [Action::Terminate(A)]);
    assert_eq!(world.pass(GRACE - 1), NOTHING);
    assert_eq!(world.event(Event::Stop(A)), NOTHING);
    assert_eq!(world.pass(1), [Action::Kill(A)]);
}

#[test]
fn the_first_cause_is_the_one_that_counts() {
    let mut world = World::running();
    assert_eq!(world.pass(TIMEOUT), [Action::Terminate(A)]);
    assert_eq!(world.event(Event::Stop(A)), NOTHING);
    assert_eq!(world.exited(A), [ended(A, End::TimedOut)]);
    let mut world = World::running();
    assert_eq!(world.pass(TIMEOUT - 1), NOTHING);
    assert_eq!(world.event(Event::Stop(A)), [Action::Terminate(A)]);
    assert_eq!(world.pass(1), NOTHING);
    assert_eq!(world.exited(A), [ended(A, End::Stopped)]);
}

#[test]
fn a_command_that_is_stopped_while_it_starts_is_stopped_as_soon_as_it_runs() {
    let mut world = World::starting();
    assert_eq!(world.event(Event::Stop(A)), [Action::Withhold(A)]);
    assert_eq!(world.event(Event::Stop(A)), NOTHING);
    assert_eq!(world.pass(4), NOTHING);
    assert_eq!(world.event(Event::Spawned(A)), [started(A), Action::Terminate(A)]);
    assert_eq!(world.next_deadline(), Some(4 + GRACE));
    assert_eq!(world.pass(GRACE), [Action::Kill(A)]);
    assert_eq!(world.exited(A), [ended(A, End::Stopped)]);
}

#[test]
fn a_command_that_is_stopped_and_cannot_start_is_stopped() {
    let mut world = World::starting();
    assert_eq!(world.event(Event::Stop(A)), [Action::Withhold(A)]);
    let failed = Event::SpawnFailed { attempt: A, errno: 2, detail: "x".into() };
    assert_eq!(world.event(failed), [Action::Report(Report::Ended(A, End::Stopped, None))]);
    assert!(world.slots.is_empty());
}

#[test]
fn a_command_that_could_be_withheld_has_never_run() {
    type Stop = fn(&mut World) -> Vec<Action>;
    let stops: [(Stop, End); 4] = [
        (|world| world.event(Event::Stop(A)), End::Stopped),
        (|world| world.event(Event::Kill(A)), End::Stopped),
        (|world| world.pass(LEASE), End::Refused),
        (|world| [world.event(Event::Leave { stop_at: at(1) }), world.pass(1)].concat(), End::Refused),
    ];
    for (stop, end) in stops {
        let mut world = World::starting_for(LEASE);
        assert_eq!(stop(&mut world), [Action::Withhold(A)]);
        let told = Action::Report(Report::Ended(A, end, None));
        assert_eq!(world.event(Event::Withheld(A)), [told]);
        assert!(world.slots.is_empty());
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut world = World::new(3);
    assert_eq!(world.start(A, 2), [Action::Spawn(A)]);
    assert_eq!(world.start(B, 2), [ended(B, End::Refused)]);
    assert!(!world.slots.holds(B));
    assert_eq!(world.start(B, u32::MAX), [ended(B, End::Refused)]);
    assert_eq!(world.start(B, 1), [Action::Spawn(B)]);
    assert_eq!(world.slots.held().map(|held| held.attempt).collect::<Vec<_>>(), [A, B]);
}

#[test]
fn a_slot_is_taken_until_the_command_is_gone() {
    let mut world = World::running();
    assert_eq!(world.event(Event::Stop(A)), [Action::Terminate(A)]);
    assert_eq!(world.pass(GRACE), [Action::Kill(A)]);
    assert_eq!(world.start(B, 1), [ended(B, End::Refused)]);
    assert_eq!(world.exited(A), [ended(A, End::Stopped)]);
    assert_eq!(world.start(B, 1), [Action::Spawn(B)]);
}

#[test]
fn repeated_and_unknown_words_change_nothing() {
    let mut world = World::running();
    assert_eq!(world.start(A, 1), NOTHING);
    assert_eq!(world.event(Event::Spawned(A)), NOTHING);
    assert_eq!(world.event(Event::Stop(B)), NOTHING);
    assert_eq!(world.event(Event::Spawned(B)), NOTHING);
    assert_eq!(world.exited(B), NOTHING);
    assert_eq!(world.event(Event::SpawnFailed { attempt: B, errno: 2, detail: "x".into() }), NOTHING);
    assert_eq!(world.event(Event::Wake), NOTHING);
    assert_eq!(world.next_deadline(), Some(TIMEOUT));
    assert_eq!(world.exited(A), [ended(A, End::Exited(0))]);
    assert_eq!(world.exited(A), NOTHING);
}

#[test]
fn when_the_lease_ends_every_command_is_killed_at_once() {
    let mut world = World::running_for(LEASE);
    assert_eq!(world.next_deadline(), Some(LEASE));
    assert_eq!(world.pass(LEASE - 1), NOTHING);
    assert_eq!(world.pass(1), [Action::Kill(A)]);
    assert_eq!(world.next_deadline(), None);
    assert_eq!(world.event(Event::Stop(A)), NOTHING);
    assert!(world.slots.holds(A), "it is held until it is gone");
    assert_eq!(world.exited(A), [ended(A, End::LeaseEnded)]);
}

#[test]
fn a_lease_is_renewed_from_what_was_sent_and_never_shortened() {
    let mut world = World::running_for(LEASE);
    assert_eq!(world.pass(10), NOTHING);
    world.renew(7, LEASE);
    assert_eq!(world.next_deadline(), Some(7 + LEASE));
    world.renew(3, LEASE);
    assert_eq!(world.next_deadline(), Some(7 + LEASE), "acknowledgements may come in any order");
    assert_eq!(world.pass(LEASE - 4), NOTHING);
    assert_eq!(world.pass(1), [Action::Kill(A)]);
    world.renew(20, LEASE);
    assert_eq!(world.exited(A), [ended(A, End::LeaseEnded)], "what was killed stays killed");
}

#[test]
fn a_lease_that_is_renewed_before_the_worker_woke_has_not_ended() {
    let mut world = World::running_for(LEASE);
    world.now = at(LEASE + 5);
    world.renew(LEASE, LEASE);
    assert_eq!(world.event(Event::Wake), NOTHING);
    assert_eq!(world.next_deadline(), Some(2 * LEASE));
}

#[test]
fn the_end_of_the_lease_cuts_the_grace_short_and_the_first_cause_counts() {
    let mut world = World::running_for(5);
    assert_eq!(world.event(Event::Stop(A)), [Action::Terminate(A)]);
    assert_eq!(world.pass(5), [Action::Kill(A)]);
    assert_eq!(world.pass(GRACE), NOTHING);
    assert_eq!(world.exited(A), [ended(A, End::Stopped)]);
    let mut world = World::running_for(TIMEOUT + 5);
    assert_eq!(world.pass(TIMEOUT), [Action::Terminate(A)]);
    assert_eq!(world.pass(5), [Action::Kill(A)]);
    assert_eq!(world.exited(A), [ended(A, End::TimedOut)]);
}

#[test]
fn the_end_of_the_lease_kills_nothing_twice() {
    let mut world = World::running_for(LEASE);
    assert_eq!(world.event(Event::Stop(A)), [Action::Terminate(A)]);
    assert_eq!(world.pass(LEASE), [Action::Kill(A)]);
    assert_eq!(world.pass(LEASE), NOTHING);
    assert_eq!(world.exited(A), [ended(A, End::Stopped)]);
}

#[test]
fn a_command_that_starts_when_the_lease_is_over_is_killed_as_soon_as_it_runs() {
    for (stopped_before, end) in [(false, End::LeaseEnded), (true, End::Stopped)] {
        let mut world = World::starting_for(LEASE);
        assert_eq!(world.next_deadline(), Some(LEASE));
        let mut withheld = Vec::new();
        if stopped_before {
            withheld.extend(world.event(Event::Stop(A)));
        }
        withheld.extend(world.pass(LEASE));
        assert_eq!(withheld, [Action::Withhold(A)], "once");
        assert_eq!((world.next_deadline(), world.event(Event::Stop(A))), (None, NOTHING.to_vec()));
        assert_eq!(world.event(Event::Spawned(A)), [started(A), Action::Kill(A)]);
        assert_eq!(world.exited(A), [ended(A, end)]);
    }
    let mut world = World::starting_for(LEASE);
    assert_eq!(world.pass(LEASE), [Action::Withhold(A)]);
    let failed = Event::SpawnFailed { attempt: A, errno: 2, detail: "x".into() };
    assert_eq!(world.event(failed), [ended(A, End::CouldNotStart { errno: 2, detail: "x".into() })]);
}

#[test]
fn an_order_that_comes_when_the_lease_is_over_is_refused() {
    let mut world = World::with_lease(1, LEASE);
    assert_eq!(world.pass(LEASE), NOTHING);
    assert_eq!(world.start(A, 1), [ended(A, End::Refused)]);
    world.renew(LEASE, LEASE);
    assert_eq!(world.start(A, 1), [Action::Spawn(A)]);
}

#[test]
fn a_worker_that_holds_nothing_has_no_lease_to_wake_for() {
    let mut world = World::with_lease(1, LEASE);
    assert_eq!(world.next_deadline(), None);
    assert_eq!(world.start(A, 1), [Action::Spawn(A)]);
    assert_eq!(world.next_deadline(), Some(LEASE));
}

#[test]
fn an_order_to_kill_gives_no_grace() {
    let mut world = World::running();
    assert_eq!(world.event(Event::Kill(B)), NOTHING);
    assert_eq!(world.event(Event::Kill(A)), [Action::Kill(A)]);
    assert_eq!(world.event(Event::Kill(A)), NOTHING);
    assert_eq!(world.exited(A), [ended(A, End::Stopped)]);
    let mut world = World::running();
    assert_eq!(world.pass(TIMEOUT), [Action::Terminate(A)]);
    assert_eq!(world.event(Event::Kill(A)), [Action::Kill(A)]);
    assert_eq!(world.exited(A), [ended(A, End::TimedOut)]);
}

#[test]
fn an_order_to_kill_what_starts_gives_no_grace_either() {
    for stopped_before in [false, true] {
        let mut world = World::starting();
        let mut withheld = Vec::new();
        if stopped_before {
            withheld.extend(world.event(Event::Stop(A)));
        }
        withheld.extend(world.event(Event::Kill(A)));
        withheld.extend(world.event(Event::Stop(A)));
        assert_eq!(withheld, [Action::Withhold(A)], "once");
        assert_eq!(world.event(Event::Spawned(A)), [started(A), Action::Kill(A)]);
        assert_eq!(world.exited(A), [ended(A, End::Stopped)]);
    }
}

#[test]
fn what_is_held_is_presented_with_its_slots_and_whether_it_started() {
    let mut world = World::new(3);
    assert_eq!(world.start(A, 2), [Action::Spawn(A)]);
    assert_eq!(world.start(B, 1), [Action::Spawn(B)]);
    assert_eq!(world.event(Event::Kill(B)), [Action::Withhold(B)]);
    let held = |started| [Held { attempt: A, slots: 2, started }, Held { attempt: B, slots: 1, started: false }];
    assert_eq!(world.slots.held().collect::<Vec<_>>(), held(false));
    assert_eq!(world.event(Event::Spawned(A)), [started(A)]);
    assert_eq!(world.slots.held().collect::<Vec<_>>(), held(true));
    assert_eq!(world.event(Event::Stop(A)), [Action::Terminate(A)]);
    assert_eq!(world.slots.held().collect::<Vec<_>>(), held(true));
    assert_eq!(world.exited(A), [ended(A, End::Stopped)]);
    assert_eq!(world.slots.held().collect::<Vec<_>>(), held(true)[1..]);
}

#[test]
fn a_leaving_worker_lets_commands_end_until_its_time_comes() {
    let mut world = World::new(3);
    assert_eq!(world.start(A, 1), [Action::Spawn(A)]);
    assert_eq!(world.event(Event::Spawned(A)), [started(A)]);
    assert_eq!(world.event(Event::Leave { stop_at: at(20) }), NOTHING);
    assert_eq!(world.next_deadline(), Some(20));
    // An order that was under way when the worker began to leave is still carried out.
    assert_eq!(world.start(B, 1), [Action::Spawn(B)]);
    assert_eq!(world.pass(19), NOTHING);
    assert_eq!(world.pass(1), [Action::Terminate(A), Action::Withhold(B)]);
    assert_eq!(world.next_deadline(), Some(20 + GRACE));
    assert_eq!(world.event(Event::Spawned(B)), [started(B), Action::Terminate(B)]);
    assert_eq!(world.exited(B), [ended(B, End::WorkerStopped)]);
    assert_eq!(world.pass(GRACE), [Action::Kill(A)]);
    assert_eq!(world.exited(A), [ended(A, End::WorkerStopped)]);
    assert_eq!(world.start(B, 1), [ended(B, End::Refused)]);
}

#[test]
fn a_command_that_ends_while_its_worker_leaves_ends_by_itself() {
    let mut world = World::running();
    assert_eq!(world.event(Event::Leave { stop_at: at(20) }), NOTHING);
    assert_eq!(world.pass(5), NOTHING);
    assert_eq!(world.exited(A), [ended(A, End::Exited(0))]);
    assert_eq!(world.pass(15), NOTHING);
    assert_eq!(world.next_deadline(), None);
}

#[test]
fn a_worker_that_leaves_without_time_stops_all_at_the_next_wake() {
    let mut world = World::new(2);
    assert_eq!(world.start(A, 1), [Action::Spawn(A)]);
    assert_eq!(world.start(B, 1), [Action::Spawn(B)]);
    assert_eq!(world.event(Event::Spawned(A)), [started(A)]);
    assert_eq!(world.pass(5), NOTHING);
    assert_eq!(world.event(Event::Leave { stop_at: at(5) }), NOTHING);
    assert_eq!(world.next_deadline(), Some(5));
    assert_eq!(world.event(Event::Wake), [Action::Terminate(A), Action::Withhold(B)]);
    // It could not have been stopped before it failed to start: that is its own end.
    let failed = Event::SpawnFailed { attempt: B, errno: 2, detail: "x".into() };
    assert_eq!(world.event(failed), [ended(B, End::CouldNotStart { errno: 2, detail: "x".into() })]);
}

#[test]
fn a_worker_may_be_hurried_and_never_called_back() {
    let mut world = World::running();
    assert_eq!(world.event(Event::Leave { stop_at: at(90) }), NOTHING);
    assert_eq!(world.event(Event::Leave { stop_at: at(2) }), NOTHING);
    assert_eq!(world.pass(2), [Action::Terminate(A)]);
    assert_eq!(world.exited(A), [ended(A, End::WorkerStopped)]);
    assert_eq!(world.event(Event::Leave { stop_at: at(90) }), NOTHING);
    assert_eq!(world.next_deadline(), None);
    assert_eq!(world.start(B, 1), [ended(B, End::Refused)]);
}

#[test]
fn a_worker_that_overslept_does_one_thing_at_a_time() {
    let mut world = World::running();
    world.now = at(TIMEOUT + GRACE + 50);
    assert_eq!(world.event(Event::Wake), [Action::Terminate(A)]);
    // The command has its whole grace, counted from when it was told.
    assert_eq!(world.pass(GRACE - 1), NOTHING);
    assert_eq!(world.pass(1), [Action::Kill(A)]);
    assert_eq!(world.exited(A), [ended(A, End::TimedOut)]);
}

#[test]
fn the_earliest_deadline_is_the_next() {
    let mut world = World::new(2);
    assert_eq!(world.start(A, 1), [Action::Spawn(A)]);
    assert_eq!(world.event(Event::Spawned(A)), [started(A)]);
    assert_eq!(world.pass(30), NOTHING);
    assert_eq!(world.start(B, 1), [Action::Spawn(B)]);
    assert_eq!(world.event(Event::Spawned(B)), [started(B)]);
    assert_eq!(world.next_deadline(), Some(TIMEOUT));
    assert_eq!(world.event(Event::Stop(B)), [Action::Terminate(B)]);
    assert_eq!(world.next_deadline(), Some(30 + GRACE));
    assert_eq!(world.event(Event::Leave { stop_at: at(35) }), NOTHING);
    assert_eq!(world.next_deadline(), Some(35));
}
