//! What a worker needs to know before it starts.

use std::path::PathBuf;
use std::time::Duration;

use sortie_engine::Labels;

/// How long running commands may end by themselves when the worker is stopped, unless told otherwise.
const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest wait between two tries to reach the master, unless told otherwise.
const DEFAULT_RECONNECT_MAX: Duration = Duration::from_secs(10);

/// How a worker is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the master listens for workers, such as `http://127.0.0.1:50051`.
    pub master_url: String,
    /// What people know the worker by; unique among those of one master.
    pub name: String,
    /// How many slots it has.
    pub slots: u32,
    /// What selectors choose it by.
    pub labels: Labels,
    /// Where it keeps its lock and the directories of its attempts; one worker's alone.
    pub data_dir: PathBuf,
    /// How long running commands may end by themselves when the worker is stopped.
    pub stop_timeout: Duration,
    /// The longest wait between two tries to reach the master.
    pub reconnect_max: Duration,
    /// The program that is started as `PROGRAM guard DATA_DIR` to end this worker's commands should its process be
    /// killed; it calls [`guard`](crate::guard). Without one they run on until the next worker of the data directory.
    pub guard: Option<PathBuf>,
    /// Whether this process has no children but its worker's, as a program of which the worker is all. Then a child that
    /// it has not started is what a command has left, even if it hides that, and is waited for when it has ended.
    pub exclusive: bool,
    /// Whether each attempt has a cgroup of its own.
    pub cgroups: Cgroups,
}

/// Whether each attempt has a cgroup of its own, where this process may make some (version 2, Linux 5.14).
///
/// No process of a command escapes that, whatever it does. A short command takes about a third longer with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cgroups {
    /// None has.
    #[default]
    Off,
    /// Each has; if that cannot be, it is said once, and none has.
    On,
}

impl Default for Config {
    /// A worker for a master on the same machine: the host's name, and a slot for each of its processors.
    fn default() -> Self {
        Config {
            master_url: "http://127.0.0.1:50051".to_owned(),
            name: host_name(),
            slots: std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
            labels: Labels::new(),
            data_dir: PathBuf::from("sortie-worker-data"),
            stop_timeout: DEFAULT_STOP_TIMEOUT,
            reconnect_max: DEFAULT_RECONNECT_MAX,
            guard: None,
            exclusive: false,
            cgroups: Cgroups::Off,
        }
    }
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "worker".to_owned() } else { name }
}
