//! Settings as people give them, and what they are told if they cannot be.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::Ended;
use crate::sandbox::Sandbox;

/// Runs the binary in a sandbox with these variables to its end.
async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Ended> {
    let sandbox = Sandbox::new()?;
    let mut command = sandbox.sortie(arguments);
    command.envs(variables.iter().copied());
    sandbox.run(command).await
}

#[tokio::test]
async fn all_problems_of_a_master_are_told_at_once() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let file = sandbox.path("master.toml");
    fs::write(&file, "colour = 'red'\nhttp_addr = 'somewhere'\n")?;
    let mut command = sandbox.sortie(&["master", "--start-timeout", "soon"]);
    command.env("SORTIE_MASTER_CONFIG", &file).env("SORTIE_MASTER_HTP_ADDR", "127.0.0.1:0");
    command.env("SORTIE_MASTER_GRPC_ADDR", "localhost");
    let file = format!("file:{}", file.display());
    sandbox.run(command).await?.assert_failed(
        64,
        &[
            &format!("{file} colour: is no setting"),
            &format!("{file} http_addr: `somewhere`"),
            "SORTIE_MASTER_HTP_ADDR: is no setting",
            "SORTIE_MASTER_GRPC_ADDR: `localhost` is no IP:PORT",
            "--start-timeout: ",
        ],
    );
    Ok(())
}

#[tokio::test]
async fn all_problems_of_a_worker_are_told_at_once() -> Result<()> {
    let variables = [
        ("SORTIE_WORKER_SLOTS", "many"),
        ("SORTIE_WORKER_LABELS", "zone=a,zone=b,="),
        ("SORTIE_WORKER_MASTER_URL", "nowhere"),
        ("SORTIE_WORKER_COLOUR", "red"),
    ];
    let ended = run(&["worker"], &variables).await?;
    ended.assert_failed(64, &variables.map(|(name, _)| name));
    Ok(())
}

#[tokio::test]
async fn variables_of_kubernetes_are_known() -> Result<()> {
    let variables = [("SORTIE_MASTER_PORT", "tcp://10.0.0.1:9092"), ("SORTIE_MASTER_SERVICE_HOST", "10.0.0.1")];
    run(&["master"], &variables).await?.assert_failed(64, &["SORTIE_MASTER_PORT", "enableServiceLinks: false"]);
    Ok(())
}

#[tokio::test]
async fn an_address_for_everybody_needs_a_word() -> Result<()> {
    for flag in ["--http-addr", "--grpc-addr"] {
        let ended = run(&["master", flag, "0.0.0.0:0"], &[]).await?;
        ended.assert_failed(77, &["0.0.0.0:0 can be reached from other machines", "set auth = \"none\""]);
    }
    Ok(())
}

/// `config master -o json`, by the setting.
async fn shown(sandbox: &Sandbox, mut command: Command) -> Result<impl Fn(&str) -> Option<[String; 2]>> {
    command.args(["-o", "json"]);
    let shown = sandbox.run(command).await?.json()?;
    Ok(move |key: &str| {
        let origin = shown.as_array()?.iter().find(|origin| origin["key"] == key)?;
        Some([origin["value"].as_str()?.to_owned(), origin["source"].as_str()?.to_owned()])
    })
}

#[tokio::test]
async fn every_value_has_a_source() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let file = sandbox.path("master.toml");
    fs::write(&file, "http_addr = '127.0.0.1:1'\ngrpc_addr = '127.0.0.1:2'\nstart_timeout = '3s'\n")?;
    let mut command = sandbox.sortie(&["config", "master", "--start-timeout", "5s", "--config"]);
    command.arg(&file).env("SORTIE_MASTER_GRPC_ADDR", "127.0.0.1:4").env("SORTIE_MASTER_START_TIMEOUT", "4s");
    let shown = shown(&sandbox, command).await?;
    let origin = |value: &str, source: &str| Some([value.to_owned(), source.to_owned()]);
    assert_eq!(shown("auth"), origin("loopback", "default"));
    assert_eq!(shown("http_addr"), origin("127.0.0.1:1", &format!("file:{}", file.display())));
    assert_eq!(shown("grpc_addr"), origin("127.0.0.1:4", "SORTIE_MASTER_GRPC_ADDR"));
    assert_eq!(shown("start_timeout"), origin("5s", "--start-timeout"));
    let data_dir = sandbox.path("home/.local/state/sortie/master");
    assert_eq!(shown("data_dir"), origin(data_dir.to_str().context("a path in UTF-8")?, "default"));
    Ok(())
}
