//! Sortie runs commands on a fleet of machines; this is its one binary.
//!
//! The command line ([`cli`]) says what to be: a service ([`serve`], [`dev`]) or a client of one
//! ([`client`](mod@client)). What a component can be told comes from [`settings`]. Every end has its exit code ([`exit`]).
//! One command stands apart: a worker's [`guard`](mod@guard).

#![cfg_attr(not(test), warn(clippy::expect_used))]

mod cli;
mod exit;
mod settings;
mod telemetry;
mod signals;
mod serve;
mod dev;
mod guard;
mod client;
mod render;
mod talk;

use std::future::Future;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use tokio::runtime::Runtime;

use cli::{Cli, ClientCommand, Command, Component, Format};
use exit::{Failure, Result};
use settings::env::Environment;
use settings::{ClientSettings, MasterSettings, WorkerSettings, load, show};
use telemetry::Logs;

fn main() -> ExitCode {
    let ended = match guard::asked(std::env::args_os()) {
        Some(data_dir) => guard::guard(&data_dir),
        None => Cli::try_parse().map_or_else(|error| Ok(explain(&error)), execute),
    };
    let code = ended.unwrap_or_else(|failure| {
        failure.tell();
        failure.code()
    });
    ExitCode::from(code)
}

/// Shows the help or the version that was asked for, or what is wrong with the command line.
fn explain(error: &clap::Error) -> u8 {
    // If nobody reads it, there is nobody to tell that.
    _ = error.print();
    if error.use_stderr() { Failure::usage("").code() } else { 0 }
}

/// Does what the command line says; the exit code.
fn execute(cli: Cli) -> Result<u8> {
    let environment = Environment::of_this_process();
    let format = cli.output;
    match cli.command {
        Command::Master(args) => service(&environment, Logs::Info, "sortie-master", serve::master(args, &environment)),
        Command::Worker(args) => service(&environment, Logs::Info, "sortie-worker", serve::worker(args, &environment)),
        Command::Dev(args) => {
            // Beside a command's own output, only what a person should know.
            let logs = if args.argv.is_empty() { Logs::Info } else { Logs::Warn };
            service(&environment, logs, "sortie-dev", dev::dev(args, &environment, format))
        }
        Command::Client(command) => client(*command, &environment, format),
        Command::Config { component } => config(&component, &environment, format),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sortie", &mut script);
            talk::bytes(&script).map(|()| 0)
        }
    }
}

/// Serves, logs and traces.
fn service(
    environment: &Environment,
    logs: Logs,
    name: &'static str,
    serve: impl Future<Output = Result<u8>>,
) -> Result<u8> {
    install_tls();
    let runtime = runtime(tokio::runtime::Builder::new_multi_thread())?;
    let ended = runtime.block_on(async {
        let traces = telemetry::log_and_trace(environment, logs, name)?;
        let ended = serve.await;
        if !ended.as_ref().is_err_and(Failure::is_abrupt) {
            traces.flush();
        }
        ended
    });
    // What still runs in the background was given its time to end, or somebody insisted.
    runtime.shutdown_background();
    ended
}

/// Asks a master. One thread is enough, and starts sooner than many.
fn client(command: ClientCommand, environment: &Environment, format: Format) -> Result<u8> {
    install_tls();
    telemetry::log(environment, Logs::Warn)?;
    let runtime = runtime(tokio::runtime::Builder::new_current_thread())?;
    let ended = runtime.block_on(client::execute(command, environment, format));
    runtime.shutdown_background();
    ended
}

fn runtime(mut builder: tokio::runtime::Builder) -> Result<Runtime> {
    let runtime = builder.enable_all().build();
    runtime.map_err(|error| Failure::internal(format!("cannot start the runtime: {error}")))
}

/// Chooses how TLS is done, once for every library in the process.
fn install_tls() {
    // The only error says that it has been chosen already.
    _ = rustls::crypto::ring::default_provider().install_default();
}

fn config(component: &Component, environment: &Environment, format: Format) -> Result<u8> {
    let origins = match component {
        Component::Master(args) => load::<MasterSettings>(environment, args.config.as_deref(), args)?.origins,
        Component::Worker(args) => load::<WorkerSettings>(environment, args.config.as_deref(), args)?.origins,
        Component::Client(args) => load::<ClientSettings>(environment, None, args)?.origins,
    };
    show::show(&origins, format).map(|()| 0)
}
