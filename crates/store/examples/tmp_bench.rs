use sortie_engine::*;
use sortie_store::*;
use std::sync::Arc;
use std::time::Instant;
#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap_or("/work".into())).unwrap();
    let (w, r, _) = open(dir.path()).unwrap();
    let mk = |id: u64, count, name: Option<String>| { let spec = Draft { cmd: Some("true".into()), name, ..Draft::default() }.check().unwrap();
        Arc::new(Job { id: JobId(id), submitted: Time(id), submission: Submission { spec, count, traceparent: None } }) };
    for i in 1..=8u32 { let worker = Worker { id: WorkerId(i), hello: Hello { name: format!("w{i}"), instance: "i".into(), version: "v".into(), labels: Labels::new(), slots: 128 }, admission: Admission::Open, link: Link::Gone { since: Time(1) } };
      w.commit(Batch { records: vec![Record::Worker(worker)], outputs: vec![] }).await.unwrap(); }
    let at = |i: u32| Attempt { number: 1, worker: WorkerId(i % 8 + 1), assigned: Time(1_700_000_000_000) };
    let n = 1_000_000u32; let b = 1024u32;
    w.commit(Batch { records: vec![Record::Submitted(mk(1, n, Some("big".into())))], outputs: vec![] }).await.unwrap();
    let t = Instant::now(); let mut tally = Tally::default();
    let mut k = 0; let mut rows = 0u64;
    // a pipeline: each batch ends the batch before, and places new ones; started comes folded with the end
    let mut prev: Vec<u32> = vec![];
    while k < n || !prev.is_empty() {
        let mut records = vec![];
        for i in prev.drain(..) { let task = JobId(1).task(i);
            records.push(Record::Moved(task, Active { attempt: at(i), stage: Stage::Running { started: Time(1_700_000_000_001) } }));
            let outcome = Outcome::Exited { code: (i % 1000 == 0) as i32 };
            tally.add(outcome.state(), 1);
            records.push(Record::Ended(task, Ended { attempt: at(i), started: Some(Time(1_700_000_000_001)), at: Time(1_700_000_000_002), outcome }));
            records.push(Record::Counted { job: JobId(1), tally, ended: (tally.total() == n).then_some(Time(9)) }); }
        for i in k..(k + b).min(n) { records.push(Record::Placed(JobId(1).task(i), Active { attempt: at(i), stage: Stage::Assigned })); prev.push(i); }
        k = (k + b).min(n);
        rows += records.len() as u64;
        w.commit(Batch { records, outputs: vec![] }).await.unwrap();
    }
    let e = t.elapsed().as_secs_f64();
    println!("array: {n} tasks placed+moved+ended in {e:.2}s = {:.0} tasks/s, {:.0} records/s", n as f64 / e, rows as f64 / e);
    println!("db {} MiB", std::fs::metadata(dir.path().join("sortie.db")).unwrap().len() >> 20);
    let t = Instant::now(); let m = 200_000u64; let mut id = 2;
    while id < m { let mut records = vec![]; for j in id..id + 32 { records.push(Record::Submitted(mk(j, 1, None))); records.push(Record::Placed(JobId(j).task(0), Active { attempt: at(j as u32), stage: Stage::Assigned })); } id += 32;
        w.commit(Batch { records, outputs: vec![] }).await.unwrap(); }
    let e = t.elapsed().as_secs_f64(); println!("single submits placed at once, 32 a batch: {:.0}/s", m as f64 / e);
    let t = Instant::now(); let m = id + 1_000_000; 
    while id < m { let mut records = vec![]; for j in id..id + 1024 { records.push(Record::Submitted(mk(j, 1, None))); } id += 1024; w.commit(Batch { records, outputs: vec![] }).await.unwrap(); }
    let e = t.elapsed().as_secs_f64(); println!("single submits waiting, 1024 a batch: {:.0}/s", 1e6 / e);
    let t = Instant::now(); for j in 0..1000u64 { w.commit(Batch { records: vec![Record::Submitted(mk(id + j, 1, None))], outputs: vec![] }).await.unwrap(); }
    println!("one submit a batch: {:.0} us", t.elapsed().as_micros() as f64 / 1000.0); 
    let sel = |s: &str| s.parse::<Selector>().unwrap();
    let f = TaskFilter::default;
    for (what, filter, after) in [
      ("all", f(), None), ("all mid array", f(), Some(JobId(1).task(500_000))), ("queued", TaskFilter { states: vec![StateName::Queued], ..f() }, None),
      ("assigned", TaskFilter { states: vec![StateName::Assigned], ..f() }, None), ("running", TaskFilter { states: vec![StateName::Running], ..f() }, None),
      ("failed", TaskFilter { states: vec![StateName::Failed], ..f() }, None), ("succeeded", TaskFilter { states: vec![StateName::Succeeded], ..f() }, None),
      ("lost", TaskFilter { states: vec![StateName::Lost], ..f() }, None),
      ("worker", TaskFilter { worker: Some("w3".into()), ..f() }, None), ("worker failed", TaskFilter { worker: Some("w1".into()), states: vec![StateName::Failed], ..f() }, None),
      ("name", TaskFilter { name: Some("big".into()), ..f() }, None), ("name failed mid", TaskFilter { name: Some("big".into()), states: vec![StateName::Failed], ..f() }, Some(JobId(1).task(500_000))),
      ("name running", TaskFilter { name: Some("big".into()), states: vec![StateName::Running], ..f() }, None),
      ("name worker mid", TaskFilter { name: Some("big".into()), worker: Some("w3".into()), ..f() }, Some(JobId(1).task(500_000))),
      ("until early", TaskFilter { submitted_until: Some(Time(2)), ..f() }, None), ("selector none", TaskFilter { selector: sel("x=y"), ..f() }, None),
      ("selector all", TaskFilter { selector: sel("!x"), ..f() }, None), ("selector none assigned", TaskFilter { selector: sel("x=y"), states: vec![StateName::Assigned], ..f() }, None), ("job 1 mid", TaskFilter { job: Some(JobId(1)), ..f() }, Some(JobId(1).task(500_000))),
      ("job 1 failed", TaskFilter { job: Some(JobId(1)), states: vec![StateName::Failed], ..f() }, None), ("job 1 worker", TaskFilter { job: Some(JobId(1)), worker: Some("w2".into()), ..f() }, None),
    ] { let t = Instant::now(); let n = r.tasks(filter.clone(), after, 100).await.unwrap().len(); let c = t.elapsed(); let t = Instant::now(); r.tasks(filter, after, 100).await.unwrap(); println!("{what}: {n} rows {:.2} ms, again {:.2} ms", c.as_secs_f64() * 1e3, t.elapsed().as_secs_f64() * 1e3); }
    for s in [None, Some(StateName::Queued), Some(StateName::Running), Some(StateName::Failed), Some(StateName::Succeeded)] { let t = Instant::now(); let n = r.jobs(JobFilter { states: s.into_iter().collect(), ..Default::default() }, None, 100).await.unwrap().len(); println!("jobs {s:?}: {n} in {:.2} ms", t.elapsed().as_secs_f64() * 1e3); }
    let t = Instant::now(); r.task(JobId(1).task(77)).await.unwrap().unwrap(); println!("one task {:.0} us", t.elapsed().as_micros());
    let t = Instant::now(); r.workers(WorkerFilter::default(), None, 100).await.unwrap(); println!("workers {:.2} ms", t.elapsed().as_secs_f64() * 1e3);
    let t = Instant::now(); w.close().await.unwrap(); println!("close {:.2} ms", t.elapsed().as_secs_f64() * 1e3);
    let t = Instant::now(); let (_w, _r, s) = open(dir.path()).unwrap(); println!("open with {} live jobs: {:.2} s", s.jobs.len(), t.elapsed().as_secs_f64());
}
