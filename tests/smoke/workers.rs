//! The commands on workers.

use anyhow::Result;
use sortie_tests::json;

use crate::sandbox::Sandbox;

#[tokio::test]
async fn a_drained_worker_gets_nothing_new() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master().await?;
    let _w1 = sandbox.worker(&master, "w1", &[("SORTIE_WORKER_LABELS", "zone=a")]).await?;
    let _w2 = sandbox.worker(&master, "w2", &[("SORTIE_WORKER_LABELS", "zone=b")]).await?;

    let answer = sandbox.ask_text(&master, &["drain", "w1"]).await?;
    assert_eq!(answer, "w1 is drained: it takes no new tasks and holds none");
    let workers = sandbox.ask_json(&master, &["workers"]).await?;
    let draining = |name: &str| {
        let mut workers = workers.as_array().into_iter().flatten();
        workers.find(|worker| worker["name"] == name).map(|worker| &worker["draining"])
    };
    assert_eq!([draining("w1"), draining("w2")], [Some(&json!(true)), Some(&json!(false))], "{workers}");
    for _ in 0..4 {
        assert_eq!(sandbox.ask_text(&master, &["run", "--cmd", "echo $SORTIE_WORKER"]).await?, "w2");
    }

    let waiting = sandbox.ask_text(&master, &["submit", "--selector", "zone=a", "--cmd", "true"]).await?;
    let why = sandbox.ask_text(&master, &["why", &waiting]).await?;
    assert!(why.contains("all of the 1 workers that could run it are draining"), "{why}");
    assert_eq!(sandbox.ask_text(&master, &["drain", "w1", "--undo"]).await?, "w1 takes tasks");
    assert_eq!(sandbox.ask_text(&master, &["wait", &waiting]).await?, format!("{waiting} succeeded: 1 succeeded"));

    let table = sandbox.ask_text(&master, &["workers"]).await?;
    for words in [["w1", "zone=a", "connected"], ["w2", "zone=b", "connected"]] {
        assert!(table.lines().any(|line| words.iter().all(|word| line.contains(word))), "{words:?} in {table}");
    }
    sandbox.ask(&master, &["drain", "w3"]).await?.assert_failed(1, &["w3"]);
    Ok(())
}

#[tokio::test]
async fn a_directory_belongs_to_one_worker() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let master = sandbox.master().await?;
    let _w1 = sandbox.worker(&master, "w1", &[]).await?;
    let second = sandbox.run_sortie(&["worker", "--name", "w1"]).await?;
    second.assert_failed(70, &["another worker uses the data directory"]);
    Ok(())
}
