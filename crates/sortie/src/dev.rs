//! `sortie dev`: a master and a worker in one process, for this machine only.
//!
//! With a command it runs that through the whole path, by HTTP to itself, and ends as the command did. Whatever ends
//! it, nothing is left behind: the worker stops before the master, and if both are dropped the commands are killed.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::pin;

use sortie_master::Master;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::cli::{DevArgs, Format};
use crate::client::{self, Client};
use crate::exit::{Failure, Result};
use crate::serve;
use crate::settings::env::Environment;
use crate::settings::{DEFAULT_RETRY_FOR, DEFAULT_SERVER};
use crate::signals::{self, Signals};
use crate::talk;

/// The worker's name.
const WORKER: &str = "dev";
/// Wherever there is room.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Serves as both until it is stopped, or runs one command.
pub(crate) async fn dev(args: DevArgs, environment: &Environment, format: Format) -> Result<u8> {
    let home = Home::new(args.data_dir.clone())?;
    let config = master_config(&args, &home);
    if args.argv.is_empty() {
        return serve(&home, config).await;
    }
    let both = Both::start(&home, config).await?;
    let client = Client::new(&both.url(), DEFAULT_RETRY_FOR, environment)?;
    both.during(client::run_argv(&client, args.argv, format)).await
}

async fn serve(home: &Home, config: sortie_master::Config) -> Result<u8> {
    let signals = Signals::new()?;
    let both = Both::start(home, config).await?;
    talk::error_bytes(banner(&both.url(), home).as_bytes());
    let stop = CancellationToken::new();
    let stopped = async {
        stop.cancelled().await;
        Ok(0)
    };
    signals::obeying(signals, &stop, both.during(stopped)).await?
}

fn master_config(args: &DevArgs, home: &Home) -> sortie_master::Config {
    let standard = sortie_master::Config::default();
    // One command is in nobody's way, not even in another `sortie dev`'s.
    let unless_told = |addr| if args.argv.is_empty() { addr } else { ANY_PORT };
    sortie_master::Config {
        http_addr: args.http_addr.unwrap_or(unless_told(standard.http_addr)),
        grpc_addr: args.grpc_addr.unwrap_or(unless_told(standard.grpc_addr)),
        data_dir: home.path().join("master"),
        ..standard
    }
}

fn banner(url: &str, home: &Home) -> String {
    let kept = match home {
        Home::Temporary(_) => "and is removed at the end",
        Home::Kept(_) => "and is kept",
    };
    let server = if url == DEFAULT_SERVER { String::new() } else { format!(" --server {url}") };
    let path = home.path().display();
    format!(
        "Sortie runs: a master and a worker in this process, for this machine only.

  Try      curl --json '{{\"cmd\": \"echo hello\"}}' '{url}/tasks?wait=30s'
  or       sortie run{server} -- echo hello
  State    is in {path} {kept}
  Stop     with Ctrl-C

"
    )
}

/// A master and its worker.
struct Both {
    master: Master,
    worker: sortie_worker::Config,
    stop: CancellationToken,
}

impl Both {
    async fn start(home: &Home, config: sortie_master::Config) -> Result<Self> {
        let stop = CancellationToken::new();
        let master = serve::start_master(config, stop.clone()).await?;
        let worker = sortie_worker::Config {
            master_url: format!("http://{}", master.grpc_addr()),
            name: WORKER.to_owned(),
            data_dir: home.path().join("worker"),
            // A guard is for the fleet: it kills before the master gives the commands of a dead worker to another one.
            // Here both die together, and nobody is left who could.
            guard: None,
            // A master has no children.
            exclusive: true,
            ..sortie_worker::Config::default()
        };
        Ok(Both { master, worker, stop })
    }

    fn url(&self) -> String {
        format!("http://{}", self.master.http_addr())
    }

    /// Serves while `work` is done, then stops: first the worker, so that the master hears of every end.
    ///
    /// # Errors
    /// When the work fails, and then both are dropped: whoever insists on leaving waits for no command.
    async fn during(self, work: impl Future<Output = Result<u8>>) -> Result<u8> {
        let worker_stop = CancellationToken::new();
        let mut master = pin!(serve::join_master(self.master));
        let mut worker = pin!(serve::run_worker(self.worker, worker_stop.clone()));
        let done = tokio::select! {
            done = work => done?,
            ended = &mut worker => return Err(early(ended, "worker")),
            ended = &mut master => return Err(early(ended, "master")),
        };
        worker_stop.cancel();
        tokio::select! {
            ended = &mut worker => ended?,
            ended = &mut master => return Err(early(ended, "master")),
        }
        self.stop.cancel();
        master.await?;
        Ok(done)
    }
}

/// Why one of the two ended that nobody had stopped.
fn early(ended: Result<()>, which: &str) -> Failure {
    ended.err().unwrap_or_else(|| Failure::internal(format!("the {which} ended by itself")))
}

/// Where both keep what they remember.
enum Home {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Home {
    fn new(kept: Option<PathBuf>) -> Result<Self> {
        if let Some(path) = kept {
            return Ok(Home::Kept(path));
        }
        let temporary = tempfile::Builder::new().prefix("sortie-dev-").tempdir();
        let failed = |error| Failure::internal(format!("cannot make a temporary directory: {error}"));
        temporary.map(Home::Temporary).map_err(failed)
    }

    fn path(&self) -> &Path {
        match self {
            Home::Temporary(directory) => directory.path(),
            Home::Kept(path) => path,
        }
    }
}
