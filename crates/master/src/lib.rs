//! Sortie's master: the I/O shell round the scheduler.
//!
//! [`Master::start`] opens the store, starts the driver and the two servers. The driver is one task that owns the
//! scheduler and the store's write side: it takes what happened in batches, makes each batch durable, and only then
//! tells anybody. The servers translate: gRPC for workers and clients, HTTP for clients. They ask the driver through
//! a handle, and read what is on record from the store.

#![cfg_attr(not(test), warn(clippy::expect_used))]

pub mod api;
mod config;
mod master;
mod driver;
mod handle;
mod watchers;
mod spans;
mod metrics;
mod key;
mod service;
mod summary;
mod view;
mod http;
mod grpc;
mod clock;

pub use config::{Auth, Config};
pub use http::openapi;
pub use master::{Failure, Master, StartError};
