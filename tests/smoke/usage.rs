//! The command line without any service.

use anyhow::{Context as _, Result};

use crate::sandbox::Sandbox;

#[tokio::test]
async fn what_is_no_command_is_said_to_be_none() -> Result<()> {
    let sandbox = Sandbox::new()?;
    sandbox.run_sortie(&["conquer"]).await?.assert_failed(64, &["conquer", "Usage: sortie"]);
    sandbox.run_sortie(&["list", "--colour"]).await?.assert_failed(64, &["--colour"]);
    sandbox.run_sortie(&["submit"]).await?.assert_failed(64, &["--cmd"]);
    Ok(())
}

#[tokio::test]
async fn the_version_names_the_commit() -> Result<()> {
    let ended = Sandbox::new()?.run_sortie(&["--version"]).await?;
    let version = ended.text().strip_prefix(concat!("sortie ", env!("CARGO_PKG_VERSION"), " ("));
    let commit = version.and_then(|rest| rest.strip_suffix(")\n")).with_context(|| format!("{ended:?}"))?;
    assert!(commit == "unknown" || commit.len() >= 7 && commit.bytes().all(|b| b.is_ascii_hexdigit()), "{commit}");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    Ok(())
}

#[tokio::test]
async fn shells_can_complete_it() -> Result<()> {
    let sandbox = Sandbox::new()?;
    for (shell, words) in [("bash", "complete -F _sortie"), ("zsh", "#compdef sortie"), ("fish", "complete -c sortie")]
    {
        let ended = sandbox.run_sortie(&["completions", shell]).await?;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert!(ended.text().contains(words), "{shell}: {}", ended.text());
    }
    Ok(())
}

#[tokio::test]
async fn without_patience_a_master_that_is_not_there_is_not_awaited() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let nobody = sandbox.free_addr()?;
    for arguments in [&["list"][..], &["run", "true"], &["submit", "--wait", "true"], &["wait", "1"], &["workers"]] {
        let mut command = sandbox.asking_at(nobody, arguments);
        command.env("SORTIE_RETRY_FOR", "0");
        let ended = sandbox.run(command).await?;
        ended.assert_failed(69, &[&format!("http://{nobody}"), "cannot be reached", "--server"]);
        assert!(!ended.stderr.contains("trying on"), "{ended:?}");
    }
    Ok(())
}
