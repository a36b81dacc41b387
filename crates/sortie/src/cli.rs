//! The command line as clap reads it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use serde::Serialize;

/// The version and the commit.
pub(crate) const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("SORTIE_COMMIT"), ")");

const STYLES: Styles = Styles::styled().header(AnsiColor::Yellow.on_default()).literal(AnsiColor::Green.on_default());

const EXIT_CODES: &str = "Exit codes: the command's own; else 1 no such thing or a conflict, 64 usage, 69 unavailable, \
     70 internal, 77 not allowed. A command that timed out has 124, one that could not start 126 or 127, one that was \
     killed 128 and the signal's number, one that was cancelled 130.";

/// Runs commands on a fleet of machines: nothing that was accepted is lost, and every end is told truly.
#[derive(Debug, Parser)]
#[command(name = "sortie", version = VERSION, styles = STYLES, after_help = EXIT_CODES, max_term_width = 120)]
pub(crate) struct Cli {
    /// How results are written.
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: the server's own.
    Json,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve as the master.
    Master(MasterArgs),
    /// Serve as a worker.
    Worker(WorkerArgs),
    /// Serve as both, for trying things out; or run one command through both and exit with its code.
    ///
    /// What it is told, it is told by flags: the files and variables of masters and workers do not count.
    Dev(DevArgs),
    #[command(flatten)]
    Client(ClientCommand),
    /// Show every setting in force and where its value came from.
    Config {
        /// Whose settings.
        #[command(subcommand)]
        component: Component,
    },
    /// Write a shell's completions to standard output.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// What the program asks of a master.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Run a command, wait for it, write its output and exit with its code.
    Run(RunArgs),
    /// Submit a task, or an array of many, and write its id.
    Submit(SubmitArgs),
    /// List tasks or jobs, the newest first.
    List(ListArgs),
    /// Show tasks or jobs.
    Status(IdsArgs),
    /// Write a task's output.
    Output(OutputArgs),
    /// Say why a task is not running.
    Why(WhyArgs),
    /// Cancel tasks or jobs.
    Cancel(IdsArgs),
    /// Wait for tasks or jobs; exit with 0 if all succeeded, else with the code of the first that did not.
    Wait(IdsArgs),
    /// List workers.
    Workers(WorkersArgs),
    /// Give a worker no new tasks; the running ones finish.
    Drain(DrainArgs),
}

/// Whose settings are shown.
#[derive(Debug, Subcommand)]
pub(crate) enum Component {
    /// The settings of `sortie master`.
    Master(MasterArgs),
    /// The settings of `sortie worker`.
    Worker(WorkerArgs),
    /// The settings of the client commands.
    Client(Connection),
}

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

/// Which master is asked.
#[derive(Debug, Args, Serialize)]
pub(crate) struct Connection {
    /// Where the master serves HTTP; http://127.0.0.1:9092 if absent [env: SORTIE_SERVER]
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
}

/// What is run: exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct CommandArgs {
    /// A line for /bin/sh -c.
    #[arg(long, value_name = "LINE")]
    pub(crate) cmd: Option<String>,
    /// A file with a #! line, which is sent along; - is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) script: Option<PathBuf>,
    /// A program and its arguments, run as they are.
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) argv: Vec<String>,
}

/// What a task is.
#[derive(Debug, Args)]
pub(crate) struct SpecArgs {
    #[command(flatten)]
    pub(crate) command: CommandArgs,
    /// What people call it.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A variable beside those that every command gets; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) env: Vec<(String, String)>,
    /// An absolute path to run in; an empty directory of its own if absent.
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<String>,
    /// Text for its standard input, to 1 MiB; - or nothing is standard input.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub(crate) stdin: Option<PathBuf>,
    /// How long it may run, such as 90s; 1day if absent.
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<String>,
    /// How long it has between TERM and KILL; 10s if absent.
    #[arg(long, value_name = "DURATION")]
    pub(crate) kill_grace: Option<String>,
    /// How long it may wait for a worker; 7days if absent.
    #[arg(long, value_name = "DURATION")]
    pub(crate) queue_timeout: Option<String>,
    /// Higher goes first; 0 if absent.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) priority: Option<i32>,
    /// How many of a worker's slots it takes; 1 if absent.
    #[arg(long, value_name = "N")]
    pub(crate) slots: Option<u32>,
    /// Which workers it may run on, by their labels: zone=a,gpu,!spot,disk!=hdd.
    #[arg(long)]
    pub(crate) selector: Option<String>,
    /// What it is labelled with; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) label: Vec<(String, String)>,
}

/// The flags of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
}

/// The flags of `submit`.
#[derive(Debug, Args)]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// Make an array of N tasks; each has its number, from 0, in SORTIE_INDEX.
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u32>,
    /// Wait for the end, and exit as `wait` does.
    #[arg(long)]
    pub(crate) wait: bool,
}

/// The flags of `list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Jobs instead of tasks.
    #[arg(long, conflicts_with_all = ["worker", "job"])]
    pub(crate) jobs: bool,
    /// In these states, such as queued,running.
    #[arg(long, value_name = "STATES")]
    pub(crate) state: Option<String>,
    /// With this name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// With these labels, as a selector.
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) label: Option<String>,
    /// Held by this worker, now or then.
    #[arg(long, value_name = "NAME")]
    pub(crate) worker: Option<String>,
    /// Of this job.
    #[arg(long, value_name = "ID")]
    pub(crate) job: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// All there are.
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
}

/// The flags of the commands on tasks and jobs.
#[derive(Debug, Args)]
pub(crate) struct IdsArgs {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Tasks' or jobs' ids, such as 42 or 42.17.
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
}

/// The flags of `output`.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// The task's id.
    pub(crate) id: String,
    /// Which of its streams.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) stream: Stream,
    /// Wait for the task's end first.
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// A stream of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Both: first standard output, then standard error.
    #[default]
    Both,
}

/// The flags of `why`.
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// The task's id.
    pub(crate) id: String,
}

/// The flags of `workers`.
#[derive(Debug, Args)]
pub(crate) struct WorkersArgs {
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// The flags of `drain`.
#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// The worker.
    pub(crate) name: String,
    /// Give it tasks again.
    #[arg(long)]
    pub(crate) undo: bool,
}

impl ClientCommand {
    /// Which master is asked.
    pub(crate) fn connection(&self) -> &Connection {
        match self {
            ClientCommand::Run(RunArgs { connection, .. })
            | ClientCommand::Submit(SubmitArgs { connection, .. })
            | ClientCommand::List(ListArgs { connection, .. })
            | ClientCommand::Status(IdsArgs { connection, .. })
            | ClientCommand::Output(OutputArgs { connection, .. })
            | ClientCommand::Why(WhyArgs { connection, .. })
            | ClientCommand::Cancel(IdsArgs { connection, .. })
            | ClientCommand::Wait(IdsArgs { connection, .. })
            | ClientCommand::Workers(WorkersArgs { connection, .. })
            | ClientCommand::Drain(DrainArgs { connection, .. }) => connection,
        }
    }
}

/// `KEY=VALUE`, cut at the first equals sign.
fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// An address that only this machine reaches.
fn loopback(text: &str) -> Result<SocketAddr, &'static str> {
    let addr = text.parse().ok().filter(|addr: &SocketAddr| addr.ip().is_loopback());
    addr.ok_or("write a loopback IP:PORT, such as 127.0.0.1:9093: this is for one machine only")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn run(arguments: &[&str]) -> Result<SpecArgs, clap::Error> {
        let cli = Cli::try_parse_from(["sortie", "run"].iter().chain(arguments))?;
        let Command::Client(ClientCommand::Run(args)) = cli.command else { panic!("{cli:?}") };
        Ok(args.spec)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_command_keeps_its_own_flags() {
        for arguments in [&["--name", "x", "--", "ls", "-o", "--name"][..], &["--name", "x", "ls", "-o", "--name"]] {
            let spec = run(arguments).expect("a spec");
            assert_eq!(spec.command.argv, ["ls", "-o", "--name"]);
            assert_eq!(spec.name.as_deref(), Some("x"));
        }
    }

    #[test]
    fn exactly_one_command_is_given() {
        assert!(run(&[]).is_err());
        assert!(run(&["--cmd", "true", "--", "true"]).is_err());
        assert!(run(&["--cmd", "true", "--script", "x"]).is_err());
        assert_eq!(run(&["--cmd", "echo hi"]).expect("a spec").command.cmd.as_deref(), Some("echo hi"));
    }

    #[test]
    fn standard_input_needs_no_name() {
        let spec = run(&["--stdin", "--", "cat"]).expect("a spec");
        assert_eq!(spec.stdin, Some("-".into()));
        assert_eq!(spec.command.argv, ["cat"]);
        assert_eq!(run(&["--", "cat"]).expect("a spec").stdin, None);
    }

    #[test]
    fn a_pair_has_a_key() {
        assert_eq!(pair("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert!(pair("A").is_err());
        assert!(pair("=b").is_err());
    }

    #[test]
    fn what_is_for_one_machine_listens_on_loopback() {
        assert_eq!(loopback("127.0.0.1:0"), Ok(SocketAddr::from(([127, 0, 0, 1], 0))));
        assert!(loopback("[::1]:9092").is_ok());
        assert!(loopback("0.0.0.0:9092").is_err() && loopback("localhost:9092").is_err() && loopback("9092").is_err());
    }
}
