//! A worker's process that is killed, and what becomes of its commands.
//!
//! This program plays all the parts, each in a process of its own: `worker` and `guard` as the real one does, and the
//! test itself, with the master, otherwise. So it brings its own `main`.

#[path = "../link/common.rs"]
#[allow(dead_code, reason = "made for the tests of the link, which use all of it")]
mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sortie_engine::{End, Report};
use sortie_worker::{Config, guard, run};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use common::*;

/// How soon after its worker's death everything that it ran must be gone; it is much sooner, on an idle machine.
const SOON: Duration = Duration::from_secs(5);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["guard", dir] => guard(Path::new(dir)).expect("a guard's life"),
        ["worker", dir, url] => play_worker(dir.into(), url),
        _ => {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                what_a_killed_worker_ran_is_gone_at_once_and_its_successor_is_spared().await;
                a_guard_is_replaced_and_leaves_with_its_worker().await;
                what_nobody_guarded_is_gone_before_the_next_worker_is_there().await;
                a_guard_without_a_worker_does_nothing().await;
            });
        }
    }
}

fn play_worker(data_dir: PathBuf, url: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let exe = std::env::current_exe().expect("this program");
    let dir = data_dir.parent().expect("a directory");
    let config = Config { data_dir: data_dir.clone(), guard: Some(exe), exclusive: true, ..config(url, dir) };
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut term = signal(SignalKind::terminate()).expect("a handler");
        tokio::spawn({
            let stop = stop.clone();
            async move {
                term.recv().await;
                stop.cancel();
            }
        });
        run(config, "9.8.7".to_owned(), stop).await
    });
    ended.expect("a clean end");
}

/// A worker in a process of its own.
struct Process {
    child: Child,
    data_dir: PathBuf,
}

impl Process {
    fn start(dir: &TempDir, url: &str) -> Self {
        let data_dir = dir.path().canonicalize().expect("a path").join("data");
        let child = Command::new(std::env::current_exe().expect("this program"))
            .arg("worker")
            .arg(&data_dir)
            .arg(url)
            .spawn()
            .expect("a process");
        Process { child, data_dir }
    }

    /// The guard that stands beside it.
    async fn guard(&self) -> Pid {
        let mut found = None;
        let named = |pid: Pid| std::fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_pid()));
        within(async {
            while found.is_none() {
                found = guards(&self.data_dir).into_iter().find(|pid| named(*pid).is_ok_and(|name| name == "warden\n"));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        found.expect("a guard")
    }

    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("a status");
    }

    async fn stop(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        tokio::task::spawn_blocking(move || self.child.wait()).await.expect("no panic").expect("a status")
    }
}

/// The processes that are told to guard this data directory.
fn guards(data_dir: &Path) -> Vec<Pid> {
    let told = format!("\0guard\0{}\0", data_dir.display());
    let entries = std::fs::read_dir("/proc").expect("the processes").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(Pid::from_raw);
    let is_told = |pid: &Pid| {
        let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_pid())).unwrap_or_default();
        String::from_utf8_lossy(&line).ends_with(&told)
    };
    pids.filter(is_told).collect()
}

fn said(dir: &TempDir, name: &str) -> String {
    std::fs::read_to_string(dir.path().join(name)).unwrap_or_default().trim().to_owned()
}

/// A command that leaves a daemon outside of its group, and stays itself, both whatever signal comes; each says who it
/// is.
fn stubborn(dir: &TempDir, name: &str) -> String {
    let file = dir.path().join(name).display().to_string();
    format!(
        "trap '' TERM HUP INT; (setsid sh -c 'echo $$ > {file}.daemon; exec sleep 300' &); \
         until [ -s {file}.daemon ]; do :; done; echo $$ > {file}; exec sleep 300"
    )
}

async fn both_run(dir: &TempDir, name: &str) -> [String; 2] {
    until(|| !said(dir, name).is_empty()).await;
    let both = [said(dir, &format!("{name}.daemon")), said(dir, name)];
    assert!(both.iter().all(|pid| !is_gone(pid)));
    both
}

async fn what_a_killed_worker_ran_is_gone_at_once_and_its_successor_is_spared() {
    let dir = TempDir::new().expect("a directory");
    let mut master = Master::start().await;
    let first = Process::start(&dir, &master.url);
    let mut stream = master.admit().await;
    for (number, name) in [(1, "first"), (2, "second")] {
        let attempt = stream.start(number, &stubborn(&dir, name)).await;
        stream.hear(Report::Started(attempt)).await;
    }
    let third = stream.start(3, "echo out").await;
    stream.hear(Report::Started(third)).await;
    stream.hear(ended(third, End::Exited(0))).await;
    let running = [both_run(&dir, "first").await, both_run(&dir, "second").await];
    first.guard().await;

    let killed = Instant::now();
    first.kill();
    let second = Process::start(&dir, &master.url);
    until(|| running.iter().flatten().all(|pid| is_gone(pid))).await;
    assert!(killed.elapsed() < SOON, "{:?}", killed.elapsed());
    let (mut presented, mut stream) = master.admit_with(welcome()).await;
    presented.sort_unstable_by_key(|held| held.attempt.map(|attempt| attempt.number));
    // Of what was only begun, this process cannot say whether it came to start.
    assert_eq!(presented, [held(1, 0, false), held(2, 0, false), held(3, 0, true)]);
    stream.expect(ended(attempt(1), End::Abandoned)).await;
    stream.expect(ended(attempt(2), End::Abandoned)).await;
    assert_eq!(stream.expect(ended(third, End::Exited(0))).await, output("out\n", ""));
    assert_eq!(std::fs::read_dir(second.data_dir.join("attempts")).expect("a directory").count(), 0);

    let fourth = stream.start(4, &stubborn(&dir, "fourth")).await;
    stream.hear(Report::Started(fourth)).await;
    let spared = both_run(&dir, "fourth").await;
    until(|| guards(&second.data_dir).len() == 1).await;
    assert!(spared.iter().all(|pid| !is_gone(pid)), "the first one's guard has left");
    stream.order(stop(4)).await;
    stream.expect(ended(fourth, End::Stopped)).await;
    assert!(spared.iter().all(|pid| is_gone(pid)));
    leaves(second, stream).await;
}

/// The worker ends in order, and its guard with it.
async fn leaves(worker: Process, mut stream: Stream) {
    let data_dir = worker.data_dir.clone();
    let leaving = tokio::spawn(worker.stop());
    stream.hear(Report::Leaving).await;
    stream.drain().await;
    assert_eq!(stream.upward().await, None);
    drop(stream);
    assert!(within(leaving).await.expect("no panic").success());
    assert_eq!(guards(&data_dir), [], "it has left before its worker");
    let lock = std::fs::File::open(data_dir.join("lock")).expect("a file");
    lock.try_lock().expect("nobody has the directory");
}

async fn a_guard_is_replaced_and_leaves_with_its_worker() {
    let dir = TempDir::new().expect("a directory");
    let mut master = Master::start().await;
    let worker = Process::start(&dir, &master.url);
    let mut stream = master.admit().await;
    let attempt = stream.start(1, &stubborn(&dir, "first")).await;
    stream.hear(Report::Started(attempt)).await;
    let running = both_run(&dir, "first").await;

    let first = worker.guard().await;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill_process(first, signal).expect("it runs");
    }
    kill_process(first, Signal::KILL).expect("it minds no other");
    until(|| guards(&worker.data_dir).iter().any(|pid| *pid != first)).await;
    assert_ne!(worker.guard().await, first);
    assert!(running.iter().all(|pid| !is_gone(pid)));
    stream.order(stop(1)).await;
    stream.expect(ended(attempt, End::Stopped)).await;
    leaves(worker, stream).await;
}

async fn what_nobody_guarded_is_gone_before_the_next_worker_is_there() {
    let dir = TempDir::new().expect("a directory");
    let mut master = Master::start().await;
    let first = Process::start(&dir, &master.url);
    let mut stream = master.admit().await;
    let attempt = stream.start(1, &stubborn(&dir, "first")).await;
    stream.hear(Report::Started(attempt)).await;
    let running = both_run(&dir, "first").await;
    let guard = first.guard().await;
    kill_process(guard, Signal::KILL).expect("it runs");
    first.kill();
    assert!(running.iter().all(|pid| !is_gone(pid)), "nobody ends them");

    let second = Process::start(&dir, &master.url);
    let hello = master.hello().await;
    assert!(running.iter().all(|pid| is_gone(pid)));
    assert_eq!(hello.request.held, [held(1, 0, false)]);
    hello.answer(Ok(welcome()));
    let mut stream = master.stream().await;
    stream.expect(ended(attempt, End::Abandoned)).await;
    leaves(second, stream).await;
}

async fn a_guard_without_a_worker_does_nothing() {
    let dir = TempDir::new().expect("a directory");
    let mut master = Master::start().await;
    let worker = Process::start(&dir, &master.url);
    let mut stream = master.admit().await;
    let attempt = stream.start(1, &stubborn(&dir, "first")).await;
    stream.hear(Report::Started(attempt)).await;
    let running = both_run(&dir, "first").await;
    let by_hand = Command::new(std::env::current_exe().expect("this program"))
        .arg("guard")
        .arg(&worker.data_dir)
        .stdin(Stdio::null())
        .output()
        .expect("a process");
    assert!(!by_hand.status.success());
    assert!(running.iter().all(|pid| !is_gone(pid)));
    stream.order(stop(1)).await;
    stream.expect(ended(attempt, End::Stopped)).await;
    leaves(worker, stream).await;
}
