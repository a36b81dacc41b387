//! Scenarios through the whole path: a master, workers and real processes, spoken to over HTTP and gRPC.

mod puppet;

mod bad_input;
mod commands;
mod ends;
mod grpc;
mod keys;
mod limits;
mod lists;
mod lost;
mod metrics;
mod placement;
mod restarts;
mod retries;
mod sessions;
