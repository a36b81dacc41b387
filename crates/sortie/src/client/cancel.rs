//! The `cancel` command: asks for the end, and with `--wait` says what came of it.

use serde_json::Value;
use sortie_master::api::{Outcome, Task};

use super::http::Client;
use super::read;
use super::tasks::resolved;
use super::wait::{self, Target};
use crate::cli::{CancelArgs, Format};
use crate::exit::{Result, UNCONFIRMED};
use crate::{render, talk};

/// Cancels tasks and jobs, all of them even if one cannot be; the last failure is the command's.
pub(super) async fn cancel(client: &Client, args: &CancelArgs, format: Format) -> Result<u8> {
    let mut done = Ok(0);
    let mut asked = Vec::new();
    // All are asked before any is awaited: they stop at the same time.
    for id in &args.ids {
        let target = Target::of(id);
        let [kind, name] = target.path();
        match client.post(&[kind, name, "cancel"]).await {
            Ok(answer) => asked.push((id, answer)),
            Err(failure) => {
                let is_away = failure.is_unavailable();
                done = with(done, Err(failure));
                if is_away {
                    break;
                }
            }
        }
    }
    for (id, answer) in asked {
        let told = match args.wait {
            true => tell_end(client, id, format).await,
            false => tell(client, id, answer, format).await.map(|()| 0),
        };
        done = with(done, told);
    }
    done
}

/// What has come of all so far, with one more. The failure that is kept is told when the program ends.
fn with(done: Result<u8>, more: Result<u8>) -> Result<u8> {
    match (done, more) {
        (Err(earlier), Err(later)) => {
            earlier.tell();
            Err(later)
        }
        (Ok(code), Ok(more)) => Ok(code.max(more)),
        (Err(failure), Ok(_)) | (Ok(_), Err(failure)) => Err(failure),
    }
}

/// Says how far it is.
async fn tell(client: &Client, id: &str, answer: Value, format: Format) -> Result<()> {
    let (target, answer) = resolved(client, Target::of(id), answer).await?;
    match (format, target) {
        (Format::Json, _) => talk::json(&answer),
        (Format::Table, Target::Task(_)) => {
            talk::line(&format!("{id} is {}", render::words(read::<Task>(&answer)?.state)))
        }
        // The state of an array with tasks that are being cancelled is `running`.
        (Format::Table, Target::Job(_)) => talk::line(&format!("{id}: {}", render::counts(&read(&answer)?))),
    }
}

/// Waits until nothing of it runs any more, and says what was done for that.
async fn tell_end(client: &Client, id: &str, format: Format) -> Result<u8> {
    let target = Target::of(id);
    let ended = wait::ended(client, &target).await?;
    let (target, ended) = resolved(client, target, ended).await?;
    let line = match &target {
        Target::Task(_) => render::cancelled(id, &read(&ended)?),
        Target::Job(_) => render::job_end(id, &read(&ended)?),
    };
    match format {
        Format::Json => talk::json(&ended)?,
        Format::Table => talk::line(&line)?,
    }
    match target {
        Target::Task(_) => Ok(code(&read(&ended)?)),
        Target::Job(_) => Ok(0),
    }
}

/// Whoever waits wants to know that it is gone.
fn code(task: &Task) -> u8 {
    let is_unconfirmed = matches!(task.outcome, Some(Outcome::Cancelled { confirmed: false, .. }));
    if is_unconfirmed { UNCONFIRMED } else { 0 }
}
