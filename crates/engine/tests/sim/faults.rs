//! What goes wrong, and in which histories.
//!
//! The lease is what keeps two attempts of a task apart, and the master's margin is what it can bear: a worker counts
//! 15 s by a clock that may be slow by 1%, may be frozen for [`FREEZE_MS`] when they are over, may die then and leave
//! the killing to its guard for [`GUARD_MS`], and a KILL takes [`KILL_MS`] to arrive: 19.3 s. The master waits for 20 s
//! by a clock that may be fast by 1%: 19.8 s. A longer freeze is the exception that is written down with P3.

use sortie_engine::Limits;

use crate::machine::Machine;
use crate::rng::Rng;
use crate::world::{Happens, World};

/// For how long a worker may be frozen in any history.
pub(crate) const FREEZE_MS: u64 = 2_000;
/// How long a dead worker's guard may take to kill what it left.
pub(crate) const GUARD_MS: u64 = 2_000;
/// How long a KILL may take to arrive.
pub(crate) const KILL_MS: u64 = 50;
/// How long a master must have been up to be restarted once more in a history of upgrades.
const UPGRADE_MS: u64 = 20_000;

/// What a history is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing goes wrong, so nothing may be lost.
    Calm,
    /// The master is restarted now and then, so nothing that runs may be touched.
    Upgrades,
    /// Everything goes wrong.
    Rough,
    /// Workers are frozen for longer than their leases, too: these alone may run what others run.
    Frozen,
    /// Workers are cut off for longer than their leases, and come back while what they have killed still hangs.
    Hanging,
}

impl Kind {
    pub(crate) fn of(seed: u64) -> Self {
        match seed % 8 {
            0 => Kind::Calm,
            1 => Kind::Upgrades,
            2 => Kind::Frozen,
            3 => Kind::Hanging,
            _ => Kind::Rough,
        }
    }

    /// Whether machines and networks go wrong.
    pub(crate) fn is_rough(self) -> bool {
        match self {
            Kind::Calm | Kind::Upgrades => false,
            Kind::Rough | Kind::Frozen | Kind::Hanging => true,
        }
    }

    /// The machines' names; in some histories two have the same.
    pub(crate) fn machines(self, rng: &mut Rng) -> Vec<Machine> {
        let count = if self == Kind::Hanging { 1 } else { rng.range(1, 4) };
        let twin = (self.is_rough() && rng.chance(250)).then_some("w0".to_owned());
        let names: Vec<String> = (0..count).map(|n| format!("w{n}")).chain(twin).collect();
        let sick_per_mille = if self == Kind::Hanging { 1_000 } else { 300 };
        names.into_iter().map(|name| Machine::new(name, rng.chance(sick_per_mille), rng)).collect()
    }
}

/// The master's limits; in some histories little may wait.
pub(crate) fn limits(rng: &mut Rng) -> Limits {
    let limits = Limits::default();
    match rng.range(0, 8) {
        0 => Limits { max_jobs: rng.index(4) + 2, ..limits },
        1 => Limits { max_spec_bytes: rng.index(3_000) + 1_500, ..limits },
        _ => limits,
    }
}

impl World {
    pub(crate) fn fault(&mut self) {
        match self.kind {
            Kind::Calm => {}
            Kind::Upgrades => self.master_down(),
            Kind::Rough | Kind::Frozen | Kind::Hanging => self.trouble(),
        }
    }

    fn trouble(&mut self) {
        let machine = self.rng.index(self.machines.len());
        let connection = self.machines[machine].agent.as_ref().and_then(|agent| agent.link.connection());
        let is_usual = self.kind != Kind::Hanging || self.rng.chance(300);
        let fault = if is_usual { self.rng.range(0, 100) } else { 100 };
        match fault {
            0..8 => self.master_down(),
            8..14 => self.master_stalls(),
            14..23 => self.agent_dies(machine),
            23..28 => self.machine_dies(machine),
            28..33 => self.agent_leaves(machine),
            33..45 => self.agent_freezes(machine),
            45..60 => connection.into_iter().for_each(|id| self.stall(id)),
            60..80 => connection.into_iter().for_each(|id| self.cut(id, 700, 3_000)),
            _ => self.part(machine, connection),
        }
    }

    /// The way to the master is closed for about as long as a lease lasts.
    fn part(&mut self, index: usize, connection: Option<u64>) {
        if self.machines[index].agent.as_ref().is_none_or(|agent| !agent.link.is_open()) {
            return;
        }
        self.saw("a machine is cut off");
        let for_ms = self.rng.range(10_000, 35_000);
        self.trace(|| format!("network: {} is cut off for {for_ms} ms", self.called(index)));
        self.machines[index].cut_off_until = self.now + for_ms;
        connection.into_iter().for_each(|id| self.cut(id, 700, 3_000));
    }

    fn stall(&mut self, id: u64) {
        self.trace(|| format!("network: connection {id} stalls"));
        self.network.stall(id, self.now, &mut self.rng);
    }

    /// Whether the master may go down now. Where nothing may be touched, its workers must have had time to come back.
    fn may_go_down(&self) -> bool {
        self.master.is_up()
            && match self.kind {
                Kind::Calm => false,
                Kind::Upgrades => self.now >= self.master.up_since + UPGRADE_MS,
                Kind::Rough | Kind::Frozen | Kind::Hanging => true,
            }
    }

    /// Whether a master that has something to commit is killed just now.
    pub(crate) fn is_fatal(&mut self) -> bool {
        self.is_stormy() && self.may_go_down() && self.rng.chance(4)
    }

    /// The master is killed: its sessions are gone, and what it had not committed.
    pub(crate) fn master_down(&mut self) {
        if !self.may_go_down() {
            return;
        }
        let is_upgrade = self.kind == Kind::Upgrades;
        self.saw("the master is killed");
        self.trace(|| "master: is killed".into());
        self.master.kill();
        let (notice_per_mille, notice_ms) = if is_upgrade { (1000, 500) } else { (700, 3_000) };
        for id in self.network.uncut() {
            self.cut(id, notice_per_mille, notice_ms);
        }
        let after = match is_upgrade {
            true => self.rng.range(100, 4_000),
            false if self.rng.chance(200) => self.rng.range(10_000, 90_000),
            false => self.rng.range(100, 8_000),
        };
        self.after(after, Happens::MasterUp);
    }

    /// Whether a worker that has something to write down or to tell is killed just now.
    pub(crate) fn crashes(&mut self, index: usize) -> bool {
        let crashes = self.is_rough() && self.rng.chance(4);
        if crashes {
            self.agent_dies(index);
        }
        crashes
    }

    /// A worker is stopped in its tracks; what it runs goes on.
    fn agent_freezes(&mut self, index: usize) {
        let is_long = self.kind == Kind::Frozen && self.rng.chance(500);
        let for_ms = if is_long { self.rng.range(FREEZE_MS, 60_000) } else { self.rng.range(100, FREEZE_MS) };
        let machine = &mut self.machines[index];
        let Some(agent) = &mut machine.agent else { return };
        // It has done what was due before it is frozen again.
        if self.now < agent.frozen_until + 1_000 {
            return;
        }
        agent.frozen_until = self.now + for_ms;
        if is_long {
            machine.excused_until = agent.frozen_until + GUARD_MS + 2 * KILL_MS;
        }
        self.saw(if is_long { "a worker is frozen for long" } else { "a worker is frozen" });
        self.trace(|| format!("{}: is frozen for {for_ms} ms", self.called(index)));
    }
}
