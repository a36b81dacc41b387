//! One session after another, while the driver goes on: what runs does not depend on whether the master is there.

use std::pin::pin;
use std::time::Duration;

use sortie_engine::{Output, Report, Time};
use sortie_wire::node::{Downward, downward_from_pb, report_to_pb};
use sortie_wire::pb;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendError;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::Error;
use crate::clock::Clock;
use crate::driver::Driver;
use crate::link::{Failure, Lease, Link, Session};

/// How long the master has to end its side of the stream.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A worker at work: what it runs, and its way to the master.
#[derive(Debug)]
pub(crate) struct Service {
    driver: Driver,
    link: Link,
    session: Option<Session>,
}

/// Why a session ended before this worker wanted it to.
type Lost = String;

impl Service {
    /// A worker that has not been in touch with its master yet.
    pub(crate) fn new(driver: Driver, link: Link) -> Self {
        Service { driver, link, session: None }
    }

    /// Serves the master until `stop` is cancelled, and then until nothing runs and all has been told, or cannot be.
    ///
    /// # Errors
    /// When the master refuses this worker for good.
    pub(crate) async fn run(mut self, stop: &CancellationToken) -> Result<(), Error> {
        if let Some(over) = stop.run_until_cancelled(self.serve()).await {
            return over;
        }
        self.driver.leave(self.session.is_some());
        self.link.hasten();
        self.serve().await?;
        if let Some(session) = self.session {
            close(session).await;
        }
        Ok(())
    }

    /// Works until the worker has left. Nothing is lost if it is dropped and called again.
    async fn serve(&mut self) -> Result<(), Error> {
        while !self.driver.has_left() {
            match &mut self.session {
                Some(session) => {
                    if let Err(reason) = turn(&mut self.driver, session).await {
                        self.lose(&reason);
                    }
                }
                None => self.session = self.connect().await?,
            }
        }
        Ok(())
    }

    /// What runs goes on: it is for its lease to say for how long.
    fn lose(&mut self, reason: &str) {
        if let Some(session) = self.session.take() {
            self.link.lost(session.opened, reason);
        }
        self.driver.on_lost();
    }

    /// Opens a session, for as many tries as it takes; none if the worker has left before.
    async fn connect(&mut self) -> Result<Option<Session>, Error> {
        loop {
            match self.try_connect().await {
                Ok(session) => return Ok(Some(session)),
                Err(Failure::Left) => return Ok(None),
                Err(Failure::Trouble(trouble)) => self.link.tell(trouble),
                Err(Failure::Refused(reason)) => return Err(self.link.refused(reason)),
            }
        }
    }

    async fn try_connect(&mut self) -> Result<Session, Failure> {
        let Service { driver, link, .. } = self;
        during(driver, link.pause()).await?;
        let mut client = during(driver, link.dial()).await?;
        // The lease is counted from before the master can have heard anything: the worker's must end first.
        let sent = driver.clock().now();
        let presented = driver.present();
        let welcome = during(driver, link.introduce(&mut client, presented.clone())).await?;
        driver.on_welcome(sent, &welcome, &presented);
        let session = during(driver, link.open(client, &welcome, sent)).await?;
        driver.on_open();
        Ok(session)
    }
}

/// Goes on with what runs for as long as something else takes.
async fn during<T>(driver: &mut Driver, other: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let mut other = pin!(other);
    while !driver.has_left() {
        tokio::select! {
            done = &mut other => return done,
            () = driver.step() => {}
        }
    }
    Err(Failure::Left)
}

/// Waits for one thing to happen in a session and deals with it. Nothing is lost if it is dropped.
async fn turn(driver: &mut Driver, session: &mut Session) -> Result<(), Lost> {
    let clock = driver.clock();
    let Session { heartbeats, reports, orders, next_heartbeat, lease, .. } = session;
    tokio::select! {
        order = orders.message() => on_order(driver, lease, order)?,
        permit = due(clock, *next_heartbeat, heartbeats) => {
            let sent = clock.now();
            permit.map_err(closed)?.send(report_to_pb(Report::Heartbeat { sent }, Output::default()));
            *next_heartbeat = sent + session.heartbeat_interval;
        }
        permit = reports.reserve(), if driver.has_reports() => {
            let permit = permit.map_err(closed)?;
            if let Some(report) = driver.next_report() {
                permit.send(report);
            }
        }
        () = clock.sleep_until(Some(lease.end)) => {
            return Err("the master has acknowledged no heartbeat for a whole lease".to_owned());
        }
        () = driver.step() => {}
    }
    Ok(())
}

/// Waits until a heartbeat is due, and the connection has taken the one before.
async fn due(
    clock: Clock,
    at: Time,
    heartbeats: &mpsc::Sender<pb::Report>,
) -> Result<mpsc::Permit<'_, pb::Report>, SendError<()>> {
    clock.sleep_until(Some(at)).await;
    heartbeats.reserve().await
}

fn on_order(driver: &mut Driver, lease: &mut Lease, order: Result<Option<pb::Order>, Status>) -> Result<(), Lost> {
    let order = order.map_err(|status| format!("{:?}: {}", status.code(), status.message()))?;
    match downward_from_pb(order.ok_or_else(|| "the master ended the stream".to_owned())?) {
        Ok(Downward::Renew { sent }) => {
            // Nothing that is answered now was sent later: a master that says so must not lengthen the lease.
            let sent = sent.min(driver.clock().now());
            lease.end = lease.end.max(sent + lease.length);
            driver.on_renewed(sent, lease.length);
        }
        Ok(order) => driver.on_order(order),
        Err(malformed) => tracing::warn!(%malformed, "passed over an order"),
    }
    Ok(())
}

fn closed(_: SendError<()>) -> Lost {
    "the stream was closed".to_owned()
}

/// Ends the stream: the reports are sent before its end, and the master's end says that it has read them.
async fn close(session: Session) {
    let Session { heartbeats, reports, mut orders, .. } = session;
    drop((heartbeats, reports));
    let ended = async { while let Ok(Some(_)) = orders.message().await {} };
    let closed = tokio::time::timeout(CLOSE_TIMEOUT, ended).await.is_ok();
    tracing::info!(closed, "left the master");
}
