//! What commands write down about themselves, and whether they live.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use sortie_tests::eventually;

use crate::sandbox::Sandbox;

/// A file to which commands append lines; the first word of a line is a process' id.
pub(crate) struct Pids(PathBuf);

impl Pids {
    pub(crate) fn new(sandbox: &Sandbox, name: &str) -> Pids {
        Pids(sandbox.path(name))
    }

    /// Where the file is, as a shell takes it.
    pub(crate) fn path(&self) -> String {
        self.0.display().to_string()
    }

    /// The whole lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
    }

    /// Waits until there are at least so many lines with `words` in them.
    pub(crate) async fn have(&self, count: usize, words: &str) -> Result<()> {
        let what = format!("{count} lines with `{words}` in {}", self.path());
        let found = || self.lines().iter().filter(|line| line.contains(words)).count();
        eventually(&what, async || Ok(found() >= count)).await
    }

    /// Those that live.
    pub(crate) fn alive(&self) -> Vec<String> {
        let mut lines = self.lines();
        lines.retain(|line| line.split(' ').next().is_some_and(is_alive));
        lines
    }

    /// Waits until none of them lives.
    pub(crate) async fn are_gone(&self) -> Result<()> {
        eventually("none of the commands lives", async || Ok(self.alive().is_empty())).await
    }
}

/// Whether there is such a process that has not ended: who is left to nobody may stay a zombie.
fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !"ZX".contains(state))
}

/// A shell's words that leave a daemon behind, which is in no group or session of theirs, has no parent that knows it,
/// and ignores TERM. It appends its id to `pids`.
pub(crate) fn daemon(pids: &Pids) -> String {
    started_by("setsid", pids)
}

/// The same, of a daemon that forgets its environment too.
pub(crate) fn hidden_daemon(pids: &Pids) -> String {
    started_by(r#"env -i PATH="$PATH" setsid"#, pids)
}

fn started_by(program: &str, pids: &Pids) -> String {
    let path = pids.path();
    let body = format!(r#"echo \$\$ daemon >> {path}; while :; do sleep 1; done"#);
    let parent = format!(r#"trap "" TERM HUP INT; sh -c "{body}" &"#);
    format!("({program} sh -c '{parent}' > /dev/null 2>&1 < /dev/null)")
}
