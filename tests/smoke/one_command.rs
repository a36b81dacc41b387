//! `sortie dev` with a command: the whole path in one process, and nothing left of it.

use anyhow::Result;
use rustix::process::Signal;
use sortie_tests::eventually;

use crate::sandbox::Sandbox;

/// Asserts that no process and no file is left.
#[track_caller]
fn assert_nothing_left(sandbox: &Sandbox) -> Result<()> {
    assert_eq!(sandbox.processes()?, []);
    assert_eq!(sandbox.left_over()?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_command_has_its_streams_and_its_exit_code() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let ended = sandbox.run_sortie(&["dev", "--", "sh", "-c", "echo hello; echo oops >&2; exit 3"]).await?;
    assert_eq!((ended.text(), ended.stderr.as_str(), ended.code), ("hello\n", "oops\n", Some(3)));
    assert_nothing_left(&sandbox)
}

#[tokio::test]
async fn what_it_leaves_in_the_background_ends_with_it() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let ended = sandbox.run_sortie(&["dev", "--", "sh", "-c", "sleep 600 & touch left-over; echo $!"]).await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.text().trim().parse::<u32>().is_ok(), "{ended:?}");
    assert_nothing_left(&sandbox)
}

#[tokio::test]
async fn a_command_that_is_killed_has_a_shell_s_exit_code() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let ended = sandbox.run_sortie(&["dev", "--", "sh", "-c", "kill -9 $$"]).await?;
    ended.assert_failed(137, &["was killed by signal 9"]);
    assert_nothing_left(&sandbox)
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let ended = sandbox.run_sortie(&["dev", "--", "no-such-program"]).await?;
    ended.assert_failed(127, &["could not start", "no-such-program"]);
    assert_nothing_left(&sandbox)
}

#[tokio::test]
async fn a_signal_ends_the_command_too() -> Result<()> {
    for signal in [Signal::TERM, Signal::INT] {
        let sandbox = Sandbox::new()?;
        let begun = sandbox.path("begun");
        let line = format!("touch {}; sleep 600; :", begun.display());
        let dev = sandbox.start(sandbox.sortie(&["dev", "--", "sh", "-c", &line]))?;
        eventually("the command runs", async || Ok(begun.exists())).await?;
        assert!(sandbox.processes()?.len() > 1, "the command is seen while it runs");
        dev.signal(signal)?;
        dev.ended().await?.assert_failed(130, &["was cancelled"]);
        assert_nothing_left(&sandbox)?;
    }
    Ok(())
}
