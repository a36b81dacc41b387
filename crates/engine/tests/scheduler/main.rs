//! Scripts for the master's state machine: one input after another, and everything that follows from each.

mod cancelling;
mod deadlines;
mod ending;
mod explaining;
mod leases;
mod placing;
mod recovering;
mod render;
mod retrying;
mod stale;
mod submitting;
mod workers;
mod world;
