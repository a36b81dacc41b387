//! Control groups: where this process is, and one for each attempt where there may be.
//!
//! No process leaves its cgroup by anything that it may do to its parents, group, session or environment, and all of a
//! cgroup is killed at once. But to make one and to move into it costs a short command a good part of its time.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use sortie_engine::AttemptId;

/// What the names of workers' cgroups begin with.
const PREFIX: &str = "sortie-";

/// The file in the data directory that says where the worker's cgroup is.
const RECORD: &str = "cgroup";

/// One of the system's hierarchies of cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hierarchy {
    /// That of version 2, of which there is one.
    Unified,
    /// That of version 1 which limits memory.
    Memory,
}

/// Where a worker makes the cgroups of its attempts.
#[derive(Debug)]
pub(crate) struct Cgroups(PathBuf);

/// An attempt's cgroup.
#[derive(Debug)]
pub(crate) struct Cgroup(PathBuf);

/// The directory of this process' own cgroup, if it can be seen.
pub(crate) fn own(hierarchy: Hierarchy) -> Option<PathBuf> {
    let read = |name| fs::read_to_string(Path::new("/proc/self").join(name)).ok();
    locate(&read("cgroup")?, &read("mountinfo")?, hierarchy)
}

/// Ends whatever a dead worker has left in its cgroups. Whether there was anything that may take a moment to end.
pub(crate) fn kill_left(data_dir: &Path) -> bool {
    let record = data_dir.join(RECORD);
    let Some(dir) = fs::read_to_string(&record).ok().map(PathBuf::from) else { return false };
    let is_ours = dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    if !is_ours || !dir.join("cgroup.kill").exists() {
        return false;
    }
    let cgroup = Cgroup(dir);
    if cgroup.is_populated() {
        cgroup.kill();
        return true;
    }
    match remove_tree(&cgroup.0) {
        Ok(()) => _ = fs::remove_file(record),
        Err(error) => tracing::debug!(dir = %cgroup.0.display(), %error, "a dead worker's cgroup cannot be removed"),
    }
    false
}

impl Cgroups {
    /// Takes a place for the attempts of the worker of this data directory, below this process' own cgroup.
    ///
    /// # Errors
    /// Why this process may not.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let own = own(Hierarchy::Unified).ok_or_else(|| io::Error::other("there is no cgroup of version 2"))?;
        Cgroups::open_in(&own, data_dir)
    }

    fn open_in(own: &Path, data_dir: &Path) -> io::Result<Self> {
        let id = fs::metadata(data_dir)?;
        let dir = own.join(format!("{PREFIX}{:x}-{:x}", id.dev(), id.ino()));
        match fs::create_dir(&dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            other => other?,
        }
        // Who moves a process must be allowed to write where it comes from, too; the kernel is asked for both.
        for file in [own.join("cgroup.procs"), dir.join("cgroup.procs"), dir.join("cgroup.kill")] {
            OpenOptions::new().write(true).open(file)?;
        }
        fs::write(data_dir.join(RECORD), dir.as_os_str().as_encoded_bytes())?;
        Ok(Cgroups(dir))
    }

    /// Makes an attempt's cgroup and moves its first process there.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn admit(&self, attempt: AttemptId, leader: Pid) -> io::Result<Cgroup> {
        let cgroup = Cgroup(self.0.join(format!("{}.{}", attempt.task, attempt.number)));
        fs::create_dir(&cgroup.0)?;
        match cgroup.write("cgroup.procs", &leader.as_raw_pid().to_string()) {
            Ok(()) => Ok(cgroup),
            Err(error) => {
                cgroup.remove();
                Err(error)
            }
        }
    }
}

impl Drop for Cgroups {
    /// What lives in it yet is ended, and removed, by who takes the data directory next.
    fn drop(&mut self) {
        _ = remove_tree(&self.0);
    }
}

impl Cgroup {
    /// Whether a process in it lives.
    pub(crate) fn is_populated(&self) -> bool {
        let events = fs::read_to_string(self.0.join("cgroup.events")).unwrap_or_default();
        value(&events, "populated").is_some_and(|populated| populated > 0)
    }

    /// The numbers of its processes.
    pub(crate) fn members(&self) -> BTreeSet<i32> {
        let procs = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        procs.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Kills all that is in it.
    pub(crate) fn kill(&self) {
        if let Err(error) = self.write("cgroup.kill", "1") {
            tracing::warn!(cgroup = %self.0.display(), %error, "a cgroup cannot be killed");
        }
    }

    /// How many of its processes were killed because there was no memory left, if it counts them.
    pub(crate) fn oom_kills(&self) -> Option<u64> {
        value(&fs::read_to_string(self.0.join("memory.events")).ok()?, "oom_kill")
    }

    /// Removes it, which must be empty.
    pub(crate) fn remove(&self) {
        if let Err(error) = remove_tree(&self.0) {
            tracing::warn!(cgroup = %self.0.display(), %error, "an attempt's cgroup cannot be removed");
        }
    }

    /// A cgroup's files are there already, or not at all.
    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.0.join(file))?.write_all(text.as_bytes())
    }
}

/// The number that follows a key in one of the files of a cgroup.
pub(crate) fn value(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Finds the directory from `/proc/self/cgroup`, which says where in the hierarchy, and `/proc/self/mountinfo`, which
/// says which part of the hierarchy is mounted where.
fn locate(cgroup: &str, mountinfo: &str, hierarchy: Hierarchy) -> Option<PathBuf> {
    let path = cgroup.lines().find_map(|line| {
        let (_, line) = line.split_once(':')?;
        let (controllers, path) = line.split_once(':')?;
        let fits = match hierarchy {
            Hierarchy::Unified => controllers.is_empty(),
            Hierarchy::Memory => controllers.split(',').any(|controller| controller == "memory"),
        };
        fits.then_some(path)
    })?;
    mountinfo.lines().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let mut system = system.split(' ');
        let (kind, options) = (system.next()?, system.nth(1)?);
        let fits = match hierarchy {
            Hierarchy::Unified => kind == "cgroup2",
            Hierarchy::Memory => kind == "cgroup" && options.split(',').any(|option| option == "memory"),
        };
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let below = Path::new(path).strip_prefix(root).ok()?;
        fits.then(|| Path::new(point).join(below))
    })
}

/// Cgroups are removed from the innermost on; their files go with them.
fn remove_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_found_in_every_layout() {
        let unified = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        let at = |cgroup, mounts, hierarchy| locate(cgroup, mounts, hierarchy).map(|dir| dir.display().to_string());
        let found = at("0::/system.slice/sortie.service\n", unified, Hierarchy::Unified);
        assert_eq!(found.as_deref(), Some("/sys/fs/cgroup/system.slice/sortie.service"));
        let hybrid = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let lines = "9:name=systemd:/\n4:memory:/jobs/a\n2:cpuacct,cpu:/b\n0::/\n";
        assert_eq!(at(lines, hybrid, Hierarchy::Memory).as_deref(), Some("/sys/fs/cgroup/memory/jobs/a"));
        assert_eq!(at(lines, hybrid, Hierarchy::Unified).as_deref(), Some("/sys/fs/cgroup/unified/"));
        // A container that is shown its part of the hierarchy, and told of the whole.
        let part = "35 31 0:32 /docker/c1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        assert_eq!(at("4:memory:/docker/c1\n", part, Hierarchy::Memory).as_deref(), Some("/sys/fs/cgroup/memory/"));
        assert_eq!(at("4:memory:/docker/c2\n", part, Hierarchy::Memory), None, "it cannot be seen");
        for odd in ["", "0", "0:", "::", "x - cgroup2", " - cgroup2 a b"] {
            assert_eq!(at(odd, unified, Hierarchy::Memory), None);
            assert_eq!(at("0::/", odd, Hierarchy::Unified), None);
        }
    }

    #[test]
    fn a_number_is_found_by_its_whole_key() {
        assert_eq!(value("oom 1\noom_kill 7\noom_kill_disable 2\n", "oom_kill"), Some(7));
        assert_eq!(value("oom_kill_disable 0\n", "oom_kill"), None);
        assert_eq!(value("oom_kill x\n", "oom_kill"), None);
    }
}
