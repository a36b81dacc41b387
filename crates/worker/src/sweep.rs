//! What commands leave that nobody's end takes care of, swept up now and then while others run.
//!
//! An orphan that ends while its command runs on is a zombie until this process waits for it. One that hides whose it is
//! was passed over if several commands may have started it, and lives until it can be no running command's. Both can be
//! told only by a process that has no children but its worker's.

use std::path::Path;

use crate::children::Children;
use crate::hunt::Hunt;
use crate::processes::{self, Stat};
use crate::remains::is_stray;
use crate::sys;

/// The most children that one sweep waits for.
const MAX_SWEPT: usize = 1_024;

/// What there is to be swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Litter {
    /// Children that have ended; perhaps only leaders, which are not left to be swept.
    Zombies,
    /// There may be orphans that nobody can have started who still runs, too.
    Strays,
}

/// Whether there is anything to be swept. This is cheap.
pub(crate) fn look(children: &Children) -> Option<Litter> {
    if !children.exclusive() {
        return None;
    }
    if children.take_doubt() { Some(Litter::Strays) } else { sys::any_zombie().map(|_| Litter::Zombies) }
}

/// Sweeps it up. This takes its time.
pub(crate) fn sweep(children: &Children, attempts: &Path, litter: Litter) {
    match litter {
        Litter::Zombies => reap(children),
        Litter::Strays => {
            kill_strays(children, attempts);
            reap(children);
        }
    }
}

/// A leader that has ended, and is not waited for yet, is all that the system tells of until it is: who stands behind
/// it is found in the list of all.
fn reap(children: &Children) {
    for _ in 0..MAX_SWEPT {
        let Some(zombie) = sys::any_zombie() else { return };
        let stat = processes::stat(zombie).ok().flatten();
        if stat.and_then(|stat| children.reap_stranger(&stat)).is_none() {
            break;
        }
    }
    let census = processes::census().unwrap_or_default();
    let own = children.own().as_raw_pid();
    for stat in census.iter().filter(|stat| !stat.is_live && stat.parent == own).take(MAX_SWEPT) {
        children.reap_stranger(stat);
    }
}

/// One that is still in doubt raises the doubt again.
fn kill_strays(children: &Children, attempts: &Path) {
    let census = processes::census().unwrap_or_default();
    let may_be = |stat: &Stat| stat.pid != children.own() && !children.is_known(stat.pid);
    let unclaimed = |stat: &Stat| {
        let mark = processes::mark(stat.pid);
        is_stray(children, attempts, stat, &mark) && !children.may_be_another_s(stat, None)
    };
    Hunt::default().strike(&census, may_be, unclaimed);
}
