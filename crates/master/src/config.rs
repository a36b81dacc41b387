//! What a master can be told.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use sortie_engine::Limits;

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
    /// How long it waits for workers.
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
