//! Cancelling: what is said to be gone is gone.

use anyhow::Result;
use sortie_tests::json;

use crate::pids::{Pids, daemon, hidden_daemon};
use crate::sandbox::Sandbox;

#[tokio::test]
async fn a_daemon_that_ignores_term_is_gone_when_the_cancel_is_answered() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master().await?;
    let _worker = sandbox.worker(&master, "w1", &[]).await?;
    let served = sandbox.processes()?;
    let pids = Pids::new(&sandbox, "pids");
    let daemons = format!("{}; {}", daemon(&pids), hidden_daemon(&pids));
    let cmd = format!("{daemons}; echo $$ leader >> {}; sleep 600; :", pids.path());
    let id = sandbox.ask_text(&master, &["submit", "--kill-grace", "200ms", "--cmd", &cmd]).await?;
    pids.have(3, "").await?;
    assert_eq!(pids.alive().len(), 3);

    let answer = sandbox.ask_text(&master, &["cancel", "--wait", &id]).await?;
    assert_eq!(pids.alive(), [""; 0], "{answer}");
    assert_eq!(sandbox.processes()?, served, "{answer}");
    let expected = format!("{id} was cancelled by 127.0.0.1, and nothing of it runs any more; ");
    assert!(answer.starts_with(&expected) && answer.ends_with("had to be killed"), "{answer}");
    // A cancel may be repeated, and says the same.
    let task = sandbox.ask_json(&master, &["cancel", "--wait", &id]).await?;
    assert_eq!(task["outcome"], json!({"kind": "cancelled", "by": "127.0.0.1", "confirmed": true}));
    assert!(task["attempts"][0]["usage"]["killed"].as_u64() > Some(0), "{task}");
    Ok(())
}

#[tokio::test]
async fn many_are_cancelled_at_once() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master().await?;
    let _worker = sandbox.worker(&master, "w1", &[]).await?;
    let pids = Pids::new(&sandbox, "pids");
    let cmd = format!("echo $$ >> {}; exec sleep 600", pids.path());
    let array = sandbox.ask_text(&master, &["submit", "--count", "3", "--cmd", &cmd]).await?;
    let waits = sandbox.ask_text(&master, &["submit", "--cmd", "true"]).await?;
    pids.have(2, "").await?;
    let cancelled = sandbox.ask(&master, &["cancel", "--wait", &array, &waits, "4711"]).await?;
    let lines = format!(
        "{array} cancelled: 3 cancelled\n{waits} was cancelled by 127.0.0.1, and nothing of it runs any more\n"
    );
    assert_eq!((cancelled.code, cancelled.text()), (Some(1), lines.as_str()), "{cancelled:?}");
    assert!(cancelled.stderr.contains("4711"), "{cancelled:?}");
    assert_eq!(pids.alive(), [""; 0]);
    Ok(())
}
