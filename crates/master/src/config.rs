//! What a master can be told.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use sortie_engine::Limits;

/// How many margins make up a lease: of the default of 15 s the margin is 5 s.
const LEASE_MARGINS: u32 = 3;

/// What a master can be told, with its defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where clients find it over HTTP.
    pub http_addr: SocketAddr,
    /// Where workers and clients find it over gRPC.
    pub grpc_addr: SocketAddr,
    /// The directory of its store; one master a directory.
    pub data_dir: PathBuf,
    /// Who may use it.
    pub auth: Auth,
    /// How long it waits for workers, and how much may wait for them. The lease's margin is not asked for here: it is
    /// always a third of the lease.
    pub limits: Limits,
}

/// Who may use a master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Everybody on this machine: it listens on loopback addresses only.
    #[default]
    Loopback,
    /// Everybody who can reach it.
    None,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            http_addr: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9092),
            grpc_addr: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 50051),
            data_dir: PathBuf::from("sortie-master"),
            auth: Auth::default(),
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// The limits that are in force. Clocks that run apart do so in proportion to the time that they count: the margin
    /// goes with the lease.
    pub(crate) fn limits(&self) -> Limits {
        Limits { lease_margin: self.limits.lease / LEASE_MARGINS, ..self.limits.clone() }
    }
}

impl Auth {
    /// Whether a master with this setting may listen on `addr`.
    #[must_use]
    pub fn allows(self, addr: SocketAddr) -> bool {
        match self {
            Auth::Loopback => addr.ip().is_loopback(),
            Auth::None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_margin_goes_with_the_lease() {
        assert_eq!(Config::default().limits(), Limits::default());
        let limits = Limits { lease: Duration::from_secs(60), max_jobs: 7, ..Limits::default() };
        let config = Config { limits: limits.clone(), ..Config::default() };
        assert_eq!(config.limits(), Limits { lease_margin: Duration::from_secs(20), ..limits });
    }
}
