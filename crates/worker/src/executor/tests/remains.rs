//! What commands leave behind, in every way that there is to get away from them.

use super::*;

/// A daemon that has left its command's group and session, and minds no signal that can be minded: its number is in
/// `file` before the line that follows runs.
fn daemon(file: &Path) -> String {
    let file = file.display();
    format!(
        "(setsid sh -c 'trap \"\" TERM HUP INT; echo $$ > {file}; exec sleep 300' &); until [ -s {file} ]; do :; done"
    )
}

/// The processes whose environment says that they are an attempt's of this bench.
fn marked(bench: &Bench) -> Vec<Pid> {
    let attempts = bench.dir.path().canonicalize().expect("a path").join("attempts");
    let census = processes::census().expect("the processes");
    let marked = census.iter().filter(|stat| stat.is_live && processes::mark(stat.pid).is_in(&attempts));
    marked.map(|stat| stat.pid).collect()
}

/// Runs a test of this module again, in a process that has no children but its commands'. Whether this is that.
fn alone(test: &str) -> bool {
    const ALONE: &str = "SORTIE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let again = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", &format!("executor::tests::remains::{test}")])
        .env(ALONE, "")
        .output()
        .expect("a process");
    let text = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && text.contains("1 passed"), "{again:?}");
    false
}

fn number(file: &Path) -> Pid {
    pid(file).parse().ok().and_then(Pid::from_raw).expect("a number")
}

#[tokio::test]
async fn a_daemon_ends_with_its_command() {
    let mut bench = Bench::new().await;
    let file = bench.path("pid");
    bench.spawned(line(format!("{}; echo done", daemon(&file)))).await;
    let (exit, usage, output) = bench.used().await;
    assert_eq!((exit, output.stdout.bytes), (Exit::Code(0), b"done\n".to_vec()));
    assert!(is_gone(&pid(&file)), "at the end, not some time after it");
    assert_eq!(usage.killed, 1);
    assert!(processes::stat(number(&file)).expect("an answer").is_none(), "it was waited for");
}

#[tokio::test]
async fn a_daemon_ends_with_its_command_where_only_a_look_at_all_processes_finds_it() {
    let mut bench = Bench::of(Children::blind(), Memory::own(), Cgroups::Off).await;
    let file = bench.path("pid");
    bench.spawned(line(format!("{}; echo done", daemon(&file)))).await;
    let (exit, usage, _) = bench.used().await;
    assert_eq!((exit, usage.killed), (Exit::Code(0), 1));
    assert!(is_gone(&pid(&file)));
    assert_eq!(stdout(line("echo out")).await, "out\n");
}

#[tokio::test]
async fn nohup_and_a_background_are_no_way_out() {
    let mut bench = Bench::new().await;
    let file = bench.path("pid");
    let command = format!("nohup sleep 300 > /dev/null 2>&1 & echo $! > {}; exit 4", file.display());
    bench.spawned(line(command)).await;
    let (exit, usage, _) = bench.used().await;
    assert_eq!((exit, usage.killed), (Exit::Code(4), 1));
    assert!(is_gone(&pid(&file)));
}

#[tokio::test]
async fn a_daemon_s_own_children_end_with_it_even_without_a_mark() {
    let mut bench = Bench::new().await;
    let (daemon, child) = (bench.path("daemon"), bench.path("child"));
    let command = format!(
        "(setsid sh -c 'echo $$ > {}; env -i /bin/sh -c \"echo \\$\\$ > {1}; exec sleep 300\"; :' &); \
         until [ -s {1} ]; do :; done",
        daemon.display(),
        child.display(),
    );
    bench.spawned(line(command)).await;
    assert_eq!(bench.used().await.1.killed, 2);
    assert!(is_gone(&pid(&daemon)) && is_gone(&pid(&child)));
}

#[tokio::test]
async fn a_daemon_has_no_grace_once_the_group_is_gone() {
    let mut bench = Bench::new().await;
    let (file, ready) = (bench.path("pid"), bench.path("ready"));
    let command = format!("{}; echo > {}; sleep 300; :", daemon(&file), ready.display());
    bench.spawned(line(command)).await;
    until(|| ready.exists()).await;
    assert!(!is_gone(&pid(&file)));
    let asked = std::time::Instant::now();
    bench.executor.signal(attempt(), Signal::TERM);
    let (exit, usage, _) = bench.used().await;
    assert!(asked.elapsed() < PATIENCE / 10, "{:?}", asked.elapsed());
    assert_eq!((exit, usage.killed), (Exit::Signal(15), 1));
    assert!(is_gone(&pid(&file)));
}

#[tokio::test]
async fn kill_ends_daemons_too_and_counts_all() {
    let mut bench = Bench::new().await;
    let (file, ready) = (bench.path("pid"), bench.path("ready"));
    let command = format!("trap '' TERM; {}; echo > {}; sleep 300; :", daemon(&file), ready.display());
    bench.spawned(line(command)).await;
    until(|| ready.exists()).await;
    bench.executor.signal(attempt(), Signal::TERM);
    bench.executor.signal(attempt(), Signal::KILL);
    let (exit, usage, _) = bench.used().await;
    // The shell, the daemon, and a `sleep` if it was there already and its shell did not come to wait for it.
    assert!(exit == Exit::Signal(9) && (2..=3).contains(&usage.killed), "{exit:?} {usage:?}");
    assert!(is_gone(&pid(&file)));
}

#[tokio::test]
async fn what_forks_faster_than_it_can_be_seen_ends_too() {
    let mut bench = Bench::new().await;
    let (bomb, log) = (bench.path("bomb"), bench.path("log"));
    // 255 processes, each in a session of its own, none of which ends by itself.
    let text = format!(
        "echo $$ >> {0}; if [ $1 -gt 0 ]; then setsid sh {1} $(($1 - 1)) & setsid sh {1} $(($1 - 1)) & fi; exec sleep 300",
        log.display(),
        bomb.display(),
    );
    std::fs::write(&bomb, text).expect("a script");
    let command = format!("setsid sh {} 7 & until [ -s {} ]; do :; done", bomb.display(), log.display());
    bench.spawned(line(command)).await;
    let (exit, usage, _) = bench.used().await;
    assert_eq!(marked(&bench), []);
    let log = std::fs::read_to_string(log).expect("a log");
    assert!(log.lines().all(is_gone));
    assert_eq!(exit, Exit::Code(0));
    assert!(usage.killed as usize >= log.lines().count(), "{usage:?} {}", log.lines().count());
}

#[tokio::test]
async fn a_tree_that_has_grown_ends_as_a_whole() {
    let mut bench = Bench::new().await;
    let (bomb, log) = (bench.path("bomb"), bench.path("log"));
    let text = format!(
        "if [ $1 -gt 0 ]; then setsid sh {1} $(($1 - 1)) & setsid sh {1} $(($1 - 1)) & fi; echo $$ >> {0}; exec sleep 300",
        log.display(),
        bomb.display(),
    );
    std::fs::write(&bomb, text).expect("a script");
    let command = format!(
        "setsid sh {} 6 & until [ $(wc -l < {1}) -ge 127 ]; do :; done 2> {1}.err",
        bomb.display(),
        log.display()
    );
    bench.spawned(line(command)).await;
    assert!(bench.used().await.1.killed >= 127);
    assert_eq!(marked(&bench), []);
}

#[tokio::test]
async fn the_end_of_one_leaves_another_s_daemon_alone() {
    let mut bench = Bench::new().await;
    let (file, ready) = (bench.path("pid"), bench.path("ready"));
    let command = format!("{}; echo > {}; sleep 300; :", daemon(&file), ready.display());
    bench.spawned(line(command)).await;
    until(|| ready.exists()).await;
    for number in 1..=20 {
        let other = JobId(43).task(0).attempt(number);
        let left = format!("(setsid sleep 300 &); (exit {number})");
        bench.start(StartOrder { attempt: other, ..line(left) });
        assert!(matches!(bench.next().await, Step::Spawned));
        assert_eq!(bench.ended().await.0, Exit::Code(i32::try_from(number).expect("a small number")));
        assert!(!is_gone(&pid(&file)));
    }
    bench.executor.signal(attempt(), Signal::KILL);
    assert_eq!(bench.ended().await.0, Exit::Signal(9));
    assert_eq!(marked(&bench), []);
}

#[tokio::test]
async fn what_says_that_it_is_another_s_is_no_concern_of_this_one() {
    let mut bench = Bench::new().await;
    let elsewhere =
        std::process::Command::new("/bin/sleep").arg("300").env(processes::MARK, "/data/attempts/42.17.2").spawn();
    let mut elsewhere = elsewhere.expect("a process");
    let order =
        StartOrder { env: [(processes::MARK.to_owned(), "/data/attempts/42.17.2".to_owned())].into(), ..line("env") };
    let text = String::from_utf8(bench.run(order).await.expect("a start").1.stdout.bytes).expect("text");
    let dir = bench.dir.path().canonicalize().expect("a path").join("attempts/42.17.2");
    assert!(text.contains(&format!("{}={}\n", processes::MARK, dir.display())), "a task cannot choose it: {text}");
    assert!(elsewhere.try_wait().expect("a child").is_none(), "another worker's");
    elsewhere.kill().expect("it runs");
    elsewhere.wait().expect("a status");
}

#[tokio::test]
async fn an_orphan_that_hides_is_its_command_s_if_it_can_be_no_other_s() {
    if !alone("an_orphan_that_hides_is_its_command_s_if_it_can_be_no_other_s") {
        return;
    }
    let mut bench = Bench::of(Children::new(true), Memory::own(), Cgroups::Off).await;
    let hidden = |file: &Path| {
        let file = file.display();
        format!("(env -i setsid /bin/sh -c 'echo $$ > {file}; exec sleep 300' &); until [ -s {file} ]; do :; done")
    };
    let (first, second, go) = (bench.path("first"), bench.path("second"), bench.path("go"));
    bench.spawned(line(hidden(&first))).await;
    assert_eq!(bench.used().await.1.killed, 1);
    assert!(is_gone(&pid(&first)));

    // One that another was there before of may be that one's, and ends with it at the latest.
    let other = StartOrder { attempt: JobId(43).task(0).attempt(1), ..line("sleep 300; :") };
    bench.start(other.clone());
    assert!(matches!(bench.next().await, Step::Spawned));
    bench.spawned(line(hidden(&second))).await;
    assert_eq!(bench.used().await.1.killed, 0);
    assert!(!is_gone(&pid(&second)));
    bench.executor.signal(other.attempt, Signal::KILL);
    assert_eq!(bench.ended().await.0, Exit::Signal(9));
    assert!(is_gone(&pid(&second)));

    // One that was there before the other is not.
    std::fs::remove_file(&first).expect("a file");
    let waits = format!("{}; until [ -e {} ]; do sleep 0.01; done", hidden(&first), go.display());
    bench.spawned(line(waits)).await;
    until(|| !pid(&first).is_empty()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    bench.start(other.clone());
    assert!(matches!(bench.next().await, Step::Spawned));
    std::fs::write(go, "").expect("a fact");
    assert_eq!(bench.used().await.1.killed, 1);
    assert!(is_gone(&pid(&first)));
    bench.executor.signal(other.attempt, Signal::TERM);
    assert_eq!(bench.ended().await.0, Exit::Signal(15));
}

#[tokio::test]
async fn an_orphan_that_has_ended_is_waited_for_while_its_command_runs() {
    if !alone("an_orphan_that_has_ended_is_waited_for_while_its_command_runs") {
        return;
    }
    let mut bench = Bench::of(Children::new(true), Memory::own(), Cgroups::Off).await;
    let file = bench.path("pid");
    let orphan =
        format!("(setsid sh -c 'echo $$ > {0}; exec sleep 0.05' &); until [ -s {0} ]; do :; done", file.display());
    bench.spawned(line(format!("{orphan}; sleep 300; :"))).await;
    let reaped = async {
        until(|| !pid(&file).is_empty()).await;
        until(|| processes::stat(number(&file)).expect("an answer").is_none()).await;
    };
    tokio::select! {
        () = reaped => {}
        step = bench.executor.next() => panic!("{step:?}"),
    }
    bench.executor.signal(attempt(), Signal::TERM);
    assert_eq!(bench.ended().await.0, Exit::Signal(15));
}

#[tokio::test]
async fn a_dropped_executor_leaves_no_daemons() {
    let mut bench = Bench::new().await;
    let (file, ready) = (bench.path("pid"), bench.path("ready"));
    bench.spawned(line(format!("{}; echo > {}; sleep 300; :", daemon(&file), ready.display()))).await;
    until(|| ready.exists()).await;
    let Bench { dir, executor } = bench;
    drop(executor);
    until(|| is_gone(&pid(&file))).await;
    drop(dir);
}

/// Not everywhere may cgroups be made; where they may not, there is nothing to be tested.
#[tokio::test]
async fn nothing_gets_out_of_a_cgroup() {
    let mut bench = Bench::of(Children::new(false), Memory::own(), Cgroups::On).await;
    if bench.executor.site.cgroups.is_none() {
        return;
    }
    let file = bench.path("pid");
    let text = file.display();
    // The wait is for the move into the cgroup, which comes after the start.
    let command = format!(
        "until grep -q 42.17.2 /proc/self/cgroup; do :; done; \
         (env -i setsid /bin/sh -c 'echo $$ > {text}; exec sleep 300' &); until [ -s {text} ]; do :; done"
    );
    bench.spawned(line(command)).await;
    let (exit, usage, _) = bench.used().await;
    assert_eq!((exit, usage.killed), (Exit::Code(0), 1));
    assert!(is_gone(&pid(&file)));
    let record = std::fs::read_to_string(bench.path("cgroup")).expect("where it is");
    assert!(!Path::new(&record).join("42.17.2").exists());
    let Bench { dir, executor } = bench;
    drop(executor);
    assert!(!Path::new(&record).exists());
    drop(dir);
}
