//! `sortie dev`: the whole path in one process, with a command or until it is stopped, and nothing left of it.

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use sortie_tests::{Client, eventually, json};

use crate::sandbox::{SORTIE, Sandbox};

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

#[tokio::test]
async fn a_parent_that_ignores_its_children_s_ends_is_no_harm() -> Result<()> {
    let sandbox = Sandbox::new()?;
    // Of coreutils: not every shell passes on that it ignores this signal, dash does not.
    let ignoring = ["--ignore-signal=CHLD", SORTIE, "dev", "--", "sh", "-c", "echo ran; exit 3"];
    let ended = sandbox.run(sandbox.program("env", &ignoring)).await?;
    assert_eq!((ended.text(), ended.stderr.as_str(), ended.code), ("ran\n", "", Some(3)));
    assert_nothing_left(&sandbox)
}

#[tokio::test]
async fn without_a_command_it_serves_until_it_is_stopped() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let dev = sandbox.start(sandbox.sortie(&["dev", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"]))?;
    let ready = dev.logs("the master is ready").await?;
    let addr = ready["http_addr"].as_str().context("an address")?;
    let file = sandbox.path("touched");
    let cmd = format!("touch {}", file.display());
    let accepted = Client::new(addr.parse()?)?.post("/tasks", &json!({ "cmd": cmd })).await?;
    assert_eq!(accepted.status, 201, "{accepted:?}");
    eventually("the file is there", async || Ok(file.exists())).await?;
    dev.signal(Signal::TERM)?;
    let ended = dev.ended().await?;
    assert_eq!((ended.code, ended.text()), (Some(0), ""), "{ended:?}");
    assert!(ended.stderr.contains(&format!("sortie run --server http://{addr} -- echo hello")), "{ended:?}");
    assert_nothing_left(&sandbox)
}

#[tokio::test]
async fn a_port_that_is_taken_has_a_way_out() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let taken = listener.local_addr()?.to_string();
    let ended = sandbox.run_sortie(&["dev", "--http-addr", &taken, "--grpc-addr", "127.0.0.1:0"]).await?;
    ended.assert_failed(69, &[&format!("cannot listen on {taken}"), "--http-addr and --grpc-addr choose other"]);
    sandbox.run_sortie(&["dev", "--http-addr", "0.0.0.0:0"]).await?.assert_failed(64, &["loopback IP:PORT"]);
    assert_nothing_left(&sandbox)
}
