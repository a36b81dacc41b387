//! What each component can be told, and how it is told: the settings, one plain struct a component.
//!
//! A setting has one name. It is a key of the TOML file, with the component's prefix and in capitals a variable, and
//! with dashes a flag. [`layers`] puts them together, [`env`](mod@env) knows what a process finds round it, [`fields`] reads
//! single values, and [`show`] is the `config` command.

pub(crate) mod env;
mod fields;
mod layers;
pub(crate) mod show;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use figment::value::Dict;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sortie_engine::{Labels, Limits};

use env::Environment;
pub(crate) use layers::load;

/// Where clients look for a master that nobody told them of.
pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:9092";
/// How long they try to reach it: its successor is there in less, if one machine replaces it.
pub(crate) const DEFAULT_RETRY_FOR: Duration = Duration::from_secs(30);

/// The settings of one component; every field is one setting.
pub(crate) trait Settings: Serialize + DeserializeOwned {
    /// What the names of its variables begin with.
    const PREFIX: &'static str;
    /// Whether every variable with the prefix must be a setting.
    const OWNS_PREFIX: bool;

    /// The values of the settings that nobody gives; `given` is what somebody does.
    fn defaults(environment: &Environment, given: &Dict) -> Self;
}

/// What a master can be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MasterSettings {
    /// Where clients find it over HTTP.
    #[serde(deserialize_with = "fields::address")]
    pub(crate) http_addr: SocketAddr,
    /// Where workers and clients find it over gRPC.
    #[serde(deserialize_with = "fields::address")]
    pub(crate) grpc_addr: SocketAddr,
    /// The directory of its store.
    #[serde(deserialize_with = "fields::path")]
    pub(crate) data_dir: PathBuf,
    /// Who may use it.
    pub(crate) auth: Auth,
    /// How long a worker has to say that a command started.
    #[serde(serialize_with = "humantime_serde::serialize", deserialize_with = "fields::span")]
    pub(crate) start_timeout: Duration,
    /// How long a worker keeps its attempts alive without hearing from the master.
    #[serde(serialize_with = "humantime_serde::serialize", deserialize_with = "fields::span")]
    pub(crate) lease: Duration,
    /// The most jobs that have not ended.
    #[serde(deserialize_with = "fields::amount")]
    pub(crate) max_jobs: usize,
    /// The most bytes that their specs take together.
    #[serde(deserialize_with = "fields::amount")]
    pub(crate) max_spec_bytes: usize,
}

/// Who may use a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Auth {
    /// Everybody on this machine: it listens on loopback addresses only.
    Loopback,
    /// Everybody who can reach it.
    None,
}

/// What a worker can be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerSettings {
    /// Where the master listens for workers.
    #[serde(deserialize_with = "fields::url")]
    pub(crate) master_url: String,
    /// What people know it by.
    #[serde(deserialize_with = "fields::name")]
    pub(crate) name: String,
    /// How many slots it has.
    #[serde(deserialize_with = "fields::slots")]
    pub(crate) slots: u32,
    /// What selectors choose it by: `zone=a,gpu`.
    #[serde(serialize_with = "fields::write_labels", deserialize_with = "fields::labels")]
    pub(crate) labels: Labels,
    /// Where it keeps its lock and the directories of its commands.
    #[serde(deserialize_with = "fields::path")]
    pub(crate) data_dir: PathBuf,
    /// How long running commands may end by themselves when it is stopped.
    #[serde(serialize_with = "humantime_serde::serialize", deserialize_with = "fields::duration")]
    pub(crate) stop_timeout: Duration,
    /// Whether each command has a cgroup of its own.
    pub(crate) cgroups: Cgroups,
}

/// Whether each command has a cgroup of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cgroups {
    /// None has.
    Off,
    /// Each has, where that can be.
    On,
}

/// What the client commands can be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientSettings {
    /// Where the master serves HTTP.
    #[serde(deserialize_with = "fields::url")]
    pub(crate) server: String,
    /// How long a master that is away or busy is tried again.
    #[serde(serialize_with = "humantime_serde::serialize", deserialize_with = "fields::duration")]
    pub(crate) retry_for: Duration,
}

impl Settings for MasterSettings {
    const PREFIX: &'static str = "SORTIE_MASTER_";
    const OWNS_PREFIX: bool = true;

    fn defaults(environment: &Environment, _given: &Dict) -> Self {
        let config = sortie_master::Config::default();
        MasterSettings {
            http_addr: config.http_addr,
            grpc_addr: config.grpc_addr,
            data_dir: environment.state_dir().join("master"),
            auth: Auth::Loopback,
            start_timeout: config.limits.start_timeout,
            lease: config.limits.lease,
            max_jobs: config.limits.max_jobs,
            max_spec_bytes: config.limits.max_spec_bytes,
        }
    }
}

impl Settings for WorkerSettings {
    const PREFIX: &'static str = "SORTIE_WORKER_";
    const OWNS_PREFIX: bool = true;

    /// Workers of one machine share nothing: the directory goes by the name.
    fn defaults(environment: &Environment, given: &Dict) -> Self {
        let config = sortie_worker::Config::default();
        let name = given.get("name").and_then(|name| name.as_str()).unwrap_or(&config.name);
        WorkerSettings {
            data_dir: environment.state_dir().join("workers").join(name),
            master_url: config.master_url,
            name: config.name,
            slots: config.slots,
            labels: config.labels,
            stop_timeout: config.stop_timeout,
            cgroups: match config.cgroups {
                sortie_worker::Cgroups::Off => Cgroups::Off,
                sortie_worker::Cgroups::On => Cgroups::On,
            },
        }
    }
}

impl Settings for ClientSettings {
    const PREFIX: &'static str = "SORTIE_";
    /// The variables of masters and workers begin so too, and those that a command gets.
    const OWNS_PREFIX: bool = false;

    fn defaults(_environment: &Environment, _given: &Dict) -> Self {
        ClientSettings { server: DEFAULT_SERVER.to_owned(), retry_for: DEFAULT_RETRY_FOR }
    }
}

impl From<MasterSettings> for sortie_master::Config {
    fn from(settings: MasterSettings) -> Self {
        sortie_master::Config {
            http_addr: settings.http_addr,
            grpc_addr: settings.grpc_addr,
            data_dir: settings.data_dir,
            auth: match settings.auth {
                Auth::Loopback => sortie_master::Auth::Loopback,
                Auth::None => sortie_master::Auth::None,
            },
            limits: Limits {
                start_timeout: settings.start_timeout,
                lease: settings.lease,
                max_jobs: settings.max_jobs,
                max_spec_bytes: settings.max_spec_bytes,
                ..Limits::default()
            },
        }
    }
}

impl From<WorkerSettings> for sortie_worker::Config {
    fn from(settings: WorkerSettings) -> Self {
        sortie_worker::Config {
            master_url: settings.master_url,
            name: settings.name,
            slots: settings.slots,
            labels: settings.labels,
            data_dir: settings.data_dir,
            stop_timeout: settings.stop_timeout,
            cgroups: match settings.cgroups {
                Cgroups::Off => sortie_worker::Cgroups::Off,
                Cgroups::On => sortie_worker::Cgroups::On,
            },
            ..sortie_worker::Config::default()
        }
    }
}
