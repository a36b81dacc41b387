//! The flags of the services.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

/// The flags of a master. Their names are those of its settings; they are read there, with all others.
#[derive(Debug, Args, Serialize)]
pub(crate) struct MasterArgs {
    /// A TOML file with settings [env: SORTIE_MASTER_CONFIG]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// Where clients find it over HTTP [env: SORTIE_MASTER_HTTP_ADDR]
    #[arg(long, value_name = "IP:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    http_addr: Option<String>,
    /// Where workers and clients find it over gRPC [env: SORTIE_MASTER_GRPC_ADDR]
    #[arg(long, value_name = "IP:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc_addr: Option<String>,
    /// The directory of its store [env: SORTIE_MASTER_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    data_dir: Option<String>,
    /// Who may use it: loopback (this machine) or none (everybody who can reach it) [env: SORTIE_MASTER_AUTH]
    #[arg(long, value_name = "AUTH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<String>,
    /// How long a worker has to say that a command started [env: SORTIE_MASTER_START_TIMEOUT]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    start_timeout: Option<String>,
    /// How long a worker keeps its attempts alive without hearing from the master [env: SORTIE_MASTER_LEASE]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
    /// The most jobs that have not ended; more are told to come again [env: SORTIE_MASTER_MAX_JOBS]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_jobs: Option<String>,
    /// The most memory that their specs may take together [env: SORTIE_MASTER_MAX_SPEC_BYTES]
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_spec_bytes: Option<String>,
}

/// The flags of a worker. Their names are those of its settings; they are read there, with all others.
#[derive(Debug, Args, Serialize)]
pub(crate) struct WorkerArgs {
    /// A TOML file with settings [env: SORTIE_WORKER_CONFIG]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// Where the master listens for workers [env: SORTIE_WORKER_MASTER_URL]
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    master_url: Option<String>,
    /// What people know it by; the host's name if absent [env: SORTIE_WORKER_NAME]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// How many slots it has; one for each processor if absent [env: SORTIE_WORKER_SLOTS]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<String>,
    /// What selectors choose it by, such as zone=a,gpu [env: SORTIE_WORKER_LABELS]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<String>,
    /// Where it keeps its lock and the directories of its commands [env: SORTIE_WORKER_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    data_dir: Option<String>,
    /// How long running commands may end by themselves when it is stopped [env: SORTIE_WORKER_STOP_TIMEOUT]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_timeout: Option<String>,
    /// Whether each command has a cgroup of its own, on or off: nothing escapes it, and it takes a little time
    /// [env: SORTIE_WORKER_CGROUPS]
    #[arg(long, value_name = "SWITCH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroups: Option<String>,
}

/// The flags of the two in one.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Where clients find it over HTTP; 127.0.0.1:9092 if absent, and with a command any free port.
    #[arg(long, value_name = "IP:PORT", value_parser = loopback)]
    pub(crate) http_addr: Option<SocketAddr>,
    /// Where workers and clients find it over gRPC; 127.0.0.1:50051 if absent, and with a command any free port.
    #[arg(long, value_name = "IP:PORT", value_parser = loopback)]
    pub(crate) grpc_addr: Option<SocketAddr>,
    /// Where to keep what is remembered; a temporary directory, removed at the end, if absent.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// A program and its arguments, to run and be done.
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) argv: Vec<String>,
}

/// An address that only this machine reaches.
fn loopback(text: &str) -> Result<SocketAddr, &'static str> {
    let addr = text.parse().ok().filter(|addr: &SocketAddr| addr.ip().is_loopback());
    addr.ok_or("write a loopback IP:PORT, such as 127.0.0.1:9093: this is for one machine only")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_one_machine_listens_on_loopback() {
        assert_eq!(loopback("127.0.0.1:0"), Ok(SocketAddr::from(([127, 0, 0, 1], 0))));
        assert!(loopback("[::1]:9092").is_ok());
        assert!(loopback("0.0.0.0:9092").is_err() && loopback("localhost:9092").is_err() && loopback("9092").is_err());
    }
}
