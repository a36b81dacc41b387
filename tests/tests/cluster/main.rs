//! Scenarios through the whole path: a master, workers and real processes, spoken to over HTTP and gRPC.

mod bad_input;
mod commands;
mod ends;
mod grpc;
mod lists;
mod placement;
mod restarts;
mod sessions;
