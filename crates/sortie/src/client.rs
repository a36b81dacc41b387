//! The commands that ask a master.
//!
//! [`http`] speaks to it, with [`patience`] if it is away; [`spec`] makes of flags what is submitted, [`wait`] waits
//! for an end; the rest are the commands.

mod http;
mod patience;
mod spec;
mod wait;
mod run;
mod submit;
mod list;
mod tasks;
mod output;
mod cancel;
mod workers;

use serde::de::DeserializeOwned;
use serde_json::Value;
use sortie_master::api;

use crate::cli::{ClientCommand, Format};
use crate::exit::{Failure, Result};
use crate::settings::env::Environment;
use crate::settings::{ClientSettings, load};
pub(crate) use http::Client;
use submit::Key;

/// Does what `command` says; the exit code.
pub(crate) async fn execute(command: ClientCommand, environment: &Environment, format: Format) -> Result<u8> {
    let settings = load::<ClientSettings>(environment, None, command.connection())?.settings;
    let client = Client::new(&settings.server, settings.retry_for, environment)?;
    match command {
        ClientCommand::Run(args) => {
            let key = Key::new(&args.key)?;
            run::run(&client, &spec::read(args.spec)?, &key, format).await
        }
        ClientCommand::Submit(args) => submit::submit(&client, args, format).await,
        ClientCommand::List(args) => list::list(&client, args, format).await,
        ClientCommand::Status(args) => tasks::status(&client, &args.ids, format).await,
        ClientCommand::Output(args) => output::output(&client, &args, format).await,
        ClientCommand::Why(args) => tasks::why(&client, &args.id, format).await,
        ClientCommand::Cancel(args) => cancel::cancel(&client, &args, format).await,
        ClientCommand::Wait(args) => wait::wait(&client, &args.ids, format).await,
        ClientCommand::Workers(_) => workers::list(&client, format).await,
        ClientCommand::Drain(args) => workers::drain(&client, &args, format).await,
    }
}

/// Runs a program with its arguments through the whole path, as `run` does; the exit code.
pub(crate) async fn run_argv(client: &Client, argv: Vec<String>, format: Format) -> Result<u8> {
    let spec = api::Spec { argv: Some(argv), ..api::Spec::default() };
    run::run(client, &spec, &Key::random()?, format).await
}

/// An answer as the type that it is documented to be.
fn read<T: DeserializeOwned>(answer: &Value) -> Result<T> {
    T::deserialize(answer).map_err(|error| {
        Failure::internal(format!("the master's answer cannot be read, is it another version? {error}; try -o json"))
    })
}
