//! The command line as clap reads it: what there is, and the flags of the client commands.

mod services;
mod spec;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use serde::Serialize;

pub(crate) use services::{DevArgs, MasterArgs, WorkerArgs};
pub(crate) use spec::{AgainArgs, KeyArgs, OnLost, SpecArgs};

/// The version and the commit.
pub(crate) const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("SORTIE_COMMIT"), ")");

const STYLES: Styles = Styles::styled().header(AnsiColor::Yellow.on_default()).literal(AnsiColor::Green.on_default());

const EXIT_CODES: &str = "Exit codes: the command's own; else 1 no such thing, a conflict, or a cancel that is not \
     confirmed, 64 usage, 69 unavailable, 70 internal, 77 not allowed. A command that timed out has 124, one that could \
     not start 126 or 127, one that was killed 128 and the signal's number, one that was cancelled 130.";

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
    Client(Box<ClientCommand>),
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
    Cancel(CancelArgs),
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

/// Which master is asked.
#[derive(Debug, Args, Serialize)]
pub(crate) struct Connection {
    /// Where the master serves HTTP; http://127.0.0.1:9092 if absent [env: SORTIE_SERVER]
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    /// How long a master that is away or busy is tried again; 30s if absent, 0s for not at all [env: SORTIE_RETRY_FOR]
    ///
    /// Whoever waits for the end of what was accepted waits for the master at least 10 minutes long, unless it is 0s.
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_for: Option<String>,
}

/// The flags of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) key: KeyArgs,
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
}

/// The flags of `submit`.
#[derive(Debug, Args)]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) key: KeyArgs,
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

/// The flags of `cancel`.
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Tasks' or jobs' ids, such as 42 or 42.17.
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Wait until nothing of them runs any more, and say what was done; exit with 1 if that is not known.
    #[arg(long)]
    pub(crate) wait: bool,
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
    /// What this attempt wrote; the last one if absent.
    #[arg(long, value_name = "N")]
    pub(crate) attempt: Option<u32>,
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
            | ClientCommand::Cancel(CancelArgs { connection, .. })
            | ClientCommand::Wait(IdsArgs { connection, .. })
            | ClientCommand::Workers(WorkersArgs { connection, .. })
            | ClientCommand::Drain(DrainArgs { connection, .. }) => connection,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
