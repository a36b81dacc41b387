//! A worker that a test speaks for.

use anyhow::{Context as _, Result};
use sortie_tests::Cluster;
use sortie_wire::pb::node_service_client::NodeServiceClient;
use sortie_wire::{node, pb};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// A worker that a test speaks for.
pub(crate) struct Puppet {
    pub(crate) reports: mpsc::Sender<pb::Report>,
    orders: Streaming<pb::Order>,
}

/// What a worker says when it introduces itself for the time `introduction`.
pub(crate) fn hello(name: &str, introduction: u64) -> pb::ReportStatusRequest {
    pb::ReportStatusRequest {
        name: name.into(),
        instance: name.into(),
        version: "test".into(),
        protocol: 1,
        slots: 1,
        introduction,
        ..Default::default()
    }
}

impl Puppet {
    /// Introduces it, as one process of that name that does so for the time `introduction`, and opens its stream.
    pub(crate) async fn join(cluster: &Cluster, name: &str, introduction: u64) -> Result<Puppet> {
        Puppet::join_as(cluster, hello(name, introduction)).await
    }

    /// Introduces it as `hello` says, and opens its stream.
    pub(crate) async fn join_as(cluster: &Cluster, hello: pb::ReportStatusRequest) -> Result<Puppet> {
        let mut client = NodeServiceClient::connect(cluster.grpc_url()).await?;
        let session = client.report_status(hello).await?.into_inner().session;
        let (reports, stream) = mpsc::channel(16);
        reports.send(node::open_to_pb(session)).await?;
        let orders = client.assign_task(ReceiverStream::new(stream)).await?.into_inner();
        Ok(Puppet { reports, orders })
    }

    /// The next order.
    pub(crate) async fn next(&mut self) -> Result<pb::order::Order> {
        let order = self.orders.message().await?.context("an order")?;
        order.order.context("a kind of order")
    }

    /// The number of the attempt that it is told to start next.
    pub(crate) async fn started_number(&mut self) -> Result<u32> {
        loop {
            if let pb::order::Order::Start(start) = self.next().await? {
                return Ok(start.attempt.context("an attempt")?.number);
            }
        }
    }

    /// Reports that an attempt at the first task of a job exited.
    pub(crate) async fn exited(&self, job: u64, number: u32, code: i32) -> Result<()> {
        self.ended(job, number, pb::ended::End::Exited(code)).await
    }

    /// Reports that an attempt at the first task of a job ended.
    pub(crate) async fn ended(&self, job: u64, number: u32, end: pb::ended::End) -> Result<()> {
        self.ended_after(job, number, end, None).await
    }

    /// Reports that an attempt at the first task of a job ended, and what its command used.
    pub(crate) async fn ended_after(
        &self,
        job: u64,
        number: u32,
        end: pb::ended::End,
        usage: Option<pb::Usage>,
    ) -> Result<()> {
        let ended = pb::Ended {
            attempt: Some(pb::Attempt { job, index: 0, number }),
            end: Some(end),
            stdout: Some(pb::Captured { data: format!("attempt {number}").into_bytes(), dropped: 0 }),
            stderr: None,
            usage,
        };
        Ok(self.reports.send(pb::Report { report: Some(pb::report::Report::Ended(ended)) }).await?)
    }
}
