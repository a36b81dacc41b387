//! One trace from whoever submits to the command: no span is missing, and each has the right parent.

use anyhow::Result;
use rustix::process::Signal;

use crate::collector::{Collector, Trace};
use crate::sandbox::Sandbox;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn traceparent(span: &str) -> String {
    format!("00-{TRACE}-{span}-01")
}

/// Asserts that the trace is whole: the caller's span, the request, the wait, and below it the attempt at the worker;
/// and that the command was told of its attempt.
fn assert_whole(trace: &Trace, told: &str) -> Result<()> {
    let request = trace.one("POST /v1/tasks")?;
    let (queue, attempt) = (trace.one("queue")?, trace.one("attempt")?);
    assert_eq!(request.parent, CALLER, "{trace:#?}");
    assert_eq!(queue.parent, request.id, "{trace:#?}");
    for name in ["order", "run", "attempt"] {
        assert_eq!(trace.one(name)?.parent, queue.id, "{name} in {trace:#?}");
    }
    assert_eq!(trace.one("spawn")?.parent, attempt.id, "{trace:#?}");
    assert_eq!(told, traceparent(&attempt.id));
    Ok(())
}

#[tokio::test]
async fn one_process_exports_the_whole_trace() -> Result<()> {
    let (sandbox, collector) = (Sandbox::new()?, Collector::start().await?);
    let mut dev = sandbox.sortie(&["dev", "--", "sh", "-c", "echo $TRACEPARENT"]);
    dev.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint).env("TRACEPARENT", traceparent(CALLER));
    let ended = sandbox.run(dev).await?;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let trace = collector.trace(TRACE);
    assert!(trace.one("queue")?.service.contains("sortie-dev"), "{trace:#?}");
    assert_whole(&trace, ended.text().trim())
}

#[tokio::test]
async fn a_trace_goes_through_all_processes() -> Result<()> {
    let (sandbox, collector) = (Sandbox::new()?, Collector::start().await?);
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str());
    let master = sandbox.master_with(&[endpoint]).await?;
    let worker = sandbox.worker(&master, "w1", &[endpoint]).await?;
    let mut run = sandbox.asking(&master, &["run", "--", "sh", "-c", "echo $TRACEPARENT"]);
    run.env("TRACEPARENT", traceparent(CALLER));
    let told = sandbox.run(run).await?;
    // Who stops exports what is left.
    for process in [worker, master.process] {
        process.signal(Signal::TERM)?;
        assert_eq!(process.ended().await?.code, Some(0));
    }
    let trace = collector.trace(TRACE);
    for (name, service) in [("queue", "sortie-master"), ("attempt", "sortie-worker")] {
        assert!(trace.one(name)?.service.contains(service), "{trace:#?}");
    }
    assert_whole(&trace, told.text().trim())
}

#[tokio::test]
async fn a_collector_that_is_not_there_costs_nothing_but_a_word() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let mut dev = sandbox.sortie(&["dev", "--", "sh", "-c", "echo hello; exit 3"]);
    dev.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    let ended = sandbox.run(dev).await?;
    assert_eq!((ended.code, ended.text()), (Some(3), "hello\n"), "{ended:?}");
    assert!(ended.stderr.contains("Connection refused"), "{ended:?}");
    Ok(())
}
