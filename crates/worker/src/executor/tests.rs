//! Real processes, run to every kind of end.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::Pid;
use sortie_engine::{Command, JobId, MAX_CAPTURED_BYTES};
use tempfile::TempDir;

use crate::Cgroups;
use crate::children::Children;
use crate::memory::Memory;
use crate::processes;
use crate::usage::Meter;

use super::*;

mod remains;

/// How long a fact may take to come true.
const PATIENCE: Duration = Duration::from_secs(30);

struct Bench {
    dir: TempDir,
    executor: Executor,
}

type Ended = Result<(Exit, Output), SpawnError>;

impl Bench {
    async fn new() -> Self {
        Bench::of(Children::new(false), Memory::own(), Cgroups::Off).await
    }

    async fn of(children: Arc<Children>, memory: Memory, cgroups: Cgroups) -> Self {
        let dir = TempDir::new().expect("a directory");
        let (workspace, _lock) = crate::workspace::open(dir.path()).await.expect("a workspace");
        workspace.clear().expect("a directory");
        let site = Site {
            cgroups: crate::cgroups(cgroups, &workspace),
            workspace,
            worker: "alpha".to_owned(),
            children,
            memory,
            meter: Meter::default(),
        };
        Bench { dir, executor: Executor::new(site) }
    }

    /// A place for commands to leave facts in, which stays.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start(&mut self, order: StartOrder) {
        self.executor.start(order, Span::none());
    }

    async fn next(&mut self) -> Step {
        tokio::time::timeout(PATIENCE, self.executor.next()).await.expect("in time").expect("a step").1
    }

    async fn spawned(&mut self, order: StartOrder) {
        self.start(order);
        assert!(matches!(self.next().await, Step::Spawned));
    }

    async fn run(&mut self, order: StartOrder) -> Ended {
        self.start(order);
        loop {
            match self.next().await {
                Step::Spawned => {}
                Step::Failed(error) => return Err(error),
                Step::Ended(exit, _, output) => return Ok((exit, output)),
                other @ Step::Withheld => panic!("{other:?}"),
            }
        }
    }

    async fn ended(&mut self) -> (Exit, Output) {
        let (exit, _, output) = self.used().await;
        (exit, output)
    }

    async fn used(&mut self) -> (Exit, Usage, Output) {
        match self.next().await {
            Step::Ended(exit, usage, output) => (exit, usage, output),
            other @ (Step::Spawned | Step::Withheld | Step::Failed(_)) => panic!("{other:?}"),
        }
    }
}

fn order(command: Command) -> StartOrder {
    StartOrder {
        attempt: JobId(42).task(17).attempt(2),
        command,
        env: BTreeMap::new(),
        cwd: None,
        stdin: None,
        timeout: PATIENCE,
        kill_grace: PATIENCE,
        slots: 1,
        traceparent: None,
    }
}

fn line(text: impl Into<String>) -> StartOrder {
    order(Command::Line(text.into()))
}

fn argv(arguments: &[&str]) -> StartOrder {
    order(Command::Argv(arguments.iter().map(|&argument| argument.to_owned()).collect()))
}

fn script(text: &str) -> StartOrder {
    order(Command::Script(text.to_owned()))
}

fn attempt() -> AttemptId {
    line("").attempt
}

async fn run(order: StartOrder) -> Ended {
    Bench::new().await.run(order).await
}

async fn fails(order: StartOrder) -> (i32, String) {
    let SpawnError { errno, detail } = run(order).await.expect_err("no start");
    (errno, detail)
}

async fn stdout(order: StartOrder) -> String {
    let (exit, output) = run(order).await.expect("a start");
    assert_eq!((exit, output.stderr), (Exit::Code(0), Default::default()));
    String::from_utf8(output.stdout.bytes).expect("text")
}

async fn until(fact: impl Fn() -> bool) {
    let waiting = async {
        while !fact() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the fact in time");
}

/// Whether no such process runs; a zombie does not.
fn is_gone(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])))
}

fn pid(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_default().trim().to_owned()
}

#[tokio::test]
async fn an_exit_code_and_both_streams_are_told_apart() {
    let (exit, output) = run(line("echo out; echo err >&2; exit 3")).await.expect("a start");
    assert_eq!(exit, Exit::Code(3));
    assert_eq!((output.stdout.bytes, output.stderr.bytes), (b"out\n".to_vec(), b"err\n".to_vec()));
}

#[tokio::test]
async fn a_signal_is_no_exit_code() {
    assert_eq!(run(line("kill -SEGV $$")).await.expect("a start").0, Exit::Signal(11));
}

#[tokio::test]
async fn arguments_meet_no_shell() {
    let order = argv(&["printf", "%s|", "a b", "$HOME", "*", "'\"", ""]);
    assert_eq!(stdout(order).await, "a b|$HOME|*|'\"||");
}

#[tokio::test]
async fn a_script_runs_by_its_first_line_and_not_in_its_directory() {
    assert_eq!(stdout(script("#!/bin/sed 2!d\nls\n")).await, "ls\n");
    assert_eq!(stdout(script("#!/bin/sh\nls -A\necho $#")).await, "0\n");
}

#[tokio::test]
async fn scripts_that_start_at_once_do_not_find_each_other_busy() {
    let mut bench = Bench::new().await;
    for number in 1..=64 {
        let attempt = JobId(1).task(0).attempt(number);
        bench.start(StartOrder { attempt, ..script("#!/bin/true\n") });
    }
    for _ in 0..2 * 64 {
        assert!(matches!(bench.next().await, Step::Spawned | Step::Ended(Exit::Code(0), ..)));
    }
    assert!(bench.executor.next().await.is_none());
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let noent = Errno::NOENT.raw_os_error();
    let name = "no-such-program";
    assert_eq!(fails(argv(&[name])).await, (noent, format!("the program {name:?} is not in PATH")));
    let (errno, detail) = fails(argv(&["./no-such-program"])).await;
    assert_eq!(errno, noent);
    assert_eq!(detail, "the program \"./no-such-program\" cannot be executed: no such file or directory");
    let (errno, detail) = fails(script("#!/no/such/sh -e\n")).await;
    assert_eq!(errno, noent);
    assert!(detail.starts_with("the interpreter \"/no/such/sh\" of \"/"), "{detail}");
    let order = StartOrder { cwd: Some("/no/such/directory".to_owned()), ..line("true") };
    let detail = "the working directory /no/such/directory cannot be used: no such file or directory";
    assert_eq!(fails(order).await, (noent, detail.to_owned()));
}

#[tokio::test]
async fn what_is_forbidden_is_named() {
    let acces = Errno::ACCESS.raw_os_error();
    let detail = "the program \"/etc/passwd\" cannot be executed: permission denied";
    assert_eq!(fails(argv(&["/etc/passwd"])).await, (acces, detail.to_owned()));
    let order = StartOrder { env: [("PATH".to_owned(), "/etc".to_owned())].into(), ..argv(&["passwd"]) };
    assert_eq!(fails(order).await, (acces, "the program \"passwd\" may not be executed".to_owned()));
    let order = StartOrder { cwd: Some("/etc/passwd".to_owned()), ..line("true") };
    let detail = "the working directory /etc/passwd is not a directory";
    assert_eq!(fails(order).await, (Errno::NOTDIR.raw_os_error(), detail.to_owned()));
}

#[tokio::test]
async fn what_cannot_be_executed_at_all_is_refused() {
    for order in [argv(&[]), argv(&[""]), line("a\0b")] {
        run(order).await.expect_err("no start");
    }
}

#[tokio::test]
async fn standard_input_arrives_and_need_not_be_read() {
    let text = "x".repeat(300_000);
    let order = StartOrder { stdin: Some(text), ..line("wc -c") };
    assert_eq!(stdout(order.clone()).await.trim(), "300000");
    assert_eq!(stdout(StartOrder { command: Command::Line("true".to_owned()), ..order }).await, "");
    assert_eq!(stdout(line("cat")).await, "");
}

#[tokio::test]
async fn the_environment_is_clean() {
    assert!(std::env::var_os("CARGO_PKG_NAME").is_some(), "this process has variables of its own");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let env = [("LANG", "de_DE.UTF-8"), ("MINE", "a b")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let order = StartOrder { env: env.into(), traceparent: Some(trace.to_owned()), ..argv(&["env"]) };
    let mut bench = Bench::new().await;
    let text = String::from_utf8(bench.run(order).await.expect("a start").1.stdout.bytes).expect("text");
    let mut variables: Vec<&str> = text.lines().collect();
    variables.sort_unstable();
    let work = bench.dir.path().canonicalize().expect("a path").join("attempts/42.17.2");
    let (home, tmpdir) = (format!("HOME={}", work.display()), format!("TMPDIR={}", work.display()));
    let dir = format!("SORTIE_ATTEMPT_DIR={}", work.display());
    let expected = [
        &home,
        "LANG=de_DE.UTF-8",
        "MINE=a b",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "SORTIE_ATTEMPT=2",
        &dir,
        "SORTIE_INDEX=17",
        "SORTIE_JOB_ID=42",
        "SORTIE_TASK_ID=42.17",
        "SORTIE_WORKER=alpha",
        &tmpdir,
        &format!("TRACEPARENT={trace}"),
    ];
    assert_eq!(variables, expected);
}

#[tokio::test]
async fn the_directory_is_empty_before_and_gone_afterwards() {
    let mut bench = Bench::new().await;
    let (_, output) = bench.run(line("ls -A; pwd; mkdir -p a/b; touch a/b/c; chmod 500 a/b a")).await.expect("a start");
    let work = String::from_utf8(output.stdout.bytes).expect("text");
    assert!(work.ends_with("/attempts/42.17.2\n") && work.lines().count() == 1, "{work}");
    bench.run(argv(&["no-such-program"])).await.expect_err("no start");
    assert_eq!(std::fs::read_dir(bench.path("attempts")).expect("a directory").count(), 0);
}

#[tokio::test]
async fn a_working_directory_that_was_given_stays() {
    let mut bench = Bench::new().await;
    let cwd = bench.path("cwd");
    std::fs::create_dir(&cwd).expect("a directory");
    let order = StartOrder { cwd: Some(cwd.to_string_lossy().into_owned()), ..line("echo here > fact") };
    bench.run(order).await.expect("a start");
    assert_eq!(pid(&cwd.join("fact")), "here");
}

#[tokio::test]
async fn output_past_the_limit_is_counted() {
    let (exit, output) = run(line("head -c 5000000 /dev/zero; head -c 3 /dev/zero >&2")).await.expect("a start");
    assert_eq!((exit, output.stdout.bytes.len()), (Exit::Code(0), MAX_CAPTURED_BYTES));
    assert_eq!(output.stdout.dropped, 5_000_000 - MAX_CAPTURED_BYTES as u64);
    assert_eq!((output.stderr.bytes.len(), output.stderr.dropped), (3, 0));
}

#[tokio::test]
async fn what_the_command_leaves_in_its_group_is_killed() {
    let mut bench = Bench::new().await;
    let file = bench.path("pid");
    let command = format!("sleep 300 & echo $! > {}; echo done", file.display());
    let (exit, output) = bench.run(line(command)).await.expect("a start");
    assert_eq!((exit, output.stdout.bytes), (Exit::Code(0), b"done\n".to_vec()));
    assert!(is_gone(&pid(&file)), "at the end, not some time after it");
}

#[tokio::test]
async fn a_command_that_closes_its_output_runs_on() {
    let mut bench = Bench::new().await;
    let file = bench.path("go");
    let command = format!("exec >&- 2>&-; until [ -e {} ]; do sleep 0.01; done; exit 5", file.display());
    bench.spawned(line(command)).await;
    std::fs::write(file, "").expect("a fact");
    assert!(matches!(bench.next().await, Step::Ended(Exit::Code(5), ..)));
}

#[tokio::test]
async fn kill_ends_a_group_that_ignores_term() {
    let mut bench = Bench::new().await;
    let (child, leader, termed) = (bench.path("child"), bench.path("leader"), bench.path("termed"));
    let command = format!(
        "(trap '' TERM; exec sleep 300) & trap 'echo t > {}' TERM; echo $! > {}; echo $$ > {}; echo out; \
         while :; do wait; done",
        termed.display(),
        child.display(),
        leader.display(),
    );
    bench.spawned(line(command)).await;
    until(|| !pid(&leader).is_empty()).await;
    bench.executor.signal(attempt(), Signal::TERM);
    until(|| !pid(&termed).is_empty()).await;
    bench.executor.signal(attempt(), Signal::KILL);
    let (exit, usage, output) = bench.used().await;
    assert_eq!((exit, output.stdout.bytes), (Exit::Signal(9), b"out\n".to_vec()));
    // A leader that was waiting for its child may be the one to do so yet, before it dies itself.
    assert!((1..=2).contains(&usage.killed), "{usage:?}");
    assert!(is_gone(&pid(&leader)) && is_gone(&pid(&child)));
    bench.executor.signal(attempt(), Signal::KILL);
}

#[tokio::test]
async fn the_rest_of_a_group_has_its_grace_after_the_leader_s_end() {
    let mut bench = Bench::new().await;
    let (ready, fact) = (bench.path("ready"), bench.path("fact"));
    let service = format!(
        "trap 'sleep 0.3; head -c 300000 /dev/zero; echo done > {}; exit' TERM; echo $$ > {}; \
         while :; do sleep 0.01; done",
        fact.display(),
        ready.display(),
    );
    // A shell that waits for a program dies of TERM at once.
    let order = StartOrder { env: [("SERVICE".to_owned(), service)].into(), ..line("sh -c \"$SERVICE\"; echo after") };
    bench.spawned(order).await;
    until(|| !pid(&ready).is_empty()).await;
    bench.executor.signal(attempt(), Signal::TERM);
    let (exit, output) = bench.ended().await;
    assert_eq!((exit, output.stdout.bytes.len()), (Exit::Signal(15), 300_000));
    assert_eq!(pid(&fact), "done");
    assert!(is_gone(&pid(&ready)));
}

/// Asks a command to end whose leader does and whose child does not; the number of the child, which lives on.
async fn outlived(bench: &mut Bench) -> String {
    let (leader, child, go, fact) = (bench.path("leader"), bench.path("child"), bench.path("go"), bench.path("fact"));
    let service = format!(
        "trap '' TERM; echo $$ > {}; until [ -e {} ]; do sleep 0.01; done; echo alive > {}; exec sleep 300",
        child.display(),
        go.display(),
        fact.display(),
    );
    let command = format!(
        "sh -c \"{}\" & until [ -s {} ]; do :; done; echo $$ > {}; wait",
        service.replace('$', "\\$"),
        child.display(),
        leader.display(),
    );
    bench.spawned(line(command)).await;
    until(|| !pid(&leader).is_empty()).await;
    bench.executor.signal(attempt(), Signal::TERM);
    until(|| is_gone(&pid(&leader))).await;
    std::fs::write(go, "").expect("a fact");
    until(|| !pid(&fact).is_empty()).await;
    pid(&child)
}

#[tokio::test]
async fn what_outlives_the_leader_and_ignores_term_is_killed_with_kill() {
    let mut bench = Bench::new().await;
    let child = outlived(&mut bench).await;
    assert!(!is_gone(&child));
    bench.executor.signal(attempt(), Signal::KILL);
    assert_eq!(bench.ended().await.0, Exit::Signal(15), "the leader's");
    assert!(is_gone(&child));
}

#[tokio::test]
async fn what_outlives_the_leader_is_killed_with_the_executor() {
    let mut bench = Bench::new().await;
    let child = outlived(&mut bench).await;
    let Bench { dir, executor } = bench;
    drop(executor);
    until(|| is_gone(&child)).await;
    drop(dir);
}

#[tokio::test]
async fn a_stop_that_leaves_nobody_behind_needs_no_kill() {
    let mut bench = Bench::new().await;
    bench.spawned(line("sleep 300; :")).await;
    let asked = std::time::Instant::now();
    bench.executor.signal(attempt(), Signal::TERM);
    assert_eq!(bench.ended().await.0, Exit::Signal(15));
    assert!(asked.elapsed() < PATIENCE / 10, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_command_that_is_withheld_in_time_does_not_run() {
    let mut bench = Bench::new().await;
    let file = bench.path("fact");
    bench.start(line(format!("echo > {}", file.display())));
    bench.executor.withhold(attempt());
    assert!(matches!(bench.next().await, Step::Withheld));
    assert!(!file.exists());
    assert_eq!(std::fs::read_dir(bench.path("attempts")).expect("a directory").count(), 0);
    bench.spawned(line("echo out")).await;
    bench.executor.withhold(attempt());
    assert_eq!(bench.ended().await.1.stdout.bytes, b"out\n", "it was too late");
}

#[tokio::test]
async fn what_a_command_used_is_told() {
    let mut bench = Bench::new().await;
    bench.spawned(line("true")).await;
    let usage = bench.used().await.1;
    assert!(usage.cpu < Duration::from_secs(1) && (usage.max_rss, usage.killed) == (0, 0), "{usage:?}");
    // The second one's children, of which one is never waited for by it.
    let burn = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
    let bytes = 256 * 1024 * 1024;
    bench.spawned(line(format!("{burn}; head -c {bytes} /dev/zero | tail -c {bytes} | wc -c"))).await;
    let (_, usage, output) = bench.used().await;
    assert_eq!(output.stdout.bytes, format!("{bytes}\n").into_bytes());
    assert!(usage.cpu > Duration::from_millis(50) && usage.cpu < PATIENCE, "{usage:?}");
    assert!((bytes..4 * bytes).contains(&usage.max_rss), "{usage:?}");
}

#[tokio::test]
async fn a_kill_that_the_kernel_counts_is_for_want_of_memory() {
    let counts = TempDir::new().expect("a directory");
    let file = counts.path().join("memory.events");
    std::fs::write(&file, "oom_kill 3\n").expect("a file");
    let mut bench = Bench::of(Children::new(false), Memory::at(&file), Cgroups::Off).await;
    let counted = format!("echo oom_kill 4 > {}; kill -KILL $$", file.display());
    assert_eq!(bench.run(line(counted)).await.expect("a start").0, Exit::OutOfMemory);
    assert_eq!(bench.run(line("kill -KILL $$")).await.expect("a start").0, Exit::Signal(9));
    let other = format!("echo oom_kill 5 > {}; kill -SEGV $$", file.display());
    assert_eq!(bench.run(line(other)).await.expect("a start").0, Exit::Signal(11));
    bench.spawned(line(format!("echo oom_kill 6 > {}; sleep 300; :", file.display()))).await;
    until(|| std::fs::read_to_string(&file).is_ok_and(|text| text == "oom_kill 6\n")).await;
    bench.executor.signal(attempt(), Signal::KILL);
    assert_eq!(bench.ended().await.0, Exit::Signal(9), "that was ordered");
}

#[tokio::test]
async fn an_exit_status_that_another_took_is_unknown_and_the_output_stays() {
    let mut bench = Bench::new().await;
    let (file, go) = (bench.path("pid"), bench.path("go"));
    let command = format!("echo out; echo $$ > {}; until [ -e {} ]; do sleep 0.01; done", file.display(), go.display());
    bench.spawned(line(command)).await;
    until(|| !pid(&file).is_empty()).await;
    std::fs::write(go, "").expect("a fact");
    // The executor is on this thread too, and sees nothing before this has the status.
    let leader = pid(&file).parse().ok().and_then(Pid::from_raw);
    rustix::process::waitpid(leader, rustix::process::WaitOptions::empty()).expect("a status");
    let (exit, output) = bench.ended().await;
    assert_eq!((exit, output.stdout.bytes), (Exit::Signal(0), b"out\n".to_vec()));
}

#[test]
fn a_parent_that_ignored_its_children_does_not_hide_ours() {
    // GNU's `env`; not every shell's `trap` ignores this signal.
    let again = std::process::Command::new("env")
        .arg("--ignore-signal=CHLD")
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "executor::tests::an_exit_code_and_both_streams_are_told_apart"])
        .output()
        .expect("a process");
    let text = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && text.contains("1 passed"), "{again:?}");
}

#[tokio::test]
async fn an_executor_that_is_dropped_kills() {
    let mut bench = Bench::new().await;
    let (first, second) = (bench.path("first"), bench.path("second"));
    let sleeper = |file: &Path| line(format!("trap '' TERM HUP INT; echo $$ > {}; sleep 300", file.display()));
    bench.spawned(sleeper(&first)).await;
    // The second may be anywhere on its way: started, or about to be.
    bench.start(StartOrder { attempt: JobId(43).task(0).attempt(1), ..sleeper(&second) });
    until(|| !pid(&first).is_empty()).await;
    let Bench { dir, executor } = bench;
    drop(executor);
    until(|| is_gone(&pid(&first)) && (pid(&second).is_empty() || is_gone(&pid(&second)))).await;
    drop(dir);
}
